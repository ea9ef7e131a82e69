import { policySteps } from "./decide.ts";
import type { Policy } from "./decision.ts";
import type { PolicyProgram } from "./program.ts";
import { ExpressionCache } from "./rules.ts";

/** How work that takes long shares the loop with requests. */
export interface Slicing {
  /** Milliseconds of work at a time. */
  readonly sliceMs: number;
  /** Milliseconds of a clock that never goes back. */
  readonly monotonic: () => number;
  /** Resolves when others have had their turn. */
  readonly rest: () => Promise<void>;
}

/** Milliseconds: a request waits that long, and for the last piece of work and what garbage it leaves, which is 2 more. */
export const SLICE_MS = 3;

export interface PolicyCompiler {
  /**
   * As `compilePolicy`, in slices. Rules whose text the program before had are not compiled again, and neither is what a
   * compilation that was given up had done.
   *
   * @param signal  gives up: the promise resolves to undefined
   */
  compile(program: PolicyProgram, signal?: AbortSignal): Promise<Policy | undefined>;
}

export function createPolicyCompiler(slicing: Slicing): PolicyCompiler {
  const cache = new ExpressionCache();
  return {
    async compile(program, signal) {
      const steps = policySteps(program, cache);
      for (;;) {
        const started = slicing.monotonic();
        do {
          const step = steps.next();
          if (step.done === true) return step.value;
        } while (slicing.monotonic() - started < slicing.sliceMs);
        await slicing.rest();
        if (signal?.aborted === true) return undefined;
      }
    },
  };
}
