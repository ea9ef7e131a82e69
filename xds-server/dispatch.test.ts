import { expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { createDispatcher, type Dispatcher, type DispatchSettings, type Subscription } from "./dispatch.ts";
import { DEFAULT_QUARANTINE_SETTINGS } from "./quarantine.ts";
import { cluster, endpoints, listener, route } from "./session-driver.ts";
import type { ServedResource } from "./snapshot.ts";
import { createSnapshotStore } from "./store.ts";
import type { Changes, GroupView } from "./view.ts";

const { cluster: CDS, endpoint: EDS, listener: LDS, route: RDS } = TYPE_URLS;

interface Told {
  readonly view: GroupView;
  readonly changes: Changes;
}

interface Node {
  readonly told: Told[];
  readonly subscription: Subscription;
  /** Versions that it shall have now, as last told. */
  has(typeUrl: string, name: string): string | undefined;
}

interface Fixture {
  readonly dispatcher: Dispatcher;
  publish(...resources: readonly ServedResource[]): void;
  remove(): void;
  node(id: string, build?: string): Node;
  refuse(node: Node, resource: ServedResource, tell?: "always" | "never"): void;
  pass(ms: number): void;
}

function fixture(settings: Partial<DispatchSettings> = {}): Fixture {
  let now = 0;
  let revision = 0;
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  const clock = {
    now: () => now,
    after(ms: number, callback: () => void) {
      const timer = { at: now + ms, callback };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  };
  const store = createSnapshotStore();
  const dispatcher = createDispatcher({
    store,
    clock,
    settings: {
      ...DEFAULT_QUARANTINE_SETTINGS,
      quietMs: 0,
      maxMs: 100,
      sliceMs: 1_000,
      canaries: [],
      canaryWaitMs: 5_000,
      maxLastGoodBytes: 1_000_000,
      ...settings,
    },
    onQuarantine: () => {},
  });
  dispatcher.follow("g");
  return {
    dispatcher,
    publish(...resources) {
      const types = new Map<string, Map<string, ServedResource>>();
      for (const resource of resources) {
        const type = types.get(resource.typeUrl) ?? new Map<string, ServedResource>();
        types.set(resource.typeUrl, type.set(resource.name, resource));
      }
      revision += 1;
      store.setSnapshot({ group: "g", revision, layout: "", resources: types }, now);
    },
    remove() {
      store.removeGroup("g", now);
      dispatcher.forget("g");
    },
    node(id, build = "1.40") {
      const told: Told[] = [];
      const node = { id, group: "g", build };
      let view = dispatcher.view(node);
      const subscription = dispatcher.subscribe(node, (next, changes) => {
        view = next;
        told.push({ view: next, changes });
      });
      return { told, subscription, has: (url, name) => view.types.get(url)?.resources.get(name)?.version };
    },
    refuse(node, { typeUrl, name, version }, tell = "always") {
      const refusal = { typeUrl, name, version, message: "no good", revision };
      node.subscription.refused([refusal], tell, () => false);
    },
    pass(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        timers.delete(next);
        now = next.at;
        next.callback();
      }
      now = end;
    },
  };
}

const namesIn = (told: Told | undefined, typeUrl: string) => [...(told?.changes.get(typeUrl) ?? [])].sort();

test("a node that refuses stays on the last good content, nodes of its build are spared, others are not", () => {
  const { publish, node, refuse, dispatcher } = fixture();
  const [good, bad] = [cluster("a", "1"), cluster("a", "2")];
  publish(good);
  const [one, two, other] = [node("n1"), node("n2"), node("n3", "1.39")];
  publish(bad);
  refuse(one, bad);
  expect([one, two, other].map((each) => each.has(CDS, "a"))).toEqual([good.version, good.version, bad.version]);
  expect(dispatcher.view({ id: "n9", group: "g", build: "1.40" }).heldBack).toMatchObject([{ name: "a" }]);
  const fixed = cluster("a", "3");
  publish(fixed);
  expect([one, two, other].map((each) => each.has(CDS, "a"))).toEqual([fixed.version, fixed.version, fixed.version]);
  expect(one.told.at(-1)?.view.heldBack).toBeUndefined();
});

test("what never was good is missing, and what came with it is there", () => {
  const { publish, node, refuse } = fixture();
  publish(cluster("a"));
  const one = node("n1");
  const bad = cluster("bad");
  publish(cluster("a"), cluster("b"), bad);
  refuse(one, bad);
  expect([one.has(CDS, "a"), one.has(CDS, "b"), one.has(CDS, "bad")]).toEqual([
    cluster("a").version,
    cluster("b").version,
    undefined,
  ]);
});

test("a refused version that comes twice in a row is never taken for good", () => {
  const { publish, node, refuse } = fixture();
  publish(cluster("a", "1"));
  const one = node("n1");
  publish(cluster("a", "2"));
  refuse(one, cluster("a", "2"));
  publish(cluster("a", "3"));
  refuse(one, cluster("a", "3"));
  expect(one.has(CDS, "a")).toBe(cluster("a", "1").version);
  refuse(one, cluster("a", "1"));
  expect(one.has(CDS, "a")).toBeUndefined();
});

test("while a route stays on its last good, nothing that it needs is taken away", () => {
  const { publish, node, refuse } = fixture();
  publish(cluster("gone-before"), cluster("a"), endpoints("a"), route("r", "1"));
  publish(cluster("a"), endpoints("a"), route("r", "1"));
  const one = node("n1");
  publish(cluster("b"), endpoints("b"), route("r", "2"));
  expect(one.has(CDS, "a")).toBeUndefined();
  refuse(one, route("r", "2"));
  expect([one.has(CDS, "a"), one.has(EDS, "a"), one.has(RDS, "r")]).toEqual([
    cluster("a").version,
    endpoints("a").version,
    route("r", "1").version,
  ]);
  expect(one.has(CDS, "gone-before")).toBeUndefined();
  publish(cluster("b"), endpoints("b"), route("r", "3"));
  expect(one.has(CDS, "a")).toBeUndefined();
});

test("a new listener that is refused leaves those that its revision took away, with what they need", () => {
  const { publish, node, refuse } = fixture();
  const [old, other, moved] = [listener("old", "r1"), listener("other", "r1"), listener("moved", "r2")];
  publish(old, other, route("r1"), cluster("a"));
  const one = node("n1");
  publish(moved, other, route("r2"), cluster("a"));
  expect(one.has(LDS, "old")).toBeUndefined();
  refuse(one, moved);
  const has = (...names: readonly string[]) => names.map((name) => one.has(LDS, name) !== undefined);
  expect(has("old", "other", "moved")).toEqual([true, true, false]);
  expect([one.has(RDS, "r1"), one.has(RDS, "r2")].map((version) => version !== undefined)).toEqual([true, true]);
  // What is taken away later is meant.
  publish(moved, route("r2"), cluster("a"));
  expect(has("old", "other", "moved")).toEqual([true, false, false]);
  publish(listener("moved", "r1"), route("r1"), cluster("a"));
  expect(has("old", "other", "moved")).toEqual([false, false, true]);
});

test("a node that needs not be told is told of no change", () => {
  const { publish, node, refuse } = fixture();
  publish(cluster("a", "1"));
  const one = node("n1");
  publish(cluster("a", "2"));
  refuse(one, cluster("a", "2"), "never");
  expect(one.told.at(-1)?.changes.size).toBe(0);
  expect(one.has(CDS, "a")).toBe(cluster("a", "1").version);
  // Going back to what was good is a change for whoever may have lost it.
  publish(cluster("a", "1"));
  expect(namesIn(one.told.at(-1), CDS)).toEqual(["a"]);
});

test("canaries try new content, and the others follow when they have taken it", () => {
  const { publish, node } = fixture({ canaries: ["c1"] });
  publish(cluster("a", "1"));
  const [canary, other] = [node("c1"), node("n1")];
  publish(cluster("a", "2"));
  expect([canary, other].map((each) => each.has(CDS, "a"))).toEqual([
    cluster("a", "2").version,
    cluster("a", "1").version,
  ]);
  canary.subscription.settled(2);
  expect(other.has(CDS, "a")).toBe(cluster("a", "2").version);
});

test("what a canary refuses nobody else is given", () => {
  const { publish, node, refuse } = fixture({ canaries: ["c1"] });
  publish(cluster("a", "1"));
  const [canary, other] = [node("c1"), node("n1", "1.39")];
  publish(cluster("a", "2"), cluster("b"));
  refuse(canary, cluster("a", "2"));
  expect([other.has(CDS, "a"), other.has(CDS, "b")]).toEqual([cluster("a", "1").version, cluster("b").version]);
  expect(other.told.flatMap(({ view }) => view.types.get(CDS)?.resources.get("a")?.version)).not.toContain(
    cluster("a", "2").version,
  );
});

test("canaries that say nothing are waited for no longer than set, however many changes come", () => {
  const { publish, node, pass } = fixture({ canaries: ["c1"], canaryWaitMs: 1_000 });
  publish(cluster("a", "1"));
  const [, other] = [node("c1"), node("n1")];
  publish(cluster("a", "2"));
  pass(900);
  publish(cluster("a", "3"));
  expect(other.told).toEqual([]);
  pass(100);
  expect(other.has(CDS, "a")).toBe(cluster("a", "3").version);
});

test("a canary that goes away is not waited for", () => {
  const { publish, node } = fixture({ canaries: ["c1"] });
  publish(cluster("a", "1"));
  const [canary, other] = [node("c1"), node("n1")];
  publish(cluster("a", "2"));
  canary.subscription.close();
  expect(other.has(CDS, "a")).toBe(cluster("a", "2").version);
});

test("a change of endpoints overtakes what waits for a burst to end, and takes nothing away", () => {
  const { publish, node, pass } = fixture({ quietMs: 10 });
  publish(cluster("a"), endpoints("a", "1"), endpoints("old"));
  const one = node("n1");
  publish(cluster("a"), endpoints("a", "1"), endpoints("old"), cluster("b"));
  expect(one.told).toEqual([]);
  publish(cluster("a"), endpoints("a", "2"), cluster("b"));
  expect(one.has(EDS, "a")).toBe(endpoints("a", "2").version);
  publish(cluster("a"), endpoints("a", "3"), cluster("b"));
  expect(one.has(EDS, "a")).toBe(endpoints("a", "3").version);
  expect(one.has(CDS, "b")).toBeUndefined();
  expect(namesIn(one.told.at(-1), EDS)).toEqual(["a"]);
  pass(10);
  expect(one.has(CDS, "b")).toBe(cluster("b").version);
  expect(namesIn(one.told.at(-1), EDS)).toEqual(["a", "old"]);
});

test("all streams of a group share what is told", () => {
  const { publish, node } = fixture();
  publish(cluster("a", "1"));
  const [one, two] = [node("n1"), node("n2")];
  publish(cluster("a", "2"));
  expect(one.told[0]?.view).toBe(two.told[0]?.view);
  expect(one.told[0]?.changes).toBe(two.told[0]?.changes);
});

test("a group that is gone forgets what was refused, and is unknown to whoever comes later", () => {
  const { publish, node, refuse, remove, dispatcher } = fixture();
  publish(cluster("a", "1"));
  const one = node("n1");
  publish(cluster("a", "2"));
  refuse(one, cluster("a", "2"));
  remove();
  expect(one.has(CDS, "a")).toBeUndefined();
  expect(dispatcher.quarantine("g").size).toBe(0);
  expect(dispatcher.view({ id: "n2", group: "g", build: "" }).known).toBe(false);
});
