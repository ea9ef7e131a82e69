import { MATURITIES, type MinimumScore } from "../resources/index.ts";
import { splitId } from "./assignments.ts";
import type { Change } from "./diff.ts";
import type {
  AdequateCountry,
  ApplicationFacts,
  ApprovalFacts,
  ModelFacts,
  PolicyProgram,
  Restriction,
  SplitFacts,
  Target,
} from "./program.ts";

/** Applications, models, targets, approvals and observed gateways that differ, and what of it can let more through. */
export function diffFacts(before: PolicyProgram, after: PolicyProgram): readonly Change[] {
  return [
    ...pairs("application", keyed(before.applications), keyed(after.applications), applicationLoosens),
    ...pairs("model", keyed(before.models), keyed(after.models), modelLoosens),
    ...pairs("approval", keyed(before.approvals), keyed(after.approvals), approvalLoosens),
    ...pairs("restriction", byId(before.restrictions), byId(after.restrictions), restrictionLoosens),
    ...pairs("target", pooled(before.targets), pooled(after.targets), targetLoosens),
    // Whatever a split puts first is checked like anything else.
    ...pairs("split", identified(before.splits), identified(after.splits), () => undefined),
    ...observed(before, after),
    ...pairs("adequacy", countries(before), countries(after), adequacyLoosens),
  ];
}

function keyed<T extends { readonly key: string }>(items: readonly T[]): ReadonlyMap<string, T> {
  return new Map(items.map((item) => [item.key, item]));
}

function byId(restrictions: readonly Restriction[] = []): ReadonlyMap<string, Restriction> {
  return new Map(restrictions.map((restriction) => [restriction.id, restriction]));
}

function identified(splits: readonly SplitFacts[] = []): ReadonlyMap<string, SplitFacts> {
  return new Map(splits.map((split) => [splitId(split), split]));
}

function pooled(targets: readonly Target[]): ReadonlyMap<string, Target> {
  return new Map(targets.map((target) => [target.pool, target]));
}

function countries({ adequate = [] }: PolicyProgram): ReadonlyMap<string, AdequateCountry> {
  return new Map(adequate.map((each) => [`${each.country} ${each.from ?? ""} ${each.to ?? ""}`.trim(), each]));
}

function adequacyLoosens(_from: AdequateCountry | undefined, to: AdequateCountry | undefined): string | undefined {
  return to === undefined ? undefined : `personal data may be processed in ${to.country}`;
}

function pairs<T extends object>(
  kind: Change["kind"],
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  loosens: (from: T | undefined, to: T | undefined) => string | undefined,
): readonly Change[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((key): Change[] => {
    const from = before.get(key);
    const to = after.get(key);
    const change = changeOf(from, to);
    if (change === undefined) return [];
    const why = loosens(from, to);
    return [{ kind, key, change, ...(why === undefined ? {} : { loosens: why }) }];
  });
}

function changeOf<T extends object>(from: T | undefined, to: T | undefined): string | undefined {
  if (from === undefined) return "added";
  if (to === undefined) return "removed";
  const fields = differing(from, to);
  return fields.length === 0 ? undefined : `${fields.join(", ")} changed`;
}

function differing(from: object, to: object): readonly string[] {
  const old = new Map<string, unknown>(Object.entries(from));
  const now = new Map<string, unknown>(Object.entries(to));
  return [...new Set([...old.keys(), ...now.keys()])].filter((field) => !same(old.get(field), now.get(field)));
}

/** Objects are made with their members in one order, so equal ones have equal JSON. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function applicationLoosens(from: ApplicationFacts | undefined, to: ApplicationFacts | undefined): string | undefined {
  if (to === undefined) return undefined;
  if (from === undefined) return "a new caller";
  const why: string[] = [];
  if (from.mode === "enforce" && to.mode === "observe") why.push("its denials are only observed");
  if (rank(to.minimumMaturity) < rank(from.minimumMaturity)) why.push("it accepts less mature versions");
  const asked = from.minimumScores.every((old) => to.minimumScores.some((now) => demandsAsMuch(now, old)));
  if (!asked) why.push("it demands lower scores");
  const identity = [...to.apiKeys, ...to.jwt].map((each) => JSON.stringify(each));
  const known = new Set([...from.apiKeys, ...from.jwt].map((each) => JSON.stringify(each)));
  if (identity.some((each) => !known.has(each)) || (to.anonymous && !from.anonymous)) {
    why.push("other callers are taken for it");
  }
  if (to.substitutes.some((model) => !from.substitutes.includes(model))) why.push("it accepts more substitutes");
  if (from.durability === "strict" && to.durability !== "strict") why.push("it goes on where nothing can be recorded");
  // What rules read: they may no longer bind it.
  const read = [
    ...(["scope", "purpose", "riskTier", "dataClasses", "jurisdictions", "labels", "riskBasis"] as const),
    ...(["decidesAboutPeople", "onMarketSince", "declarations", "recordRetentionDays"] as const),
  ];
  const other = read.filter((field) => !same(from[field], to[field]) && !onlyAdds(field, from, to));
  if (other.length > 0) why.push(`rules may no longer bind it by ${other.join(", ")}`);
  return joined(why);
}

function demandsAsMuch(now: MinimumScore, old: MinimumScore): boolean {
  return (
    now.metric === old.metric &&
    now.slice === old.slice &&
    now.value >= old.value &&
    (now.n ?? 0) >= (old.n ?? 0) &&
    (now.maxAgeMs ?? 1 / 0) <= (old.maxAgeMs ?? 1 / 0)
  );
}

/** A data class more is one more that rules can bind by; a jurisdiction more as well. */
function onlyAdds(field: string, from: ApplicationFacts, to: ApplicationFacts): boolean {
  if (field !== "dataClasses" && field !== "jurisdictions") return false;
  return from[field].length > 0 && from[field].every((each) => to[field].includes(each));
}

