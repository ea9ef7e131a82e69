import type { Key, Scope } from "../resources/index.ts";
import type { DecisionInput, Exposure } from "./decision.ts";
import type { Dependency, DependencyKey } from "./dependency.ts";
import { FieldSource } from "./fields.ts";
import type { ExperimentFacts, RolloutFacts, SplitFacts } from "./program.ts";
import { type RuleExpression, scopeChain } from "./rules.ts";
import { armsFor, pointOf, unitHash } from "./splits.ts";
import { defaultUnit, type StickyKey } from "./sticky-key.ts";
import { type Validity, validAt, validity } from "./validity.ts";

/** What splits say about requests: who is in which arm, and what of it answers. */

interface VersionArm {
  readonly name: string;
  readonly version: Key;
}

interface Common {
  /** For records and errors: "Rollout team/atlas". */
  readonly id: string;
  readonly when?: RuleExpression;
  readonly stickyKey?: StickyKey;
  /** Scope of its model. */
  readonly owner: Scope;
  /** The sticky keys of applications, for where it has none. */
  readonly stickyKeys: ReadonlyMap<Key, StickyKey>;
  /** What its part in a verdict depends on. */
  readonly part: Dependency;
}

export interface CompiledRollout extends Common {
  readonly facts: RolloutFacts;
  readonly segments: readonly { readonly when: RuleExpression; readonly version: Key }[];
  /** Best first, for units that are moved, that are not yet, and that are held out. */
  readonly to: readonly VersionArm[];
  readonly from: readonly VersionArm[];
  readonly heldOut: readonly VersionArm[];
}

export interface CompiledExperiment extends Common {
  readonly facts: ExperimentFacts;
  readonly period: Validity;
}

/** Immutable. */
export type CompiledSplit = CompiledRollout | CompiledExperiment;

/** @param from  versions that a rollout takes over from, best first */
export function compiledSplit(
  facts: SplitFacts,
  parts: Omit<Common, "id" | "part"> & Pick<CompiledRollout, "segments"> & { readonly versions: readonly Key[] },
): CompiledSplit {
  const { segments, versions, ...shared } = parts;
  const common = { ...shared, id: splitId(facts) };
  if (facts.kind === "Experiment") {
    const split: Omit<CompiledExperiment, "part"> = {
      ...common,
      facts,
      period: validity(facts.validFrom, facts.validUntil),
    };
    return { ...split, part: new Part(split) };
  }
  const to = { name: "to", version: facts.to };
  const from = (name: string) => versions.map((version) => ({ name, version }));
  const split: Omit<CompiledRollout, "part"> = {
    ...common,
    facts,
    segments,
    to: [to, ...from("from")],
    from: [...from("from"), to],
    heldOut: [...from("holdout"), to],
  };
  return { ...split, part: new Part(split) };
}

export function splitId({ kind, key }: Pick<SplitFacts, "kind" | "key">): string {
  return `${kind} ${key}`;
}

type Parted = Omit<CompiledRollout, "part"> | Omit<CompiledExperiment, "part">;

/** The arms of a unit, best first; none: it is not enrolled. */
function armsOf(split: Parted, unit: string, pseudonym: string): readonly VersionArm[] {
  const { facts } = split;
  const heldOut = facts.holdout > 0 && pointOf(unitHash(`holdout\0${facts.model}`, unit)) < facts.holdout / 100;
  const within = pointOf(pseudonym) < facts.share / 100;
  if ("period" in split) return heldOut || !within ? [] : armsFor(split.facts.arms, pseudonym);
  if (heldOut) return split.heldOut;
  return within ? split.to : split.from;
}

const UNKNOWN_UNIT = 0;
const NO_UNIT = 1;

/** Of a unit only its arms matter. */
class Part implements Dependency {
  readonly #split: Parted;

  constructor(split: Parted) {
    this.#split = split;
  }

  equals(other: Dependency): boolean {
    return other === this;
  }

