import type { Finding } from "./analysis.ts";
import { withConditionsMet } from "./approval-conditions.ts";
import { type Asked, type AskedContext, type DecisionBudget, decisionBudget, MOST_DECISIONS } from "./asked.ts";
import { compilePolicy } from "./decide.ts";
import type { Policy, Verdict } from "./decision.ts";
import type { ApplicationFacts, PolicyProgram } from "./program.ts";

interface Context {
  readonly words: string;
  readonly facts: ApplicationFacts;
}

/** Removals that a finding names. */
const NAMED_RULES = 5;

/**
 * Applications for which nothing may answer although rules let them ask: for a jurisdiction and a data class that they
 * declare, or, where each of these by itself is fine, for all that they declare together. The first request that is
 * allowed answers for its context. Conditions of approvals that depend on more of a request than that are taken as met.
 *
 * @param onNote  told where not all could be looked at
 */
export function emptyContexts(
  program: PolicyProgram,
  asked: Asked,
  onNote: (note: string) => void,
  mostDecisions = MOST_DECISIONS,
): readonly Finding[] {
  const policy = compilePolicy(withConditionsMet(program));
  const budget = decisionBudget(mostDecisions);
  let whole = 0;
  const findings: Finding[] = [];
  for (const requests of asked) {
    const found = emptyOf(policy, requests, budget);
    if (budget.spent) break;
    findings.push(...found);
    whole += 1;
  }
  if (budget.spent) {
    const noun = asked.length === 1 ? "application" : "applications";
    onNote(`empty-legal-set: ${whole} of ${asked.length} ${noun} looked at, in ${mostDecisions} decisions`);
  }
  return findings;
}

function emptyOf(policy: Policy, requests: Iterable<AskedContext>, budget: DecisionBudget): readonly Finding[] {
  const inputs = keptRequests(requests);
  const [first] = inputs;
  if (first === undefined) return [];
  const facts = first.application;
  const about = { kind: "Application", key: facts.key } as const;
  const single = contextsOf(facts).flatMap((context) => emptyFinding(policy, inputs, context, about, budget) ?? []);
  if (single.length > 0) return single;
  return emptyFinding(policy, inputs, { words: "all that it declares", facts }, about, budget) ?? [];
}

/** Those about models, made when they are first asked for and then kept: each context asks for them again. */
function keptRequests(requests: Iterable<AskedContext>): Iterable<AskedContext> {
  const kept: AskedContext[] = [];
  const rest = requests[Symbol.iterator]();
  return {
    *[Symbol.iterator]() {
      for (let index = 0; ; index += 1) {
        while (index >= kept.length) {
          const next = rest.next();
          if (next.done === true) return;
          if (next.value.models.length > 0) kept.push(next.value);
        }
        const input = kept[index];
        if (input !== undefined) yield input;
      }
    },
  };
}

function contextsOf(facts: ApplicationFacts): readonly Context[] {
  const jurisdictions = facts.jurisdictions.length === 0 ? [undefined] : facts.jurisdictions;
  const dataClasses = facts.dataClasses.length === 0 ? [undefined] : facts.dataClasses;
  return jurisdictions.flatMap((jurisdiction) =>
    dataClasses.map((dataClass): Context => {
      const words = [jurisdiction, dataClass].filter((each) => each !== undefined);
      return {
        words: words.length === 0 ? "whatever it asks for" : words.join(" with "),
        facts: {
          ...facts,
          jurisdictions: jurisdiction === undefined ? [] : [jurisdiction],
          dataClasses: dataClass === undefined ? [] : [dataClass],
        },
      };
    }),
  );
}

function emptyFinding(
  policy: Policy,
  inputs: Iterable<AskedContext>,
  { words, facts }: Context,
  about: Finding["about"],
  budget: DecisionBudget,
): Finding[] | undefined {
  const removing = new Set<string>();
  let open = false;
  for (const input of inputs) {
    if (!budget.take()) return undefined;
    const verdict: Verdict = policy.decide({ ...input, application: facts });
    if (verdict.effect === "allow") return undefined;
    // What rules refuse at the door is meant to be refused.
    if (verdict.code !== "no_legal_target") continue;
    open = true;
    for (const { rule } of verdict.removed) if (rule !== "chancery:model") removing.add(rule);
  }
  if (!open) return undefined;
  const rules = [...removing].slice(0, NAMED_RULES).join(", ");
  const message = `nothing may answer for ${words}: every target is removed${rules === "" ? "" : ` (${rules})`}`;
  return [{ code: "empty-legal-set", message, hint: "chancery explain says what removed which target", about }];
}
