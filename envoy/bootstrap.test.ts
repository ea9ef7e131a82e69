import { expect, test } from "vitest";
import { bootstrapJson } from "./bootstrap.ts";

const options = {
  nodeId: "edge-1",
  nodeGroup: "edge",
  xds: ["127.0.0.1:18000"],
  extAuthz: ["127.0.0.1:9191", "[::1]:9192", "unix:/run/chancery/authz.sock"],
  admin: "127.0.0.1:9901",
};

test("says who the node is and that all else comes over ADS", () => {
  const json = JSON.parse(JSON.stringify(bootstrapJson(options)));
  expect(json.node).toMatchObject({ id: "edge-1", cluster: "edge" });
  expect(json.dynamic_resources.ads_config.api_type).toBe("DELTA_GRPC");
  expect(json.static_resources.clusters.map((cluster: { name: string }) => cluster.name)).toEqual([
    "chancery_xds",
    "chancery_ext_authz",
  ]);
});

test("gives up connecting within a quarter of a second, so that the next address is tried soon", () => {
  const json = JSON.parse(JSON.stringify(bootstrapJson(options)));
  const timeouts = json.static_resources.clusters.map(
    (cluster: { connect_timeout: string }) => cluster.connect_timeout,
  );
  expect(timeouts).toEqual(["0.250s", "0.250s"]);
});

test("takes IPv4, IPv6 and Unix socket addresses of decision services", () => {
  const json = JSON.parse(JSON.stringify(bootstrapJson(options)));
  const endpoints = json.static_resources.clusters[1].load_assignment.endpoints[0].lb_endpoints;
  expect(endpoints.map((endpoint: { endpoint: { address: unknown } }) => endpoint.endpoint.address)).toEqual([
    { socket_address: { address: "127.0.0.1", port_value: 9191 } },
    { socket_address: { address: "::1", port_value: 9192 } },
    { pipe: { path: "/run/chancery/authz.sock" } },
  ]);
});

test("resolves decision services that are given by name", () => {
  const json = JSON.parse(JSON.stringify(bootstrapJson({ ...options, extAuthz: ["authz.internal:9191"] })));
  expect(json.static_resources.clusters[1].type).toBe("STRICT_DNS");
});

test.each(["localhost", "127.0.0.1:99999", "::1:80", ""])("refuses %j as an address", (address) => {
  expect(() => bootstrapJson({ ...options, admin: address })).toThrow(/is not an address/);
});

test("refuses a node without decision services", () => {
  expect(() => bootstrapJson({ ...options, extAuthz: [] })).toThrow(/No address is given/);
});

test("speaks TLS to whoever is not on a Unix socket, and to nobody whose name is not said", () => {
  const tls = { certificateSds: "/sds/node.json", caSds: "/sds/ca.json", xdsIdentity: "spiffe://acme/xds" };
  const sockets = ["unix:/run/one.sock", "unix:/run/two.sock"];
  const json = JSON.parse(JSON.stringify(bootstrapJson({ ...options, extAuthz: sockets, tls })));
  const [xds, authz] = json.static_resources.clusters;
  expect(xds.transport_socket).toBeDefined();
  expect(authz.transport_socket).toBeUndefined();
  for (const extAuthz of [["127.0.0.1:9191"], [...sockets, "127.0.0.1:9191"]]) {
    expect(() => bootstrapJson({ ...options, extAuthz, tls })).toThrow(
      "what the certificate of 127.0.0.1:9191 must name",
    );
  }
});
