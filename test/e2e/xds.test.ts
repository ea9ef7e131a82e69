import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePort, type HttpAnswer, http, openHttp, waitFor } from "../support/index.ts";
import {
  ALLOW_ALL,
  anonymous,
  apiKey,
  application,
  approval,
  gateway,
  model,
  modelRoute,
  plainRoute,
  policy,
  upstream,
  version,
  yaml,
} from "../support/resources.ts";

const WAIT_MS = 15_000;

describe("an xDS server on its own", () => {
  const KEY = apiKey("tester");
  let fleet: Fleet;
  let here: WebServer;
  let there: WebServer;
  let models: StandIn;
  let url: string;

  beforeAll(async () => {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    [here, there, models] = await Promise.all([
      startWebServer({ name: "here" }),
      startWebServer({ name: "there" }),
      startModelServer({ name: "models" }),
    ]);
    fleet = await startFleet({
      decisionServices: 1,
      resources: {
        "gateway.yaml": gateway(port),
        "shop.yaml": shop({ here: 1, there: 1 }),
        "single.yaml": single(here.port),
        "models.yaml": atlas("v1"),
        "applications.yaml": applications(KEY.sha256),
        "policies.yaml": policy("rules", ALLOW_ALL),
      },
    });
  });

  afterAll(async () => {
    await fleet?.close();
    await Promise.all([here?.close(), there?.close(), models?.close()]);
  });

  function shop(weights: Readonly<Record<string, number>>): string {
    return yaml(plainRoute("shop", "/shop", weights), upstream("here", here.port), upstream("there", there.port));
  }
  function single(port: number): string {
    return yaml(plainRoute("single", "/single", { single: 1 }), upstream("single", port));
  }
  function atlas(...versions: readonly string[]): string {
    return yaml(
      modelRoute("atlas"),
      model("atlas"),
      upstream("models", models.port),
      ...versions.flatMap((name) => [version("atlas", name, "models"), approval(`atlas-${name}`, "tester")]),
    );
  }
  function applications(...keys: readonly string[]): string {
    return yaml(
      anonymous(),
      ...keys.map((sha256, index) => application(index === 0 ? "tester" : `other-${index}`, sha256)),
    );
  }
  const withKey = (key: string) => http(`${url}/single`, { headers: { authorization: `Bearer ${key}` } });
  const chat = () =>
    http(`${url}/v1/chat/completions`, {
      headers: { authorization: `Bearer ${KEY.key}` },
      body: { model: "atlas", messages: [{ role: "user", content: "hello" }] },
    });

  /** What Envoy counts of the configuration that it is sent. */
  async function received(): Promise<Readonly<Record<string, number>>> {
    const stats = await fleet.envoy.stats(
      "(update_success|update_rejected|config_reload|listener_modified|listener_added|\\.version)$",
    );
    const names = /^(cluster_manager\.cds|listener_manager|http\..*\.rds|cluster\..*|sds\..*)\./;
    return Object.fromEntries(Object.entries(stats).filter(([name]) => names.test(name)));
  }
  async function routesReceived(): Promise<number> {
    const stats = await fleet.envoy.stats("rds.*config_reload$");
    return Object.values(stats).reduce((sum, count) => sum + count, 0);
  }
  async function connected(): Promise<number> {
    return (await fleet.envoy.stats("^control_plane.connected_state$"))["control_plane.connected_state"] ?? 0;
  }

  test("is not needed by an Envoy that it served, which is sent nothing again after its restart", async () => {
    // What the start brought has settled when a change of routes is through.
    let reloads = await routesReceived();
    await fleet.write("shop.yaml", shop({ here: 2, there: 1 }));
    await waitFor(async () => (await routesReceived()) > reloads, WAIT_MS, "the routes of an edit");
    const before = await received();
    expect(Object.keys(before).length).toBeGreaterThan(5);

    fleet.xds().signal("SIGKILL");
    await fleet.xds().ended;
    await waitFor(async () => (await connected()) === 0, WAIT_MS, "Envoy to notice");
    for (let count = 0; count < 50; count += 1) expect((await http(`${url}/shop`)).status).toBe(200);
    expect((await chat()).status).toBe(200);

    await fleet.restartXds();
    await waitFor(async () => (await connected()) === 1, WAIT_MS, "Envoy to reconnect");
    reloads = await routesReceived();
    // One stream, in order: when an edit of routes arrives, everything from before it has arrived.
    await fleet.write("shop.yaml", shop({ here: 1, there: 2 }));
    await waitFor(async () => (await routesReceived()) > reloads, WAIT_MS, "the routes of an edit after the restart");
    const after = await received();

    const metrics = (await http(`http://${fleet.xdsAdmin}/metrics`)).text().match(/^chancery_xds_push\S+.*$/gm);
    const different = Object.entries(after).filter(([name, value]) => before[name] !== value);
    console.info("pushed after the restart:", metrics?.join("  "));
    console.info(
      "changed in Envoy:",
      different.map(([name, value]) => `${name} ${before[name]} -> ${value}`).join("  "),
    );
    expect(different.filter(([name]) => !name.includes(".rds."))).toEqual([]);
    expect(await routesReceived()).toBe(reloads + 1);
    expect(await fleet.xdsMetric("chancery_xds_pushes_total")).toBe(1);
    expect(await fleet.xdsMetric("chancery_xds_pushes_total", 'type="route"')).toBe(1);
  });

  test("sends no Listener for a change of policy, application, key, model or upstream, and an open stream goes on", async () => {
    const before = await listeners();
    const stream = await openHttp(`${url}/single/events?count=10000&gapMs=20`);
    expect(stream.status).toBe(200);
    const numbers: number[] = [];
    let broken: unknown;
    const reading = (async () => {
      for await (const event of stream.events()) numbers.push((JSON.parse(event) as { number: number }).number);
    })().catch((error: unknown) => {
      broken = error;
    });
    const until = async (
      what: string,
      condition: () => Promise<HttpAnswer>,
      expected: (answer: HttpAnswer) => boolean,
    ) => {
      await waitFor(async () => expected(await condition()), WAIT_MS, what);
      const seen = numbers.length;
      await waitFor(
        () => broken === undefined && numbers.length > seen,
        WAIT_MS,
        () => `the stream after ${what}: ${broken}`,
      );
      expect(await listeners(), what).toEqual(before);
    };

    await fleet.write(
      "policies.yaml",
      policy(
        "rules",
        ALLOW_ALL,
        `{ id: closed, effect: deny, when: 'request.url_path == "/single/closed"', reason: Closed }`,
      ),
    );
    await until(
      "a policy",
      () => http(`${url}/single/closed`),
      ({ status }) => status === 403,
    );

    const other = apiKey("other");
    expect((await withKey(other.key)).status).toBe(401);
    await fleet.write("applications.yaml", applications(KEY.sha256, other.sha256));
    await until(
      "an application",
      () => withKey(other.key),
      ({ status }) => status === 200,
    );

    const changed = apiKey("changed");
    await fleet.write("applications.yaml", applications(KEY.sha256, changed.sha256));
    await until(
      "a key",
      () => withKey(other.key),
      ({ status }) => status === 401,
    );
    expect((await withKey(changed.key)).status).toBe(200);

    expect((await chat()).json()).toMatchObject({ served_by: { model: "wire-atlas-v1" } });
    await fleet.write("models.yaml", atlas("v1", "v2"));
    await until("a model version", chat, (answer) => answer.status === 200 && answer.text().includes("wire-atlas-v2"));

    expect((await http(`${url}/single`)).headers["x-served-by"]).toBe("here");
    await fleet.write("single.yaml", single(there.port));
    await until(
      "an upstream",
      () => http(`${url}/single`),
      ({ headers }) => headers["x-served-by"] === "there",
    );

    expect(numbers).toEqual(numbers.map((_, index) => index));
    stream.close();
    await reading;
    console.info(`${numbers.length} events of the open stream arrived during five edits`);
  });

  async function listeners(): Promise<Readonly<Record<string, number>>> {
    const stats = await fleet.envoy.stats("^listener_manager\\.|downstream_cx_drain_close$");
    const names =
      /(listener_(added|modified|removed|stopped|create_success)|draining|drain_close|lds\.update_success)$/;
    return Object.fromEntries(Object.entries(stats).filter(([name]) => names.test(name)));
  }
});

