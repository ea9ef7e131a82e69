import { afterAll, beforeAll, expect, test } from "vitest";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { startControlPlane } from "../support/control-plane.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { type DnsServer, freePort, http, startDnsServer, waitFor } from "../support/index.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream } from "../support/resources.ts";

const WAIT_MS = 15_000;
let fleet: Fleet;
let written: WebServer;
let fed: WebServer;
let url: string;

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  [written, fed] = await Promise.all([startWebServer({ name: "written" }), startWebServer({ name: "fed" })]);
  fleet = await startFleet({
    decisionServices: 1,
    resources: {
      "gateway.yaml": gateway(port),
      "route.yaml": plainRoute("shop", "/", { shop: 1 }),
      "shop.yaml": upstream("shop", written.port, "ranges: [127.0.0.0/8]"),
      "applications.yaml": anonymous(),
      "policies.yaml": policy("rules", ALLOW_ALL),
    },
  });
});

afterAll(async () => {
  await fleet?.close();
  await Promise.all([written?.close(), fed?.close()]);
});

async function setEndpoints(body: object): Promise<{ status: number; answer: unknown }> {
  const response = await http(`http://${fleet.xdsAdmin}/chancery.admin.v1.EndpointService/SetEndpoints`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ upstream: "shop", ...body }),
  });
  return { status: response.status, answer: await response.json() };
}

const at = (server: WebServer, more: object = {}) => ({ address: "127.0.0.1", port: server.port, ...more });

/** Who answers twenty requests. */
async function answering(): Promise<ReadonlySet<string>> {
  const answers = await Promise.all(Array.from({ length: 20 }, async () => (await http(url)).headers["x-served-by"]));
  return new Set(answers.map(String));
}

async function answeredBy(...names: readonly string[]): Promise<void> {
  await waitFor(async () => (await answering()).symmetricDifference(new Set(names)).size === 0, WAIT_MS, names.join());
}

const pushes = (type: string) => fleet.xdsMetric("chancery_xds_pushes_total", `type="${type}"`);
const others = () => Promise.all(["cluster", "listener", "route", "secret"].map(pushes));

test("a real Envoy follows endpoints, weights and health that are set beside the revision, by EDS alone", async () => {
  await answeredBy("written");
  const [before, endpointsBefore] = [await others(), await pushes("endpoint")];
  expect(await setEndpoints({ endpoints: [at(written), at(fed)] })).toEqual({
    status: 200,
    answer: { outcome: "applied" },
  });
  await answeredBy("written", "fed");
  await setEndpoints({ endpoints: [at(written, { health: "unhealthy" }), at(fed)] });
  await answeredBy("fed");
  await setEndpoints({ endpoints: [at(written, { weight: 1 }), at(fed, { weight: 1_000_000 })] });
  await answeredBy("fed");
  expect(await others()).toEqual(before);
  expect((await pushes("endpoint")) - endpointsBefore).toBe(3);
  const outside = await setEndpoints({ endpoints: [{ address: "192.0.2.1", port: 80 }] });
  expect(outside).toMatchObject({ status: 400, answer: { message: expect.stringContaining("192.0.2.1") } });
  expect((await setEndpoints({})).status).toBe(400);
  expect((await setEndpoints({ upstream: "other", endpoints: [at(fed)] })).status).toBe(404);
  await answeredBy("fed");
});

test("what was set last is in force after a restart and a new revision, until it is withdrawn", async () => {
  await setEndpoints({ endpoints: [at(fed)] });
  await answeredBy("fed");
  fleet.xds().signal("SIGKILL");
  await fleet.xds().ended;
  await fleet.restartXds();
  await fleet.write("more.yaml", plainRoute("more", "/more", { shop: 1 }));
  await waitFor(async () => (await pushes("route")) > 0, WAIT_MS, "the new route");
  await answeredBy("fed");
  expect((await setEndpoints({ withdraw: true })).status).toBe(200);
  await answeredBy("written");
});

test("chancery start finds endpoints by DNS within their ranges, and takes them from its API", {
  timeout: 90_000,
}, async () => {
  const names: DnsServer = await startDnsServer();
  const port = await freePort();
  const service = "_http._tcp.shop.test";
  const points = (server: WebServer, address = "127.0.0.1") => {
    names.set(service, [{ type: "SRV", target: "web.test", port: server.port }]);
    names.set("web.test", [{ type: "A", address }]);
  };
  const shop = upstream("shop", written.port, `ranges: [127.0.0.0/8], dns: [{ type: SRV, name: ${service} }]`);
  const plane = await startControlPlane({
    resources: {
      "tree.yaml": [
        gateway(port),
        plainRoute("shop", "/", { shop: 1 }),
        shop,
        anonymous(),
        policy("a", ALLOW_ALL),
      ].join("\n---"),
    },
    args: ["--dns-servers", names.address, "--dns-min-ttl", "1"],
  });
  try {
    const by = async (name: string) => {
      const answer = async () => (await http(`http://127.0.0.1:${port}/`)).headers["x-served-by"] === name;
      await waitFor(answer, WAIT_MS, name);
    };
    // Nobody knows the name yet.
    await by("written");
    expect(await plane.metric("chancery_xds_dns_lookups_total", 'outcome="failed"')).toBeGreaterThan(0);
    points(fed);
    await by("fed");
    const refused = () => plane.metric("chancery_xds_endpoint_updates_total", 'source="dns",outcome="out-of-range"');
    expect(await refused()).toBe(0);
    points(written, "10.9.9.9");
    await waitFor(async () => (await refused()) === 1, WAIT_MS, "the refusal of an address out of range");
    await by("fed");
    names.behave("silent");
    points(written);
    await waitFor(
      async () => (await plane.metric("chancery_xds_dns_age_seconds")) > 3,
      WAIT_MS,
      "what is known to grow old",
    );
    await by("fed");
    names.behave("well");
    await by("written");
    const control = /control (http:\S+)/.exec(plane.progress().join("\n"))?.[1];
    const answer = await http(`${control}/chancery.admin.v1.EndpointService/SetEndpoints`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ upstream: "shop", endpoints: [at(fed)] }),
    });
    expect(answer.status).toBe(200);
    await by("fed");
  } finally {
    await plane.close();
    await names.close();
  }
});
