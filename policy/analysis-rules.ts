import type { Finding } from "./analysis.ts";
import { compileExpression } from "./cel.ts";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput } from "./decision.ts";
import type { ApplicationFacts, PolicyProgram, ProgramRule } from "./program.ts";
import { conjunctsOf, normalised, tokensOf } from "./test-runner-text.ts";
import { covers, validity } from "./validity.ts";

/**
 * Rules that can be told from their text to do nothing, or to fail. What is compared are the conditions that `&&` joins:
 * a rule whose every condition another one has as well holds wherever that other one does.
 */
export function ruleFindings(program: PolicyProgram): readonly Finding[] {
  const rules = program.rules.filter(({ mode }) => mode === "enforce");
  const conjuncts = new Map(rules.map((rule) => [rule, conditionsAsked(rule.when)]));
  const findings: Finding[] = [];
  for (const [index, rule] of rules.entries()) {
    const about = { kind: "rule", key: rule.id } as const;
    const own = conjuncts.get(rule) ?? new Set();
    const constant = constantOf(rule);
    if (constant === "false" || contradictsItself(own)) {
      findings.push({ code: "rule-never-holds", message: "the condition cannot be true", about });
      continue;
    }
    if (constant === "unknown") {
      findings.push({ code: "rule-always-fails", message: "the condition cannot be evaluated", about });
      continue;
    }
    const unmapped = unmappedFields(rule, program.applications);
    if (unmapped.length > 0) {
      const fields = unmapped.map((field) => `subject.${field}`).join(", ");
      const message = `no application in reach maps ${fields}: whatever reads it is unknown`;
      const hint = "map the field in the application (subject:), or correct its name";
      findings.push({ code: "rule-always-fails", message, hint, about });
    }
    const holdsToo = (other: ProgramRule): boolean =>
      other !== rule && isSubset(conjuncts.get(other) ?? new Set(), own) && inForceWith(other, rule);
    const shadowing = rules.find(
      (other, place) =>
        holdsToo(other) &&
        doesAllOf(other, rule) &&
        (place < index ||
          !doesAllOf(rule, other) ||
          !isSubset(own, conjuncts.get(other) ?? new Set()) ||
          !inForceWith(rule, other)),
    );
    if (shadowing !== undefined) {
      const message = `${shadowing.id} does all that this rule does, whenever it holds`;
      findings.push({ code: "rule-shadowed", message, hint: "remove one of them", about });
    }
    if (rule.effect !== "allow") continue;
    const denying = rules.find((other) => other.effect === "deny" && holdsToo(other) && bindsWhere(other, rule));
    if (denying !== undefined) {
      const message = `whenever this rule allows, ${denying.id} denies`;
      findings.push({ code: "allow-contradicted", message, hint: "narrow the deny rule, or remove this one", about });
    }
  }
  return findings;
}

/** Whether `other` is in force whenever `rule` is. */
function inForceWith(other: ProgramRule, rule: ProgramRule): boolean {
  const period = ({ effectiveFrom, effectiveTo }: ProgramRule) => validity(effectiveFrom, effectiveTo);
  return covers(period(other), period(rule));
}

function conditionsAsked(when: string | undefined): ReadonlySet<string> {
  const conjuncts = new Set(when === undefined ? [] : conjunctsOf(when));
  conjuncts.delete("true");
  return conjuncts;
}

function isSubset(part: ReadonlySet<string>, whole: ReadonlySet<string>): boolean {
  return part.isSubsetOf(whole);
}

/** Whether `other`, where it holds, leaves nothing to do for `rule`. */
function doesAllOf(other: ProgramRule, rule: ProgramRule): boolean {
  if (other.effect !== rule.effect) return false;
  switch (rule.effect) {
    case "deny":
      return bindsWhere(other, rule);
    case "restrict":
      return bindsWhere(other, rule) && isSubset(conditionsAsked(rule.require), conditionsAsked(other.require));
    case "allow":
      return samePlace(other, rule);
    case "reroute":
      return samePlace(other, rule) && JSON.stringify(other.to) === JSON.stringify(rule.to);
    case "prefer":
      return samePlace(other, rule) && normalised(other.score ?? "") === normalised(rule.score ?? "");
  }
}

function samePlace(a: ProgramRule, b: ProgramRule): boolean {
  return a.scope === b.scope && a.target?.kind === b.target?.kind && a.target?.key === b.target?.key;
}

