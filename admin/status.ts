import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { GetStatusResponseSchema } from "../protos/gen/chancery/admin/v1/admin_pb.ts";

/** What the control plane knows of itself and of the fleet, as plain data. Times are milliseconds since the epoch. */
export interface ControlStatus {
  /** Absent until the first revision is published. */
  readonly revision?: {
    readonly number: number;
    readonly digest: string;
    readonly createdAt: number;
    readonly signedBy: readonly string[];
  };
  readonly nodes: readonly NodeFacts[];
  readonly decisionServices: readonly DecisionServiceFacts[];
  readonly frozenScopes: readonly { readonly scope: string; readonly problems: readonly string[] }[];
}

/** An Envoy that is, or was, connected. */
export interface NodeFacts {
  readonly id: string;
  readonly cluster: string;
  readonly nodeGroup: string;
  readonly envoyVersion: string;
  readonly plan: string;
  readonly connected: boolean;
  readonly lastSeenAt: number;
  /** 0: none yet. */
  readonly acknowledgedRevision: number;
  readonly layout: string;
  readonly types: readonly {
    readonly typeUrl: string;
    readonly resources: number;
    readonly sentVersion: string;
    readonly acknowledgedVersion: string;
  }[];
  readonly lastRejection?: {
    readonly typeUrl: string;
    readonly resources: readonly string[];
    readonly message: string;
    readonly at: number;
    readonly revision: number;
  };
}

export interface DecisionServiceFacts {
  readonly id: string;
  readonly activeRevision: number;
  readonly layouts: readonly string[];
  readonly lastReportAt: number;
  readonly decisions: number;
  /** Empty: none. */
  readonly lastError: string;
}

/** The status in the words of the API. */
export function toStatusResponse(status: ControlStatus): MessageInitShape<typeof GetStatusResponseSchema> {
  const { revision } = status;
  return {
    ...(revision === undefined
      ? {}
      : {
          revision: {
            number: BigInt(revision.number),
            digest: revision.digest,
            createdAt: timestampFromMs(revision.createdAt),
            signedBy: [...revision.signedBy],
          },
        }),
    nodes: status.nodes.map(({ lastRejection, ...node }) => ({
      ...node,
      lastSeenAt: timestampFromMs(node.lastSeenAt),
      acknowledgedRevision: BigInt(node.acknowledgedRevision),
      types: node.types.map((type) => ({ ...type })),
      ...(lastRejection === undefined
        ? {}
        : {
            lastRejection: {
              ...lastRejection,
              resources: [...lastRejection.resources],
              at: timestampFromMs(lastRejection.at),
              revision: BigInt(lastRejection.revision),
            },
          }),
    })),
    decisionServices: status.decisionServices.map((service) => ({
      ...service,
      activeRevision: BigInt(service.activeRevision),
      layouts: [...service.layouts],
      lastReportAt: timestampFromMs(service.lastReportAt),
      decisions: BigInt(service.decisions),
    })),
    frozenScopes: status.frozenScopes.map(({ scope, problems }) => ({ scope, problems: [...problems] })),
  };
}
