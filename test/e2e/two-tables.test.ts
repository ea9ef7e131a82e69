import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePorts, http, waitFor } from "../support/index.ts";
import { ALLOW_ALL, anonymous, plainRoute, policy, upstream, yaml } from "../support/resources.ts";

// A gateway with two ports has two route tables, each with a layout of its own.

const WAIT_MS = 20_000;

let web: WebServer;
let plane: RunningControlPlane;
let ports: readonly number[];

const route = (name: string, listener: string, prefix: string): string =>
  plainRoute(name, prefix, { web: 1 }, listener);

const tree = (extra: readonly string[]): string =>
  yaml(
    `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: chancery
  listeners:
    - { name: inner, port: ${ports[0]}, protocol: HTTP }
    - { name: outer, port: ${ports[1]}, protocol: HTTP }`,
    anonymous(),
    policy("all", ALLOW_ALL),
    upstream("web", web.port),
    ...[route("inner", "inner", "/inner"), route("outer", "outer", "/outer")],
    ...extra.map((name) => route(name, "inner", `/${name}`)),
  );

beforeAll(async () => {
  web = await startWebServer({ name: "web" });
  ports = await freePorts(2);
  plane = await startControlPlane({ resources: { "all.yaml": tree([]) } });
});

afterAll(async () => {
  await plane?.close();
  await web?.close();
});

const RouteDump = z.object({
  configs: z.array(
    z.object({
      dynamic_route_configs: z.array(
        z.object({ version_info: z.string(), last_updated: z.string(), route_config: z.object({ name: z.string() }) }),
      ),
    }),
  ),
});

/** Name → version and time of arrival of the route tables that the Envoy runs. */
async function tables(): Promise<Readonly<Record<string, string>>> {
  const { configs } = RouteDump.parse(JSON.parse(await plane.envoyAdmin("/config_dump?mask=dynamic_route_configs")));
  return Object.fromEntries(
    configs.flatMap(({ dynamic_route_configs: found }) =>
      found.map((each) => [each.route_config.name, `${each.version_info} ${each.last_updated}`]),
    ),
  );
}

const status = async (port: number | undefined, path: string) => (await http(`http://127.0.0.1:${port}${path}`)).status;

test("a route of one port reaches an Envoy without the table of the other, and both are decided for all the time", async () => {
  const [inner, outer] = ports;
  await waitFor(async () => (await status(outer, "/outer/x")) === 200, WAIT_MS, "the first revision");
  expect(await status(inner, "/outer/x")).toBe(404);
  const before = await tables();
  const answers: number[] = [];
  for (const extra of [["one"], ["one", "two"], ["two"]]) {
    await plane.write("all.yaml", tree(extra));
    const last = extra.at(-1);
    await waitFor(
      async () => {
        answers.push(await status(outer, "/outer/x"), await status(inner, "/inner/x"));
        return (
          (await status(inner, `/${last}/x`)) === 200 &&
          (await status(inner, "/one/x")) === (extra[0] === "one" ? 200 : 404)
        );
      },
      WAIT_MS,
      () => `${last} in force\n${plane.process().stdout()}`,
    );
  }
  expect(new Set(answers)).toEqual(new Set([200]));
  const after = await tables();
  expect(Object.keys(after)).toHaveLength(2);
  expect(after[`edge/${outer}`]).toBe(before[`edge/${outer}`]);
  expect(after[`edge/${inner}`]).not.toBe(before[`edge/${inner}`]);
  const records = await plane.records();
  const layouts = (name: string) =>
    new Set(records.filter(({ route: id }) => id === `${name}/0/0`).map((one) => one.layout));
  expect(layouts("outer").size).toBe(1);
  expect(layouts("inner").size).toBeGreaterThan(1);
  expect(layouts("inner").isDisjointFrom(layouts("outer"))).toBe(true);
  expect(records.filter(({ code }) => code === "unknown_layout")).toEqual([]);
});
