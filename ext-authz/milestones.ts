/** How many revisions `activeSince` and `decidedSince` report. */
const REPORTED_REVISIONS = 16;

/** When something was in force, or decided, for the first time; times in RFC 3339. */
export class Milestones {
  readonly #firstDecisions = new Map<string, string>();
  readonly #activeSince = new Map<number, string>();
  readonly #decidedSince = new Map<number, string>();

  /** @param now  milliseconds since the epoch */
  activated(revision: number, now: number): void {
    keepLatest(this.#activeSince, revision, now);
  }

  /**
   * A verdict was given.
   *
   * @param now  milliseconds since the epoch
   */
  decided(revision: number, layout: string, now: number): void {
    if (!this.#firstDecisions.has(layout)) this.#firstDecisions.set(layout, new Date(now).toISOString());
    if (this.#activeSince.has(revision) && !this.#decidedSince.has(revision)) {
      keepLatest(this.#decidedSince, revision, now);
    }
  }

  /** Forgets layouts that are not kept any more. */
  keepLayouts(kept: { has(layout: string): boolean }): void {
    for (const layout of this.#firstDecisions.keys()) {
      if (!kept.has(layout)) this.#firstDecisions.delete(layout);
    }
  }

  /** By layout or revision number, in the words of a NodeReport. */
  report(): Readonly<Record<"firstDecisions" | "activeSince" | "decidedSince", Readonly<Record<string, string>>>> {
    return {
      firstDecisions: Object.fromEntries(this.#firstDecisions),
      activeSince: Object.fromEntries(this.#activeSince),
      decidedSince: Object.fromEntries(this.#decidedSince),
    };
  }
}

function keepLatest(times: Map<number, string>, revision: number, now: number): void {
  times.set(revision, new Date(now).toISOString());
  for (const number of [...times.keys()].slice(0, -REPORTED_REVISIONS)) times.delete(number);
}
