import type { AnalysisOptions, Finding } from "./analysis.ts";
import { MOST_DECISIONS } from "./asked.ts";
import { compilePolicy } from "./decide.ts";
import type { Verdict } from "./decision.ts";
import { underLawOf } from "./law-clock.ts";
import type { PolicyProgram } from "./program.ts";

/** Applications that a finding names. */
const NAMED_APPLICATIONS = 5;

/** Rules of law packs that begin soon, each with the applications whose requests it then decides otherwise. */
export function lawsThatBegin(
  program: PolicyProgram,
  { now, withinMs, asked }: Pick<AnalysisOptions, "now" | "withinMs" | "asked">,
  onNote: (note: string) => void,
  mostDecisions = MOST_DECISIONS,
): readonly Finding[] {
  const begins = program.rules.flatMap(({ id, mode, effectiveFrom }) => {
    const at = effectiveFrom === undefined || mode === "off" ? Number.NaN : Date.parse(effectiveFrom);
    return at > now && at <= now + withinMs ? [{ id, at }] : [];
  });
  const dates = [...Map.groupBy(begins, ({ at }) => at)];
  // Of every application as many, for every date.
  const share = Math.max(1, Math.floor(mostDecisions / Math.max(1, dates.length * asked.length)));
  let cut = false;
  const findings = dates.flatMap(([at, rules]) => {
    const policy = compilePolicy(underLawOf(program, at));
    const concerned = new Map<string, Set<string>>();
    for (const requests of asked) {
      let taken = 0;
      for (const input of requests) {
        if (taken === share) {
          cut = true;
          break;
        }
        taken += 1;
        for (const id of rulesNamedBy(policy.decide(input))) {
          concerned.set(id, (concerned.get(id) ?? new Set()).add(input.application.key));
        }
      }
    }
    return rules.map(({ id }): Finding => {
      const applications = [...(concerned.get(id) ?? [])].sort();
      const more = applications.length > NAMED_APPLICATIONS ? " and more" : "";
      const looked = cut ? "was looked at" : "is asked for today";
      const what =
        applications.length === 0
          ? `nothing that ${looked} is decided by it`
          : `it then decides about ${applications.slice(0, NAMED_APPLICATIONS).join(", ")}${more}`;
      const message = `it begins at ${new Date(at).toISOString()}: ${what}`;
      return {
        code: "law-begins",
        message,
        hint: "chancery law preview shows the decisions",
        about: { kind: "rule", key: id },
      };
    });
  });
  if (cut) onNote(`law-begins: ${share} requests of each application looked at`);
  return findings;
}

function rulesNamedBy({ rule, removed, shadow }: Verdict): readonly string[] {
  return [rule, ...removed.map((removal) => removal.rule), ...shadow.map((line) => line.split(" by ").at(-1) ?? "")];
}

/** Law packs that enforce rules which counsel has not reviewed. */
export function unreviewedLaws(laws: NonNullable<AnalysisOptions["laws"]>): readonly Finding[] {
  return laws.flatMap(({ key, unreviewed }): Finding[] => {
    if (unreviewed.length === 0) return [];
    const [first] = unreviewed;
    const more = unreviewed.length === 1 ? "" : ` and ${unreviewed.length - 1} more`;
    const message = `it enforces what your counsel has not reviewed: ${first}${more}`;
    return [
      {
        code: "law-unreviewed",
        message,
        hint: "review it, and write review: reviewed",
        about: { kind: "LawPack", key },
      },
    ];
  });
}
