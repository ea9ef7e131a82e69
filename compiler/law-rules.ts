import type { AdequateCountry, ProgramRule } from "../policy/index.ts";
import type { Key, LawPack } from "../resources/index.ts";

/** Id of a rule of a law pack in the program: no Policy can have one like it. */
export function lawRuleId(pack: Key, rule: string): string {
  return `law:${pack}/${rule}`;
}

/** The rules of a law pack for callers of its scope and below, each with its article as the first reference. */
export function lawRules(pack: LawPack): readonly ProgramRule[] {
  return pack.rules.map(({ article, review: _review, ...rule }) => ({
    ...rule,
    id: lawRuleId(pack.key, rule.id),
    scope: pack.scope,
    references: [`${pack.instrument}, ${article}`, ...pack.references],
  }));
}

/** Countries with a decision of adequacy that somebody has looked at. */
export function adequateCountries(packs: readonly LawPack[]): { readonly adequate?: readonly AdequateCountry[] } {
  const adequate = packs.flatMap(({ adequacy }) =>
    adequacy
      .filter(({ review }) => review !== "unreviewed")
      .map(
        ({ country, effectiveFrom, effectiveTo }): AdequateCountry => ({
          country,
          ...(effectiveFrom === undefined ? {} : { from: effectiveFrom }),
          ...(effectiveTo === undefined ? {} : { to: effectiveTo }),
        }),
      ),
  );
  return adequate.length === 0 ? {} : { adequate };
}
