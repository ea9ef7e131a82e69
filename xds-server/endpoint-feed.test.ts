import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { fedEndpoints, type NodeGroup } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import type { Target } from "../policy/index.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { closeAtEnd, temporaryDirectory, waitFor } from "../test/support/index.ts";
import { systemClock } from "./clock.ts";
import { createEndpointFeed, type EndpointFeedOptions } from "./endpoint-feed.ts";
import { watchEndpointFiles } from "./endpoint-files.ts";
import { openEndpointMemory } from "./endpoint-memory.ts";
import type { GroupChange } from "./snapshot.ts";

const log = pino({ level: "silent" });
const at = (address: string, more: object = {}) => ({ address, port: 80, ...more });

function groupOf(name: string): NodeGroup {
  const written = [{ ...at("10.1.0.1"), weight: 1, priority: 0 }];
  const resource = fedEndpoints(name, "upstream/shop", written);
  if (resource === undefined) throw new Error("no endpoints");
  return { name, layout: "", resources: [resource] };
}

const GROUPS = [groupOf("edge"), groupOf("edge#ungoverned")];

function target(upstream: string, ranges?: readonly string[]): Target {
  const base = { pool: `upstream/${upstream}`, kind: "upstream", upstream, labels: {}, credential: "none" } as const;
  return ranges === undefined ? base : { ...base, ranges };
}

const SHOP = [target("shop", ["10.1.0.0/16", "2001:db8::/32"]), target("fixed")];

/** Addresses in a load assignment. */
function addresses({ resources }: Pick<GroupChange, "resources">): string[] {
  return resources.flatMap(({ value }) =>
    fromBinary(ClusterLoadAssignmentSchema, value).endpoints.flatMap(({ lbEndpoints }) =>
      lbEndpoints.map(({ hostIdentifier: host }) => {
        const where = host.case === "endpoint" ? host.value.address?.address : undefined;
        return where?.case === "socketAddress" ? where.value.address : "";
      }),
    ),
  );
}

