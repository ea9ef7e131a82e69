import { MATURITIES, type Maturity } from "../resources/index.ts";
import { type Validity, validAt, validity } from "./approvals.ts";
import type { ApplicationFacts, ModelTarget } from "./program.ts";

/** What a version has to show: maturity, scores, certifications. */

/** A deprecated version is as mature as one in production; a retired one is nothing that anyone can ask for. */
const RANKS: Readonly<Record<Maturity, number>> = {
  experimental: 0,
  shadow: 1,
  canary: 2,
  production: 3,
  deprecated: 3,
  retired: Number.POSITIVE_INFINITY,
};

/** Why a version's maturity is not enough for the application; undefined when it is. */
export function maturityProblem(maturity: Maturity, minimum: Maturity | undefined): string | undefined {
  if (!MATURITIES.includes(maturity)) return `its maturity "${maturity}" is not known`;
  if (maturity === "retired") return "the version is retired";
  const needed = minimum ?? "canary";
  if (RANKS[maturity] >= RANKS[needed]) return undefined;
  if (minimum === undefined) return `the version is ${maturity}, and the application does not ask for such versions`;
  return `the version is ${maturity}, and the application needs ${minimum}`;
}

/** Scores by `scoreKey`, the latest evaluation of each; of equally late ones the lowest. */
export function scoresOf(model: ModelTarget): ReadonlyMap<string, number> {
  const latest = new Map<string, { readonly value: number; readonly at: number }>();
  for (const { metric, slice, value, evaluatedAt } of model.scores) {
    const parsed = evaluatedAt === undefined ? Number.NaN : Date.parse(evaluatedAt);
    const at = Number.isNaN(parsed) ? Number.NEGATIVE_INFINITY : parsed;
    const key = scoreKey(metric, slice);
    const known = latest.get(key);
    if (known === undefined || at > known.at || (at === known.at && value < known.value))
      latest.set(key, { value, at });
  }
  return new Map([...latest].map(([key, { value }]) => [key, value]));
}

/** "metric/slice"; the metric alone for the slice "all". */
export function scoreKey(metric: string, slice: string): string {
  return slice === "all" || slice === "" ? metric : `${metric}/${slice}`;
}

/** The first of the application's minimum scores that is missing or not reached; undefined when all are. */
export function scoreProblem(
  scores: ReadonlyMap<string, number>,
  minimums: ApplicationFacts["minimumScores"],
): string | undefined {
  for (const { metric, slice, value } of minimums) {
    const key = scoreKey(metric, slice);
    const score = scores.get(key);
    if (score === undefined) return `it has no score "${key}", and the application needs ${value}`;
    if (!(score >= value)) return `its score "${key}" is ${score}, and the application needs ${value}`;
  }
  return undefined;
}

export interface CertificationPeriod {
  readonly name: string;
  readonly period: Validity;
}

export function certificationsOf(model: ModelTarget): readonly CertificationPeriod[] {
  return model.certifications.map(({ name, validFrom, validUntil }) => ({
    name,
    period: validity(validFrom, validUntil),
  }));
}

export function validCertifications(certifications: readonly CertificationPeriod[], now: number): readonly string[] {
  return certifications.filter(({ period }) => validAt(period, now)).map(({ name }) => name);
}
