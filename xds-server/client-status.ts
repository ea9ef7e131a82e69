import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type ServerDuplexStream, type ServerUnaryCall, type sendUnaryData, status } from "@grpc/grpc-js";
import { ClientResourceStatus } from "../protos/gen/envoy/admin/v3/config_dump_shared_pb.ts";
import {
  type ClientConfig_GenericXdsConfigSchema,
  ClientConfigSchema,
  type ClientStatusRequest,
  type ClientStatusResponse,
  ClientStatusResponseSchema,
  ConfigStatus,
} from "../protos/gen/envoy/service/status/v3/csds_pb.ts";
import type { NodeMatcher } from "../protos/gen/envoy/type/matcher/v3/node_pb.ts";
import type { StringMatcher } from "../protos/gen/envoy/type/matcher/v3/string_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { ABSENT } from "./held-versions.ts";
import type { NodeIdentity } from "./node-identity.ts";
import { RESOURCE_TYPES_WITHOUT_VERSION } from "./node-state.ts";
import { isIn } from "./response-size.ts";
import type { Session, TypeState } from "./session-state.ts";

/** A connected node and its open streams. */
export interface ConnectedNode {
  readonly identity: NodeIdentity;
  readonly sessions: Iterable<Session>;
  readonly lastNack: { readonly typeUrl: string; readonly message: string } | undefined;
}

/** Resources in one answer; whoever wants more asks for fewer nodes. */
const MAX_ENTRIES = 100_000;

type Entry = MessageInitShape<typeof ClientConfig_GenericXdsConfigSchema>;

/**
 * The answer of CSDS (csds.proto): which resources the connected nodes asked for, hold, and refused. Names and versions
 * only, never contents: those may hold secrets.
 *
 * @throws ChanceryError invalid-argument for matchers on metadata or by regular expression; unavailable if too much
 */
export function clientStatus(nodes: Iterable<ConnectedNode>, request: ClientStatusRequest): ClientStatusResponse {
  const wanted = request.nodeMatchers.map(matcherOf);
  const config = [];
  let left = MAX_ENTRIES;
  for (const node of nodes) {
    const { id, group, version } = node.identity;
    if (wanted.length > 0 && !wanted.some((matches) => matches(id))) continue;
    const genericXdsConfigs: Entry[] = [];
    for (const { types } of node.sessions) {
      for (const type of types.values()) {
        for (const entry of entriesOf(type, node)) {
          left -= 1;
          if (left < 0) {
            throw new ChanceryError("unavailable", `more than ${MAX_ENTRIES} resources: name nodes in node_matchers`);
          }
          genericXdsConfigs.push(entry);
        }
      }
    }
    const identity = {
      id,
      cluster: group,
      userAgentVersionType: { case: "userAgentVersion" as const, value: version },
    };
    config.push(create(ClientConfigSchema, { node: identity, genericXdsConfigs }));
  }
  return create(ClientStatusResponseSchema, { config });
}

/** CSDS as grpc-js takes it: one request one answer, as a call or in a stream. */
export function clientStatusService(answer: (request: ClientStatusRequest) => ClientStatusResponse) {
  return {
    fetchClientStatus(
      call: ServerUnaryCall<ClientStatusRequest, ClientStatusResponse>,
      callback: sendUnaryData<ClientStatusResponse>,
    ) {
      try {
        callback(null, answer(call.request));
      } catch (error) {
        callback(statusOf(error));
      }
    },
    streamClientStatus(call: ServerDuplexStream<ClientStatusRequest, ClientStatusResponse>) {
      call.on("data", (request: ClientStatusRequest) => {
        try {
          // A reader that does not read is not read from.
          if (!call.write(answer(request))) {
            call.pause();
            call.once("drain", () => call.resume());
          }
        } catch (error) {
          call.emit("error", statusOf(error));
        }
      });
      call.on("end", () => call.end());
      // The client is gone; there is nobody to tell.
      call.on("error", () => {});
    },
  };
}

function statusOf(thrown: unknown) {
  const { code, message } = ChanceryError.from(thrown);
  const refused = code === "invalid-argument" ? status.INVALID_ARGUMENT : status.RESOURCE_EXHAUSTED;
  return { code: code === "internal" ? status.INTERNAL : refused, details: message };
}

function* entriesOf(type: TypeState, node: ConnectedNode): Generator<Entry> {
  const unanswered = new Set<string>();
  for (const { resources } of type.outstanding.values()) for (const { name } of resources) unanswered.add(name);
  for (const name of new Set([...type.held.keys(), ...type.subscription.names])) {
    const held = type.held.get(name);
    const shown = typeof held === "string" && !RESOURCE_TYPES_WITHOUT_VERSION.has(type.typeUrl) ? held : "";
    const { typeUrl } = type;
    const entry = { typeUrl, name, versionInfo: shown };
    if (type.rejected.has(name)) {
      const details = node.lastNack?.typeUrl === typeUrl ? node.lastNack.message : "";
      const errorState = { details, versionInfo: shown === "" ? "" : (type.rejected.get(name) ?? "") };
      yield { ...entry, errorState, configStatus: ConfigStatus.ERROR, clientStatus: ClientResourceStatus.NACKED };
    } else if (held === ABSENT) {
      yield { ...entry, configStatus: ConfigStatus.SYNCED, clientStatus: ClientResourceStatus.DOES_NOT_EXIST };
    } else if (typeof held !== "string" || isIn(type.parts, name)) {
      yield { ...entry, configStatus: ConfigStatus.NOT_SENT, clientStatus: ClientResourceStatus.REQUESTED };
    } else if (unanswered.has(name)) {
      yield { ...entry, configStatus: ConfigStatus.STALE, clientStatus: ClientResourceStatus.REQUESTED };
    } else {
      yield { ...entry, configStatus: ConfigStatus.SYNCED, clientStatus: ClientResourceStatus.ACKED };
    }
  }
}

function matcherOf({ nodeId, nodeMetadatas }: NodeMatcher): (id: string) => boolean {
  if (nodeMetadatas.length > 0) throw unsupported("metadata");
  return nodeId === undefined ? () => true : stringMatcher(nodeId);
}

function stringMatcher({ matchPattern, ignoreCase }: StringMatcher): (text: string) => boolean {
  const fold = (text: string) => (ignoreCase ? text.toLowerCase() : text);
  switch (matchPattern.case) {
    case "exact":
      return (text) => fold(text) === fold(matchPattern.value);
    case "prefix":
      return (text) => fold(text).startsWith(fold(matchPattern.value));
    case "suffix":
      return (text) => fold(text).endsWith(fold(matchPattern.value));
    case "contains":
      return (text) => fold(text).includes(fold(matchPattern.value));
    default:
      throw unsupported(`the pattern "${matchPattern.case ?? "none"}"`);
  }
}

function unsupported(what: string): ChanceryError {
  return new ChanceryError(
    "invalid-argument",
    `nodes cannot be matched by ${what}: use exact, prefix, suffix, contains`,
  );
}
