import type { Considered, Exposure, Removal, RuleResult } from "./decision.ts";
import type { CompiledRule } from "./rules.ts";

/** Entries of `considered`; a decision over more rules and pools keeps the first ones. */
export const CONSIDERED_LIMIT = 1_000;

/** What a decision says about how it came about, gathered on the way. */
export interface Trace {
  readonly considered: readonly Considered[];
  readonly removed: readonly Removal[];
  readonly rerouted: readonly { readonly rule: string; readonly to: string }[];
  readonly errors: readonly { readonly rule: string; readonly message: string }[];
  readonly shadow: readonly string[];
  readonly exposure: Exposure | undefined;
  readonly preferred: boolean;
  /** Each rule (and pool) once. */
  consider(rule: CompiledRule, result: RuleResult, error?: string, pool?: string): void;
  remove(removal: Removal): void;
  reroute(rule: string, to: string): void;
  /** The first error of each rule. */
  fail(rule: string, message: string): void;
  /** Each line once. */
  wouldHave(line: string): void;
  /** The last one stands. */
  expose(exposure: Exposure | undefined): void;
  /** A preference tells targets apart. */
  prefer(): void;
}

export function newTrace(): Trace {
  const considered = new Map<string, Considered>();
  const removed: Removal[] = [];
  const rerouted: { readonly rule: string; readonly to: string }[] = [];
  const errors = new Map<string, string>();
  const shadow = new Set<string>();
  let exposure: Exposure | undefined;
  let preferred = false;
  return {
    get considered() {
      return [...considered.values()];
    },
    removed,
    rerouted,
    get errors() {
      return [...errors].map(([rule, message]) => ({ rule, message }));
    },
    get shadow() {
      return [...shadow];
    },
    consider({ rule, mode }, result, error, pool) {
      const key = `${rule.id}\n${pool ?? ""}\n${result}`;
      if (considered.size >= CONSIDERED_LIMIT || considered.has(key)) return;
      considered.set(key, {
        rule: rule.id,
        effect: rule.effect,
        mode,
        result,
        ...(error === undefined ? {} : { error }),
        ...(pool === undefined ? {} : { pool }),
      });
    },
    remove: (removal) => removed.push(removal),
    reroute: (rule, to) => rerouted.push({ rule, to }),
    fail(rule, message) {
      if (!errors.has(rule)) errors.set(rule, message);
    },
    wouldHave: (line) => shadow.add(line),
    get preferred() {
      return preferred;
    },
    prefer() {
      preferred = true;
    },
    get exposure() {
      return exposure;
    },
    expose(given) {
      exposure = given;
    },
  };
}
