import { create } from "@bufbuild/protobuf";
import { configured, fromAds, httpConnectionManager, pack, type RoutePlan, socketAddress } from "../envoy/index.ts";
import { type Listener, ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { TlsInspectorSchema } from "../protos/gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts";
import { HttpConnectionManagerSchema } from "../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { DownstreamTlsContextSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import type { Gateway, GatewayListener } from "../resources/index.ts";
import { secretName } from "./pools.ts";

/** Listeners of a gateway that share an address and a port: one Envoy listener. */
export interface PortGroup {
  /** Name of the Envoy listener. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: "HTTP" | "HTTPS";
  readonly chains: readonly FilterChainPlan[];
}

/** A filter chain and its route table. Plain HTTP has one a port, TLS one a listener (chosen by server name). */
export interface FilterChainPlan {
  readonly routeTable: string;
  readonly listeners: readonly GatewayListener[];
}

export function portGroups(gateway: Gateway): PortGroup[] {
  const byPort = new Map<number, GatewayListener[]>();
  for (const listener of gateway.listeners) {
    const siblings = byPort.get(listener.port);
    if (siblings === undefined) byPort.set(listener.port, [listener]);
    else siblings.push(listener);
  }
  return [...byPort].flatMap(([port, listeners]) => {
    const protocol = listeners[0]?.protocol ?? "HTTP";
    const table = `${gateway.key}/${port}`;
    const chains: FilterChainPlan[] =
      protocol === "HTTP"
        ? [{ routeTable: table, listeners }]
        : listeners.map((listener) => ({ routeTable: `${table}/${listener.name}`, listeners: [listener] }));
    return (listeners[0]?.addresses ?? []).map((address) => ({
      name: `${table}@${address}`,
      address,
      port,
      protocol,
      chains,
    }));
  });
}

/**
 * Depends on the Gateway alone: addresses, ports, host names, certificate references. What policies, applications, keys,
 * models and upstreams say is elsewhere, because Envoy drains the connections of a listener that changes.
 */
export function envoyListener(group: PortGroup, plan: RoutePlan): Listener {
  const tls = group.protocol === "HTTPS";
  return create(ListenerSchema, {
    name: group.name,
    address: socketAddress(group.address, group.port),
    perConnectionBufferLimitBytes: 1_048_576,
    listenerFilters: tls ? [configured("envoy.filters.listener.tls_inspector", pack(TlsInspectorSchema, {}))] : [],
    filterChains: group.chains.map((chain) => {
      const listener = chain.listeners[0];
      const filters = [
        configured(
          "envoy.filters.network.http_connection_manager",
          pack(HttpConnectionManagerSchema, httpConnectionManager(chain.routeTable, chain.routeTable, plan)),
        ),
      ];
      if (!tls || listener === undefined) return { name: chain.routeTable, filters };
      return {
        name: chain.routeTable,
        filters,
        filterChainMatch: { serverNames: listener.hostname === undefined ? [] : [listener.hostname] },
        transportSocket: downstreamTls(listener),
      };
    }),
  });
}

function downstreamTls(listener: GatewayListener) {
  const context = pack(DownstreamTlsContextSchema, {
    commonTlsContext: {
      alpnProtocols: ["h2", "http/1.1"],
      tlsCertificateSdsSecretConfigs: listener.certificates.map((certificate) => ({
        name: secretName(certificate),
        sdsConfig: fromAds(),
      })),
    },
  });
  return configured("envoy.transport_sockets.tls", context);
}
