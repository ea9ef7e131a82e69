import type { Layout } from "../compiler/index.ts";
import { inSlices, type Policy, type PolicyCompiler, type PolicyProgram, type Slicing } from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { behindMs, programOf } from "./control-clock.ts";
import { DepartedTargets } from "./departed-targets.ts";
import { LayoutHistory } from "./layout-history.ts";
import { programIndexSteps } from "./program-index.ts";
import { type ActiveRevision, buildTables, type DecisionTables } from "./tables.ts";

/** The part of a pino logger that is used. */
export interface DecisionLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface InForceOptions {
  readonly compilePolicy: (program: PolicyProgram) => Policy;
  /** For `adopt`; without one it compiles at once. */
  readonly policyCompiler?: PolicyCompiler;
  /** How `adopt` shares the loop with Checks while it indexes applications, targets and models; absent: it does not. */
  readonly slicing?: Slicing;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Milliseconds of a clock that never goes back (`performance.now`). */
  readonly monotonic: () => number;
  readonly log: DecisionLog;
  /** Revisions whose layouts are kept, the active one included, beside layouts in use; 8 by default. */
  readonly layoutRevisions?: number;
  /** Milliseconds that targets stay candidates of older layouts after a revision without them; 5,000 by default. */
  readonly departedMs?: number;
}

/** Is told of everything that comes into force. */
export interface InForceListener {
  /** What is decided by from now on: for a revision, and for other layouts or targets beside it. */
  built(tables: DecisionTables): void;
  /** A revision, after it was built. */
  activated(revision: number): void;
}

/** The revision that is decided by, with the layouts of others that live Envoys run. */
export class InForce {
  readonly #options: InForceOptions;
  readonly #history: LayoutHistory;
  readonly #departed: DepartedTargets;
  readonly #listener: InForceListener;
  #departedTimer: NodeJS.Timeout | undefined;
  #adopting: { readonly number: number; readonly controller: AbortController } | undefined;
  #revision: ActiveRevision | undefined;
  #tables: DecisionTables | undefined;
  #closed = false;

  constructor(options: InForceOptions, listener: InForceListener) {
    this.#options = options;
    this.#history = new LayoutHistory(options.layoutRevisions ?? 8);
    this.#departed = new DepartedTargets(options.departedMs ?? 5_000);
    this.#listener = listener;
  }

  /** What decisions read; undefined before the first revision. */
  get tables(): DecisionTables | undefined {
    return this.#tables;
  }

  /** The number of the revision; 0 before the first one. */
  get revision(): number {
    return this.#revision?.number ?? 0;
  }

  /** Says that a live Envoy runs a layout. */
  use(layout: string): void {
    this.#history.use(layout);
  }

  /** As `DecisionService.activate`. */
  activate(revision: ActiveRevision): void {
    this.#demandNewer(revision.number, this.revision);
    this.#bringIntoForce(revision, this.#options.compilePolicy(programOf(revision)));
  }

  /** As `DecisionService.adopt`. */
  async adopt(revision: ActiveRevision): Promise<boolean> {
    this.#demandNewer(revision.number, Math.max(this.revision, this.#adopting?.number ?? 0));
    this.#adopting?.controller.abort();
    const adopting = { number: revision.number, controller: new AbortController() };
    this.#adopting = adopting;
    try {
      const { compilePolicy, policyCompiler, slicing } = this.#options;
      const program = programOf(revision);
      const policy =
        policyCompiler === undefined
          ? compilePolicy(program)
          : await policyCompiler.compile(program, adopting.controller.signal);
      if (policy === undefined) return false;
      // The tables find what is made here.
      const steps = programIndexSteps(revision.program);
      if (slicing !== undefined) await inSlices(steps, slicing, adopting.controller.signal);
      if (adopting.controller.signal.aborted) return false;
      this.#bringIntoForce(revision, policy);
      return true;
    } finally {
      if (this.#adopting === adopting) this.#adopting = undefined;
    }
  }

  #demandNewer(number: number, known: number): void {
    if (number >= known) return;
    throw new ChanceryError("stale", `revision ${number} is older than ${known}, which is in force or on its way`);
  }

  /** Without a step in between: each Check sees the one revision or the other. */
  #bringIntoForce(revision: ActiveRevision, policy: Policy): void {
    // What is being compiled and is not newer has no use any more.
    if (this.#adopting !== undefined && this.#adopting.number <= revision.number) this.#adopting.controller.abort();
    for (const problem of policy.problems) this.#options.log.warn(problem, "a rule does not compile: it is unknown");
    this.#history.add(revision.number, revision.layouts);
    const before = this.#revision?.program.targets ?? [];
    this.#departed.replace(before, revision.program.targets, this.#options.monotonic());
    this.#revision = revision;
    // First, so that what is forgotten here is not built in.
    this.#forgetDepartedLater();
    this.#build(revision, policy);
    this.#listener.activated(revision.number);
    this.#options.log.info({ revision: revision.number, digest: revision.digest }, "deciding by a revision");
    const behind = behindMs(revision, this.#options.clock());
    if (behind !== undefined) {
      this.#options.log.warn({ behindMs: behind }, "the clock is behind that of control: approvals end late here");
    }
  }

  /** As `DecisionService.keepLayouts`. */
  keepLayouts(revision: { readonly number: number; readonly layouts: readonly Layout[] }): void {
    this.#history.add(revision.number, revision.layouts);
    if (this.#revision === undefined || this.#tables === undefined) return;
    this.#build(this.#revision, this.#tables.policy);
  }

  close(): void {
    this.#closed = true;
    this.#adopting?.controller.abort();
    clearTimeout(this.#departedTimer);
  }

  #build(revision: ActiveRevision, policy: Policy): void {
    this.#tables = buildTables(revision, this.#history.layouts(), policy, this.#departed.targets());
    this.#listener.built(this.#tables);
  }

  #forgetDepartedLater(): void {
    clearTimeout(this.#departedTimer);
    const ms = this.#departed.forget(this.#options.monotonic());
    if (ms === undefined || this.#closed) return;
    this.#departedTimer = setTimeout(() => {
      this.#forgetDepartedLater();
      if (this.#revision !== undefined && this.#tables !== undefined) this.#build(this.#revision, this.#tables.policy);
    }, Math.ceil(ms));
    this.#departedTimer.unref();
  }
}