function rank(maturity: ApplicationFacts["minimumMaturity"]): number {
  // `maturityProblem`: where nothing is asked for, a canary will do.
  return MATURITIES.indexOf(maturity ?? "canary");
}

function modelLoosens(from: ModelFacts | undefined, to: ModelFacts | undefined): string | undefined {
  if (from === undefined || to === undefined) return undefined;
  const why: string[] = [];
  if (from.approval === "required" && to.approval === "notRequired") why.push("its versions need no approval");
  if (!same(from.labels, to.labels)) why.push("rules may no longer bind it by labels");
  return joined(why);
}

function approvalLoosens(from: ApprovalFacts | undefined, to: ApprovalFacts | undefined): string | undefined {
  if (to === undefined) return undefined;
  if (from === undefined) return `${to.version} may answer ${to.application}`;
  const why: string[] = [];
  if (from.version !== to.version || from.application !== to.application) {
    why.push(`${to.version} may answer ${to.application}`);
  }
  const everywhere = to.jurisdictions.length === 0 && from.jurisdictions.length > 0;
  const elsewhere =
    from.jurisdictions.length > 0 && to.jurisdictions.some((each) => !from.jurisdictions.includes(each));
  if (everywhere || elsewhere) why.push("it holds in more jurisdictions");
  if (timeOf(to.validFrom, -1 / 0) < timeOf(from.validFrom, -1 / 0)) why.push("it holds earlier");
  if (timeOf(to.validUntil, 1 / 0) > timeOf(from.validUntil, 1 / 0)) why.push("it holds longer");
  const fewer = (from.conditions ?? []).some((condition) => to.conditions?.includes(condition) !== true);
  if (fewer) why.push("a condition of it is gone");
  return joined(why);
}

function restrictionLoosens(from: Restriction | undefined, to: Restriction | undefined): string | undefined {
  if (from === undefined) return undefined;
  if (to === undefined || from.kind !== to.kind || from.value !== to.value) {
    return `${from.kind} ${from.value} is in use again`;
  }
  return timeOf(to.until, 1 / 0) < timeOf(from.until, 1 / 0) ? "it ends sooner" : undefined;
}

function timeOf(text: string | undefined, otherwise: number): number {
  return text === undefined ? otherwise : Date.parse(text);
}

function targetLoosens(from: Target | undefined, to: Target | undefined): string | undefined {
  if (to === undefined) return undefined;
  const opened =
    to.governed === false && from?.governed !== false ? "clients may reach it without a decision" : undefined;
  if (from === undefined) return opened ?? "there is more that may answer";
  const facts = ["labels", "credential", "upstream"] as const;
  const changed: string[] = facts.filter((field) => !same(from[field], to[field]));
  if (from.model !== undefined && to.model !== undefined) {
    // Order among what is legal, and how it is written on the wire, let nothing through.
    const harmless = new Set(["weight", "wireName", "path", "age", "cost"]);
    changed.push(...differing(from.model, to.model).filter((field) => !harmless.has(field)));
  }
  const judged = changed.length === 0 ? undefined : `rules may judge it otherwise by ${changed.join(", ")}`;
  const wider = (to.ranges ?? []).some((range) => from.ranges?.includes(range) !== true);
  const moved = wider ? "its endpoints may be elsewhere" : undefined;
  return joined([opened, moved, judged].filter((why) => why !== undefined));
}

function observed(before: PolicyProgram, after: PolicyProgram): readonly Change[] {
  const old = new Set(before.observedGateways);
  const now = new Set(after.observedGateways);
  return [...old.union(now)].sort().flatMap((key): Change[] => {
    if (old.has(key) && now.has(key)) return [];
    if (old.has(key)) return [{ kind: "gateway", key, change: "enforces again" }];
    return [{ kind: "gateway", key, change: "observes", loosens: "its denials are only observed" }];
  });
}

function joined(why: readonly string[]): string | undefined {
  return why.length === 0 ? undefined : why.join("; ");
}
