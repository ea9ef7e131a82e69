/**
 * Patterns that do not need RE2: sequences of texts and characters of a class in which each character of a text can
 * belong to one step alone. JavaScript's own engine, which goes back where a step fails, then finds nothing to try again
 * and is linear as well; it is some ten times as fast. What is not read here, and steps that could share a character,
 * is RE2's.
 */

/** Code points from the first to the second, ascending, without overlap. */
type Ranges = readonly (readonly [number, number])[];

interface Step {
  /** Met as it stands; empty where the step is another. */
  readonly text: string;
  /** One of these, of which none begins with another; empty where the step is another. */
  readonly choices: readonly string[];
  /** `min` to `max` characters of a class. */
  readonly ranges: Ranges;
  readonly min: number;
  readonly max: number;
}

const LAST = 0x10ffff;
/** `.` without flags. */
const NO_NEWLINE = without([[10, 10]]);
const DIGIT: Ranges = [[48, 57]];
const SPACE: Ranges = [
  [9, 10],
  [12, 13],
  [32, 32],
];
const WORD: Ranges = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const CLASSES: Readonly<Record<string, Ranges>> = {
  d: DIGIT,
  s: SPACE,
  w: WORD,
  D: without(DIGIT),
  S: without(SPACE),
  W: without(WORD),
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, a: 7 };
const MAX_SEQUENCES = 8;
/** Characters that may be looked at again from each place of a text. */
const MAX_SPAN = 64;
/** Longest text for the engine that goes back: it keeps places that it could go back to. */
const MAX_TEXT = 65_536;

/** @returns undefined where the pattern, which RE2 takes, is not so simple, or the text is too long */
export type SimplePattern = (text: string) => boolean | undefined;

/** @returns undefined where the pattern, which RE2 takes, is not so simple */
export function simplePattern(pattern: string): SimplePattern | undefined {
  if (/[\ud800-\udfff]/.test(pattern)) return undefined;
  const alternatives = new Reader(pattern).alternatives();
  if (alternatives === undefined || alternatives.length > MAX_SEQUENCES) return undefined;
  const sources: string[] = [];
  for (const alternative of alternatives) {
    const source = linearSource(alternative);
    if (source === undefined) return undefined;
    sources.push(source);
  }
  const expression = new RegExp(sources.join("|"), "u");
  return (text) => (text.length > MAX_TEXT ? undefined : expression.test(text));
}

function textStep(text: string): Step {
  return { text, choices: [], ranges: [], min: text.length, max: text.length };
}

function classStep(ranges: Ranges): Step {
  return { text: "", choices: [], ranges, min: 1, max: 1 };
}

function choiceStep(choices: readonly string[]): Step {
  const lengths = choices.map(({ length }) => length);
  return { text: "", choices, ranges: [], min: Math.min(...lengths), max: Math.max(...lengths) };
}

/** Whether a step takes as many characters as there are, within its bounds. */
function isVariable({ text, choices, min, max }: Step): boolean {
  return text === "" && choices.length === 0 && min !== max;
}

function without(ranges: Ranges): Ranges {
  const rest: (readonly [number, number])[] = [];
  let from = 0;
  for (const [first, last] of normalised(ranges)) {
    if (first > from) rest.push([from, first - 1]);
    from = last + 1;
  }
  if (from <= LAST) rest.push([from, LAST]);
  return rest;
}

