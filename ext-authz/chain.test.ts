import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Layout } from "../compiler/index.ts";
import { type Allow, compilePolicy, type Target } from "../policy/index.ts";
import { chainOf, drawWeighted, rewrites } from "./chain.ts";
import { EDGE, modelTarget, PROGRAM, revision, route, single, upstreamTarget, weightedGroup } from "./fixtures.ts";
import { buildTables, type RouteTable } from "./tables.ts";

const allow = (targets: readonly Target[], changes: Partial<Allow> = {}): Allow => ({
  effect: "allow",
  targets,
  rule: "r",
  reason: "",
  considered: [],
  removed: [],
  rerouted: [],
  errors: [],
  shadow: [],
  ...changes,
});

const [A, B, C, OWN] = [
  upstreamTarget("a"),
  upstreamTarget("b"),
  upstreamTarget("c"),
  upstreamTarget("o", { credential: "passThrough" }),
];
const M1 = modelTarget("m", 1);
const M2 = modelTarget("m", 2);
const PROGRAM_TARGETS = [A, B, C, OWN, M1, M2];

function table(
  changes: Parameters<typeof route>[1],
  targets: readonly Target[] = PROGRAM_TARGETS,
  plan: Pick<Layout, "plan"> = {},
): RouteTable {
  const program = { ...PROGRAM, targets };
  const layout = { ...EDGE, ...plan, routes: [route("r/0/0", changes)] };
  const tables = buildTables(revision({ program }), [layout], compilePolicy(program));
  const built = tables.layouts.get(EDGE.hash)?.get("r/0/0");
  if (built === undefined) throw new Error("no table");
  return built;
}

const WEIGHTED = table({
  action: "plain",
  groups: [
    weightedGroup({ "upstream/a": 90, "upstream/b": 10 }),
    single("upstream/a"),
    single("upstream/b"),
    single("upstream/c"),
  ],
});

describe("the chain on a layout whose Envoys do not go from pool to pool", () => {
  const singles = [single("upstream/a"), single("upstream/b")];
  const groups = [weightedGroup({ "upstream/a": 90, "upstream/b": 10 }), ...singles];
  const plain = table({ action: "plain", attempts: 3, groups }, PROGRAM_TARGETS, { plan: "reduced" });

  it("has one name, whose clusters alone are legal", () => {
    expect(chainOf(plain, allow([B, A]))).toMatchObject({
      groups: ["weighted"],
      legal: ["upstream/b", "upstream/a"],
    });
    expect(chainOf(plain, allow([B]))).toEqual({ groups: ["upstream/b"], legal: ["upstream/b"], targets: [B] });
    expect(chainOf(plain, allow([B, A], { preferred: true }))).toEqual({
      groups: ["upstream/b"],
      legal: ["upstream/b"],
      targets: [B],
    });
  });
});

describe("the chain of a plain route", () => {
  it("names the weighted group while every member is legal, then single backends, never what is for reroutes", () => {
    expect(chainOf(WEIGHTED, allow([B, A, C]))).toMatchObject({
      groups: ["weighted", "upstream/b", "upstream/a"],
      legal: ["upstream/b", "upstream/a"],
    });
  });

  it("names single backends in the order of preference where there is one", () => {
    expect(chainOf(WEIGHTED, allow([B, A, C], { preferred: true }))).toMatchObject({
      groups: ["upstream/b", "upstream/a"],
      legal: ["upstream/b", "upstream/a"],
    });
  });

  it("names only what is legal when one member is not", () => {
    expect(chainOf(WEIGHTED, allow([B, C]))).toMatchObject({ groups: ["upstream/b"], legal: ["upstream/b"] });
    expect(chainOf(WEIGHTED, allow([C]))).toMatchObject({ groups: [], legal: [] });
  });

  it("goes where a rule reroutes it", () => {
    const rerouted = [{ rule: "x", to: "c" }];
    expect(chainOf(WEIGHTED, allow([C], { rerouted }))).toMatchObject({
      groups: ["upstream/c"],
      legal: ["upstream/c"],
    });
  });

  it("never mixes backends that get the client's credential with those that do not", () => {
    const mixed = table({
      action: "plain",
      groups: [weightedGroup({ "upstream/a": 1, "upstream/o": 1 }), single("upstream/a"), single("upstream/o")],
    });
    expect(chainOf(mixed, allow([A, OWN])).groups).toEqual(["upstream/a"]);
    expect(chainOf(mixed, allow([OWN, A])).groups).toEqual(["upstream/o"]);
  });

  it("has no candidate that the newest program does not know", () => {
    const old = table({ action: "plain", groups: [single("upstream/a")] }, [B]);
    expect(old.candidates).toEqual([]);
    expect(chainOf(old, allow([A, B])).groups).toEqual([]);
  });
});