describe("a control plane whose Envoy rejects a resource", () => {
  let plane: RunningControlPlane;
  let here: WebServer;
  let port: number;
  let taken: Server;

  beforeAll(async () => {
    [port, here] = await Promise.all([freePort(), startWebServer({ name: "here" })]);
    taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    plane = await startControlPlane({
      resources: {
        "gateway.yaml": gateway(port),
        "shop.yaml": yaml(plainRoute("shop", "/shop", { here: 1 }), upstream("here", here.port), anonymous()),
        "policies.yaml": policy("rules", ALLOW_ALL),
      },
    });
  });

  afterAll(async () => {
    await plane?.close();
    taken?.close();
    await here?.close();
  });

  test("keeps the last good configuration, says what was rejected and why, and takes the next good change", async () => {
    const url = `http://127.0.0.1:${port}/shop`;
    expect((await http(url)).status).toBe(200);
    expect(await plane.status()).not.toContain("rejected");

    // Another process listens there, which only the Envoy can find out.
    const { port: busy } = taken.address() as AddressInfo;
    const second = gateway(port).replace(
      "listeners: [",
      `listeners: [{ name: second, port: ${busy}, protocol: HTTP }, `,
    );
    await plane.write("gateway.yaml", second);
    const status = await waitFor(
      async () => {
        const text = await plane.status();
        return text.includes("rejected revision 2") ? text : undefined;
      },
      WAIT_MS,
      () => `a rejection in the status\n${plane.process().stdout()}\n${plane.process().stderr().slice(-4_000)}`,
    );
    console.info(status);
    expect(status).toContain(`Listener edge/${busy}@127.0.0.1`);
    expect(status).toMatch(/cannot bind|Address already in use/i);
    expect(plane.progress().join("\n")).toContain("revision 2: rejected by envoy-1, which keeps its last good");
    expect(await plane.metric("chancery_node_rejected_revision")).toBe(2);
    expect((await http(url)).status).toBe(200);

    // What does not depend on the rejected listener gets through all the same.
    await plane.write(
      "policies.yaml",
      policy(
        "rules",
        ALLOW_ALL,
        `{ id: closed, effect: deny, when: 'request.url_path == "/shop/closed"', reason: Closed }`,
      ),
    );
    await waitFor(async () => (await http(`${url}/closed`)).status === 403, WAIT_MS, "a new deny");
    expect((await http(url)).status).toBe(200);

    const third = await freePort();
    await plane.write("gateway.yaml", second.replace(String(busy), String(third)));
    await waitFor(
      async () => (await http(`http://127.0.0.1:${third}/shop`)).status === 200,
      WAIT_MS,
      () => `the listener on a port that is free\n${plane.process().stdout()}`,
    );
    await waitFor(
      async () => /acknowledged revision 4/.test(await plane.status()),
      WAIT_MS,
      () => `the acknowledgement\n${plane.process().stdout()}`,
    );
    expect((await http(url)).status).toBe(200);
    console.info(await plane.status());
  });
});
