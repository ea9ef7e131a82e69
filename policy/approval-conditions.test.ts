import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkCondition } from "./approval-conditions.ts";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput, Verdict } from "./decision.ts";
import { explainVerdict, formatRules } from "./explain.ts";
import { explainDecision } from "./explain-decision.ts";
import {
  ALLOW_ALL,
  APPLICATION,
  allowed,
  decide,
  denied,
  modelFacts,
  modelInput,
  modelTarget,
  NOW,
  pools,
  program,
  removals,
  rule,
  SUBJECT,
} from "./fixtures.ts";
import type { ApprovalFacts, PolicyProgram } from "./program.ts";

const [OLD, NEW] = [modelTarget("atlas", 1), modelTarget("atlas", 2)];
const MODELS = [modelFacts("atlas", { approval: "required" })];

function approval(age: number, conditions: readonly string[], more: Partial<ApprovalFacts> = {}): ApprovalFacts {
  const version = `atlas@${age}`;
  return { key: `board/${age}`, version, application: APPLICATION.key, jurisdictions: [], conditions, ...more };
}

function asked(changes: Partial<DecisionInput> = {}): DecisionInput {
  return modelInput("atlas", [OLD, NEW], changes);
}

function from(region: string): Partial<DecisionInput> {
  return { subject: { ...SUBJECT, fields: { region } } };
}

function answers(approvals: readonly ApprovalFacts[], changes: Partial<DecisionInput> = {}): Verdict {
  return decide({ models: MODELS, approvals }, asked(changes));
}

const IN_EU = 'subject.region == "EU"';

describe("the conditions of an approval", () => {
  test("bind: it holds for requests for which all of them are true, and others go to the version that may answer", () => {
    const approvals = [approval(1, []), approval(2, [IN_EU, 'request.method == "POST"'])];
    expect(pools(answers(approvals, from("EU")))).toEqual([NEW.pool, OLD.pool]);
    expect(pools(answers(approvals, from("US")))).toEqual([OLD.pool]);
    const { request } = asked();
    expect(pools(answers(approvals, { ...from("EU"), request: { ...request, method: "GET" } }))).toEqual([OLD.pool]);
  });

  test("that are unknown do not hold, and are counted against the approval", () => {
    const verdict = answers([approval(1, []), approval(2, [IN_EU])], { subject: { ...SUBJECT, fields: {} } });
    expect(pools(verdict)).toEqual([OLD.pool]);
    expect(verdict.errors).toMatchObject([{ rule: "approval/board/2" }]);
  });

  test("that do not compile never hold", () => {
    const approvals = [approval(1, []), approval(2, ["logs are kept for 30 days"])];
    expect(pools(answers(approvals))).toEqual([OLD.pool]);
    expect(compilePolicy(program({ approvals })).problems).toMatchObject([{ rule: "approval/board/2" }]);
  });

  test("are told on record and not to the caller, where nothing may answer", () => {
    const verdict = denied(answers([approval(2, [IN_EU])], from("US")));
    expect(verdict.code).toBe("no_legal_target");
    const removed = verdict.removed.find(({ pool }) => pool === NEW.pool);
    expect(removed).toEqual({
      pool: NEW.pool,
      rule: "chancery:approval",
      reason: `atlas@2 is approved for ${APPLICATION.key} in EU on conditions that this request does not meet`,
      detail: `approval/board/2: ${IN_EU} is false`,
    });
    expect(verdict.reason).not.toContain(IN_EU);
    expect(explainVerdict(verdict).join("\n")).toContain(`(approval/board/2: ${IN_EU} is false)`);
  });

  test("are each approval's own: one that holds is enough, and halves do not add up", () => {
    const twice = (first: readonly string[], second: readonly string[]) =>
      answers([approval(2, first, { key: "a" }), approval(2, second, { key: "b" })], from("EU"));
    expect(allowed(twice(["false"], [IN_EU])).approvals).toEqual([
      { approval: "b", version: "atlas@2", conditions: [IN_EU] },
    ]);
    expect(denied(twice([IN_EU, "false"], ["false", IN_EU])).code).toBe("no_legal_target");
  });

  test("end with their approval, whatever they say", () => {
    const ended = approval(2, ["true"], { validUntil: new Date(NOW).toISOString() });
    expect(removals(answers([ended, approval(1, [])]))).toEqual({ [NEW.pool]: "chancery:approval" });
  });

  test("may depend on the time and on the target", () => {
    const until = (time: string) => approval(2, [`now < timestamp("${time}") && target.country in countries.EU`]);
    expect(pools(answers([until("2099-01-01T00:00:00Z")]))).toEqual([NEW.pool]);
    expect(answers([until("2020-01-01T00:00:00Z")]).effect).toBe("deny");
  });

  test("decide what rules read as target.approved", () => {
    const guard = rule("approved-only", { effect: "restrict", require: "target.approved" });
    const open = [modelFacts("atlas", { approval: "notRequired" })];
    const verdict = (region: string) =>
      decide({ rules: [ALLOW_ALL, guard], models: open, approvals: [approval(2, [IN_EU])] }, asked(from(region)));
    expect(pools(verdict("EU"))).toEqual([NEW.pool]);
    expect(allowed(verdict("EU")).approvals).toEqual([
      { approval: "board/2", version: "atlas@2", conditions: [IN_EU] },
    ]);
    expect(removals(verdict("US"))[NEW.pool]).toBe("approved-only");
  });

  test("read what restrict rules read, but for what they decide", () => {
    const said = (text: string) => checkCondition(text, "condition").map(({ severity, code }) => `${severity} ${code}`);
    expect(said('target.region == "eu-west-1" && model.name == "atlas" && connection.mtls')).toEqual([]);
    expect(said("subject.region.startsWith('EU')")).toEqual([]);
    expect(said("target.approved")).toEqual(["error expression"]);
    expect(said("only for the pilot")).toEqual(["error expression"]);
    expect(said('"EU"')).toEqual(["error expression"]);
    expect(said('application.riskTier == 3 || request.method == "GET"')).not.toEqual([]);
  });
});