  keyOf(source: FieldSource): DependencyKey {
    const key = stickyKeyOf(this.#split, source.input);
    const reading = key === undefined ? defaultUnit(source.input) : key.read(source);
    if (reading === undefined) return undefined;
    if (typeof reading !== "string") return UNKNOWN_UNIT;
    if (reading === "") return NO_UNIT;
    const arms = armsOf(this.#split, reading, unitHash(this.#split.facts.salt, reading));
    return arms.map(({ name }) => name).join("\n");
  }
}

/** The sticky key that tells units of a split apart: its own, or the application's; undefined: who asks. */
export function stickyKeyOf(
  { stickyKey, stickyKeys }: Pick<Common, "stickyKey" | "stickyKeys">,
  { application }: DecisionInput,
): StickyKey | undefined {
  return stickyKey ?? stickyKeys.get(application.key);
}

/** The pseudonym of whoever asks; undefined where that cannot be told from fields alone. */
export function pseudonymOf(split: CompiledSplit, input: DecisionInput): string | undefined {
  const key = stickyKeyOf(split, input);
  const unit = key === undefined ? defaultUnit(input) : key.read(new FieldSource(input));
  return typeof unit === "string" && unit !== "" ? unitHash(split.facts.salt, unit) : undefined;
}

/** What a split says about one request: versions in the order in which the first that may answer is drawn. */
export interface Assignment {
  readonly split: string;
  readonly arms: readonly VersionArm[];
  /** Pseudonym of the unit; absent where none is known. */
  readonly unit?: string;
}

/** What an assignment asks of a request. */
export interface SplitReader {
  readonly scope: Scope;
  readonly now: number;
  holds(split: CompiledSplit, condition: RuleExpression): boolean | undefined;
  /** Who counts as one; undefined where that is not known. */
  unit(split: CompiledSplit): string | undefined;
}

/** Those of a model's splits that bind the request. */
export function* inForce<S extends CompiledSplit>(splits: readonly S[], reader: SplitReader): Generator<S> {
  const chain = scopeChain(reader.scope);
  for (const split of splits) {
    const { facts, owner, when } = split;
    // It binds the callers of its scope; where it stands at or above the model, whoever calls.
    if (!chain.includes(facts.scope) && !scopeChain(owner).includes(facts.scope)) continue;
    if ("period" in split && !validAt(split.period, reader.now)) continue;
    if (when !== undefined && reader.holds(split, when) !== true) continue;
    yield split;
  }
}

/** What the splits of a model say about a request, the first in force first. */
export function* assignmentsFor(splits: readonly CompiledSplit[], reader: SplitReader): Generator<Assignment> {
  if (splits.length === 0) return;
  for (const split of inForce(splits, reader)) {
    const assignment = assignmentOf(split, reader);
    if (assignment !== undefined) yield assignment;
  }
}

/** Nothing for units that are not enrolled, and for requests of which it cannot be told. */
function assignmentOf(split: CompiledSplit, reader: SplitReader): Assignment | undefined {
  const { id, facts } = split;
  if ("segments" in split) {
    // A condition that cannot be told keeps what was there.
    const pinned = split.segments.find(({ when }) => reader.holds(split, when) !== false);
    if (pinned !== undefined) {
      return { split: id, arms: [{ name: "pinned", version: pinned.version }, ...split.from] };
    }
  }
  const unit = reader.unit(split);
  if (unit === undefined) return "segments" in split ? { split: id, arms: split.from } : undefined;
  const pseudonym = unitHash(facts.salt, unit);
  const arms = armsOf(split, unit, pseudonym);
  return arms.length === 0 ? undefined : { split: id, arms, unit: pseudonym };
}

/**
 * The version that the first assignment draws which has one that may answer, and what goes on record. The share of an
 * arm that may not answer falls to the other arms; nobody else moves.
 *
 * @param legal  versions that may answer
 */
export function drawn(assignments: Iterable<Assignment>, legal: ReadonlySet<Key>): Exposure | undefined {
  for (const { split, arms, unit } of assignments) {
    const arm = arms.find(({ version }) => legal.has(version));
    if (arm === undefined) continue;
    const [own] = arms;
    return {
      split,
      arm: arm.name,
      version: arm.version,
      ...(unit === undefined ? {} : { unit }),
      ...(own === undefined || own === arm ? {} : { instead: own.version }),
    };
  }
  return undefined;
}
