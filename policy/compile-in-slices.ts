import { policySteps } from "./decide.ts";
import type { Policy } from "./decision.ts";
import type { PolicyProgram } from "./program.ts";
import { ExpressionCache } from "./rules.ts";
import { inSlices, type Slicing } from "./steps.ts";

export interface PolicyCompiler {
  /**
   * As `compilePolicy`, in slices. Rules whose text the program before had are not compiled again, and neither is what a
   * compilation that was given up had done. The very program of the compilation before (revisions that change routes
   * alone have it) gives the policy of that compilation, with what that remembers.
   *
   * @param signal  gives up: the promise resolves to undefined
   */
  compile(program: PolicyProgram, signal?: AbortSignal): Promise<Policy | undefined>;
}

export function createPolicyCompiler(slicing: Slicing): PolicyCompiler {
  const cache = new ExpressionCache();
  let last: { readonly program: PolicyProgram; readonly policy: Policy } | undefined;
  return {
    async compile(program, signal) {
      if (last?.program === program) return last.policy;
      const policy = await inSlices(policySteps(program, cache), slicing, signal);
      if (policy !== undefined) last = { program, policy };
      return policy;
    },
  };
}
