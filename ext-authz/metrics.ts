import { Counter, Gauge, Histogram, type Registry } from "prom-client";

export type DecisionMetrics = ReturnType<typeof createMetrics>;

/** Metrics of one decision service. Times are in seconds. */
export function createMetrics(registry: Registry) {
  const registers = [registry];
  return {
    decisions: new Counter({
      name: "chancery_decisions_total",
      help: "Decisions by effect (allow, deny, error), code and application (empty while it is not known).",
      labelNames: ["effect", "code", "application"],
      registers,
    }),
    decisionSeconds: new Histogram({
      name: "chancery_decision_seconds",
      help: "Time from the arrival of a Check to its verdict, without the record.",
      buckets: [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25],
      registers,
    }),
    recordSeconds: new Histogram({
      name: "chancery_record_seconds",
      help: "Time until a decision's record was durable.",
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2],
      registers,
    }),
    recordsPending: new Gauge({
      name: "chancery_records_pending",
      help: "Records handed to the journal that are not durable yet.",
      registers,
    }),
    recordsLost: new Counter({
      name: "chancery_records_lost_total",
      help: "Decisions whose record was refused by the journal (lost) or not durable before the answer left (late).",
      labelNames: ["how"],
      registers,
    }),
    ruleErrors: new Counter({
      name: "chancery_rule_errors_total",
      help: "Evaluations of a rule that gave an error or a missing value.",
      labelNames: ["rule"],
      registers,
    }),
    unknownLayouts: new Counter({
      name: "chancery_unknown_layout_total",
      help: "Checks from an Envoy whose route table this service does not have. Must stay 0.",
      registers,
    }),
    bodyBytes: new Counter({
      name: "chancery_check_body_bytes_total",
      help: "Bytes of request bodies that were read for decisions.",
      registers,
    }),
    inFlight: new Gauge({
      name: "chancery_checks_in_flight",
      help: "Checks that are being decided or recorded.",
      registers,
    }),
    revision: new Gauge({
      name: "chancery_active_revision",
      help: "Number of the revision by which this service decides; 0 before the first.",
      registers,
    }),
  };
}
