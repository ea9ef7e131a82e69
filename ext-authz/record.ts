/**
 * One decision, as it is kept. Values that could carry secrets (header values, bodies, tokens, keys) are not in it;
 * paths are, without their query.
 */
export interface DecisionRecord {
  readonly format: 1;
  /** Decision id, also in the answer and in Envoy's access log. */
  readonly id: string;
  /** RFC 3339 with milliseconds. */
  readonly at: string;
  /** Decision service that made it. */
  readonly service: string;
  readonly revision: { readonly number: number; readonly digest: string; readonly signed: boolean };
  readonly layout: string;
  /** The Envoy cannot go from pool to pool, so that the list of targets was cut to its first; absent: it can. */
  readonly plan?: "reduced";
  readonly route: string;
  readonly gateway: string;
  readonly httpRoute: string;
  readonly request: {
    readonly id: string;
    readonly method: string;
    readonly host: string;
    readonly path: string;
    readonly source: string;
    readonly model?: string;
    readonly stream: boolean;
  };
  readonly application: string;
  readonly subject: { readonly kind: string; readonly id: string };
  readonly effect: "allow" | "deny" | "error";
  /** HTTP status of a refusal; 200 for an allow. */
  readonly status: number;
  /** Stable code of a refusal; "ok" for an allow. */
  readonly code: string;
  readonly rule: string;
  readonly reason: string;
  /** Pools in the order in which Envoy may try them. */
  readonly targets: readonly string[];
  readonly removed: readonly {
    readonly pool: string;
    readonly rule: string;
    readonly reason: string;
    /** What the caller was not told: which condition of which approval does not hold. */
    readonly detail?: string;
  }[];
  /**
   * Approvals that `targets` answer by: the key of the Approval ("RULE:VERSION:APPLICATION" of one by rule), its
   * version, and its conditions, all of which were true. Absent: none was needed.
   */
  readonly approvals?: readonly {
    readonly approval: string;
    readonly version: string;
    readonly rule?: string;
    readonly conditions?: readonly string[];
  }[];
  readonly rerouted: readonly { readonly rule: string; readonly to: string }[];
  readonly observed?: { readonly rule: string; readonly reason: string };
  /** What the request was given by a rollout or an experiment; `unit` is a pseudonym of who stays with it. */
  readonly exposure?: {
    readonly split: string;
    readonly arm: string;
    readonly version: string;
    readonly unit?: string;
    /** The version that was drawn and may not answer. */
    readonly instead?: string;
  };
  /**
   * Where a rollout or a filter of the route wants copies of requests to go: `target` got one, `removed` must not have
   * any. Absent where neither is so.
   */
  readonly mirror?: {
    readonly by: string;
    readonly target?: string;
    readonly removed: readonly { readonly pool: string; readonly rule: string; readonly reason: string }[];
  };
  readonly shadow: readonly string[];
  readonly errors: readonly { readonly rule: string; readonly message: string }[];
  /** Microseconds from the arrival of the Check to the verdict. */
  readonly decidedInUs: number;
}

/**
 * Refusals that were counted instead of being recorded one by one, because too many of their kind came within a second:
 * those of callers that nobody knows, and those for which the request was not even read. Written each second in which
 * there were any.
 */
export interface SuppressionRecord {
  readonly format: 1;
  readonly kind: "suppressed";
  /** RFC 3339 with milliseconds; the end of the time that is counted. */
  readonly at: string;
  readonly since: string;
  readonly service: string;
  /** Code → number of refusals without a record of their own. */
  readonly counts: Readonly<Record<string, number>>;
}

/** What the decision service hands to the journal. */
export type JournalRecord = DecisionRecord | SuppressionRecord;
