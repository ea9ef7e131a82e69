import type { Finding } from "./analysis.ts";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput, Policy, Verdict } from "./decision.ts";
import type { ApplicationFacts, PolicyProgram } from "./program.ts";

/** A request of an application, as its rules see it. */
export type AskedContext = DecisionInput;

interface Context {
  readonly words: string;
  readonly facts: ApplicationFacts;
}

/** Removals that a finding names. */
const NAMED_RULES = 5;

/**
 * Applications for which nothing may answer although rules let them ask: for a jurisdiction and a data class that they
 * declare, or, where each of these by itself is fine, for all that they declare together.
 */
export function emptyContexts(program: PolicyProgram, asked: readonly AskedContext[]): readonly Finding[] {
  const policy = compilePolicy(program);
  const modelRequests = asked.filter(({ models }) => models.length > 0);
  return [...Map.groupBy(modelRequests, ({ application }) => application.key)].flatMap(([key, inputs]): Finding[] => {
    const facts = inputs[0]?.application;
    if (facts === undefined) return [];
    const about = { kind: "Application", key } as const;
    const single = contextsOf(facts).flatMap((context) => emptyFinding(policy, inputs, context, about) ?? []);
    if (single.length > 0) return single;
    return emptyFinding(policy, inputs, { words: "all that it declares", facts }, about) ?? [];
  });
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
  inputs: readonly AskedContext[],
  { words, facts }: Context,
  about: Finding["about"],
): Finding[] | undefined {
  const removing = new Set<string>();
  let open = false;
  for (const input of inputs) {
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
