import type { NodeReport } from "./bus.ts";

/** A decision service that reported within this time (milliseconds) is waited for. */
const LIVE_MS = 10_000;
const MAXIMUM_WAIT_MS = 2_000;
/** How long a service is believed that says it has a newer revision (milliseconds), before the bus announces one here. */
const BELIEVED_MS = 10_000;

/** A revision whose layouts are to be pushed to Envoys. */
export interface WaitingLayouts {
  readonly number: number;
  /** Hashes of its layouts. */
  readonly layouts: readonly string[];
  /** When the waiting began; milliseconds since the epoch. */
  readonly since: number;
}

export type GateState =
  /** Every live decision service can decide for every layout. */
  | { readonly state: "open"; readonly services: readonly string[] }
  /** The longest wait is over, and these are not ready (none: no decision service is live): loud, and go on. */
  | { readonly state: "overdue"; readonly missing: readonly string[] }
  /** A decision service skipped this revision for the newer one that follows: its layouts must not be pushed. */
  | { readonly state: "superseded" }
  /** Look again at the next report, and at `until` (milliseconds since the epoch) at the latest. */
  | { readonly state: "closed"; readonly missing: readonly string[]; readonly until: number };

/**
 * Whether an xDS server may push the routes of a revision: layouts go to the decision services first, so that no request
 * comes with a layout that nobody knows. While no service is live it waits too, since one may just be starting.
 *
 * @param reports  the newest of each reporter; nobody has signed them
 * @param now  milliseconds since the epoch
 * @param newest  number of the newest head that this process has seen
 */
export function layoutGate(
  waiting: WaitingLayouts,
  reports: Iterable<NodeReport>,
  now: number,
  newest: number,
  maximumWaitMs = MAXIMUM_WAIT_MS,
): GateState {
  const services: string[] = [];
  const missing: string[] = [];
  let superseded = false;
  for (const report of reports) {
    if (report.role !== "authz" || Math.abs(now - Date.parse(report.at)) > LIVE_MS) continue;
    const ready = report.prepared === waiting.number || waiting.layouts.every((hash) => report.layouts.includes(hash));
    (ready ? services : missing).push(report.reporter);
    superseded ||= !ready && report.prepared > waiting.number;
  }
  if (superseded && newest > waiting.number) return { state: "superseded" };
  if (missing.length === 0 && services.length > 0) return { state: "open", services };
  const until = waiting.since + (superseded ? Math.max(BELIEVED_MS, maximumWaitMs) : maximumWaitMs);
  return now >= until ? { state: "overdue", missing } : { state: "closed", missing, until };
}

export interface LayoutGateOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Longest wait (milliseconds); 2,000 unless given. */
  readonly maximumWaitMs?: number;
  /** Layouts are pushed although decision services (`missing`) do not know them yet. */
  readonly onOverdue: (waiting: WaitingLayouts, missing: readonly string[]) => void;
}

/** Feeds reports to `layoutGate` and keeps its time. */
export class LayoutGate {
  readonly #options: LayoutGateOptions;
  readonly #reports = new Map<string, NodeReport>();
  readonly #waiting = new Map<
    WaitingLayouts,
    { readonly resolve: (opened: boolean) => void; timer?: NodeJS.Timeout }
  >();
  #newest = 0;
  #closed = false;

  constructor(options: LayoutGateOptions) {
    this.#options = options;
  }

  /** To be called with every report of the bus. */
  report(report: NodeReport): void {
    if (this.#closed) return;
    this.#reports.set(report.reporter, report);
    for (const [reporter, { at }] of this.#reports) {
      if (this.#options.now() - Date.parse(at) > LIVE_MS) this.#reports.delete(reporter);
    }
    for (const waiting of [...this.#waiting.keys()]) this.#look(waiting);
  }

  /** To be called with the number of every new head. */
  head(number: number): void {
    if (this.#closed) return;
    this.#newest = number;
    for (const waiting of [...this.#waiting.keys()]) this.#look(waiting);
  }

  /** Resolves when the layouts of a revision may be pushed; false: do not, a newer one follows, or the gate was closed. */
  opened(revision: {
    readonly number: number;
    readonly layouts: readonly { readonly hash: string }[];
  }): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    const layouts = revision.layouts.map((layout) => layout.hash);
    const waiting: WaitingLayouts = { number: revision.number, layouts, since: this.#options.now() };
    return new Promise((resolve) => {
      this.#waiting.set(waiting, { resolve });
      this.#look(waiting);
    });
  }

  close(): void {
    this.#closed = true;
    for (const waiting of [...this.#waiting.keys()]) this.#settle(waiting, false);
  }

  #look(waiting: WaitingLayouts): void {
    const entry = this.#waiting.get(waiting);
    if (entry === undefined) return;
    const { now, maximumWaitMs, onOverdue } = this.#options;
    const gate = layoutGate(waiting, this.#reports.values(), now(), this.#newest, maximumWaitMs);
    if (gate.state === "closed") {
      clearTimeout(entry.timer);
      entry.timer = setTimeout(() => this.#look(waiting), Math.max(1, gate.until - now()));
      return;
    }
    if (gate.state === "overdue") onOverdue(waiting, gate.missing);
    this.#settle(waiting, gate.state !== "superseded");
  }

  #settle(waiting: WaitingLayouts, opened: boolean): void {
    const entry = this.#waiting.get(waiting);
    this.#waiting.delete(waiting);
    clearTimeout(entry?.timer);
    entry?.resolve(opened);
  }
}
