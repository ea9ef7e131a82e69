import fc from "fast-check";
import { expect, test } from "vitest";
import {
  DEFAULT_QUARANTINE_SETTINGS,
  heldBackFrom,
  NO_QUARANTINE,
  type Quarantine,
  quarantine,
  type Refusal,
  type RefusalFacts,
  released,
  widestScope,
} from "./quarantine.ts";

const NODE_ONLY = { ...DEFAULT_QUARANTINE_SETTINGS, holdBackFromBuild: false };
const FACTS: RefusalFacts = { connected: 10, canary: false, acceptedByBuild: false };
const node = (id: string, build = "1.40") => ({ id, build });

function refusal(id: string, { build = "1.40", name = "c", version = "2" } = {}): Refusal {
  return { typeUrl: "t", name, version, revision: 7, message: "no good", node: node(id, build), at: 5 };
}

function names(held: Quarantine, id: string, build = "1.40"): string[] {
  return heldBackFrom(held, node(id, build)).map(({ name }) => name);
}

test("what a node refused is held back from it alone where builds do not count", () => {
  const held = quarantine(NO_QUARANTINE, refusal("n1"), FACTS, NODE_ONLY);
  expect(names(held, "n1")).toEqual(["c"]);
  expect(names(held, "n2")).toEqual([]);
});

test("the other nodes of the build are spared the same refusal, other builds are not", () => {
  const held = quarantine(NO_QUARANTINE, refusal("n1"), FACTS, DEFAULT_QUARANTINE_SETTINGS);
  expect(names(held, "n2")).toEqual(["c"]);
  expect(names(held, "n3", "1.39")).toEqual([]);
});

test("where a node of the same build accepted it, only those that refuse stay behind", () => {
  const facts = { ...FACTS, acceptedByBuild: true };
  const held = quarantine(NO_QUARANTINE, refusal("n1"), facts, DEFAULT_QUARANTINE_SETTINGS);
  expect([names(held, "n1"), names(held, "n2")]).toEqual([["c"], []]);
});

test("a share of the group holds it back from all, and never one node alone", () => {
  const facts = { ...FACTS, connected: 4, acceptedByBuild: true };
  const one = quarantine(NO_QUARANTINE, refusal("n1"), { ...facts, connected: 1 }, DEFAULT_QUARANTINE_SETTINGS);
  expect([...one.values()].map(widestScope)).toEqual(["node"]);
  const two = quarantine(one, refusal("n2", { build: "1.39" }), facts, DEFAULT_QUARANTINE_SETTINGS);
  expect([...two.values()].map(widestScope)).toEqual(["group"]);
  expect(names(two, "n9", "1.38")).toEqual(["c"]);
});

test("a canary's refusal is the group's", () => {
  const held = quarantine(NO_QUARANTINE, refusal("n1"), { ...FACTS, canary: true }, DEFAULT_QUARANTINE_SETTINGS);
  expect(names(held, "n9", "1.38")).toEqual(["c"]);
});

test("new content ends it, the same content does not, other types do not", () => {
  const held = quarantine(NO_QUARANTINE, refusal("n1"), FACTS, DEFAULT_QUARANTINE_SETTINGS);
  expect(released(held, new Set(["t"]), () => "2")).toBe(held);
  expect(released(held, new Set(["u"]), () => "3")).toBe(held);
  expect(released(held, new Set(["t"]), () => "3").size).toBe(0);
  expect(released(held, new Set(["t"]), () => undefined).size).toBe(0);
});

test("a refusal of what was sent instead leaves nothing to stay on, and adds no entry", () => {
  const held = quarantine(NO_QUARANTINE, refusal("n1"), FACTS, DEFAULT_QUARANTINE_SETTINGS);
  const twice = quarantine(held, refusal("n1", { version: "1" }), FACTS, DEFAULT_QUARANTINE_SETTINGS);
  expect([...twice.values()]).toMatchObject([{ version: "2", lastGoodRefused: true }]);
  expect(quarantine(twice, refusal("n2", { version: "1" }), FACTS, DEFAULT_QUARANTINE_SETTINGS)).toBe(twice);
});

test("whoever refused is never sent it again until it changes, and the entries are bounded", () => {
  const refusals = fc.array(
    fc.tuple(fc.constantFrom("n1", "n2", "n3"), fc.constantFrom("1.39", "1.40"), fc.integer({ max: 2_000, min: 0 })),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(refusals, fc.boolean(), (list, acceptedByBuild) => {
      let held = NO_QUARANTINE;
      for (const [id, build, n] of list) {
        held = quarantine(held, refusal(id, { build, name: `c${n}` }), { ...FACTS, acceptedByBuild }, NODE_ONLY);
        expect(names(held, id, build)).toContain(`c${n}`);
      }
    }),
  );
  let held = NO_QUARANTINE;
  for (let n = 0; n < 1_200; n++) held = quarantine(held, refusal("n1", { name: `c${n}` }), FACTS, NODE_ONLY);
  expect(held.size).toBe(1_000);
});
