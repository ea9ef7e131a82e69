import { describe, expect, test } from "vitest";
import {
  ALLOW_ALL,
  application,
  decide,
  denied,
  input,
  modelInput,
  modelTarget,
  PLAIN,
  rule,
  WEB,
} from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";

describe("levels", () => {
  const yes = (id: string, scope: string, changes: Partial<ProgramRule> = {}) =>
    rule(id, { effect: "allow", scope, ...changes });
  const no = (id: string, scope: string, changes: Partial<ProgramRule> = {}) =>
    rule(id, { effect: "allow", scope, when: "false", ...changes });

  test.each<[string, readonly ProgramRule[], string]>([
    ["nothing allows by itself", [], "chancery:default-deny"],
    ["one allow rule at the root is enough", [yes("r", ".")], "r"],
    ["one rule of a level is enough", [no("r1", "."), yes("r2", ".")], "r2"],
    ["every level that has allow rules needs one", [yes("r", "."), no("b", "bank")], "chancery:default-deny"],
    ["and none can speak for another", [no("r", "."), yes("b", "bank/retail")], "chancery:default-deny"],
    ["the nearest rule is named", [yes("r", "."), yes("b", "bank"), yes("c", "bank/retail")], "c"],
    ["rules of other scopes are not asked", [yes("r", "."), no("x", "insurance"), no("y", "bank/retail/deeper")], "r"],
    ["a scope that only begins alike is another", [yes("r", "."), no("x", "ban"), no("y", "bank/ret")], "r"],
  ])("%s", (_name, rules, expected) => {
    expect(decide({ rules }, PLAIN).rule).toBe(expected);
  });

  test("policies attached to a gateway, route or model bind whoever calls", () => {
    const foreign = { scope: "security" };
    for (const target of [
      { kind: "Gateway", key: "edge" },
      { kind: "HTTPRoute", key: "bank/chat" },
      { kind: "Model", key: "a" },
    ] as const) {
      const request = modelInput("a", [modelTarget("a", 0)]);
      const stop = rule("stop", { effect: "deny", ...foreign, target });
      expect(decide({ rules: [ALLOW_ALL, stop] }, request).rule).toBe("stop");
      expect(decide({ rules: [ALLOW_ALL, no("level", "security", { target })] }, request).effect).toBe("deny");
      expect(decide({ rules: [yes("level", "security", { target })] }, request).rule).toBe("level");
      const elsewhere = { ...target, key: "other" };
      expect(decide({ rules: [ALLOW_ALL, { ...stop, target: elsewhere }] }, request).rule).toBe("allow-all");
    }
  });

  test("an allow rule that one team attaches to a gateway does not satisfy another team's level there", () => {
    const target = { kind: "Gateway", key: "edge" } as const;
    const rules = [no("security", "security", { target }), yes("team", "bank/retail", { target })];
    expect(denied(decide({ rules }, PLAIN)).code).toBe("not_allowed");
  });

  test("an application of the root scope has the root level only", () => {
    const request = input({ candidates: WEB, application: application({ key: "chat", scope: "." }) });
    expect(decide({ rules: [ALLOW_ALL, no("b", "bank")] }, request).effect).toBe("allow");
  });
});
