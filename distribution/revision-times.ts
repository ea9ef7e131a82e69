/** Of so many revisions a report says when something happened. */
const REPORTED_REVISIONS = 16;

/** When something happened to each of the last few revisions, in the words of a NodeReport. */
export class RevisionTimes {
  readonly #times = new Map<number, string>();

  /** @param now  milliseconds since the epoch; a revision for which it happens again counts as the latest */
  set(revision: number, now: number): void {
    this.#times.delete(revision);
    this.#times.set(revision, new Date(now).toISOString());
    for (const number of [...this.#times.keys()].slice(0, -REPORTED_REVISIONS)) this.#times.delete(number);
  }

  has(revision: number): boolean {
    return this.#times.has(revision);
  }

  /** Revision number → RFC 3339. */
  report(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#times);
  }
}
