import type { Registry } from "prom-client";
import type { Layout } from "../compiler/index.ts";
import type { Restriction } from "../policy/index.ts";
import { encodeAnswer } from "./answer.ts";
import { type Check, CheckReader } from "./check-request.ts";
import { decide } from "./decide.ts";
import { DENIALS, type FailureCode } from "./denials.ts";
import { FloodGate } from "./flood-gate.ts";
import { type HeldAnswer, HeldAnswers } from "./held-answers.ts";
import { InForce, type InForceOptions } from "./in-force.ts";
import { LayoutWaiters } from "./layout-waiters.ts";
import { DecisionMetrics } from "./metrics.ts";
import { Milestones } from "./milestones.ts";
import type { Outcome } from "./outcome.ts";
import type { JournalRecord } from "./record.ts";
import { RefusalSummary } from "./refusal-summary.ts";
import type { ActiveRevision } from "./tables.ts";

export interface DecisionServiceOptions extends InForceOptions {
  /** Names this process in records. */
  readonly serviceName: string;
  /** Resolves when the record is durable; rejects when it is not kept. */
  readonly appendRecord: (record: JournalRecord) => Promise<void>;
  /** In [0, 1). */
  readonly random: () => number;
  /** Unique over all services and restarts. */
  readonly newId: () => string;
  readonly metrics: Registry;
  /** Called at most once a second for each layout: the tables of a live Envoy are missing, so look for them at once. */
  readonly onUnknownLayout?: (layout: string, nodeGroup: string) => void;
  /** Active restrictions, asked for at each Check: the same array until the set changes. */
  readonly restrictions?: () => readonly Restriction[];
  /** Checks that may be in flight before more are refused at once; 2,000 by default. */
  readonly maxInFlight?: number;
  /** Records of their own that refusals of unknown callers get, per code and second; 100 by default. */
  readonly refusalRecordsPerSecond?: number;
  /**
   * Milliseconds that a Check waits for the layout it came with, which may be about to be loaded; 200 by default, under
   * the quarter of a second after which Envoy asks another decision service.
   */
  readonly layoutWaitMs?: number;
  /**
   * Milliseconds that `bestEffort` applications wait for a durable record; 80 by default, under the 0.1 s after which
   * Envoy asks another decision service. `strict` applications wait until Envoy gives up.
   */
  readonly recordWaitMs?: number;
}

/** What the service says of itself, in the words of a NodeReport. */
export interface DecisionServiceState {
  readonly prepared: number;
  readonly active: number;
  readonly layouts: readonly string[];
  readonly firstDecisions: Readonly<Record<string, string>>;
  readonly activeSince: Readonly<Record<string, string>>;
  readonly decidedSince: Readonly<Record<string, string>>;
  readonly decisions: number;
}

export interface DecisionService {
  /** Decides by this revision from now on, for Envoys on its layouts and on those kept. Throws "stale" for an older one. */
  activate(revision: ActiveRevision): void;
  /**
   * As `activate`, but the policy is compiled by `policyCompiler`, in slices, while the revision before goes on deciding;
   * then everything changes at once. A newer revision supersedes one that is still being compiled.
   *
   * @returns whether this revision came into force; false: it was superseded, or the service is closed. Rejects with
   *   "stale" for one that is older than what is in force or on its way.
   */
  adopt(revision: ActiveRevision): Promise<boolean>;
  /** Keeps the layouts of another revision, for Envoys that still (or already) run it. */
  keepLayouts(revision: { readonly number: number; readonly layouts: readonly Layout[] }): void;
  /**
   * Bytes of a CheckRequest to bytes of a CheckResponse. Never throws.
   *
   * @param nodeGroup  the group that the asking Envoy's certificate is for: about another one it gets no decision
   * @param reply  called once, at once or later
   */
  answer(request: Uint8Array, nodeGroup: string | undefined, reply: (response: Uint8Array) => void): void;
  /** As `answer`. Never rejects. */
  check(request: Uint8Array, nodeGroup?: string): Promise<Uint8Array>;
  state(): DecisionServiceState;
  /** Whether a revision is active. */
  readonly ready: boolean;
  /** Calls back once, when the first revision is active. */
  onReady(listener: () => void): void;
  /** Writes what is counted. Safe to call twice. */
  close(): Promise<void>;
}

