import { RevisionTimes } from "../distribution/index.ts";

/** When something was in force, or decided, for the first time; times in RFC 3339. */
export class Milestones {
  readonly #firstDecisions = new Map<string, string>();
  readonly #activeSince = new RevisionTimes();
  readonly #decidedSince = new RevisionTimes();

  /** @param now  milliseconds since the epoch */
  activated(revision: number, now: number): void {
    this.#activeSince.set(revision, now);
  }

  /**
   * A verdict was given.
   *
   * @param now  milliseconds since the epoch
   */
  decided(revision: number, layout: string, now: number): void {
    if (!this.#firstDecisions.has(layout)) this.#firstDecisions.set(layout, new Date(now).toISOString());
    if (this.#activeSince.has(revision) && !this.#decidedSince.has(revision)) this.#decidedSince.set(revision, now);
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
      activeSince: this.#activeSince.report(),
      decidedSince: this.#decidedSince.report(),
    };
  }
}
