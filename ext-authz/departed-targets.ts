import type { Target } from "../policy/index.ts";

/**
 * Targets that newer revisions do not have any more. An Envoy runs its old route table until it has the new one, and
 * where a target was replaced by another, the old table knows nothing else: so for a bounded time they stay candidates of
 * layouts that name them. Everything else that is decided by is the newest, so a rule, an approval that was taken back or
 * a changed application binds them at once.
 */
export class DepartedTargets {
  readonly #graceMs: number;
  /** Pool → the target as it was last, and when it is forgotten (milliseconds). */
  readonly #departed = new Map<string, { readonly target: Target; readonly until: number }>();

  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** @param now  milliseconds of a clock that never goes back */
  replace(before: readonly Target[], after: readonly Target[], now: number): void {
    for (const target of before) this.#departed.set(target.pool, { target, until: now + this.#graceMs });
    for (const { pool } of after) this.#departed.delete(pool);
    this.forget(now);
  }

  /** Forgets those whose time is over. @returns milliseconds until the next one's is; undefined: none is left */
  forget(now: number): number | undefined {
    let next: number | undefined;
    for (const [pool, { until }] of this.#departed) {
      if (until <= now) this.#departed.delete(pool);
      else next = Math.min(next ?? until, until);
    }
    return next === undefined ? undefined : next - now;
  }

  targets(): readonly Target[] {
    return [...this.#departed.values()].map(({ target }) => target);
  }
}
