import type { Frame } from "./frame.ts";
import { Failure } from "./value.ts";

/**
 * Evaluates one node. Returns a value or a `Failure`; never throws. What variables are read from is handed down beside the
 * frame: kept in it, each evaluation would have to write it there and take it out again.
 */
export type Run = (activation: unknown, frame: Frame) => unknown;

/** A node made ready. `constant` where every evaluation gives the same. */
export interface Compiled {
  readonly run: Run;
  readonly constant?: { readonly value: unknown };
  /** Where the value can be read in one step by who needs it. */
  readonly source?: Source;
}

/** How a value is read out of an activation: undefined where there is none, and then the node says what is missing. */
export type Source =
  /** `variable.field` of a record */
  | { readonly kind: "field"; readonly variable: Reader; readonly field: Reader }
  /** `variable.key`, `variable["key"]` of a map */
  | { readonly kind: "key"; readonly variable: Reader; readonly key: string };

/** undefined: there is none. Must not throw. */
export type Reader = (from: unknown) => unknown;

export function constant(value: unknown): Compiled {
  return { run: () => value, constant: { value } };
}

/** A failure knows where it came from. */
export function located(value: unknown, offset: number): unknown {
  return typeof value === "object" && value instanceof Failure ? value.at(offset) : value;
}
