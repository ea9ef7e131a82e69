import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { closeAtEnd } from "./close-at-end.ts";
import { startEnvoy } from "./envoy.ts";
import { http } from "./http-client.ts";

const binary = fileURLToPath(new URL("../../.tools/envoy-1.40.0/envoy", import.meta.url));

test("runs a real Envoy on free ports and reads its state", async () => {
  const envoy = closeAtEnd(
    await startEnvoy({
      binary,
      bootstrap: `
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: hello
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: hello
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hello}}}]
`,
    }),
  );
  const { hello } = await envoy.listenerPorts();
  expect((await http(`http://127.0.0.1:${hello?.[0]}/`)).text()).toBe("hello");
  expect((await envoy.stats("http.hello.downstream_rq_2xx"))["http.hello.downstream_rq_2xx"]).toBe(1);
  expect(JSON.stringify(await envoy.configDump())).toContain("hello");
});

test("shows what Envoy said when it refuses its bootstrap", async () => {
  await expect(
    startEnvoy({ binary, bootstrap: { static_resources: { listeners: [{ name: "x", nope: 1 }] } } }),
  ).rejects.toThrow(/nope/);
});
