import { Counter, Gauge, type Registry } from "prom-client";
import { FixedHistogram } from "./fixed-histogram.ts";
import type { DecisionRecord } from "./record.ts";

type Effect = DecisionRecord["effect"];

interface Decided {
  readonly effect: Effect;
  readonly code: string;
  readonly application: string;
  count: number;
}

/** What one decision service counts: plain numbers, which metrics are made from when somebody asks. Times in seconds. */
export class DecisionMetrics {
  inFlight = 0;
  recordsPending = 0;
  /** Refused by the journal. */
  recordsLost = 0;
  /** Not durable before the answer left. */
  recordsLate = 0;
  unknownLayouts = 0;
  bodyBytes = 0;
  revision = 0;
  readonly decisionSeconds: FixedHistogram;
  readonly recordSeconds: FixedHistogram;
  /** Application → code → one for each effect. */
  readonly #decided = new Map<string, Map<string, Decided[]>>();
  readonly #ruleErrors = new Map<string, number>();

  constructor(registry: Registry) {
    this.decisionSeconds = new FixedHistogram({
      name: "chancery_decision_seconds",
      help: "Time from the arrival of a Check to its verdict, without the record.",
      buckets: [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25],
      registry,
    });
    this.recordSeconds = new FixedHistogram({
      name: "chancery_record_seconds",
      help: "Time until a decision's record was durable.",
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2],
      registry,
    });
    this.#register([registry]);
  }

  decided(effect: Effect, code: string, application: string): void {
    let codes = this.#decided.get(application);
    if (codes === undefined) {
      codes = new Map();
      this.#decided.set(application, codes);
    }
    let effects = codes.get(code);
    if (effects === undefined) {
      effects = [];
      codes.set(code, effects);
    }
    for (const each of effects) {
      if (each.effect !== effect) continue;
      each.count += 1;
      return;
    }
    effects.push({ effect, code, application, count: 1 });
  }

  ruleFailed(rule: string): void {
    this.#ruleErrors.set(rule, (this.#ruleErrors.get(rule) ?? 0) + 1);
  }

  #register(registers: Registry[]): void {
    const counts = this;
    const decided = this.#decided;
    const ruleErrors = this.#ruleErrors;
    new Counter({
      name: "chancery_decisions_total",
      help: "Decisions by effect (allow, deny, error), code and application (empty while it is not known).",
      labelNames: ["effect", "code", "application"],
      registers,
      collect() {
        this.reset();
        for (const codes of decided.values()) {
          for (const effects of codes.values()) {
            for (const { effect, code, application, count } of effects) this.inc({ effect, code, application }, count);
          }
        }
      },
    });
    new Gauge({
      name: "chancery_records_pending",
      help: "Records handed to the journal that are not durable yet.",
      registers,
      collect() {
        this.set(counts.recordsPending);
      },
    });
    new Counter({
      name: "chancery_records_lost_total",
      help: "Decisions whose record was refused by the journal (lost) or not durable before the answer left (late).",
      labelNames: ["how"],
      registers,
      collect() {
        this.reset();
        if (counts.recordsLost > 0) this.inc({ how: "lost" }, counts.recordsLost);
        if (counts.recordsLate > 0) this.inc({ how: "late" }, counts.recordsLate);
      },
    });
    new Counter({
      name: "chancery_rule_errors_total",
      help: "Evaluations of a rule that gave an error or a missing value.",
      labelNames: ["rule"],
      registers,
      collect() {
        this.reset();
        for (const [rule, count] of ruleErrors) this.inc({ rule }, count);
      },
    });
    new Counter({
      name: "chancery_unknown_layout_total",
      help: "Checks from an Envoy whose route table this service does not have. Must stay 0.",
      registers,
      collect() {
        this.reset();
        this.inc(counts.unknownLayouts);
      },
    });
    new Counter({
      name: "chancery_check_body_bytes_total",
      help: "Bytes of request bodies that were read for decisions.",
      registers,
      collect() {
        this.reset();
        this.inc(counts.bodyBytes);
      },
    });
    new Gauge({
      name: "chancery_checks_in_flight",
      help: "Checks that are being decided or recorded.",
      registers,
      collect() {
        this.set(counts.inFlight);
      },
    });
    new Gauge({
      name: "chancery_active_revision",
      help: "Number of the revision by which this service decides; 0 before the first.",
      registers,
      collect() {
        this.set(counts.revision);
      },
    });
  }
}