/** A Check that came in. */
interface Call {
  readonly bytes: Uint8Array;
  readonly nodeGroup: string | undefined;
  /** Milliseconds of `monotonic`. */
  readonly started: number;
  readonly reply: (response: Uint8Array) => void;
  answered: boolean;
}

/** The answer to a Check whose record is on its way. */
interface CallAnswer extends HeldAnswer {
  readonly call: Call;
  readonly response: Uint8Array;
  readonly grpc: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export function createDecisionService(options: DecisionServiceOptions): DecisionService {
  return new Service(options);
}

class Service implements DecisionService {
  readonly #options: DecisionServiceOptions;
  readonly #metrics: DecisionMetrics;
  readonly #inForce: InForce;
  readonly #gate: FloodGate;
  readonly #maxInFlight: number;
  readonly #recordWaitMs: number;
  readonly #held: HeldAnswers<CallAnswer>;
  readonly #layoutWaitMs: number;
  readonly #waiters = new LayoutWaiters();
  readonly #reader = new CheckReader();
  readonly #milestones = new Milestones();
  readonly #refusals: RefusalSummary;
  #readyListeners: (() => void)[] = [];
  #decisions = 0;
  #alarmedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: DecisionServiceOptions) {
    this.#options = options;
    this.#metrics = new DecisionMetrics(options.metrics);
    this.#inForce = new InForce(options, {
      built: ({ layouts }) => {
        this.#milestones.keepLayouts(layouts);
        this.#waiters.wake(layouts);
      },
      activated: (revision) => this.#activated(revision),
    });
    this.#held = new HeldAnswers({
      ...options,
      metrics: this.#metrics,
      release: (held) => this.#release(held),
      refuse: ({ call, outcome, grpc }) => this.#reply(call, this.#fail("record_unavailable", outcome, grpc)),
    });
    this.#gate = new FloodGate(options.refusalRecordsPerSecond ?? 100);
    this.#maxInFlight = options.maxInFlight ?? 2_000;
    this.#recordWaitMs = options.recordWaitMs ?? 80;
    this.#layoutWaitMs = options.layoutWaitMs ?? 200;
    this.#refusals = new RefusalSummary({ ...options, gate: this.#gate });
  }

  get ready(): boolean {
    return this.#inForce.tables !== undefined;
  }

  onReady(listener: () => void): void {
    if (this.ready) listener();
    else this.#readyListeners.push(listener);
  }

  activate(revision: ActiveRevision): void {
    this.#inForce.activate(revision);
  }

  adopt(revision: ActiveRevision): Promise<boolean> {
    return this.#inForce.adopt(revision);
  }

  keepLayouts(revision: { readonly number: number; readonly layouts: readonly Layout[] }): void {
    this.#inForce.keepLayouts(revision);
  }

  #activated(revision: number): void {
    this.#milestones.activated(revision, this.#options.clock());
    this.#metrics.revision = revision;
    const listeners = this.#readyListeners;
    this.#readyListeners = [];
    for (const listener of listeners) listener();
  }

  state(): DecisionServiceState {
    const number = this.#inForce.revision;
    return {
      prepared: number,
      active: number,
      layouts: [...(this.#inForce.tables?.layouts.keys() ?? [])],
      ...this.#milestones.report(),
      decisions: this.#decisions,
    };
  }

  check(bytes: Uint8Array, nodeGroup?: string): Promise<Uint8Array> {
    return new Promise((resolve) => this.answer(bytes, nodeGroup, resolve));
  }

  answer(bytes: Uint8Array, nodeGroup: string | undefined, reply: (response: Uint8Array) => void): void {
    const started = this.#options.monotonic();
    if (this.#metrics.inFlight >= this.#maxInFlight) {
      reply(this.#fail("overloaded"));
      return;
    }
    this.#metrics.inFlight += 1;
    this.#go({ bytes, nodeGroup, started, reply, answered: false }, true);
  }

  /** Decides as far as it goes without waiting. */
  #go(call: Call, mayWait: boolean): void {
    let response: Uint8Array | undefined;
    try {
      response = this.#decide(call, mayWait);
    } catch (thrown) {
      response = this.#broken(thrown);
    }
    if (response !== undefined) this.#reply(call, response);
  }

  #reply(call: Call, response: Uint8Array): void {
    if (call.answered) return;
    call.answered = true;
    this.#metrics.inFlight -= 1;
    call.reply(response);
  }

  #broken(thrown: unknown): Uint8Array {
    this.#options.log.error({ err: thrown }, "a decision failed");
    return this.#fail("internal");
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#inForce.close();
    this.#waiters.close();
    await this.#refusals.close();
  }

  /** @returns undefined: it is answered later */
  #decide(call: Call, mayWait: boolean): Uint8Array | undefined {
    const { clock, random, newId, serviceName, restrictions } = this.#options;
    const { bytes, nodeGroup } = call;
    const { tables } = this.#inForce;
    if (tables === undefined) return this.#fail("no_revision");
    const check = this.#reader.read(bytes);
    if (check === undefined) return this.#fail("malformed_check");
    if (nodeGroup !== undefined && check.nodeGroup !== nodeGroup) return this.#fail("foreign_node");
    if (mayWait && !tables.layouts.has(check.layout)) {
      void this.#awaitLayout(check).then(() => this.#go(call, false));
      return undefined;
    }
    this.#inForce.use(check.layout);
    const now = clock();
    const outcome = decide(check, {
      tables,
      service: serviceName,
      decisionId: newId(),
      now,
      random,
      restrictions: restrictions?.(),
      elapsedUs: () => Math.round((this.#options.monotonic() - call.started) * 1000),
    });
    this.#observe(check, outcome);
    if (outcome.record.code === "unknown_layout") this.#alarm(check, now);
    // The Check is not to be read any more after this: the next one will be in its place.
    const response = outcome.encode();
    const { grpc } = check;
    if (outcome.application !== undefined || this.#gate.admit(outcome.record.code, now)) {
      const started = this.#options.monotonic();
      this.#held.hold({ call, outcome, response, grpc, now, started, due: started + this.#recordWaitMs });
      return undefined;
    }
    this.#count(outcome, now);
    return response;
  }

  #observe(check: Check, { record }: Outcome): void {
    this.#metrics.decisionSeconds.add(record.decidedInUs / 1e6);
    this.#metrics.bodyBytes += check.bodyBytes;
    for (const { rule } of record.errors) this.#metrics.ruleFailed(rule);
  }

  #count({ record }: Outcome, now: number): void {
    const { effect, code, application, layout } = record;
    this.#decisions++;
    this.#metrics.decided(effect, code, application);
    if (effect !== "error") this.#milestones.decided(record.revision.number, layout, now);
  }

  #release({ call, outcome, response, now }: CallAnswer): void {
    if (call.answered) return;
    this.#count(outcome, now);
    this.#reply(call, response);
  }

  /** An answer for a request of which nothing (more) is known or kept: fails closed, and is counted. */
  #fail(code: FailureCode, outcome?: Outcome, grpc?: string): Uint8Array {
    const decisionId = outcome?.record.id ?? this.#options.newId();
    const application = outcome?.record.application ?? "";
    this.#gate.count(code);
    this.#metrics.decided("error", code, application);
    const metadata = { decision: "deny", decision_id: decisionId, code, application };
    const { meaning: message } = DENIALS[code];
    const answer = { kind: "refuse", decisionId, code, rule: "", message, metadata } as const;
    return encodeAnswer(grpc === undefined ? answer : { ...answer, grpc });
  }

  #alarm(check: Check, now: number): void {
    this.#metrics.unknownLayouts += 1;
    if (now - this.#alarmedAt < 1000) return;
    this.#alarmedAt = now;
    const { layout, nodeGroup } = check.context;
    this.#options.log.error({ layout, nodeGroup }, "an Envoy runs a route table that is not known here");
  }

  /** An Envoy may have a new route table a moment before this process has. */
  async #awaitLayout({ context: { layout, nodeGroup } }: Check): Promise<void> {
    if (this.#waiters.mayLook(layout, this.#options.monotonic())) this.#options.onUnknownLayout?.(layout, nodeGroup);
    if (!this.#closed) await this.#waiters.wait(layout, this.#layoutWaitMs);
  }
}
