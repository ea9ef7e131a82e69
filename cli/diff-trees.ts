import {
  type ActualDecision,
  type AskedDecision,
  actualDecision,
  type Change,
  compilePolicy,
  type DecisionDifference,
  diffDecisions,
  diffPrograms,
} from "../policy/index.ts";
import type { CompiledDirectory } from "./compile-directory.ts";
import type { Sample } from "./diff-samples.ts";
import { casePreparer, type DescribedCase } from "./policy-cases.ts";
import type { Progress } from "./progress.ts";

export interface TreeDifference {
  readonly changes: readonly Change[];
  readonly groups: readonly DifferenceGroup[];
  /** Requests that differ in other ways than the 10,000 of `groups`. */
  readonly moreGroups: number;
  readonly samples: { readonly asked: number; readonly different: number; readonly notAsked: number };
  readonly loosens: boolean;
}

/** Requests whose decisions differ alike. */
export interface DifferenceGroup extends DecisionDifference {
  readonly application: string;
  /** Requests, each as often as it was recorded. */
  readonly count: number;
  readonly examples: readonly {
    readonly request: string;
    readonly before: string;
    readonly after: string;
  }[];
}

const MOST_EXAMPLES = 3;
const MOST_GROUPS = 10_000;

type Tree = Pick<CompiledDirectory, "loaded" | "compiled">;

/**
 * Compares two compiled trees: by what stands in them, and by what they decide about samples. Keeps no sample: memory
 * grows with the kinds of difference alone.
 */
export function diffTrees(
  before: Tree,
  after: Tree,
  samples: Iterable<Sample>,
  progress: Progress = { step: () => undefined },
): TreeDifference {
  const changes = diffPrograms(before.compiled.parts.program, after.compiled.parts.program);
  const decide = { before: decider(before), after: decider(after) };
  const groups = new Map<string, DifferenceGroup>();
  let asked = 0;
  let different = 0;
  let all = 0;
  let moreGroups = 0;
  let loosens = changes.some((change) => change.loosens !== undefined);
  for (const { described, count } of samples) {
    all += 1;
    progress.step();
    const [old, now] = [decide.before(described), decide.after(described)];
    if (old === undefined && now === undefined) continue;
    asked += 1;
    // What cannot be asked of one of the trees has no caller or no route there.
    const from = old ?? NOT_THERE;
    const to = now ?? NOT_THERE;
    const difference = diffDecisions(from, to);
    if (difference === undefined) continue;
    different += 1;
    loosens ||= difference.loosens;
    const { application } = described.request;
    const key = JSON.stringify([difference, application]);
    const known = groups.get(key);
    if (known === undefined && groups.size >= MOST_GROUPS) {
      moreGroups += count;
      continue;
    }
    const group = known ?? { ...difference, application, count: 0, examples: [] };
    const example = { request: requestText(described), before: decisionText(from), after: decisionText(to) };
    groups.set(key, {
      ...group,
      count: group.count + count,
      examples: group.examples.length < MOST_EXAMPLES ? [...group.examples, example] : group.examples,
    });
  }
  const found = [...groups.values()].sort(
    (a, b) =>
      ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || compare(a.rule, b.rule) || compare(a.application, b.application),
  );
  return {
    changes,
    groups: found,
    moreGroups,
    samples: { asked, different, notAsked: all - asked },
    loosens,
  };
}

const ORDER = ["newlyAllowed", "newlyDenied", "reroutedOtherwise", "deniedOtherwise"] as const;

const NOT_THERE: ActualDecision = {
  effect: "deny",
  code: "not_there",
  rule: "chancery:not-there",
  reason: "this tree has no such caller or route",
  targets: [],
  rerouted: [],
  removed: [],
};

/** @returns undefined where the tree has nothing to ask about the request */
function decider(tree: Tree): (described: DescribedCase) => ActualDecision | undefined {
  const { prepare } = casePreparer(tree);
  const policy = compilePolicy(tree.compiled.parts.program);
  return (described) => {
    const prepared = prepare(described);
    const asked: AskedDecision | undefined = prepared.ok ? prepared.asked : undefined;
    return asked === undefined ? undefined : actualDecision(policy, asked);
  };
}

function requestText({ request }: DescribedCase): string {
  const model = request.model === undefined ? "" : ` model ${request.model}`;
  const where = `${request.method ?? ""} ${request.host ?? ""}${request.path ?? request.route ?? ""}`.trim();
  return `${where}${model}`;
}

function decisionText(decision: ActualDecision): string {
  if (decision.effect === "deny") return `deny (${decision.code}) ${decision.rule}`.trimEnd();
  return `allow ${decision.targets.join(", ")}`.trimEnd();
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
