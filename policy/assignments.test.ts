import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput, Exposure } from "./decision.ts";
import { explainVerdict } from "./explain.ts";
import { allowed, application, modelInput, modelTarget, pools, program, rule, SUBJECT } from "./fixtures.ts";
import type { ExperimentFacts, PolicyProgram, RolloutFacts, SplitFacts } from "./program.ts";

const TARGETS = [0, 1, 2].map((age) => modelTarget("atlas", age));
const [V0, V1, V2] = ["atlas@0", "atlas@1", "atlas@2"] as const;

function rollout(changes: Partial<RolloutFacts> = {}): RolloutFacts {
  return {
    kind: "Rollout",
    key: "to-2",
    scope: ".",
    model: "atlas",
    to: V2,
    share: 10,
    segments: [],
    salt: "to-2",
    holdout: 0,
    ...changes,
  };
}

function experiment(changes: Partial<ExperimentFacts> = {}): ExperimentFacts {
  return {
    kind: "Experiment",
    key: "tone",
    scope: ".",
    model: "atlas",
    arms: [
      { name: "control", version: V1, weight: 1 },
      { name: "warm", version: V2, weight: 1 },
    ],
    share: 100,
    salt: "tone",
    holdout: 0,
    ...changes,
  };
}

/** Decides for a user, by a program with these splits. */
function deciding(splits: readonly SplitFacts[], changes: Partial<PolicyProgram> = {}) {
  const policy = compilePolicy(program({ targets: TARGETS, splits, ...changes }));
  return (user: string, request: Partial<DecisionInput> = {}) =>
    policy.decide(modelInput("atlas", TARGETS, { subject: { ...SUBJECT, id: user }, ...request }));
}

function exposed(decide: ReturnType<typeof deciding>, user: string, request?: Partial<DecisionInput>) {
  return allowed(decide(user, request)).exposure;
}

function users(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `user-${index}`);
}

/** The first user whose arm it is. */
function userOf(decide: ReturnType<typeof deciding>, arm: string): string {
  const user = users(10_000).find((each) => exposed(decide, each)?.arm === arm);
  if (user === undefined) throw new Error(`nobody is in ${arm}`);
  return user;
}

describe("a rollout", () => {
  test("gives its share of units the new version first, and the others the newest older one", () => {
    const decide = deciding([rollout()]);
    const arms = Map.groupBy(users(2_000), (user) => exposed(decide, user)?.arm ?? "none");
    expect([...arms.keys()].toSorted()).toEqual(["from", "to"]);
    expect(arms.get("to")?.length).toBeGreaterThan(160);
    expect(arms.get("to")?.length).toBeLessThan(240);
    const [moved = "", stayed = ""] = [arms.get("to")?.[0], arms.get("from")?.[0]];
    expect(pools(decide(moved))).toEqual(["model/atlas-2", "model/atlas-1", "model/atlas-0"]);
    // Who is not moved falls back to what is older before it meets the new version.
    expect(pools(decide(stayed))).toEqual(["model/atlas-1", "model/atlas-0", "model/atlas-2"]);
  });

  test("leaves a request alone that names a version", () => {
    const decide = deciding([rollout({ share: 100 })]);
    const verdict = allowed(
      decide("user-1", { requested: { modelName: "atlas@1", model: "atlas", version: V1, stream: false } }),
    );
    expect(verdict.targets.map(({ pool }) => pool)).toEqual(["model/atlas-1", "model/atlas-0"]);
    expect(verdict.exposure).toBeUndefined();
  });

  test("keeps segments at their version, also where it cannot be told whether they are one", () => {
    const segments = [{ when: `subject.tier == "gold"`, version: V0 }];
    const decide = deciding([rollout({ share: 100, segments })]);
    const as = (fields: Record<string, string>): Exposure | undefined =>
      exposed(decide, "user-1", { subject: { ...SUBJECT, fields } });
    expect(as({ tier: "gold" })).toEqual({ split: "Rollout to-2", arm: "pinned", version: V0 });
    expect(as({})).toMatchObject({ arm: "pinned", version: V0 });
    expect(as({ tier: "free" })).toMatchObject({ arm: "to", version: V2 });
    expect(decide("user-1", { subject: { ...SUBJECT, fields: {} } }).errors).toMatchObject([{ rule: "Rollout to-2" }]);
  });

  test("takes over from the versions it names", () => {
    const decide = deciding([rollout({ share: 0, from: [V0] })]);
    expect(pools(decide("user-1"))[0]).toBe("model/atlas-0");
  });

  test("falls back to the other side where one may not answer", () => {
    const forbid = (version: string) => ({
      rules: [
        rule("all", { effect: "allow" as const }),
        rule("not", { effect: "restrict" as const, require: `target.version != "${version}"` }),
      ],
    });
    expect(exposed(deciding([rollout({ share: 100 })], forbid(V2)), "user-1")).toMatchObject({
      arm: "from",
      version: V1,
      instead: V2,
    });
    expect(exposed(deciding([rollout({ share: 0 })], forbid(V1)), "user-1")).toMatchObject({
      arm: "from",
      version: V0,
      instead: V1,
    });
  });

  test("does not move callers of another scope, unless it stands above the model", () => {
    const models = [{ key: "atlas", scope: "team", names: [], source: { type: "route" }, approval: "notRequired" }];
    const facts = models.map((model) => ({ ...model, labels: {}, source: { type: "route" } }) as const);
    const elsewhere = deciding([rollout({ scope: "other", share: 100 })], {
      models: facts.map((model) => ({ ...model, approval: "notRequired" as const })),
    });
    expect(exposed(elsewhere, "user-1")).toBeUndefined();
    const own = deciding([rollout({ scope: "team", share: 100 })], {
      models: facts.map((model) => ({ ...model, approval: "notRequired" as const })),
    });
    expect(exposed(own, "user-1")?.arm).toBe("to");
    const callers = deciding([rollout({ scope: "bank", share: 100 })]);
    expect(exposed(callers, "user-1")?.arm).toBe("to");
  });
});

