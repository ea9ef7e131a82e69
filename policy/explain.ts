import type { Considered, Exposure, HeldApproval, Mirror, Verdict } from "./decision.ts";
import type { ApprovalExplanation, DecisionExplanation, RuleExplanation } from "./explain-decision.ts";
import type { ExpressionTrace } from "./expression-trace.ts";

/** A verdict in words, a line each, for people: what, why, and what each rule said. */
export function explainVerdict(verdict: Verdict): readonly string[] {
  return [
    ...outcome(verdict),
    ...section("split", splitLines(verdict)),
    ...section(
      "rerouted",
      verdict.rerouted.map(({ rule, to }) => `to ${to} by ${rule}`),
    ),
    ...section(
      "removed",
      verdict.removed.map(({ pool, rule, reason, detail }) => {
        return `${pool} by ${rule}: ${reason}${detail === undefined ? "" : ` (${detail})`}`;
      }),
    ),
    ...section("approvals", verdict.effect === "deny" ? [] : (verdict.approvals ?? []).map(approvalLine)),
    ...section("rules", verdict.considered.map(ruleLine)),
    ...section(
      "errors",
      verdict.errors.map(({ rule, message }) => `${rule}: ${message}`),
    ),
    ...section("shadow rules would have", [...verdict.shadow]),
  ];
}

function outcome(verdict: Verdict): readonly string[] {
  if (verdict.effect === "deny") return [`deny (${verdict.code}) by ${verdict.rule}`, `  ${verdict.reason}`];
  const observed =
    verdict.observed === undefined
      ? []
      : [`observe mode: enforced, this is denied by ${verdict.observed.rule}`, `  ${verdict.observed.reason}`];
  const targets = verdict.targets.map(({ pool, model }, index) => {
    const what = model === undefined ? "" : ` (${model.version} in ${model.region}, ${model.country})`;
    return `${index + 1}. ${pool}${what}`;
  });
  return [`allow by ${verdict.rule}`, `  ${verdict.reason}`, ...observed, ...section("targets", targets)];
}

function splitLines(verdict: Verdict): readonly string[] {
  if (verdict.effect === "deny") return [];
  return [...exposureLines(verdict.exposure), ...mirrorLines(verdict.mirror)];
}

function approvalLine({ approval, version, rule, conditions = [] }: HeldApproval): string {
  const by = rule === undefined ? "" : ` by rule ${rule}`;
  const on = conditions.length === 0 ? "" : `, on condition that ${conditions.join(" and ")}`;
  return `${version} by ${approval}${by}${on}`;
}

function mirrorLines(mirror: Mirror | undefined): readonly string[] {
  if (mirror === undefined) return [];
  const { by, share, targets, removed } = mirror;
  const may = targets.map(({ pool }) => `${by}: ${share} % of requests are copied to ${pool}`);
  return [...may, ...removed.map(({ pool, rule }) => `${by}: no copy to ${pool} (${rule})`)];
}

function exposureLines(exposure: Exposure | undefined): readonly string[] {
  if (exposure === undefined) return [];
  const { split, arm, version, unit, instead } = exposure;
  const of = unit === undefined ? "" : `, unit ${unit}`;
  const why = instead === undefined ? "" : `, since ${instead} may not answer`;
  return [`${split}: ${arm} (${version})${of}${why}`];
}

function ruleLine({ rule, effect, mode, result, error, pool }: Considered): string {
  const about = pool === undefined ? "" : ` for ${pool}`;
  const why = error === undefined ? "" : ` (${error})`;
  return `${effect} ${rule}${mode === "shadow" ? " [shadow]" : ""}${about}: ${result}${why}`;
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${line}`)];
}

/** The rules of an explanation in words: what each was found by, came to and did, with the parts of its expressions. */
export function formatRules({ atoms, rules, approvals, moreRules, elsewhere }: DecisionExplanation): readonly string[] {
  return [
    ...section(
      "what rules are found by",
      atoms.map(({ field, value }) => `${field} ${atomText(value)}`),
    ),
    ...rules.flatMap((rule) => ["", ...ruleLines(rule)]),
    ...(approvals.length === 0 ? [] : ["", ...approvals.flatMap(approvalLines)]),
    "",
    ...(moreRules === 0 ? [] : [`${moreRules} more rules bind this request`]),
    `${elsewhere} rules are off, or of other scopes, gateways, routes and models`,
  ];
}

function atomText(value: DecisionExplanation["atoms"][number]["value"]): string {
  if (typeof value === "object" && "is" in value) return `is ${value.is}`;
  return `= ${JSON.stringify(value)}`;
}

const STATUS: Readonly<Record<RuleExplanation["status"], string>> = {
  consulted: "consulted",
  notFound: "not found",
  notReached: "not reached: the decision was made before",
};

function ruleLines(rule: RuleExplanation): readonly string[] {
  const shadow = rule.mode === "shadow" ? " [shadow]" : "";
  const why = rule.falseTests.length === 0 ? "" : `: it is false that ${rule.falseTests.join(" or ")}`;
  return [
    `${rule.effect} ${rule.rule}${shadow} (${rule.attachedTo}): ${STATUS[rule.status]}${why}`,
    ...rule.expressions.flatMap(({ field, model, pool, trace }) => {
      const about = [
        model === undefined ? "" : ` while ${model} is asked for`,
        pool === undefined ? "" : ` for ${pool}`,
      ];
      return [`  ${field}${about.join("")}:`, ...traceLines(trace, "    ")];
    }),
    ...rule.removed.map((pool) => `  removed ${pool}`),
    ...(rule.reroutedTo === undefined ? [] : [`  rerouted to ${rule.reroutedTo}`]),
    ...rule.wouldHave.map((line) => `  would have: ${line}`),
  ];
}

function approvalLines({ approval, version, pool, holds, traces }: ApprovalExplanation): readonly string[] {
  return [
    `approval ${approval} of ${version} for ${pool}: ${holds ? "holds" : "does not hold"}`,
    ...traces.flatMap((trace) => ["  condition:", ...traceLines(trace, "    ")]),
  ];
}

function traceLines({ text, values, parts }: ExpressionTrace, indent: string): readonly string[] {
  const value = values.length === 0 ? "not evaluated" : values.join(", ");
  return [`${indent}${text}  →  ${value}`, ...parts.flatMap((part) => traceLines(part, `${indent}  `))];
}
