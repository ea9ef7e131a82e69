import { RE2JS } from "re2js";
import { charge, type Frame } from "./frame.ts";
import { simplePattern } from "./simple-pattern.ts";
import { CelError, noOverload, OUT_OF_WORK } from "./value.ts";

/** matches(): RE2, so that no pattern takes more than linear time. */

/** A compiled pattern. Costs far more to make than to use. */
export interface Pattern {
  /** Instructions of the automaton. */
  readonly size: number;
  test(text: string): boolean;
}

/** Longest pattern that is compiled. */
const PATTERN_TEXT = 2_000;
/** Characters × instructions of one match: some tens of milliseconds where the matcher is at its slowest. */
const MATCH_WORK = 8_000_000;

/** @returns what is wrong with the pattern, where it is none */
export function compilePattern(text: string): Pattern | string {
  if (text.length > PATTERN_TEXT) return `the pattern has ${text.length} characters; at most ${PATTERN_TEXT} are taken`;
  try {
    const compiled = RE2JS.compile(text);
    const size = compiled.programSize();
    const test = (subject: string) => compiled.test(subject);
    const simple = simplePattern(text);
    return simple === undefined ? { size, test } : { size, test: (subject) => simple(subject) ?? test(subject) };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export function matchPattern(text: string, pattern: Pattern, frame: Frame): unknown {
  const steps = pattern.size * text.length;
  if (steps > MATCH_WORK || !charge(frame, 1 + (steps >> 12))) return OUT_OF_WORK;
  return pattern.test(text);
}

/** Patterns that are no literals, kept from one evaluation to the next. */
const compiled = new Map<string, Pattern | string>();
const MAX_COMPILED = 64;
/** Work to compile a pattern, for each of its characters and each of its instructions. */
const COMPILE_WORK = 10;
const INSTRUCTION_WORK = 4;

export function matches(text: unknown, pattern: unknown, frame: Frame): unknown {
  if (typeof text !== "string" || typeof pattern !== "string") return noOverload("matches", text, pattern);
  let known = compiled.get(pattern);
  if (known === undefined) {
    if (!charge(frame, COMPILE_WORK * pattern.length)) return OUT_OF_WORK;
    known = compilePattern(pattern);
    if (compiled.size >= MAX_COMPILED) compiled.clear();
    compiled.set(pattern, known);
    if (typeof known !== "string" && !charge(frame, INSTRUCTION_WORK * known.size)) return OUT_OF_WORK;
  }
  return typeof known === "string" ? new CelError(`not an RE2 pattern: ${known}`) : matchPattern(text, known, frame);
}
