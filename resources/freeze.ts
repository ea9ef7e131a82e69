import type { Scope } from "./inventory.ts";
import type { LoadResult } from "./link.ts";
import { ParseCache, parseResources } from "./load.ts";
import { logFile, type OperationalLog } from "./operational-log.ts";
import type { Problem } from "./problem.ts";
import { isWithin, type ResourceFiles, resourceFiles, scopeOf } from "./resource-files.ts";

export interface FreezeOptions {
  readonly log?: OperationalLog;
  /** What was found wrong with `current` elsewhere (files that do not exist). */
  readonly problems?: readonly Problem[];
  /** Further checks of a whole tree (rules that do not compile); must be pure, and find nothing in the last good one. */
  readonly check?: (loaded: LoadResult) => readonly Problem[];
  readonly cache?: ParseCache;
}

/** A scope of which not the current files are in force but the last good ones. */
export interface FrozenScope {
  readonly scope: Scope;
  /** Its own errors; where it has none, those of others that it had to be held back for. */
  readonly problems: readonly Problem[];
}

export type FreezeResult =
  | {
      readonly outcome: "inForce";
      /** What is in force: without errors, and the last good tree of the next time. */
      readonly files: ResourceFiles;
      readonly loaded: LoadResult;
      readonly frozen: readonly FrozenScope[];
      /** Errors of entries of the log, which were left out. */
      readonly leftOut: readonly Problem[];
    }
  /** There are errors, and no last good tree to fall back to. */
  | { readonly outcome: "refused"; readonly problems: readonly Problem[] };

/** Bounds the work of `thaw`: links of a whole tree from cached files. */
const MOST_TRIALS = 256;

/**
 * A broken object freezes only its own scope: its directory keeps the last good files, whole. Scopes that a frozen one
 * cannot do without (it refers to what was removed from them) are frozen with it; at worst the whole tree is the last
 * good one. The result never has errors.
 */
export function freeze(
  current: ResourceFiles,
  lastGood: ResourceFiles | undefined,
  options: FreezeOptions = {},
): FreezeResult {
  const trial = new Trial(options);
  const first = trial.run(current);
  const initial = [...first.errors, ...errorsOf(options.problems ?? [])];
  if (initial.length === 0) return inForce(first, []);
  if (lastGood === undefined) return { outcome: "refused", problems: initial };

  const changed = changedScopes(current, lastGood);
  const frozen = new Map<Scope, readonly Problem[]>();
  const hold = (scopes: Iterable<Scope>, errors: readonly Problem[]): boolean => {
    let more = false;
    for (const scope of scopes) {
      if (frozen.has(scope)) continue;
      const own = errors.filter((problem) => problem.scope === scope);
      frozen.set(scope, own.length > 0 ? own : errors);
      more = true;
    }
    return more;
  };
  hold(heldScopes(initial, lastGood), initial);
  const needs = trial.run(lastGood).loaded.dependencies;
  let attempt = trial.run(compose(current, lastGood, frozen));
  while (attempt.errors.length > 0) {
    const erring = heldScopes(attempt.errors, lastGood);
    const needed = erring.flatMap((scope) => [...(needs.get(scope) ?? [])]).filter((scope) => changed.has(scope));
    if (!hold(erring, attempt.errors) && !hold(needed, attempt.errors) && !hold(changed, attempt.errors)) {
      // Everything is the last good tree by now; what is wrong even so was brought by the checks or the log.
      return { outcome: "refused", problems: attempt.errors };
    }
    attempt = trial.run(compose(current, lastGood, frozen));
  }
  const fixed = new Set(heldScopes(errorsOf([...current.problems, ...(options.problems ?? [])]), lastGood));
  attempt = thaw(current, lastGood, frozen, fixed, attempt, trial);
  return inForce(
    attempt,
    [...frozen].map(([scope, problems]) => ({ scope, problems })),
  );
}

/**
 * Gives back the current files to every scope that was frozen for others and turns out not to need it.
 *
 * @param fixed  scopes that stay frozen whatever a trial says, because their errors do not show in one
 */
