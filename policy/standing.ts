import { formatDuration, MATURITIES, type Maturity } from "../resources/index.ts";
import { Timestamp, timestampOfMilliseconds } from "./cel/index.ts";
import type { ApplicationFacts, ModelTarget } from "./program.ts";
import { type Validity, validAt, validity } from "./validity.ts";

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
  if (maturity === "shadow") return "a shadow version answers nobody";
  const needed = minimum ?? "canary";
  if (RANKS[maturity] >= RANKS[needed]) return undefined;
  if (minimum === undefined) return `the version is ${maturity}, and the application does not ask for such versions`;
  return `the version is ${maturity}, and the application needs ${minimum}`;
}

/** Why a version must not even get copies of requests; undefined where it may. */
export function mirrorMaturityProblem(maturity: Maturity): string | undefined {
  if (!MATURITIES.includes(maturity)) return `its maturity "${maturity}" is not known`;
  if (maturity === "retired") return "the version is retired";
  if (RANKS[maturity] >= RANKS.shadow) return undefined;
  return `the version is ${maturity}, and a mirror needs shadow`;
}

/** The evaluations that count, by `scoreKey`, worked out once. */
export interface ScoreFacts {
  readonly latest: ReadonlyMap<string, Evaluation>;
  readonly values: ReadonlyMap<string, number>;
  /** As rules read them: a score without a date is not among them. */
  readonly times: ReadonlyMap<string, Timestamp>;
  /** As rules read them: a score without a number of samples is not among them. */
  readonly samples: ReadonlyMap<string, bigint>;
}

export interface Evaluation {
  readonly value: number;
  /** Milliseconds since the epoch; -Infinity where it has no date. */
  readonly at: number;
  readonly n?: number;
}

/** The latest evaluation of each score; of equally late ones the lowest. */
export function scoresOf(model: ModelTarget): ScoreFacts {
  const latest = new Map<string, Evaluation>();
  for (const { metric, slice, value, evaluatedAt, n } of model.scores) {
    const parsed = evaluatedAt === undefined ? Number.NaN : Date.parse(evaluatedAt);
    const at = Number.isNaN(parsed) ? Number.NEGATIVE_INFINITY : parsed;
    const key = scoreKey(metric, slice);
    const known = latest.get(key);
    if (known === undefined || at > known.at || (at === known.at && value < known.value)) {
      latest.set(key, { value, at, ...(n === undefined ? {} : { n }) });
    }
  }
  const times = [...latest].flatMap(([key, { at }]): [string, Timestamp][] => {
    const time = timestampOfMilliseconds(at);
    return time instanceof Timestamp ? [[key, time]] : [];
  });
  return {
    latest,
    values: new Map([...latest].map(([key, { value }]) => [key, value])),
    times: new Map(times),
    samples: new Map([...latest].flatMap(([key, { n }]) => (n === undefined ? [] : [[key, BigInt(n)] as const]))),
  };
}

/** "metric/slice"; the metric alone for the slice "all". */
export function scoreKey(metric: string, slice: string): string {
  return slice === "all" || slice === "" ? metric : `${metric}/${slice}`;
}

/**
 * The first of the application's minimum scores that is missing, too old, evaluated on too little, or not reached;
 * undefined when there is none.
 */
export function scoreProblem(
  scores: ScoreFacts,
  minimums: ApplicationFacts["minimumScores"],
  now: number,
): string | undefined {
  for (const { metric, slice, value, n, maxAgeMs } of minimums) {
    const key = scoreKey(metric, slice);
    const score = scores.latest.get(key);
    if (score === undefined) return `it has no score "${key}", and the application needs ${value}`;
    if (maxAgeMs !== undefined && !(now - score.at < maxAgeMs)) {
      const evaluated = Number.isFinite(score.at)
        ? `was evaluated at ${new Date(score.at).toISOString()}`
        : "has no date";
      return `its score "${key}" ${evaluated}, and the application takes none older than ${formatDuration(maxAgeMs)}`;
    }
    if (n !== undefined && !((score.n ?? 0) >= n)) {
      return `its score "${key}" rests on ${score.n ?? "an unknown number of"} samples, and the application needs ${n}`;
    }
    if (!(score.value >= value)) return `its score "${key}" is ${score.value}, and the application needs ${value}`;
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
