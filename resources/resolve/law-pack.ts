import type { Authored } from "../authored.ts";
import type { RuleMode } from "../inventory.ts";
import type { LawPack, LawRule } from "../law-pack.ts";
import type { Path } from "../yaml-document.ts";
import { checkCountry } from "./deployment.ts";
import { type Linking, metaOf } from "./linking.ts";
import { checkPeriod } from "./validity.ts";

const STRENGTH: readonly RuleMode[] = ["off", "shadow", "enforce"];

export function resolveLawPack(object: Authored<"LawPack">, linking: Linking): LawPack {
  const { problems } = linking;
  const { mode: packMode, ...spec } = object.spec;
  const ids = new Set<string>();
  const rules = spec.rules.map((rule, index): LawRule => {
    const at: Path = ["spec", "rules", index];
    if (ids.has(rule.id)) {
      const message = `two rules of this pack have the id "${rule.id}"`;
      problems.error(object, [...at, "id"], "conflict", message, "records tell rules apart by it");
    }
    ids.add(rule.id);
    if (rule.effect === "restrict" && rule.require === undefined) {
      problems.error(object, [...at, "require"], "missing-field", 'a rule of effect restrict needs "require"');
    }
    if (rule.effect === "deny" && rule.require !== undefined) {
      const message = 'a rule of effect deny has no "require"';
      problems.errorAtKey(object, [...at, "require"], "conflict", message, "only restrict has it");
    }
    checkPeriod(object, rule, at, linking);
    const mode = weaker(rule.mode, packMode);
    if (rule.review === "unreviewed" && mode !== "off") {
      const hint = "write mode: off, or have it reviewed and write review: reviewed";
      problems.error(object, [...at, "review"], "conflict", "a rule that is unreviewed must be off", hint);
    }
    return { ...rule, mode };
  });
  for (const [index, decision] of spec.adequacy.entries()) {
    const at: Path = ["spec", "adequacy", index];
    checkCountry(object, decision.country, [...at, "country"], problems);
    checkPeriod(object, decision, at, linking);
  }
  if (spec.adequacy.length > 0 && object.scope !== ".") {
    // What it permits would be permitted to applications of other scopes as well.
    const message = `a law pack in scope "${object.scope}" cannot say which countries are adequate`;
    problems.error(object, ["spec", "adequacy"], "not-allowed", message, "move it to the root of the tree");
  }
  return { ...metaOf(object), ...spec, rules };
}

function weaker(a: RuleMode, b: RuleMode): RuleMode {
  return STRENGTH.indexOf(a) < STRENGTH.indexOf(b) ? a : b;
}
