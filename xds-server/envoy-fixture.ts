import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { Registry } from "prom-client";
import { closeAtEnd, http, type RunningEnvoy, startEnvoy, waitFor } from "../test/support/index.ts";
import { address, extensionType } from "./resource-fixture.ts";
import { createXdsServer, type XdsServer, type XdsServerOptions } from "./server.ts";
import type { Protocol } from "./session-state.ts";
import type { GroupSnapshot } from "./snapshot.ts";

const ENVOY = fileURLToPath(new URL("../.tools/envoy-1.40.0/envoy", import.meta.url));

/** By default the pause of a node without a server grows to half a minute. */
const RECONNECT = { base_interval: "0.1s", max_interval: "0.5s" };

export async function startUpstream(says: string): Promise<number> {
  const server = createServer((_request, response) => response.end(says));
  // Else it may close a connection in the moment in which the Envoy sends a request on it.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closeAtEnd(server);
  return (server.address() as AddressInfo).port;
}

export interface RunningServer {
  readonly server: XdsServer;
  readonly port: number;
  readonly registry: Registry;
}

export async function startServer(
  first: GroupSnapshot,
  port = 0,
  options: Omit<Partial<XdsServerOptions>, "registry"> = {},
): Promise<RunningServer> {
  const registry = new Registry();
  const settings = { removalGraceMs: 100, ...options.settings };
  const server = createXdsServer({ log: pino({ level: "silent" }), ...options, registry, settings });
  closeAtEnd(server);
  server.setSnapshot(first);
  return { server, port: await server.listen(`127.0.0.1:${port}`), registry };
}

export interface NodeOptions {
  /** Of its one stream; delta by default. */
  readonly protocol?: Protocol;
  /** Path of another Envoy. */
  readonly binary?: string;
}

/** @param extra  fields of the bootstrap besides those that every node has */
export async function startNode(
  xdsPort: number,
  id = "node-1",
  extra: object = {},
  { protocol = "delta", binary = ENVOY }: NodeOptions = {},
): Promise<RunningEnvoy> {
  const envoy = await startEnvoy({
    binary,
    bootstrap: {
      node: { id, cluster: "edge" },
      ...extra,
      admin: { address: address(0) },
      dynamic_resources: {
        ads_config: {
          api_type: protocol === "delta" ? "DELTA_GRPC" : "GRPC",
          transport_api_version: "V3",
          set_node_on_first_message_only: true,
          grpc_services: [{ envoy_grpc: { cluster_name: "xds", retry_policy: { retry_back_off: RECONNECT } } }],
        },
        cds_config: { ads: {}, resource_api_version: "V3" },
        lds_config: { ads: {}, resource_api_version: "V3" },
      },
      static_resources: {
        clusters: [
          {
            name: "xds",
            type: "STATIC",
            typed_extension_protocol_options: {
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": extensionType("upstreams.http.v3.HttpProtocolOptions"),
                explicit_http_config: { http2_protocol_options: {} },
              },
            },
            load_assignment: {
              cluster_name: "xds",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(xdsPort) } }] }],
            },
          },
        ],
      },
    },
  });
  return closeAtEnd(envoy);
}

export function runs(server: XdsServer, revision: number): Promise<true> {
  return waitFor(
    () => server.nodes()[0]?.acknowledgedRevision === revision,
    10_000,
    () => `revision ${revision} on the node: ${JSON.stringify(server.nodes(), null, 1)}`,
  );
}

export async function portOf(envoy: RunningEnvoy): Promise<number> {
  return waitFor(async () => (await envoy.listenerPorts()).edge?.[0], 10_000, "the listener");
}

export const get = async (port: number, path = "/") => (await http(`http://127.0.0.1:${port}${path}`)).text();

/** Responses sent so far, by type. */
export async function pushes(registry: Registry): Promise<Record<string, number>> {
  const found = (await registry.metrics()).matchAll(/chancery_xds_pushes_total\{type="(\w+)"\} (\d+)/g);
  return Object.fromEntries([...found].map(([, kind, count]) => [kind ?? "", Number(count)]));
}