describe("the record of a decision", () => {
  test("names the approvals that what may answer rests on, with the rule and the conditions of each", () => {
    const approvals = [approval(1, [], { rule: "auto", key: "auto:atlas@1:chat" }), approval(2, [IN_EU])];
    const verdict = allowed(answers(approvals, from("EU")));
    expect(verdict.approvals).toEqual([
      { approval: "board/2", version: "atlas@2", conditions: [IN_EU] },
      { approval: "auto:atlas@1:chat", version: "atlas@1", rule: "auto" },
    ]);
    expect(explainVerdict(verdict)).toEqual(
      expect.arrayContaining(["approvals:", `  atlas@2 by board/2, on condition that ${IN_EU}`]),
    );
    expect(allowed(answers(approvals, from("US"))).approvals).toHaveLength(1);
  });

  test("names none where none is needed, and none where only observe mode lets something answer", () => {
    expect(allowed(decide({ approvals: [approval(2, [])] }, asked())).approvals).toBeUndefined();
    const observed = allowed(answers([approval(2, ["false"])], { observe: true }));
    expect(observed.observed).toBeDefined();
    expect(observed.approvals).toBeUndefined();
  });

  test("is explained down to the parts of each condition", () => {
    const whole = program({ models: MODELS, targets: [OLD, NEW], approvals: [approval(1, []), approval(2, [IN_EU])] });
    const explanation = explainDecision(whole, asked(from("US")));
    expect(explanation.approvals).toMatchObject([
      { approval: "board/1", pool: OLD.pool, holds: true, traces: [] },
      { approval: "board/2", pool: NEW.pool, holds: false, traces: [{ text: IN_EU, values: ["false"] }] },
    ]);
    expect(formatRules(explanation)).toEqual(
      expect.arrayContaining([`approval board/2 of atlas@2 for ${NEW.pool}: does not hold`]),
    );
  });
});

describe("a kept verdict", () => {
  const CONDITIONS = [
    IN_EU,
    'request.headers["x-team"] == "risk"',
    'request.url_path.startsWith("/v1/")',
    '"admin" in request.header_values["x-role"]',
    'now < timestamp("2026-11-21T12:00:00.500Z")',
    'subject.id != "user-2" && target.country == "IE"',
    "request.time < now",
  ];
  const approvals = fc.array(
    fc.record({
      age: fc.constantFrom(1, 2),
      conditions: fc.subarray(CONDITIONS, { maxLength: 3 }),
      until: fc.constantFrom(undefined, new Date(NOW + 700).toISOString()),
    }),
    { maxLength: 4 },
  );
  const requests = fc.array(
    fc.record({
      region: fc.constantFrom("EU", "US", undefined),
      team: fc.constantFrom("risk", "sales", undefined),
      id: fc.constantFrom("user-1", "user-2"),
      path: fc.constantFrom("/v1/chat", "/v2/chat"),
      at: fc.constantFrom(NOW, NOW + 600, NOW + 800),
    }),
    { minLength: 2, maxLength: 12 },
  );

  test("says of every request what a fresh one says, down to the approvals that it rests on", () => {
    fc.assert(
      fc.property(approvals, requests, (given, sent) => {
        const facts = given.map(({ age, conditions, until }, index) =>
          approval(age, conditions, { key: `a-${index}`, ...(until === undefined ? {} : { validUntil: until }) }),
        );
        const whole: PolicyProgram = program({ models: MODELS, targets: [OLD, NEW], approvals: facts });
        const policy = compilePolicy(whole);
        const shared = asked();
        for (const { region, team, id, path, at } of sent) {
          const request = {
            ...shared.request,
            ...{ path, url_path: path, time: at - 5 },
            headers: new Map(team === undefined ? [] : [["x-team", [team]]]),
          };
          const fields = region === undefined ? {} : { region };
          const input = { ...shared, request, now: at, subject: { ...SUBJECT, id, fields } };
          expect(policy.decideAgain(input)).toEqual(policy.decide(input));
        }
      }),
      { numRuns: 100 },
    );
  });
});
