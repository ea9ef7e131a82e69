import { describe, expect, it } from "vitest";
import { compilePolicy } from "./decide.ts";
import { diffDecisions, diffPrograms } from "./diff.ts";
import {
  ALLOW_ALL,
  APPLICATION,
  modelFacts,
  modelInput,
  modelTarget,
  program,
  rule,
  upstreamTarget,
  WEB,
} from "./fixtures.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import { actualDecision } from "./test-runner.ts";

const TARGETS = [modelTarget("m", 2), modelTarget("m", 1)];
const DENY = rule("p/deny", { effect: "deny", when: "request.size > 10 && request.method == 'GET'" });
const RESTRICT = rule("p/restrict", { effect: "restrict", when: "subject.kind == 'jwt'", require: "target.age > 1" });

function changed(before: readonly ProgramRule[], after: readonly ProgramRule[]) {
  return diffPrograms(program({ rules: before }), program({ rules: after })).map(({ key, loosens }) => [
    key,
    loosens !== undefined,
  ]);
}

describe("diffPrograms", () => {
  it("finds nothing in what is written differently and means the same", () => {
    const same = {
      ...DENY,
      when: "( request.size>10 && request.method == 'GET' ) // as before",
      reason: "other words",
    };
    expect(changed([ALLOW_ALL, DENY], [same, ALLOW_ALL])).toEqual([]);
  });

  it.each<[string, readonly ProgramRule[], readonly ProgramRule[], boolean]>([
    ["a deny removed", [ALLOW_ALL, DENY], [ALLOW_ALL], true],
    ["a deny added", [ALLOW_ALL], [ALLOW_ALL, DENY], false],
    ["a deny in shadow", [DENY], [{ ...DENY, mode: "shadow" }], true],
    ["a deny enforced", [{ ...DENY, mode: "shadow" }], [DENY], false],
    ["a deny narrowed", [DENY], [{ ...DENY, when: `${DENY.when} && request.path == "/"` }], true],
    ["a deny widened", [DENY], [{ ...DENY, when: "request.size > 10" }], false],
    ["a deny that is otherwise", [DENY], [{ ...DENY, when: "request.size > 20" }], true],
    ["a restrict removed", [RESTRICT], [], true],
    [
      "a restrict that demands more",
      [RESTRICT],
      [{ ...RESTRICT, require: "target.age > 1 && target.kind == 'model'" }],
      false,
    ],
    [
      "a restrict that demands less",
      [{ ...RESTRICT, require: "target.age > 1 && target.kind == 'model'" }],
      [RESTRICT],
      true,
    ],
    [
      "a restrict that holds less often",
      [RESTRICT],
      [{ ...RESTRICT, when: "subject.kind == 'jwt' && request.size > 1" }],
      true,
    ],
    ["an allow added where there are some", [ALLOW_ALL], [ALLOW_ALL, rule("more", { effect: "allow" })], true],
    ["an allow removed where there are more", [ALLOW_ALL, rule("more", { effect: "allow" })], [ALLOW_ALL], false],
    [
      "an allow narrowed",
      [rule("a", { effect: "allow", when: "x" })],
      [rule("a", { effect: "allow", when: "x && y" })],
      false,
    ],
    [
      "an allow widened",
      [rule("a", { effect: "allow", when: "x && y" })],
      [rule("a", { effect: "allow", when: "x" })],
      true,
    ],
    [
      "the first allow of a scope under one that asks",
      [ALLOW_ALL],
      [ALLOW_ALL, rule("t", { effect: "allow", scope: "team" })],
      false,
    ],
    [
      "the last allow of a scope under one that asks",
      [ALLOW_ALL, rule("t", { effect: "allow", scope: "team" })],
      [ALLOW_ALL],
      true,
    ],
    ["the first allow of all", [], [ALLOW_ALL], true],
    ["a preference", [], [rule("p", { effect: "prefer", score: "1" })], false],
    [
      "a deny that becomes an allow",
      [ALLOW_ALL, rule("x", { effect: "deny" })],
      [ALLOW_ALL, rule("x", { effect: "allow" })],
      true,
    ],
  ])("marks %s", (_, before, after, loosens) => {
    expect(changed(before, after).map(([, marked]) => marked)).toEqual([loosens]);
  });

  it.each<[string, Partial<PolicyProgram>, Partial<PolicyProgram>, boolean]>([
    ["an application more", { applications: [] }, {}, true],
    ["an application less", {}, { applications: [] }, false],
    ["observe mode", {}, { applications: [{ ...APPLICATION, mode: "observe" }] }, true],
    ["a lower maturity", {}, { applications: [{ ...APPLICATION, minimumMaturity: "shadow" }] }, true],
    ["a data class less", {}, { applications: [{ ...APPLICATION, dataClasses: [] }] }, true],
    ["a data class more", {}, { applications: [{ ...APPLICATION, dataClasses: ["pii", "phi"] }] }, false],
    [
      "a score that is demanded",
      {},
      { applications: [{ ...APPLICATION, minimumScores: [{ metric: "a", slice: "all", value: 1 }] }] },
      false,
    ],
    [
      "approval that is not needed",
      { models: [modelFacts("m", { approval: "required" })] },
      { models: [modelFacts("m")] },
      true,
    ],
    ["an observed gateway", {}, { observedGateways: ["edge"] }, true],
    ["a target more", { targets: TARGETS.slice(0, 1), models: [] }, { targets: TARGETS, models: [] }, true],
    [
      "an upstream without decisions",
      { targets: WEB },
      { targets: [upstreamTarget("web", { governed: false })] },
      true,
    ],
    [
      "an upstream with more ranges",
      { targets: [upstreamTarget("web", { ranges: ["10.1.0.0/16"] })] },
      { targets: [upstreamTarget("web", { ranges: ["10.1.0.0/16", "10.2.0.0/16"] })] },
      true,
    ],
    [
      "an upstream with fewer ranges",
      { targets: [upstreamTarget("web", { ranges: ["10.1.0.0/16", "10.2.0.0/16"] })] },
      { targets: [upstreamTarget("web", { ranges: ["10.1.0.0/16"] })] },
      false,
    ],
    ["an upstream governed again", { targets: [upstreamTarget("web", { governed: false })] }, { targets: WEB }, false],
    [
      "a target's weight",
      { targets: TARGETS },
      { targets: [modelTarget("m", 2, { weight: 5 }), modelTarget("m", 1)] },
      false,
    ],
    [
      "a target's country",
      { targets: TARGETS },
      { targets: [modelTarget("m", 2, { country: "US" }), modelTarget("m", 1)] },
      true,
    ],
  ])("marks %s", (_, before, after, loosens) => {
    const changes = diffPrograms(program(before), program(after));
    expect(changes.map((change) => change.loosens !== undefined)).toEqual([loosens]);
  });

  it("marks approvals that are added or hold longer, not those that end", () => {
    const approval = {
      key: "a",
      version: "v",
      application: "x",
      jurisdictions: ["EU"],
      validUntil: "2026-01-01T00:00:00Z",
    };
    const marks = (from: readonly (typeof approval)[], to: readonly (typeof approval)[]) =>
      diffPrograms(program({ approvals: from }), program({ approvals: to })).map(({ loosens }) => loosens);
    expect(marks([], [approval])).toEqual(["v may answer x"]);
    expect(marks([approval], [])).toEqual([undefined]);
    expect(marks([approval], [{ ...approval, validUntil: "2027-01-01T00:00:00Z" }])).toEqual(["it holds longer"]);
    expect(marks([approval], [{ ...approval, jurisdictions: [] }])).toEqual(["it holds in more jurisdictions"]);
    expect(marks([approval], [{ ...approval, validUntil: "2025-01-01T00:00:00Z" }])).toEqual([undefined]);
    const [one, both] = [["connection.mtls"], ["connection.mtls", "true"]].map((conditions) => ({
      ...approval,
      conditions,
    }));
    if (one === undefined || both === undefined) throw new Error("no approvals");
    expect(marks([approval], [one])).toEqual([undefined]);
    expect(marks([one], [both])).toEqual([undefined]);
    expect(marks([both], [one])).toEqual(["a condition of it is gone"]);
    expect(marks([one], [approval])).toEqual(["a condition of it is gone"]);
  });
});

describe("diffDecisions", () => {
  const decided = (rules: readonly ProgramRule[]) =>
    actualDecision(compilePolicy(program({ rules, targets: TARGETS })), {
      kind: "decision",
      input: modelInput("m", TARGETS),
    });
  const open = decided([ALLOW_ALL]);
  const narrow = decided([ALLOW_ALL, RESTRICT]);
  const closed = decided([ALLOW_ALL, rule("p/never", { effect: "restrict", require: "target.age > 5" })]);

  it("names what a change does to a request, and the rule behind it", () => {
    expect(diffDecisions(open, open)).toBeUndefined();
    expect(diffDecisions(open, narrow)).toEqual({ kind: "reroutedOtherwise", rule: "p/restrict", loosens: false });
    expect(diffDecisions(narrow, open)).toEqual({ kind: "reroutedOtherwise", rule: "p/restrict", loosens: true });
    expect(diffDecisions(open, closed)).toEqual({ kind: "newlyDenied", rule: "p/never", loosens: false });
    expect(diffDecisions(closed, open)).toEqual({ kind: "newlyAllowed", rule: "p/never", loosens: true });
    expect(diffDecisions(closed, decided([]))).toMatchObject({ kind: "deniedOtherwise", loosens: false });
  });
});