/** Whether `other` binds every request that `rule` is consulted for. */
function bindsWhere(other: ProgramRule, rule: ProgramRule): boolean {
  if (samePlace(other, rule)) return true;
  // The scope of an attached rule says who wrote it, not whom it binds.
  if (other.target !== undefined)
    return other.target.kind === rule.target?.kind && other.target.key === rule.target?.key;
  return other.scope === "." || (rule.target === undefined && rule.scope.startsWith(`${other.scope}/`));
}

/** `a && !a`, or `a == "x" && a == "y"`. */
function contradictsItself(conjuncts: ReadonlySet<string>): boolean {
  const equal = new Map<string, string>();
  for (const conjunct of conjuncts) {
    if (conjunct.startsWith("! ") && conjuncts.has(normalised(conjunct.slice(2)))) return true;
    const [, left, literal] = /^([\w .[\]"]+) == ("[^"\\]*"|\d+)$/.exec(conjunct) ?? [];
    if (left === undefined || literal === undefined) continue;
    if ((equal.get(left) ?? literal) !== literal) return true;
    equal.set(left, literal);
  }
  return false;
}

/** What a condition that reads nothing comes to; undefined for all others. */
function constantOf(rule: ProgramRule): "true" | "false" | "unknown" | undefined {
  if (rule.when === undefined) return undefined;
  const compiled = compileExpression(rule.when, "request", "bool");
  if (!compiled.ok || compiled.expression.reads.size > 0) return undefined;
  const shared = { scope: ".", effect: "deny", mode: "shadow", reason: "", references: [] } as const;
  const policy = compilePolicy({
    rules: [
      { ...shared, id: "holds", when: rule.when },
      { ...shared, id: "fails", when: `!(${rule.when}\n)` },
    ],
    applications: [],
    models: [],
    targets: [],
    approvals: [],
  });
  const { considered } = policy.decide(NOTHING);
  const isTrue = (id: string): boolean => considered.some((each) => each.rule === id && each.result === "true");
  return isTrue("holds") ? "true" : isTrue("fails") ? "false" : "unknown";
}

/** A request that says nothing, for conditions that read nothing. */
const NOTHING: DecisionInput = {
  request: {
    method: "GET",
    scheme: "http",
    host: "localhost",
    path: "/",
    url_path: "/",
    query: "",
    protocol: "HTTP/2",
    id: "",
    size: 0,
    time: 0,
    headers: new Map(),
  },
  source: { address: "127.0.0.1", port: 0 },
  destination: { address: "127.0.0.1", port: 0 },
  connection: { mtls: false },
  metadata: {},
  xds: {},
  subject: { kind: "anonymous", id: "anonymous", claims: {}, fields: {} },
  application: {
    key: "none",
    scope: ".",
    mode: "enforce",
    purpose: "",
    riskTier: "minimal",
    dataClasses: [],
    jurisdictions: [],
    minimumScores: [],
    durability: "strict",
    substitutes: [],
    apiKeys: [],
    jwt: [],
    anonymous: true,
    labels: {},
  },
  gateway: "none",
  httpRoute: "none",
  requested: { stream: false },
  candidates: [],
  models: [],
  now: 0,
  draw: 0,
};

const SUBJECT_MEMBERS = new Set(["kind", "id", "claims"]);

/** Fields of the subject that the rule reads without asking whether they are there, and that nobody in reach has. */
function unmappedFields(rule: ProgramRule, applications: readonly ApplicationFacts[]): readonly string[] {
  const inReach = applications.filter(
    ({ scope }) =>
      rule.target !== undefined || rule.scope === "." || scope === rule.scope || scope.startsWith(`${rule.scope}/`),
  );
  const mapped = new Set(
    inReach.flatMap(({ apiKeys, jwt }) => [...apiKeys, ...jwt].flatMap(({ subject }) => Object.keys(subject))),
  );
  const read = new Set<string>();
  const guarded = new Set<string>();
  for (const text of [rule.when, rule.require, rule.score]) {
    const tokens = tokensOf(text ?? "");
    for (const [index, token] of tokens.entries()) {
      const field = tokens[index + 2];
      if (token.text !== "subject" || tokens[index + 1]?.text !== "." || field?.kind !== "word") continue;
      // `x.subject.y` and `subject.f()` are something else.
      if (tokens[index - 1]?.text === "." || tokens[index + 3]?.text === "(") continue;
      const asked = tokens[index - 2]?.text === "has" && tokens[index - 1]?.text === "(";
      (asked ? guarded : read).add(field.text);
    }
  }
  return [...read].filter((field) => !SUBJECT_MEMBERS.has(field) && !mapped.has(field) && !guarded.has(field));
}
