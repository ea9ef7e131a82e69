import { type Ranges, type Sequence, type Step, simplePattern, widthOf } from "./simple-pattern.ts";

/** Matches simple patterns, with one look at each character of the text. */

/** @returns whether the pattern is found; undefined where the text holds characters beyond 16 bits that matter */
export type OnePass = (text: string) => boolean | undefined;

/** @returns undefined where the pattern is not so simple */
export function onePassMatcher(pattern: string): OnePass | undefined {
  const sequences = simplePattern(pattern)?.map((sequence) => new Matcher(sequence));
  const [only, ...others] = sequences ?? [];
  if (sequences === undefined || only === undefined) return undefined;
  if (others.length === 0) return (text) => answerOf(only.find(text));
  return (text) => {
    let unsure = false;
    for (const matcher of sequences) {
      const found = matcher.find(text);
      if (found >= 0) return true;
      if (found === UNSURE) unsure = true;
    }
    return unsure ? undefined : false;
  };
}

/** Where a match ends; or one of these. */
type Found = number;
const NOT_FOUND = -1;
const UNSURE = -2;

function answerOf(found: Found): boolean | undefined {
  return found === UNSURE ? undefined : found >= 0;
}

const ASCII = 128;

/** A step made ready. One class for all, with every field set. */
class ReadyStep {
  readonly text: string;
  readonly choices: readonly string[];
  /** Whether an ASCII character is in the class. */
  readonly ascii: Uint8Array;
  readonly ranges: Ranges;
  readonly min: number;
  readonly max: number;

  constructor({ text, choices, ranges, min, max }: Step) {
    this.text = text;
    this.choices = choices;
    this.ascii = new Uint8Array(ASCII);
    for (const [first, last] of ranges) this.ascii.fill(1, first, Math.min(last + 1, ASCII));
    this.ranges = ranges.filter(([, last]) => last >= ASCII);
    this.min = min;
    this.max = Math.min(max, Number.MAX_SAFE_INTEGER);
  }
}

class Matcher {
  readonly #sequence: Sequence;
  readonly #steps: readonly ReadyStep[];
  readonly #gap: ReadyStep | undefined;
  readonly #tail: readonly ReadyStep[];
  readonly #tailWidth: number;
  /** Characters that a match takes at least. */
  readonly #least: number;
  /** Where a match takes just as many. */
  readonly #fixed: boolean;

  constructor(sequence: Sequence) {
    const { steps, gap, tail } = sequence;
    this.#sequence = sequence;
    this.#steps = steps.map((step) => new ReadyStep(step));
    this.#gap = gap === undefined ? undefined : new ReadyStep(gap);
    this.#tail = tail.map((step) => new ReadyStep(step));
    this.#tailWidth = tail.reduce((sum, step) => sum + (widthOf(step) ?? 0), 0);
    this.#least = steps.reduce((sum, { min }) => sum + min, 0);
    this.#fixed = steps.every((step) => widthOf(step) !== undefined);
  }

  find(text: string): Found {
    const { start, end } = this.#sequence;
    if (start) return this.#gap === undefined ? this.#whole(text, 0) : this.#aroundGap(text, this.#gap);
    if (end && this.#fixed) return text.length < this.#least ? NOT_FOUND : this.#whole(text, text.length - this.#least);
    const lead = this.#steps[0]?.text ?? "";
    for (let at = 0; at + this.#least <= text.length; at += 1) {
      if (lead !== "") at = text.indexOf(lead, at);
      if (at < 0) return NOT_FOUND;
      const found = this.#whole(text, at);
      if (found !== NOT_FOUND) return found;
    }
    return NOT_FOUND;
  }

  #whole(text: string, from: number): Found {
    const at = meet(this.#steps, text, from);
    return at >= 0 && this.#sequence.end && at !== text.length ? NOT_FOUND : at;
  }

  #aroundGap(text: string, gap: ReadyStep): Found {
    const at = meet(this.#steps, text, 0);
    if (at < 0) return at;
    const behind = this.#behindGap(text, at + gap.min);
    if (behind < 0) return behind;
    const held = run(gap, text, at, behind);
    if (held === UNSURE) return UNSURE;
    return held === behind && behind - at <= gap.max ? behind : NOT_FOUND;
  }

  /** Where the tail begins: at its width before the end, or where its text is first found. */
  #behindGap(text: string, from: number): Found {
    if (!this.#sequence.end) return text.indexOf(this.#tail[0]?.text ?? "", from);
    const place = text.length - this.#tailWidth;
    if (place < from) return NOT_FOUND;
    const met = meet(this.#tail, text, place);
    return met < 0 ? met : place;
  }
}

/** @returns where the steps end that are met from `at` on */
function meet(steps: readonly ReadyStep[], text: string, from: number): Found {
  let at = from;
  for (let index = 0; index < steps.length; index += 1) {
    const step = steps[index];
    if (step === undefined) break;
    if (step.text !== "") {
      if (!standsAt(text, step.text, at)) return NOT_FOUND;
      at += step.text.length;
    } else if (step.choices.length > 0) {
      at = choose(step.choices, text, at);
      if (at < 0) return NOT_FOUND;
    } else {
      const end = run(step, text, at, Math.min(text.length, at + step.max));
      if (end === UNSURE) return UNSURE;
      if (end - at < step.min) return NOT_FOUND;
      at = end;
    }
  }
  return at;
}

function standsAt(text: string, part: string, at: number): boolean {
  const { length } = part;
  if (at + length > text.length) return false;
  for (let index = 0; index < length; index += 1) {
    if (text.charCodeAt(at + index) !== part.charCodeAt(index)) return false;
  }
  return true;
}

function choose(choices: readonly string[], text: string, at: number): Found {
  for (let index = 0; index < choices.length; index += 1) {
    const choice = choices[index];
    if (choice !== undefined && standsAt(text, choice, at)) return at + choice.length;
  }
  return NOT_FOUND;
}

/** @returns where characters of the class end, at `limit` at the latest */
function run({ ascii, ranges }: ReadyStep, text: string, from: number, limit: number): Found {
  for (let at = from; at < limit; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit < ASCII) {
      if (ascii[unit] === 0) return at;
    } else {
      if (unit >= 0xd800 && unit <= 0xdfff) return UNSURE;
      if (!isIn(ranges, unit)) return at;
    }
  }
  return limit;
}

function isIn(ranges: Ranges, unit: number): boolean {
  for (const [first, last] of ranges) if (unit >= first && unit <= last) return true;
  return false;
}