describe("the chain of a model route", () => {
  it("is the policy's order, cut to the attempts", () => {
    const groups = [single("model/m-1"), single("model/m-2")];
    expect(chainOf(table({ action: "model", groups }), allow([M2, M1])).groups).toEqual(["model/m-2", "model/m-1"]);
    const short = table({ action: "model", groups, attempts: 1 });
    expect(chainOf(short, allow([M2, M1]))).toMatchObject({ groups: ["model/m-2"], legal: ["model/m-2"] });
  });
});

it("never names a group that the layout lacks, nor a cluster that the policy did not allow", () => {
  const pools = PROGRAM_TARGETS;
  const tableOf = fc
    .record({
      weighted: fc.uniqueArray(fc.constantFrom(A, B, OWN), { minLength: 2, maxLength: 3 }),
      others: fc.subarray(pools),
      attempts: fc.integer({ min: 1, max: 5 }),
      action: fc.constantFrom("plain" as const, "model" as const),
    })
    .map(({ weighted, others, attempts, action }) => {
      const members = Object.fromEntries(weighted.map((target, index) => [target.pool, index + 1]));
      const singles = [...new Set([...Object.keys(members), ...others.map((target) => target.pool)])];
      const groups = [...(action === "plain" ? [weightedGroup(members)] : []), ...singles.map(single)];
      return table({ action, attempts, groups });
    });
  fc.assert(
    fc.property(tableOf, fc.shuffledSubarray(pools), fc.boolean(), (built, allowed, rerouted) => {
      const chain = chainOf(built, allow(allowed, rerouted ? { rerouted: [{ rule: "x", to: "y" }] } : {}));
      expect(chain.groups.length).toBeLessThanOrEqual(built.route.attempts);
      const allowedPools = allowed.map((target) => target.pool);
      expect(allowedPools).toEqual(expect.arrayContaining([...chain.legal]));
      for (const name of chain.groups) {
        const group = built.route.groups.find((candidate) => candidate.name === name);
        expect(group).toBeDefined();
        for (const cluster of group?.clusters ?? []) expect(chain.legal).toContain(cluster.name);
      }
    }),
  );
});

describe("drawWeighted", () => {
  it("draws each item as often as its weight says", () => {
    const weights = new Map([
      ["a", 1],
      ["b", 0],
      ["c", 3],
    ]);
    const drawn = Array.from({ length: 400 }, (_, index) =>
      drawWeighted(
        [...weights.keys()],
        (item) => weights.get(item) ?? 0,
        () => index / 400,
      ),
    );
    expect(drawn.filter((item) => item === "a")).toHaveLength(100);
    expect(drawn.filter((item) => item === "c")).toHaveLength(300);
    expect(
      drawWeighted(
        [],
        () => 1,
        () => 0,
      ),
    ).toBeUndefined();
    expect(
      drawWeighted(
        ["a"],
        () => 0,
        () => 0,
      ),
    ).toBeUndefined();
  });
});

describe("rewrites", () => {
  const request = {
    method: "POST",
    scheme: "http",
    host: "h",
    path: "/v1/chat?x=1",
    url_path: "/v1/chat",
    query: "x=1",
    protocol: "",
    id: "",
    size: 0,
    time: 0,
    headers: new Map(),
  };
  const span = { offset: 9, length: 6 };

  it("gives every hop its name as soon as one hop needs another than was asked for", () => {
    expect(rewrites([M2, M1], request, "wire-m-2", span)).toEqual({
      span: [9, 6],
      models: { "model/m-2": "wire-m-2", "model/m-1": "wire-m-1" },
    });
  });

  it("leaves the body alone when every hop has the name that was asked for", () => {
    expect(rewrites([M2], request, "wire-m-2", span)).toEqual({});
    expect(rewrites([M2], request, "m", undefined)).toEqual({});
  });

  it("escapes a name for the place between quotes where it goes", () => {
    const odd = modelTarget("m", 1, { wireName: 'a"b\\c' });
    expect(rewrites([odd], request, "m", span)).toMatchObject({ models: { "model/m-1": 'a\\"b\\\\c' } });
  });

  it("gives every hop a path as soon as one has its own", () => {
    const own = modelTarget("m", 1, { path: "/openai/chat" });
    expect(rewrites([own, M2], request, "m", undefined)).toEqual({
      paths: { "model/m-1": "/openai/chat", "model/m-2": "/v1/chat?x=1" },
    });
  });
});