function start(options: Partial<EndpointFeedOptions> = {}) {
  const changes: GroupChange[] = [];
  let now = 1_000;
  const timers = new Set<{ at: number; run: () => void }>();
  const clock = {
    now: () => now,
    after: (ms: number, run: () => void) => {
      const timer = { at: now + ms, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
  };
  const registry = new Registry();
  const change = (each: GroupChange) => changes.push(each);
  const feed = closeAtEnd(createEndpointFeed({ clock, log, registry, change, updatesPerSecond: 2, ...options }));
  const pass = (ms: number) => {
    now += ms;
    for (const timer of [...timers]) {
      if (timer.at > now) continue;
      timers.delete(timer);
      timer.run();
    }
  };
  feed.setRevision(SHOP, GROUPS);
  return { feed, changes, pass, registry };
}

test("puts endpoints, weights and health in the place of those that people wrote, for every group that has them", () => {
  const { feed, changes } = start();
  const endpoints = [at("10.1.0.7", { weight: 3, health: "draining" }), at("2001:db8::1", { priority: 1, zone: "a" })];
  expect(feed.offer("file", { upstream: "shop", endpoints }).outcome).toBe("applied");
  expect(changes.map(({ group, removed }) => [group, removed])).toEqual([
    ["edge", undefined],
    ["edge#ungoverned", undefined],
  ]);
  expect(changes.map(addresses)).toEqual([
    ["10.1.0.7", "2001:db8::1", "127.0.0.1"],
    ["10.1.0.7", "2001:db8::1"],
  ]);
  expect(changes.flatMap(({ resources }) => resources.map(({ typeUrl }) => typeUrl))).toEqual([
    TYPE_URLS.endpoint,
    TYPE_URLS.endpoint,
  ]);
  expect(feed.offer("api", { upstream: "shop", endpoints }).outcome).toBe("unchanged");
  const before = GROUPS.map(({ resources }) => resources);
  expect(GROUPS.map((group) => addresses({ resources: feed.overlay(group) }))).toEqual(changes.map(addresses));
  expect(feed.offer("file", { upstream: "shop", withdraw: true }).outcome).toBe("applied");
  expect(GROUPS.map((group) => feed.overlay(group))).toEqual(before);
  expect(changes).toHaveLength(4);
});

test.each([
  ["an upstream that nobody knows", { upstream: "x", endpoints: [at("10.1.0.7")] }, "unknown-upstream", "x"],
  ["an upstream without ranges", { upstream: "fixed", endpoints: [at("10.1.0.7")] }, "unknown-upstream", "spec.ranges"],
  ["an address out of range", { upstream: "shop", endpoints: [at("10.2.0.7")] }, "out-of-range", "10.2.0.7"],
  ["an address of ours", { upstream: "shop", endpoints: [at("::1")] }, "out-of-range", "::1"],
  ["a name", { upstream: "shop", endpoints: [at("metadata.internal")] }, "invalid", "IP address"],
  ["no endpoints", { upstream: "shop", endpoints: [] }, "empty", "allowEmpty"],
  ["a weight of nothing", { upstream: "shop", endpoints: [at("10.1.0.7", { weight: 0 })] }, "invalid", "weight"],
  ["a member that is not known", { upstream: "shop", endpoints: [], force: true }, "invalid", "force"],
  ["something else", null, "invalid", ""],
])("refuses %s, says why and counts it", async (_, update, outcome, why) => {
  const { feed, changes, registry } = start();
  const answer = feed.offer("file", update);
  expect(answer.outcome).toBe(outcome);
  expect(answer.message).toContain(why);
  expect(changes).toEqual([]);
  expect(await registry.metrics()).toContain(
    `chancery_xds_endpoint_updates_total{source="file",outcome="${outcome}"} 1`,
  );
});

test("empties a pool only when that is said", () => {
  const { feed, changes } = start();
  expect(feed.offer("file", { upstream: "shop", endpoints: [], allowEmpty: true }).outcome).toBe("applied");
  expect(changes.map(addresses)).toEqual([["127.0.0.1"], []]);
});

test("a source that says too much is heard as often as it may be, and then with the newest", () => {
  const { feed, changes, pass } = start();
  const say = (last: number, source = "file") =>
    feed.offer(source, { upstream: "shop", endpoints: [at(`10.1.0.${last}`)] }).outcome;
  expect([say(1), say(2), say(3), say(4), say(5)]).toEqual(["applied", "applied", "delayed", "delayed", "delayed"]);
  expect(say(9, "api")).toBe("applied");
  pass(2_000);
  expect(addresses({ resources: feed.overlay(groupOf("none")) })).toEqual(["10.1.0.1", "127.0.0.1"]);
  expect(changes.filter(({ group }) => group === "edge").map((each) => addresses(each)[0])).toEqual([
    "10.1.0.1",
    "10.1.0.2",
    "10.1.0.9",
  ]);
  expect([say(1), say(2), say(3), say(4)]).toEqual(["applied", "applied", "delayed", "delayed"]);
  pass(500);
  expect(addresses(changes.at(-1) ?? { resources: [] })).toEqual(["10.1.0.4"]);
});

test("a revision keeps what was fed, unless its ranges no longer have it", () => {
  const { feed } = start();
  feed.offer("file", { upstream: "shop", endpoints: [at("10.1.0.7")] });
  const [edge] = GROUPS;
  if (edge === undefined) throw new Error("a group");
  feed.setRevision(SHOP, GROUPS);
  expect(addresses({ resources: feed.overlay(edge) })[0]).toBe("10.1.0.7");
  feed.setRevision([target("shop", ["10.1.0.0/29"])], GROUPS);
  expect(addresses({ resources: feed.overlay(edge) })[0]).toBe("10.1.0.7");
  feed.setRevision([target("shop", ["10.9.0.0/16"])], GROUPS);
  expect(addresses({ resources: feed.overlay(edge) })[0]).toBe("10.1.0.1");
});

test("files are read as they change, and what they said last is in force after a restart without them", async () => {
  const directory = await temporaryDirectory("endpoints");
  const memory = await openEndpointMemory(join(directory, "state"), log);
  const { feed, changes } = start({ memory, remembered: memory.remembered, updatesPerSecond: 100 });
  const files = closeAtEnd(watchEndpointFiles({ directory, feed, log, clock: systemClock, pollMs: 20 }));
  await writeFile(join(directory, "shop.yaml"), "- upstream: shop\n  endpoints: [{ address: 10.1.0.7, port: 80 }]\n");
  await files.again();
  expect(addresses(changes[0] ?? { resources: [] })[0]).toBe("10.1.0.7");
  await writeFile(join(directory, "shop.yaml"), "- upstream: [");
  await writeFile(join(directory, "more.json"), JSON.stringify({ upstream: "shop", endpoints: [at("10.1.0.8")] }));
  await waitFor(() => changes.length === 4, 5_000, "the second file");
  await rm(join(directory, "more.json"));
  await files.again();
  expect(changes).toHaveLength(4);
  await memory.close();
  const next = await openEndpointMemory(join(directory, "state"), log);
  const restarted = start({ remembered: next.remembered });
  expect(GROUPS.map((group) => addresses({ resources: restarted.feed.overlay(group) })[0])).toEqual([
    "10.1.0.8",
    "10.1.0.8",
  ]);
  expect((await readdir(join(directory, "state"))).filter((name) => name.endsWith(".json"))).toHaveLength(1);
});
