import type { Considered, Verdict } from "./decision.ts";

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
      verdict.removed.map(({ pool, rule, reason }) => `${pool} by ${rule}: ${reason}`),
    ),
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
  if (verdict.effect === "deny" || verdict.exposure === undefined) return [];
  const { split, arm, version, unit, instead } = verdict.exposure;
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