function normalised(ranges: Ranges): Ranges {
  const merged: [number, number][] = [];
  for (const [first, last] of ranges.toSorted(([a], [b]) => a - b)) {
    const before = merged.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

interface Alternative {
  readonly start: boolean;
  readonly end: boolean;
  readonly steps: readonly Step[];
}

/** Reads what RE2 has already taken; undefined for anything that it does not know itself. */
class Reader {
  readonly #pattern: string;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  alternatives(): readonly Alternative[] | undefined {
    const read = this.#alternatives();
    return this.#at === this.#pattern.length ? read : undefined;
  }

  #take(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #alternatives(): readonly Alternative[] | undefined {
    const read: Alternative[] = [];
    do {
      const alternative = this.#alternative();
      if (alternative === undefined) return undefined;
      read.push(alternative);
    } while (this.#take("|"));
    return read;
  }

  #alternative(): Alternative | undefined {
    const start = this.#take("^");
    const steps: Step[] = [];
    for (;;) {
      const next = this.#pattern[this.#at];
      if (next === undefined || next === "|" || next === ")") return { start, end: false, steps };
      if (this.#take("$")) {
        const after = this.#pattern[this.#at];
        return after === undefined || after === "|" || after === ")" ? { start, end: true, steps } : undefined;
      }
      const read = this.#take("(") ? this.#group() : this.#quantified();
      if (read === undefined) return undefined;
      for (const step of read) append(steps, step);
    }
  }

  /** A group that is not repeated: its one sequence, or a choice of texts. */
  #group(): readonly Step[] | undefined {
    if (this.#pattern[this.#at] === "?" && !this.#take("?:")) return undefined;
    const alternatives = this.#alternatives();
    if (alternatives === undefined || !this.#take(")") || /^[*+?{]/.test(this.#pattern.slice(this.#at))) {
      return undefined;
    }
    if (alternatives.some(({ start, end }) => start || end)) return undefined;
    const [first, ...others] = alternatives;
    if (first === undefined || others.length === 0) return first?.steps;
    const texts = alternatives.map(({ steps }) => (steps.length === 1 ? (steps[0]?.text ?? "") : ""));
    const clear = texts.every(
      (text, index) => text !== "" && texts.every((each, other) => other === index || !each.startsWith(text)),
    );
    return clear ? [choiceStep(texts)] : undefined;
  }

  /** A character or class, with how often it is met. */
  #quantified(): readonly Step[] | undefined {
    const ranges = this.#single();
    if (ranges === undefined) return undefined;
    const [min, max] = this.#bounds() ?? [];
    if (min === undefined || max === undefined) return undefined;
    const [first] = ranges;
    if (min === 1 && max === 1 && ranges.length === 1 && first !== undefined && first[0] === first[1]) {
      return [textStep(String.fromCharCode(first[0]))];
    }
    return [{ ...classStep(ranges), min, max }];
  }

  /** How often what was read is met; whether it takes many or few at first does not change whether it is met. */
  #bounds(): readonly [number, number] | undefined {
    const [written = "", from, comma, to] =
      /^(?:[*+?]|\{(\d{1,4})(,?)(\d{0,4})\})/.exec(this.#pattern.slice(this.#at)) ?? [];
    this.#at += written.length;
    if (written === "") return this.#pattern[this.#at] === "{" ? undefined : [1, 1];
    this.#take("?");
    if (/^[*+?{]/.test(this.#pattern.slice(this.#at))) return undefined;
    if (written === "*") return [0, Number.POSITIVE_INFINITY];
    if (written === "+") return [1, Number.POSITIVE_INFINITY];
    if (written === "?") return [0, 1];
    const min = Number(from);
    const max = comma === "" ? min : to === "" ? Number.POSITIVE_INFINITY : Number(to);
    return [min, max];
  }

  #single(): Ranges | undefined {
    const next = this.#pattern[this.#at] ?? "";
    if ("*+?{}]^$|()".includes(next)) return undefined;
    this.#at += 1;
    if (next === ".") return NO_NEWLINE;
    if (next === "[") return this.#class();
    if (next === "\\") return this.#escaped();
    return [[next.charCodeAt(0), next.charCodeAt(0)]];
  }

  /** What follows a backslash: a class, a control character, or punctuation that stands for itself. */
  #escaped(): Ranges | undefined {
    const next = this.#pattern[this.#at] ?? "";
    this.#at += 1;
    const known = CLASSES[next];
    if (known !== undefined) return known;
    const control = CONTROLS[next];
    if (control !== undefined) return [[control, control]];
    return /^[!-/:-@[-`{-~]$/.test(next) ? [[next.charCodeAt(0), next.charCodeAt(0)]] : undefined;
  }

  #class(): Ranges | undefined {
    const negated = this.#take("^");
    const ranges: (readonly [number, number])[] = [];
    for (let first = true; first || this.#pattern[this.#at] !== "]"; first = false) {
      const from = this.#member(first);
      if (from === undefined) return undefined;
      const [only] = from;
      const ranged = this.#pattern[this.#at] === "-" && this.#pattern[this.#at + 1] !== "]";
      if (!ranged) {
        ranges.push(...from);
        continue;
      }
      this.#at += 1;
      const [to] = this.#member(false) ?? [];
      if (only === undefined || to === undefined || only[0] !== only[1] || to[0] !== to[1]) return undefined;
      ranges.push([only[0], to[0]]);
    }
    this.#at += 1;
    const all = normalised(ranges);
    return negated ? without(all) : all;
  }

  #member(first: boolean): Ranges | undefined {
    const next = this.#pattern[this.#at];
    if (next === undefined || next === "[" || (next === "]" && !first)) return undefined;
    this.#at += 1;
    if (next === "\\") return this.#escaped();
    return [[next.charCodeAt(0), next.charCodeAt(0)]];
  }
}

/** Texts that follow each other are one. */
function append(steps: Step[], step: Step): void {
  const before = steps.at(-1);
  if (before !== undefined && before.text !== "" && step.text !== "") {
    steps[steps.length - 1] = textStep(before.text + step.text);
  } else steps.push(step);
}

/** The sequence in JavaScript's syntax, without what does not matter; undefined where it is not linear. */
function linearSource({ start, end, steps: written }: Alternative): string | undefined {
  const steps = [...written];
  // Where anything may follow or go before, what is met by more is met by fewer.
  if (!end) trim(steps, () => steps.length - 1);
  if (!start) trim(steps, () => 0);
  const shared = steps.findIndex((step, index) => isVariable(step) && !isApart(step, steps.slice(index + 1)));
  // What is tried again: the whole sequence from each place, or what follows a step that may have taken too much.
  const again = start ? (shared < 0 ? [] : steps.slice(shared + 1)) : steps;
  if (shared >= 0 && (!start || again.some(isVariable))) return undefined;
  if (again.reduce((sum, { max }) => sum + max, 0) > MAX_SPAN) return undefined;
  return `${start ? "^" : ""}${steps.map(sourceOf).join("")}${end ? "$" : ""}`;
}

function sourceOf({ text, choices, ranges, min, max }: Step): string {
  if (text !== "") return quoted(text);
  if (choices.length > 0) return `(?:${choices.map(quoted).join("|")})`;
  const members = ranges.map(([first, last]) => `${codePoint(first)}-${codePoint(last)}`).join("");
  return `[${members}]{${min},${max === Number.POSITIVE_INFINITY ? "" : max}}`;
}

function quoted(text: string): string {
  return text.replace(/[^a-zA-Z0-9]/g, (unit) => codePoint(unit.charCodeAt(0)));
}

function codePoint(value: number): string {
  return `\\u{${value.toString(16)}}`;
}

function trim(steps: Step[], place: () => number): void {
  for (let step = steps[place()]; step !== undefined && isVariable(step); step = steps[place()]) {
    if (step.min === 0) steps.splice(place(), 1);
    else steps[place()] = { ...step, max: step.min };
  }
}

/** Whether no character of the class can begin what follows. */
function isApart({ ranges }: Step, following: readonly Step[]): boolean {
  for (const step of following) {
    const begin = beginOf(step);
    if (ranges.some(([first, last]) => begin.some(([from, to]) => first <= to && from <= last))) return false;
    if (step.min > 0) return true;
  }
  return true;
}

function beginOf({ text, choices, ranges }: Step): Ranges {
  const texts = text === "" ? choices : [text];
  return texts.length === 0 ? ranges : texts.map((each) => [each.charCodeAt(0), each.charCodeAt(0)] as const);
}
