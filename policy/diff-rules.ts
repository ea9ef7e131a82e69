import type { Scope } from "../resources/index.ts";
import type { Change } from "./diff.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import { conjunctsOf, normalised } from "./test-runner-text.ts";
import { covers, type Validity, validity } from "./validity.ts";

/** Rules that were added, removed or changed, and of each whether it can let through what was refused before. */
export function diffRules(before: PolicyProgram, after: PolicyProgram): readonly Change[] {
  const old = new Map(before.rules.map((rule) => [rule.id, rule]));
  const now = new Map(after.rules.map((rule) => [rule.id, rule]));
  const levels = { before: allowLevels(before.rules), after: allowLevels(after.rules) };
  const changes: Change[] = [];
  for (const id of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const from = old.get(id);
    const to = now.get(id);
    const change = changeOf(from, to);
    if (change === undefined) continue;
    const why = loosening(from, to, levels);
    changes.push({ kind: "rule", key: id, change, ...(why === undefined ? {} : { loosens: why }) });
  }
  return changes;
}

const COMPARED = [
  ...(["effect", "mode", "scope", "target", "when", "require", "to", "score"] as const),
  ...(["effectiveFrom", "effectiveTo"] as const),
];

/** In words; undefined where nothing is different that a decision depends on. */
function changeOf(from: ProgramRule | undefined, to: ProgramRule | undefined): string | undefined {
  if (from === undefined) return `${to?.effect} rule added${to?.mode === "enforce" ? "" : ` (${to?.mode})`}`;
  if (to === undefined) return `${from.effect} rule removed`;
  const fields = COMPARED.filter((field) => spelled(from, field) !== spelled(to, field));
  if (fields.length === 0) return undefined;
  const words = fields.map((field) =>
    field === "mode" || field === "effect" ? `${field} ${from[field]} → ${to[field]}` : `${field} changed`,
  );
  return words.join(", ");
}

function spelled(rule: ProgramRule, field: keyof ProgramRule): string {
  const value = rule[field];
  return typeof value === "string" ? normalised(value) : JSON.stringify(value ?? null);
}

interface Levels {
  readonly before: ReadonlySet<string>;
  readonly after: ReadonlySet<string>;
}

function inForce(rule: ProgramRule | undefined): ProgramRule | undefined {
  return rule?.mode === "enforce" ? rule : undefined;
}

function placeOf(rule: ProgramRule): string {
  return `${rule.target === undefined ? "" : `${rule.target.kind} ${rule.target.key} `}in ${rule.scope}`;
}

function allowLevels(rules: readonly ProgramRule[]): ReadonlySet<string> {
  return new Set(rules.filter((rule) => rule.effect === "allow" && rule.mode === "enforce").map(placeOf));
}

/** What is not shown to tighten counts as loosening: a reviewer is asked once too often rather than once too rarely. */
function loosening(
  oldRule: ProgramRule | undefined,
  newRule: ProgramRule | undefined,
  levels: Levels,
): string | undefined {
  const from = inForce(oldRule);
  const to = inForce(newRule);
  if (from === undefined && to === undefined) return undefined;
  if (from === undefined || to === undefined || from.effect !== to.effect || placeOf(from) !== placeOf(to)) {
    return (from && withdrawn(from, levels)) ?? (to && introduced(to, levels));
  }
  // Only what tightens has dates.
  if (!covers(periodOf(to), periodOf(from))) return "it may be in force for a shorter time";
  switch (to.effect) {
    case "deny":
      return holdsWherever(from.when, to.when) ? undefined : "the denial may hold less often";
    case "allow":
      return holdsWherever(to.when, from.when) ? undefined : "the permission may hold more often";
    case "restrict":
      if (!holdsWherever(from.when, to.when)) return "the restriction may hold less often";
      return holdsWherever(to.require, from.require) ? undefined : "the restriction may demand less of a target";
    case "reroute":
    case "prefer":
      // Whatever they lead to or put first is checked like anything else.
      return undefined;
  }
}

function periodOf(rule: ProgramRule): Validity {
  return validity(rule.effectiveFrom, rule.effectiveTo);
}

function withdrawn(rule: ProgramRule, levels: Levels): string | undefined {
  if (rule.effect === "deny") return "a denial is no longer in force";
  if (rule.effect === "restrict") return "a restriction is no longer in force";
  if (rule.effect !== "allow" || levels.after.has(placeOf(rule))) return undefined;
  return `the level ${placeOf(rule)} no longer asks for a permission of its own`;
}

function introduced(rule: ProgramRule, levels: Levels): string | undefined {
  if (rule.effect !== "allow") return undefined;
  if (levels.before.has(placeOf(rule))) return "a permission more";
  const above = rule.target === undefined ? scopesAbove(rule.scope) : ["."];
  // A level that stands under one that asks already only asks for more.
  const bound = above.some((scope) => levels.before.has(`in ${scope}`) && levels.after.has(`in ${scope}`));
  return bound ? undefined : "the first permission for callers that had none";
}

function scopesAbove(scope: Scope): readonly Scope[] {
  if (scope === ".") return [];
  const parts = scope.split("/");
  return [".", ...parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"))];
}

/** Whether `wider` is shown to hold wherever `narrower` does: it demands no condition that the other does not. */
function holdsWherever(narrower: string | undefined, wider: string | undefined): boolean {
  if (wider === undefined || normalised(wider) === "true") return true;
  if (narrower === undefined) return false;
  const given = conjunctsOf(narrower);
  return [...conjunctsOf(wider)].every((conjunct) => given.has(conjunct));
}
