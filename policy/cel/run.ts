import type { Frame } from "./frame.ts";
import { Failure } from "./value.ts";

/** Evaluates one node. Returns a value or a `Failure`; never throws. */
export type Run = (frame: Frame) => unknown;

/** A node made ready. `constant` where every evaluation gives the same. */
export interface Compiled {
  readonly run: Run;
  readonly constant?: { readonly value: unknown };
}

export function constant(value: unknown): Compiled {
  return { run: () => value, constant: { value } };
}

/** A failure knows where it came from. */
export function located(value: unknown, offset: number): unknown {
  return typeof value === "object" && value instanceof Failure ? value.at(offset) : value;
}
