import type { DecisionInput } from "./decision.ts";

/**
 * The same input with some parts changed. Spreading would lose what an input reads only when asked (getters of its
 * class).
 */
export function changedInput(input: DecisionInput, changes: Partial<DecisionInput>): DecisionInput {
  const { source, destination, connection, metadata, xds } = input;
  return { ...input, source, destination, connection, metadata, xds, ...changes };
}
