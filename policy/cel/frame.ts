/**
 * What one evaluation works with. A program has one frame and uses it again: evaluation is synchronous and does not
 * nest inside itself.
 */
export class Frame {
  /**
   * Work that is left: about one unit for a turn of a loop, four list elements compared, or 64 characters looked at.
   * Below zero the evaluation ends with `OUT_OF_WORK`.
   */
  work = 0;
  /** Variables of loops, by the slots that the compiler gave them. */
  readonly locals: unknown[];

  constructor(slots = 0) {
    this.locals = new Array<unknown>(slots).fill(undefined);
  }
}

/** Draws on the work that is left; false when there is none. */
export function charge(frame: Frame, work: number): boolean {
  frame.work -= work;
  return frame.work >= 0;
}

/** Work to go over a value once. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length >> 6;
  if (typeof value !== "object" || value === null) return 0;
  if (Array.isArray(value)) return value.length >> 2;
  if (value instanceof Map) return value.size >> 2;
  if (value instanceof Uint8Array) return value.length >> 6;
  return 0;
}
