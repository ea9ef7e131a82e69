import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type {
  GetStatusResponseSchema,
  LatencySchema,
  OperationalLogStatusSchema,
} from "../protos/gen/chancery/admin/v1/admin_pb.ts";

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
  /** Which of several control planes publishes; left out where there is one alone. */
  readonly leadership?: { readonly leader: string; readonly epoch: number; readonly leading: boolean };
  readonly regions?: readonly RegionFacts[];
  readonly xdsServers?: readonly XdsServerFacts[];
  readonly restrictions: readonly ActiveRestrictionFacts[];
  /** Left out where there is none. */
  readonly operationalLog?: LogFacts;
  /** Keys that the trust file names. */
  readonly keys?: readonly KeyFacts[];
  readonly convergence?: { readonly saveToAcknowledged?: LatencyFacts; readonly saveToFirstDecision?: LatencyFacts };
}

export interface LogFacts {
  readonly entries: number;
  readonly capacity: number;
  readonly sequence: number;
  /** Left out: never. */
  readonly compactedAt?: number;
}

export interface KeyFacts {
  readonly id: string;
  readonly purposes: readonly string[];
  readonly notAfter: number;
  /** Whether this process signs with it. */
  readonly signsHere: boolean;
}

/** A restriction that has not ended and was not lifted. */
export interface ActiveRestrictionFacts {
  readonly id: string;
  readonly kind: string;
  readonly value: string;
  readonly reason: string;
  readonly by: string;
  readonly until: number;
  /** Relays and decision services of which it is not known that they have it. */
  readonly missingIn: readonly string[];
}

/** Milliseconds. */
export interface LatencyFacts {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface RegionFacts {
  readonly name: string;
  readonly relayedRevision: number;
  readonly lastReportAt: number;
  readonly stale: boolean;
  /** Empty: none. */
  readonly lastError: string;
}

export interface XdsServerFacts {
  readonly id: string;
  /** Empty: at the hub. */
  readonly region: string;
  readonly activeRevision: number;
  /** Envoys that it knows, listed or not. */
  readonly nodes: number;
  readonly lastReportAt: number;
  readonly stale: boolean;
  readonly lastError: string;
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
    readonly standing: boolean;
  };
  readonly heldBack: readonly {
    readonly typeUrl: string;
    readonly name: string;
    readonly revision: number;
    readonly scope: string;
    readonly since: number;
  }[];
  /** Its xDS server; empty: part of this process. */
  readonly xdsServer: string;
  readonly region: string;
  /** Its xDS server is silent. */
  readonly stale: boolean;
}

export interface DecisionServiceFacts {
  readonly id: string;
  readonly activeRevision: number;
  readonly layouts: readonly string[];
  readonly lastReportAt: number;
  readonly decisions: number;
  /** Empty: none. */
  readonly lastError: string;
  /** Empty: at the hub. */
  readonly region: string;
  readonly stale: boolean;
}

/** The status in the words of the API. */
export function toStatusResponse(status: ControlStatus): MessageInitShape<typeof GetStatusResponseSchema> {
  const { revision, leadership, regions = [], xdsServers = [], operationalLog, keys = [] } = status;
  const { saveToAcknowledged, saveToFirstDecision } = status.convergence ?? {};
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
    ...(operationalLog === undefined ? {} : { operationalLog: logStatus(operationalLog) }),
    keys: keys.map(({ notAfter, purposes, ...key }) => ({
      ...key,
      purposes: [...purposes],
      notAfter: timestampFromMs(notAfter),
    })),
    restrictions: status.restrictions.map(({ until, missingIn, ...restriction }) => ({
      ...restriction,
      until: timestampFromMs(until),
      missingIn: [...missingIn],
    })),
    nodes: status.nodes.map(({ lastRejection, heldBack, ...node }) => ({
      ...node,
      lastSeenAt: timestampFromMs(node.lastSeenAt),
      acknowledgedRevision: BigInt(node.acknowledgedRevision),
      types: node.types.map((type) => ({ ...type })),
      heldBack: heldBack.map(({ revision: of, since, ...held }) => ({
        ...held,
        revision: BigInt(of),
        since: timestampFromMs(since),
      })),
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
    ...(leadership === undefined ? {} : { leadership: { ...leadership, epoch: BigInt(leadership.epoch) } }),
    regions: regions.map((region) => ({
      ...region,
      relayedRevision: BigInt(region.relayedRevision),
      lastReportAt: timestampFromMs(region.lastReportAt),
    })),
    xdsServers: xdsServers.map((server) => ({
      ...server,
      activeRevision: BigInt(server.activeRevision),
      lastReportAt: timestampFromMs(server.lastReportAt),
    })),
    convergence: {
      ...(saveToAcknowledged === undefined ? {} : { saveToAcknowledged: latency(saveToAcknowledged) }),
      ...(saveToFirstDecision === undefined ? {} : { saveToFirstDecision: latency(saveToFirstDecision) }),
    },
  };
}

function logStatus({ compactedAt, sequence, ...log }: LogFacts): MessageInitShape<typeof OperationalLogStatusSchema> {
  const compacted = compactedAt === undefined ? {} : { compactedAt: timestampFromMs(compactedAt) };
  return { ...log, sequence: BigInt(sequence), ...compacted };
}

function latency({ count, p50, p99, max }: LatencyFacts): MessageInitShape<typeof LatencySchema> {
  return { count, p50Ms: p50, p99Ms: p99, maxMs: max };
}
