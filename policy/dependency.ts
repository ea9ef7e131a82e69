import { ABSENT, type Field, type FieldSource, type FieldValue, UNREAD } from "./fields.ts";
import { PERMUTED, permutationOf } from "./order.ts";
import { STEP, type Steps } from "./steps.ts";

/** What a verdict depends on, told apart as finely as it matters: the keys of kept verdicts. */

/** Two inputs with the same key are alike to whatever has this dependency; undefined: that cannot be told. */
export type DependencyKey = string | number | undefined;

export interface Dependency {
  keyOf(source: FieldSource): DependencyKey;
  /** Whether keys of the two mean the same. */
  equals(other: Dependency): boolean;
}

/** Longest text that is a key. */
const KEY_LENGTH = 512;
const ABSENT_KEY = 0;
/** Texts and lists of which no literal says anything. */
const OTHER_TEXT = 1;
const OTHER_LIST = 2;
const FIRST_CLASS = 3;
/** Evaluation is charged for every 64 characters: texts of one class differ in nothing else. */
const LENGTHS = 2_048;

/**
 * A field of which only tests against literals are asked. Its key is the class of its value under all tests of the
 * program, so that paths which differ in an id that no rule reads are alike.
 */
export class TestedField implements Dependency {
  readonly #field: Field;
  readonly #equals = new Map<string, number>();
  readonly #members = new Map<string, number>();
  readonly #prefixSet = new Set<string>();
  /** Ascending; set by `seal`. */
  #prefixes: readonly string[] = [];
  /** For each prefix, the place of the longest other one that it starts with; -1: none. */
  #parents: readonly number[] = [];
  #classes = FIRST_CLASS;

  constructor(field: Field) {
    this.#field = field;
  }

  /** Before `seal`. */
  add(test: "equals" | "prefix" | "member" | "present", value: string): void {
    if (test === "prefix") this.#prefixSet.add(value);
    const classes = test === "equals" ? this.#equals : test === "member" ? this.#members : undefined;
    if (classes === undefined || classes.has(value)) return;
    classes.set(value, this.#classes);
    this.#classes += 1;
  }

  /** Makes the tests ready to be asked, in small steps. */
  *seal(): Steps<void> {
    const sorted = yield* sortedInSteps([...this.#prefixSet]);
    const parents: number[] = [];
    for (const [place, prefix] of sorted.entries()) {
      let parent = place - 1;
      while (parent >= 0 && !prefix.startsWith(sorted[parent] ?? "")) parent = parents[parent] ?? -1;
      parents.push(parent);
      if (place % STEP === STEP - 1) yield;
    }
    this.#prefixes = sorted;
    this.#parents = parents;
  }

  equals(other: Dependency): boolean {
    return other === this;
  }

  keyOf(source: FieldSource): DependencyKey {
    const value = this.#field.read(source, undefined);
    if (typeof value === "string") return this.#classOf(value) * LENGTHS + (value.length >> 6);
    if (value === ABSENT) return ABSENT_KEY;
    return value === UNREAD ? undefined : this.#keyOfList(value);
  }

  #classOf(text: string): number {
    const equal = this.#equals.get(text);
    if (equal !== undefined) return equal;
    const prefix = this.#prefixes.length === 0 ? -1 : this.#longestPrefixOf(text);
    return prefix === -1 ? OTHER_TEXT : this.#classes + prefix;
  }

  /** The last prefix that is not behind the text, or the longest that both start with. */
  #longestPrefixOf(text: string): number {
    const prefixes = this.#prefixes;
    let low = 0;
    let high = prefixes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((prefixes[middle] ?? "") <= text) low = middle + 1;
      else high = middle;
    }
    let place = low - 1;
    while (place >= 0 && !text.startsWith(prefixes[place] ?? "")) place = this.#parents[place] ?? -1;
    return place;
  }

  #keyOfList(list: readonly unknown[]): DependencyKey {
    // What a test of a text says of a list is evaluation's affair.
    if (this.#equals.size > 0 || this.#prefixes.length > 0) return keyOfWhole(list);
    let only = OTHER_LIST;
    let several: number[] | undefined;
    for (const element of list) {
      if (typeof element !== "string" || element.length > KEY_LENGTH) return undefined;
      const member = this.#members.get(element);
      if (member === undefined || member === only) continue;
      if (only === OTHER_LIST) only = member;
      else {
        several ??= [only];
        if (!several.includes(member)) several.push(member);
      }
    }
    // Evaluation is charged for every four members.
    const length = list.length >> 2;
    return several === undefined ? only * LENGTHS + length : `${length} ${several.sort((a, b) => a - b).join(" ")}`;
  }
}

/** A field that is read in other ways too: its value is its key. */
export class WholeField implements Dependency {
  readonly #field: Field;

  constructor(field: Field) {
    this.#field = field;
  }

  equals(other: Dependency): boolean {
    return other === this;
  }

  keyOf(source: FieldSource): DependencyKey {
    return keyOfWhole(this.#field.read(source, undefined));
  }
}

function keyOfWhole(value: FieldValue): DependencyKey {
  if (value === ABSENT) return ABSENT_KEY;
  if (value === UNREAD || value.length > KEY_LENGTH) return undefined;
  // NUL stands before lists.
  if (typeof value === "string") return value.startsWith("\0") ? undefined : value;
  for (const element of value) if (typeof element !== "string" || element.length > KEY_LENGTH) return undefined;
  const key = JSON.stringify(value);
  return key.length > KEY_LENGTH ? undefined : `\0${key}`;
}

/** A draw among equals: the order that it puts them in. */
export class Draw implements Dependency {
  readonly #weights: readonly number[];

  constructor(weights: readonly number[]) {
    this.#weights = weights;
  }

  equals(other: Dependency): boolean {
    if (!(other instanceof Draw) || other.#weights.length !== this.#weights.length) return false;
    return this.#weights.every((weight, place) => other.#weights[place] === weight);
  }

  keyOf({ input }: FieldSource): DependencyKey {
    return this.#weights.length > PERMUTED ? undefined : permutationOf(this.#weights, input.draw);
  }
}

/** Merge sort that rests in between: thousands of texts in one go are milliseconds. */
function* sortedInSteps(texts: readonly string[]): Steps<readonly string[]> {
  let runs: (readonly string[])[] = [];
  for (let at = 0; at < texts.length; at += STEP) {
    runs.push(texts.slice(at, at + STEP).sort());
    yield;
  }
  while (runs.length > 1) {
    const merged: (readonly string[])[] = [];
    for (let at = 0; at < runs.length; at += 2) merged.push(yield* merge(runs[at] ?? [], runs[at + 1] ?? []));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* merge(left: readonly string[], right: readonly string[]): Steps<readonly string[]> {
  const merged: string[] = [];
  let at = 0;
  for (const text of left) {
    for (let next = right[at]; next !== undefined && next < text; next = right[at]) {
      merged.push(next);
      at += 1;
    }
    merged.push(text);
    if (merged.length % STEP === 0) yield;
  }
  for (const text of right.slice(at)) merged.push(text);
  return merged;
}
