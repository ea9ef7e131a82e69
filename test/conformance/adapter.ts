import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import type { Logger } from "pino";
import { serviceDefinition } from "../../envoy/index.ts";
import {
  Adapter,
  type Change,
  ClearedSchema,
  Control,
  type Named,
  type Node,
  NodeStatusSchema,
  OkSchema,
  type State,
} from "../../protos/gen/adapter/control_pb.ts";
import { ChanceryError } from "../../resources/index.ts";
import { createXdsServer, type XdsEvent, type XdsServer } from "../../xds-server/index.ts";
import { change, NOTHING, type NodeResources, putMadeUp, remove, setAll, snapshotOf } from "./node-store.ts";

/** Suites unsubscribe on one connection and change on another: the unsubscribing shall come first. */
const SETTLE_MS = 150;
/** Nodes with a state. */
const MAX_NODES = 10_000;
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
/** How long a restarted server tries to get its address back. */
const LISTEN_AGAIN_MS = 5_000;

export interface XdsAdapter {
  readonly adapterPort: number;
  readonly targetPort: number;
  close(): Promise<void>;
}

export interface XdsAdapterOptions {
  /** "host:port", loopback; port 0: any free one. */
  readonly adapter: string;
  readonly target: string;
  readonly log: Logger;
}

/** Starts the xDS server at `target` and at `adapter` what drives it. Each node id is a group of its own. */
export async function startXdsAdapter(options: XdsAdapterOptions): Promise<XdsAdapter> {
  const states = new Map<string, NodeResources>();
  const nacks = new Map<string, { count: number; last: string }>();
  let revision = 0;
  let generation = 0;
  let queue: Promise<unknown> = Promise.resolve();
  let server = newServer();
  const targetPort = await server.listen(options.target);
  const target = `${options.target.slice(0, options.target.lastIndexOf(":"))}:${targetPort}`;

  function newServer(): XdsServer {
    return createXdsServer({
      log: options.log,
      settings: { trustUnlistedNodes: true, groupBy: "id" },
      onEvent: noteRefusal,
    });
  }

  function noteRefusal(event: XdsEvent): void {
    if (event.kind !== "rejected" || (nacks.size >= MAX_NODES && !nacks.has(event.node.id))) return;
    nacks.set(event.node.id, { count: (nacks.get(event.node.id)?.count ?? 0) + 1, last: event.message });
  }

  function publish(node: string, next: NodeResources): void {
    if (!states.has(node) && states.size >= MAX_NODES) {
      throw new ChanceryError("unavailable", `more than ${MAX_NODES} nodes have a state`);
    }
    states.set(node, next);
    revision += 1;
    server.setSnapshot(snapshotOf(node, next, revision));
  }

  const stateOf = (node: string) => states.get(node) ?? NOTHING;

  /** Calls take effect one after the other, in the order in which they came. */
  function inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const result = queue.then(work);
    queue = result.catch(() => {
      // Whoever called hears of it; the next call does not.
    });
    return result;
  }

  function existing({ node, typeUrl, resourceName }: Named): void {
    if (stateOf(node).types.get(typeUrl)?.has(resourceName)) return;
    throw new ChanceryError("not-found", `node "${node}" has no ${typeUrl} "${resourceName}"`);
  }

  async function restart(): Promise<void> {
    await server.close(0);
    server = newServer();
    for (const [node, resources] of states) server.setSnapshot(snapshotOf(node, resources, revision));
    const end = performance.now() + LISTEN_AGAIN_MS;
    for (;;) {
      try {
        await server.listen(target);
        return;
      } catch (error) {
        if (performance.now() >= end) throw error;
        await delay(20);
      }
    }
  }

  const ok = () => create(OkSchema, { success: true });
  const api = new grpc.Server({ "grpc.max_receive_message_length": MAX_MESSAGE_BYTES });
  api.addService(serviceDefinition(Adapter), {
    setState: unary(({ node, version, resources }: State) =>
      inTurn(() => {
        publish(node, setAll(stateOf(node), resources, version));
        return ok();
      }),
    ),
    clearState: unary(({ node }: Node) =>
      inTurn(() => {
        states.delete(node);
        nacks.delete(node);
        server.removeGroup(node);
        return create(ClearedSchema, { response: `node "${node}" has no state` });
      }),
    ),
    updateResource: unary((named: Named) =>
      inTurn(async () => {
        existing(named);
        await delay(SETTLE_MS);
        generation += 1;
        publish(named.node, putMadeUp(stateOf(named.node), named, named.version, generation));
        return ok();
      }),
    ),
    addResource: unary((named: Named) =>
      inTurn(() => {
        generation += 1;
        publish(named.node, putMadeUp(stateOf(named.node), named, named.version, generation));
        return ok();
      }),
    ),
    removeResource: unary((named: Named) =>
      inTurn(async () => {
        existing(named);
        await delay(SETTLE_MS);
        publish(named.node, remove(stateOf(named.node), named.typeUrl, named.resourceName, named.version));
        return ok();
      }),
    ),
  });
  api.addService(serviceDefinition(Control), {
    apply: unary((request: Change) =>
      inTurn(() => {
        publish(request.node, change(stateOf(request.node), request));
        return ok();
      }),
    ),
    restart: unary((_: Node) =>
      inTurn(async () => {
        await restart();
        return ok();
      }),
    ),
    status: unary(({ node }: Node) =>
      inTurn(() => {
        const state = server.nodes().find(({ id }) => id === node);
        const refused = nacks.get(node);
        return create(NodeStatusSchema, {
          streams: BigInt(state?.streams ?? 0),
          watches: BigInt(state?.watches ?? 0),
          nacks: BigInt(refused?.count ?? 0),
          lastNack: refused?.last ?? "",
        });
      }),
    ),
  });
  const adapterPort = await bind(api, options.adapter);
  let closing: Promise<void> | undefined;
  return {
    adapterPort,
    targetPort,
    close() {
      closing ??= inTurn(async () => {
        api.forceShutdown();
        await server.close(0);
      });
      return closing;
    },
  };
}

function unary<Request, Response>(
  handle: (request: Request) => Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    handle(call.request).then(
      (response) => callback(null, response),
      (error: unknown) => {
        const { code, message } = ChanceryError.from(error);
        callback({ code: STATUS.get(code) ?? grpc.status.INTERNAL, details: message });
      },
    );
  };
}

const STATUS: ReadonlyMap<string, grpc.status> = new Map([
  ["invalid-argument", grpc.status.INVALID_ARGUMENT],
  ["not-found", grpc.status.NOT_FOUND],
  ["unavailable", grpc.status.RESOURCE_EXHAUSTED],
]);

function bind(server: grpc.Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(new ChanceryError("unavailable", `cannot listen on ${address}: ${error.message}`, { cause: error }));
    });
  });
}
