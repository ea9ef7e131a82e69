import { ABSENT, type Field, type FieldSource, type FieldValue, UNREAD } from "./fields.ts";
import { PERMUTED, permutationOf } from "./order.ts";
import { TextClasses } from "./text-classes.ts";

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
  readonly field: Field;
  readonly #equals = new Map<string, number>();
  readonly #members = new Map<string, number>();
  readonly #beginnings = new TextClasses();
  /** Whether whole texts stand among the beginnings too, for who has no text but its bytes. */
  readonly #ofBytes: boolean;
  #texts = 0;
  #classes = FIRST_CLASS;

  constructor(field: Field) {
    this.field = field;
    this.#ofBytes = isTarget(field);
  }

  add(test: "equals" | "prefix" | "member" | "present", value: string): void {
    if (test === "present") return;
    if (test === "prefix") {
      if (!this.#beginnings.add("prefix", value, this.#classes)) return;
    } else {
      const classes = test === "equals" ? this.#equals : this.#members;
      if (classes.has(value)) return;
      classes.set(value, this.#classes);
      if (test === "equals" && this.#ofBytes) this.#beginnings.add("equals", value, this.#classes);
    }
    if (test !== "member") this.#texts += 1;
    this.#classes += 1;
  }

  equals(other: Dependency): boolean {
    return other === this;
  }

  keyOf(source: FieldSource): DependencyKey {
    const value = this.field.read(source, undefined);
    if (typeof value === "string") {
      const known = this.#equals.get(value) ?? this.#beginnings.classOf(value);
      return textKey(known, value.length);
    }
    if (value === ABSENT) return ABSENT_KEY;
    return value === UNREAD ? undefined : this.#keyOfList(value);
  }

  /** The key of a path or URL path of ASCII, from its bytes. Of other fields it says nothing. */
  keyOfAscii(bytes: Uint8Array, from: number, to: number): number {
    return textKey(this.#beginnings.classOfAscii(bytes, from, to), to - from);
  }

  #keyOfList(list: readonly unknown[]): DependencyKey {
    // What a test of a text says of a list is evaluation's affair.
    if (this.#texts > 0) return keyOfWhole(list);
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

function textKey(known: number, length: number): number {
  return (known === 0 ? OTHER_TEXT : known) * LENGTHS + (length >> 6);
}

function isTarget({ path: [root, name] }: Field): boolean {
  return root === "request" && (name === "path" || name === "url_path");
}

/** A field that is read in other ways too: its value is its key. */
export class WholeField implements Dependency {
  readonly field: Field;

  constructor(field: Field) {
    this.field = field;
  }

  equals(other: Dependency): boolean {
    return other === this;
  }

  keyOf(source: FieldSource): DependencyKey {
    return keyOfWhole(this.field.read(source, undefined));
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

  keyOf({ input }: FieldSource): number | undefined {
    return this.orderOf(input.draw);
  }

  /** The key for a draw; undefined: there are too many among which it is. */
  orderOf(draw: number): number | undefined {
    return this.#weights.length > PERMUTED ? undefined : permutationOf(this.#weights, draw);
  }
}
