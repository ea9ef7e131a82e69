import { expect, test } from "vitest";
import type { EncodedResource } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import { cluster, endpoints, route, secret } from "./session-driver.ts";
import type { GroupSnapshot } from "./snapshot.ts";
import { createSnapshotStore } from "./store.ts";
import { type Changes, type GroupView, typeVersion } from "./view.ts";

const { cluster: CDS, endpoint: EDS, route: RDS, secret: SDS } = TYPE_URLS;

function snapshot(revision: number, ...resources: readonly EncodedResource[]): GroupSnapshot {
  const types = new Map<string, Map<string, EncodedResource>>();
  for (const resource of resources) {
    const type = types.get(resource.typeUrl) ?? new Map<string, EncodedResource>();
    types.set(resource.typeUrl, type.set(resource.name, resource));
  }
  return { group: "g", revision, layout: "l", resources: types };
}

function watched() {
  const store = createSnapshotStore();
  const seen: { view: GroupView; changes: Changes }[] = [];
  const unsubscribe = store.subscribe("g", (view, changes) => seen.push({ view, changes }));
  return { store, seen, unsubscribe, last: () => [...(seen.at(-1)?.changes ?? [])] };
}

test("says what came, changed and went, by content", () => {
  const { store, last } = watched();
  store.setSnapshot(snapshot(1, cluster("a"), cluster("b"), route("r")), 0);
  expect(last()).toEqual([
    [CDS, ["a", "b"]],
    [RDS, ["r"]],
  ]);
  store.setSnapshot(snapshot(2, cluster("a"), cluster("c"), route("r")), 0);
  expect(last()).toEqual([[CDS, ["c", "b"]]]);
  store.setSnapshot(snapshot(3, endpoints("a")), 0);
  expect(last()).toEqual([
    [EDS, ["a"]],
    [CDS, ["a", "c"]],
    [RDS, ["r"]],
  ]);
});

test("a revision without a change of content is told, and changes nothing", () => {
  const { store, seen, last } = watched();
  store.setSnapshot(snapshot(1, cluster("a")), 0);
  const before = store.view("g").types.get(CDS);
  store.setSnapshot(snapshot(2, cluster("a")), 0);
  expect(last()).toEqual([]);
  expect(seen.at(-1)?.view.revision).toBe(2);
  expect(store.view("g").types.get(CDS)).toBe(before);
});

test("the version of a type does not depend on the order of its resources", () => {
  const versions = [
    [cluster("a"), cluster("b")],
    [cluster("b"), cluster("a")],
    [cluster("a"), cluster("b", "2")],
  ].map((resources) => {
    const store = createSnapshotStore();
    store.setSnapshot(snapshot(1, ...resources), 0);
    const view = store.view("g").types.get(CDS);
    return view === undefined ? undefined : typeVersion(view);
  });
  expect(versions[1]).toBe(versions[0]);
  expect(versions[2]).not.toBe(versions[0]);
});

test("secrets are added where they are referred to, and only such a change is told", () => {
  const { store, seen, last } = watched();
  store.setSnapshot(snapshot(1, cluster("a", "1", ["used"])), 0);
  store.setSecrets(
    new Map([
      ["used", secret("used")],
      ["other", secret("other")],
    ]),
    0,
  );
  expect(last()).toEqual([[SDS, ["used"]]]);
  expect([...(store.view("g").types.get(SDS)?.resources.keys() ?? [])]).toEqual(["used"]);
  const told = seen.length;
  store.setSecrets(new Map([["used", secret("used")]]), 0);
  expect(seen.length).toBe(told);
  store.setSnapshot(snapshot(2, cluster("a")), 0);
  expect(last()).toEqual([
    [CDS, ["a"]],
    [SDS, ["used"]],
  ]);
});

test("a removed group is told to drop everything, and is unknown to whoever comes later", () => {
  const { store, last, unsubscribe, seen } = watched();
  expect(store.view("g").known).toBe(false);
  store.setSnapshot(snapshot(1, cluster("a")), 0);
  expect(store.groups()).toEqual(["g"]);
  store.removeGroup("g", 0);
  expect(last()).toEqual([[CDS, ["a"]]]);
  expect(store.view("g").known).toBe(false);
  expect(store.groups()).toEqual([]);
  unsubscribe();
  const told = seen.length;
  store.setSnapshot(snapshot(2, cluster("a")), 0);
  expect(seen.length).toBe(told);
});
