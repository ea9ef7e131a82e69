import type { Key } from "../resources/index.ts";
import type { AnalysisOptions, Finding } from "./analysis.ts";
import type { ModelTarget, PolicyProgram } from "./program.ts";

type Window = Pick<AnalysisOptions, "now" | "withinMs" | "scoreAgeMs">;

/** Approvals, certifications, scores, agreements and safeguards that end soon, or have ended. */
export function endingSoon(program: PolicyProgram, { now, withinMs, scoreAgeMs }: Window): readonly Finding[] {
  const findings: Finding[] = [];
  const report = (
    code: Finding["code"],
    what: string,
    until: number | undefined,
    about: Finding["about"],
    hint: string,
  ): void => {
    // No time that can be read: it bounds nothing here, and is an error elsewhere.
    if (until === undefined || Number.isNaN(until) || until > now + withinMs) return;
    const verb = until <= now ? "ended" : "ends";
    findings.push({ code, message: `${what} ${verb} at ${new Date(until).toISOString()}`, hint, about });
  };
  for (const { key, version, application, validUntil, rule } of program.approvals) {
    if (rule !== undefined) continue;
    const what = `the approval of ${version} for ${application}`;
    report("approval-ends", what, timeOf(validUntil), { kind: "Approval", key }, "approve again, or remove it");
  }
  for (const [rule, what, until] of lastByRule(program)) {
    report("approval-ends", what, until, { kind: "ApprovalRule", key: rule }, "evaluate again, or change the rule");
  }
  for (const model of versionsOf(program)) {
    const about = { kind: "ModelVersion", key: model.version } as const;
    for (const { name, validUntil } of model.certifications) {
      report("certification-ends", `the certification ${name}`, timeOf(validUntil), about, "renew it, or remove it");
    }
    for (const { metric, slice, evaluatedAt } of model.scores) {
      const evaluated = timeOf(evaluatedAt);
      const age = Math.min(scoreAgeMs ?? Number.POSITIVE_INFINITY, ageAskedFor(program, metric, slice));
      const until = evaluated === undefined || age === Number.POSITIVE_INFINITY ? undefined : evaluated + age;
      report("score-ages", `the score ${metric} (${slice})`, until, about, "evaluate again");
    }
  }
  for (const { model } of program.targets) {
    if (model === undefined) continue;
    const about = { kind: "Deployment", key: model.deployment } as const;
    for (const [what, until] of lastAgreements(model)) {
      report("agreement-ends", what, until, about, "renew it, or remove it");
    }
    for (const [country, until] of lastSafeguards(program, model)) {
      report("safeguard-ends", `what covers processing in ${country}`, until, about, "renew it, or remove it");
    }
  }
  return findings;
}

/** What a rule approved may hold in several periods: the last one counts. */
function lastByRule({ approvals }: PolicyProgram): readonly (readonly [Key, string, number])[] {
  const last = new Map<string, readonly [Key, string, number]>();
  for (const { rule, version, application, validUntil } of approvals) {
    if (rule === undefined) continue;
    const what = `the approval of ${version} for ${application}`;
    const until = timeOf(validUntil) ?? Number.POSITIVE_INFINITY;
    const known = last.get(`${rule}\n${what}`);
    if (known === undefined || known[2] < until) last.set(`${rule}\n${what}`, [rule, what, until]);
  }
  return [...last.values()];
}

/** With whom what is agreed → until when; one that follows another one counts for both. */
function lastAgreements({ agreements = [] }: ModelTarget): ReadonlyMap<string, number> {
  return latest(
    agreements.map(({ kind, subprocessor, validUntil }) => {
      const party = subprocessor === undefined ? "" : ` with ${subprocessor}`;
      return [`the ${kind} agreement${party}`, validUntil];
    }),
  );
}

/** Country with a safeguard → until when that, or a decision of adequacy, covers it. */
function lastSafeguards(
  { adequate = [] }: PolicyProgram,
  { safeguards = [] }: ModelTarget,
): ReadonlyMap<string, number> {
  const own = new Set(safeguards.map(({ country }) => country));
  return latest([
    ...safeguards.map(({ country, validUntil }): [string, string | undefined] => [country, validUntil]),
    ...adequate.flatMap(({ country, to }): [string, string | undefined][] => (own.has(country) ? [[country, to]] : [])),
  ]);
}

/** The latest of the ends of each; one without an end never ends. */
function latest(ends: readonly (readonly [string, string | undefined])[]): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  for (const [what, end] of ends) {
    const until = timeOf(end) ?? Number.POSITIVE_INFINITY;
    last.set(what, Math.max(last.get(what) ?? until, until));
  }
  return last;
}

/** The least age at which an application no longer takes a score; milliseconds. */
function ageAskedFor({ applications }: PolicyProgram, metric: string, slice: string): number {
  const ages = applications.flatMap(({ minimumScores }) =>
    minimumScores.flatMap((each) =>
      each.metric === metric && each.slice === slice && each.maxAgeMs !== undefined ? [each.maxAgeMs] : [],
    ),
  );
  return Math.min(Number.POSITIVE_INFINITY, ...ages);
}

/** Models with fewer targets than `minReady` in a region where they have any; retired versions do not count. */
export function fewTargets(program: PolicyProgram, minReady: number): readonly Finding[] {
  const places = Map.groupBy(
    program.targets.flatMap(({ model }) => (model === undefined || model.maturity === "retired" ? [] : [model])),
    ({ model, region }) => `${model}\n${region}`,
  );
  return [...places.values()].flatMap((targets): Finding[] => {
    const [first] = targets;
    if (first === undefined || targets.length >= minReady) return [];
    const message = `${targets.length} of at least ${minReady} targets in region ${first.region}`;
    return [{ code: "few-targets", message, hint: "deploy more there", about: { kind: "Model", key: first.model } }];
  });
}

/** One of the targets of each version: they share what is looked at here. */
function versionsOf(program: PolicyProgram): Iterable<ModelTarget> {
  return new Map(
    program.targets.flatMap(({ model }) => (model === undefined ? [] : [[model.version, model]])),
  ).values();
}

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}
