/** Start and end in milliseconds since the epoch. */
export interface Validity {
  readonly from: number;
  readonly until: number;
}

/** RFC 3339 bounds; an absent one does not bound, one that is not a time makes the whole never valid. */
export function validity(from: string | undefined, until: string | undefined): Validity {
  const start = from === undefined ? Number.NEGATIVE_INFINITY : Date.parse(from);
  const end = until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until);
  return { from: start, until: end };
}

/** From the first millisecond on, up to the last one exclusively. False where a bound is not a time. */
export function validAt(period: Validity, now: number): boolean {
  return now >= period.from && now < period.until;
}

/** Whether `outer` holds whenever `inner` does. */
export function covers(outer: Validity, inner: Validity): boolean {
  return outer.from <= inner.from && outer.until >= inner.until;
}