function thaw(
  current: ResourceFiles,
  lastGood: ResourceFiles,
  frozen: Map<Scope, readonly Problem[]>,
  fixed: ReadonlySet<Scope>,
  start: Attempt,
  trial: Trial,
): Attempt {
  let attempt = start;
  let trials = 0;
  for (let progress = true; progress; ) {
    progress = false;
    const candidates = [...frozen].filter(([scope]) => !fixed.has(scope));
    // Those without errors of their own first: they are the ones that ought not to wait.
    const own = ([scope, problems]: (typeof candidates)[number]): number =>
      problems.some((problem) => problem.scope === scope) ? 1 : 0;
    for (const [scope] of candidates.sort((a, b) => own(a) - own(b))) {
      if (++trials > MOST_TRIALS) return attempt;
      const fewer = new Map(frozen);
      fewer.delete(scope);
      const next = trial.run(compose(current, lastGood, fewer));
      if (next.errors.length > 0) continue;
      frozen.delete(scope);
      attempt = next;
      progress = true;
    }
  }
  return attempt;
}

interface Attempt {
  readonly files: ResourceFiles;
  readonly loaded: LoadResult;
  readonly errors: readonly Problem[];
  readonly leftOut: readonly Problem[];
}

/** Parses trees, leaving out entries of the log that do not hold in them. */
class Trial {
  readonly #options: FreezeOptions;
  readonly #cache: ParseCache;

  constructor(options: FreezeOptions) {
    this.#options = options;
    this.#cache = options.cache ?? new ParseCache();
  }

  run(files: ResourceFiles): Attempt {
    let log = this.#options.log ?? [];
    const leftOut: Problem[] = [];
    for (;;) {
      const loaded = parseResources(files, log, this.#cache);
      const errors = errorsOf([...loaded.problems, ...(this.#options.check?.(loaded) ?? [])]);
      const entries = new Set(log.map(({ sequence }) => logFile(sequence)));
      const wrong = errors.filter(({ at }) => entries.has(at.file));
      if (wrong.length === 0) return { files, loaded, errors, leftOut };
      const out = new Set(wrong.map(({ at }) => at.file));
      leftOut.push(...wrong);
      log = log.filter(({ sequence }) => !out.has(logFile(sequence)));
    }
  }
}

function inForce({ files, loaded, leftOut }: Attempt, frozen: readonly FrozenScope[]): FreezeResult {
  return { outcome: "inForce", files, loaded, frozen, leftOut };
}

function errorsOf(problems: readonly Problem[]): readonly Problem[] {
  return problems.filter(({ severity }) => severity === "error");
}

/** The scopes that errors hold back; a directory that cannot be read takes every scope below it along. */
function heldScopes(errors: readonly Problem[], lastGood: ResourceFiles): readonly Scope[] {
  const held = new Set<Scope>();
  for (const { scope, at } of errors) {
    held.add(scope);
    if (at.file !== scope) continue;
    for (const path of lastGood.files.keys()) if (isWithin(scopeOf(path), scope)) held.add(scopeOf(path));
  }
  return [...held];
}

function changedScopes(current: ResourceFiles, lastGood: ResourceFiles): ReadonlySet<Scope> {
  const changed = new Set<Scope>(current.problems.map(({ scope }) => scope));
  for (const path of [...current.files.keys(), ...lastGood.files.keys()]) {
    if (current.files.get(path) !== lastGood.files.get(path)) changed.add(scopeOf(path));
  }
  return changed;
}

/** The current tree with the last good files in the scopes of `frozen`. */
function compose(current: ResourceFiles, lastGood: ResourceFiles, frozen: ReadonlyMap<Scope, unknown>): ResourceFiles {
  if (frozen.size === 0) return current;
  const files = new Map<string, string>();
  for (const [path, text] of current.files) if (!frozen.has(scopeOf(path))) files.set(path, text);
  for (const [path, text] of lastGood.files) if (frozen.has(scopeOf(path))) files.set(path, text);
  return resourceFiles(
    files,
    current.problems.filter(({ scope }) => !frozen.has(scope)),
  );
}