describe("an experiment", () => {
  test("gives each unit one arm and says so", () => {
    const decide = deciding([experiment()]);
    const warm = userOf(decide, "warm");
    const verdict = allowed(decide(warm));
    expect(verdict.targets[0]?.pool).toBe("model/atlas-2");
    expect(verdict.exposure).toEqual({
      split: "Experiment tone",
      arm: "warm",
      version: V2,
      unit: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    expect(JSON.stringify(verdict.exposure)).not.toContain(warm);
    expect(explainVerdict(verdict).join("\n")).toContain(
      `Experiment tone: warm (${V2}), unit ${verdict.exposure?.unit}`,
    );
  });

  test("is over at its end, and not begun before its start", () => {
    const decide = deciding([experiment({ validFrom: "2026-01-01T00:00:00Z", validUntil: "2026-02-01T00:00:00Z" })]);
    const at = (now: string) => exposed(decide, "user-1", { now: Date.parse(now) });
    expect(at("2025-12-31T23:59:59.999Z")).toBeUndefined();
    expect(at("2026-01-01T00:00:00Z")).toBeDefined();
    expect(at("2026-02-01T00:00:00Z")).toBeUndefined();
  });

  test("comes before a rollout, which gets who is not enrolled", () => {
    const decide = deciding([rollout(), experiment({ share: 30 })]);
    const splits = Map.groupBy(users(1_000), (user) => exposed(decide, user)?.split ?? "none");
    expect([...splits.keys()].toSorted()).toEqual(["Experiment tone", "Rollout to-2"]);
    expect(splits.get("Experiment tone")?.length).toBeGreaterThan(240);
    expect(splits.get("Experiment tone")?.length).toBeLessThan(360);
  });

  test("enrols nobody of whom its condition or its sticky key cannot be told", () => {
    const unknown = experiment({ when: `subject.tier == "gold"` });
    expect(exposed(deciding([unknown]), "user-1")).toBeUndefined();
    const nobody = experiment({ stickyKey: `request.headers["x-session"]` });
    expect(exposed(deciding([nobody]), "user-1")).toBeUndefined();
    expect(deciding([nobody])("user-1").errors).toMatchObject([{ rule: "Experiment tone" }]);
  });

  test("renormalises over what may answer, and moves nobody else", () => {
    const arms = [...experiment().arms, { name: "old", version: V0, weight: 1 }];
    const all = deciding([experiment({ arms })]);
    const fewer = deciding([experiment({ arms })], {
      rules: [
        rule("all", { effect: "allow" }),
        rule("not-v0", { effect: "restrict", require: `target.version != "${V0}"` }),
      ],
    });
    const moved = new Map<string, number>();
    for (const user of users(1_500)) {
      const before = exposed(all, user);
      const after = exposed(fewer, user);
      if (before?.arm !== "old") expect(after).toEqual(before);
      else {
        expect(after?.instead).toBe(V0);
        moved.set(after?.arm ?? "", (moved.get(after?.arm ?? "") ?? 0) + 1);
      }
    }
    // Half of about 500 each.
    expect([...moved.keys()].toSorted()).toEqual(["control", "warm"]);
    for (const count of moved.values()) expect(count).toBeGreaterThan(190);
  });

  test("leaves the same units out of every split of a model", () => {
    const one = deciding([experiment({ key: "one", salt: "one", holdout: 20 })]);
    const two = deciding([experiment({ key: "two", salt: "two", holdout: 20 })]);
    const out = (decide: typeof one) => users(1_000).filter((user) => exposed(decide, user) === undefined);
    expect(out(one)).toEqual(out(two));
    expect(out(one).length).toBeGreaterThan(150);
    expect(out(one).length).toBeLessThan(250);
  });
});

describe("a sticky key", () => {
  const arms = experiment();
  test("of the split is before that of the application, which is before the subject", () => {
    const keyed = { applications: [application({ stickyKey: "subject.tenant" })] };
    const unit = (splits: readonly SplitFacts[], changes: Partial<PolicyProgram> = {}) =>
      exposed(deciding(splits, changes), "user-1")?.unit;
    const same = (key: string) => unit([experiment({ stickyKey: key })]);
    expect(unit([arms])).toBe(same(`"user-1"`));
    expect(unit([arms], keyed)).toBe(same(`"acme"`));
    expect(unit([experiment({ stickyKey: `subject.tenant + "/" + subject.id` })], keyed)).toBe(same(`"acme/user-1"`));
  });

  test("tells callers without an identity apart by their address", () => {
    const decide = deciding([arms]);
    const from = (address: string) =>
      exposed(decide, "anonymous", {
        subject: { kind: "anonymous", id: "anonymous", claims: {}, fields: {} },
        source: { address, port: 1 },
      })?.unit;
    expect(from("10.0.0.1")).toBe(from("10.0.0.1"));
    expect(from("10.0.0.1")).not.toBe(from("10.0.0.2"));
  });
});

describe("verdicts that are kept", () => {
  const splits: readonly SplitFacts[] = [
    rollout({ share: 40, segments: [{ when: `subject.tenant == "old"`, version: V0 }] }),
    experiment({
      share: 50,
      holdout: 10,
      validUntil: "2026-11-21T12:00:10Z",
      arms: [...experiment().arms, { name: "old", version: V0, weight: 2 }],
    }),
    experiment({ key: "own", salt: "own", share: 30, stickyKey: `subject.tenant + subject.id`, scope: "bank" }),
  ];

  test.each([
    ["by a field", splits.slice(0, 2)],
    ["by an expression", splits],
  ])("are those that evaluation gives, units told apart %s", (_, used) => {
    const policy = compilePolicy(program({ targets: TARGETS, splits: used }));
    const models = ["atlas"];
    const seen = new Set<string>();
    for (const [place, user] of [...users(200), ...users(200)].entries()) {
      const request = modelInput("atlas", TARGETS, {
        models,
        subject: { ...SUBJECT, id: user, fields: { tenant: place % 7 === 0 ? "old" : "acme" } },
        now: Date.parse(place < 200 ? "2026-11-21T12:00:00Z" : "2026-11-21T12:00:20Z"),
      });
      const verdict = policy.decideAgain(request);
      expect(verdict).toEqual(policy.decide(request));
      seen.add(`${allowed(verdict).exposure?.split} ${allowed(verdict).exposure?.arm}`);
    }
    for (const arm of ["Rollout to-2 to", "Rollout to-2 from", "Rollout to-2 pinned", "Experiment tone warm"]) {
      expect(seen).toContain(arm);
    }
  });
});
