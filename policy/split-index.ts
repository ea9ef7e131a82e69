import type { Key, Scope } from "../resources/index.ts";
import { type CompiledRollout, type CompiledSplit, compiledSplit, pseudonymOf, splitId } from "./assignments.ts";
import type { DecisionInput } from "./decision.ts";
import type { ExpressionType } from "./expression.ts";
import type { PolicyProgram } from "./program.ts";
import { type ExpressionCache, type RuleExpression, scopeChain, unknownFor } from "./rules.ts";
import type { Steps } from "./steps.ts";
import { type StickyKey, stickyKeyFrom } from "./sticky-key.ts";

export interface SplitIndex {
  /** In the order in which they are asked. */
  splitsOf(model: Key): readonly CompiledSplit[];
  /** Those of them that have copies of requests sent to a version, in the same order. */
  mirroringOf(model: Key): readonly CompiledRollout[];
  /**
   * The pseudonym of whoever asks, in a split.
   *
   * @param split  its id
   */
  pseudonymOf(split: string, input: DecisionInput): string | undefined;
  /** Their conditions. */
  readonly conditions: readonly RuleExpression[];
  readonly problems: readonly { readonly rule: string; readonly message: string }[];
}

type SplitProgram = Pick<PolicyProgram, "splits" | "applications" | "models" | "targets">;

export function* indexSplits(program: SplitProgram, cache: ExpressionCache): Steps<SplitIndex> {
  const problems: { readonly rule: string; readonly message: string }[] = [];
  const conditions: RuleExpression[] = [];
  function* compiled(owner: string, field: string, text: string, expected: ExpressionType): Steps<RuleExpression> {
    const result = yield* cache.compile(text, "request", expected);
    if (result.ok) return result.expression;
    const message = `${field} does not compile: ${result.errors[0]?.message ?? "no reason given"}`;
    problems.push({ rule: owner, message });
    return unknownFor(message);
  }
  function* condition(owner: string, field: string, text: string): Steps<RuleExpression> {
    const expression = yield* compiled(owner, field, text, "bool");
    conditions.push(expression);
    return expression;
  }
  function* sticky(owner: string, text: string): Steps<StickyKey> {
    return stickyKeyFrom(text, yield* compiled(owner, "stickyKey", text, "string"));
  }

  const stickyKeys = new Map<Key, StickyKey>();
  for (const { key, stickyKey } of program.applications) {
    if (stickyKey === undefined) continue;
    stickyKeys.set(key, yield* sticky(`Application ${key}`, stickyKey));
    yield;
  }
  const scopes = new Map<Key, Scope>(program.models.map(({ key, scope }) => [key, scope]));
  const older = olderVersions(program);
  const byModel = new Map<Key, CompiledSplit[]>();
  const byId = new Map<string, CompiledSplit>();
  for (const facts of program.splits ?? []) {
    const id = splitId(facts);
    const { when, stickyKey } = facts;
    const segments: { readonly when: RuleExpression; readonly version: Key }[] = [];
    for (const segment of facts.kind === "Rollout" ? facts.segments : []) {
      segments.push({ ...segment, when: yield* condition(id, "segments", segment.when) });
    }
    const split = compiledSplit(facts, {
      ...(when === undefined ? {} : { when: yield* condition(id, "when", when) }),
      ...(stickyKey === undefined ? {} : { stickyKey: yield* sticky(id, stickyKey) }),
      stickyKeys,
      owner: scopes.get(facts.model) ?? ".",
      segments,
      versions: facts.kind === "Rollout" ? (facts.from ?? older(facts.model, facts.to)) : [],
    });
    byId.set(id, split);
    const known = byModel.get(facts.model);
    if (known === undefined) byModel.set(facts.model, [split]);
    else known.push(split);
    yield;
  }
  const mirroring = new Map<Key, readonly CompiledRollout[]>();
  for (const [model, splits] of byModel) {
    splits.sort(byPrecedence);
    mirroring.set(
      model,
      splits.filter((split) => "segments" in split).filter(({ facts }) => facts.mirror !== undefined),
    );
  }
  return {
    splitsOf: (model) => byModel.get(model) ?? [],
    mirroringOf: (model) => mirroring.get(model) ?? [],
    pseudonymOf(id, input) {
      const split = byId.get(id);
      return split === undefined ? undefined : pseudonymOf(split, input);
    },
    conditions,
    problems,
  };
}

/** Versions of a model that are older than one of them, newest first; all of them where that one is not deployed. */
function olderVersions({ targets }: Pick<PolicyProgram, "targets">): (model: Key, to: Key) => readonly Key[] {
  const ages = new Map<Key, Map<Key, number>>();
  for (const { model } of targets) {
    if (model === undefined) continue;
    const versions = ages.get(model.model) ?? new Map<Key, number>();
    ages.set(model.model, versions.set(model.version, model.age));
  }
  return (model, to) => {
    const versions = ages.get(model) ?? new Map<Key, number>();
    const age = versions.get(to) ?? Number.POSITIVE_INFINITY;
    return [...versions]
      .filter(([, other]) => other < age)
      .sort(([, a], [, b]) => b - a)
      .map(([version]) => version);
  };
}

/** Experiments take their units before a rollout moves the rest; then nearest scope first. */
function byPrecedence({ facts: a }: CompiledSplit, { facts: b }: CompiledSplit): number {
  if (a.kind !== b.kind) return a.kind === "Experiment" ? -1 : 1;
  return scopeChain(b.scope).length - scopeChain(a.scope).length || (a.key < b.key ? -1 : 1);
}
