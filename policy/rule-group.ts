import type { Atom, Guard } from "./atoms.ts";
import type { Recorder } from "./decision-memo.ts";
import { type Dependency, TestedField, WholeField } from "./dependency.ts";
import { ABSENT, type Field, type FieldSource, type FieldValue, UNREAD } from "./fields.ts";
import type { Dependencies } from "./memo.ts";
import type { CompiledRule } from "./rules.ts";
import type { Steps } from "./steps.ts";

/**
 * Rules of one effect in one place, findable by what a request says. A rule that is not found has a guard whose atoms
 * are all false, and is false; where an atom's field is missing or cannot be read the rule is found, and evaluation says
 * what it comes to.
 */
export interface RuleGroup {
  /** In the order in which they were written. */
  readonly rules: readonly CompiledRule[];
  /** Those that can be true or unknown for a request, in their order. */
  candidates(values: FieldValues, model: string | undefined): readonly CompiledRule[];
}

/** The fields of one request, each read once. */
export class FieldValues {
  readonly #source: FieldSource;
  readonly #values: (FieldValue | undefined)[] = [];
  readonly #recorder: Recorder | undefined;
  /** Whether every rule is to be consulted, those that cannot hold as well. */
  readonly all: boolean;

  constructor(source: FieldSource, all: boolean, recorder: Recorder | undefined) {
    this.#source = source;
    this.all = all;
    this.#recorder = recorder;
  }

  readField(field: Field, model: string | undefined): FieldValue {
    return field.read(this.#source, model);
  }

  read(slot: Slot, model: string | undefined): FieldValue {
    if (slot.field.ofModel) return slot.field.read(this.#source, model);
    let value = this.#values[slot.index];
    if (value === undefined) {
      this.#recorder?.note(slot.tested);
      value = slot.field.read(this.#source, model);
      this.#values[slot.index] = value;
    }
    return value;
  }
}

/** A field with its place in `FieldValues`. */
export interface Slot {
  readonly field: Field;
  readonly index: number;
  /** All tests that rules of the program ask of it. */
  readonly tested: TestedField;
  readonly whole: WholeField;
}

/** Gives the fields of a program their places. What its rules have in common is there once. */
export class Slots {
  readonly #slots = new Map<string, Slot>();
  readonly #tests = new Map<Atom, Test>();
  readonly #guards = new Map<string, readonly Test[]>();
  readonly #dependencies = new Map<string, readonly Dependency[]>();

  of(field: Field): Slot {
    let slot = this.#slots.get(field.key);
    if (slot === undefined) {
      slot = { field, index: this.#slots.size, tested: new TestedField(field), whole: new WholeField(field) };
      this.#slots.set(field.key, slot);
    }
    return slot;
  }

  test(atom: Atom): Test {
    let known = this.#tests.get(atom);
    if (known === undefined) {
      const { field, test, value } = atom;
      const slot = this.of(field);
      slot.tested.add(test, value);
      known = { slot, test, value, index: this.#tests.size };
      this.#tests.set(atom, known);
    }
    return known;
  }

  testsOf(guard: Guard): readonly Test[] {
    const tests = guard.map((atom) => this.test(atom));
    return once(tests.map(({ index }) => index).join(" "), tests, this.#guards);
  }

  /** What an expression depends on, told apart as finely as the tests of the whole program. */
  dependenciesOf(read: Dependencies | undefined): readonly Dependency[] | undefined {
    if (read === undefined) return undefined;
    const whole = new Set(read.whole.map((field) => this.of(field)));
    const tested = new Set(read.tests.map((test) => this.test(test).slot));
    const key = [whole, tested].map((slots) => [...slots].map(({ index }) => index).join(" ")).join("\n");
    const dependencies = [...[...whole].map((slot) => slot.whole), ...[...tested].map((slot) => slot.tested)];
    return once(key, dependencies, this.#dependencies);
  }
}

/** The value that was there first under its key. */
function once<T>(key: string, value: T, values: Map<string, T>): T {
  const known = values.get(key);
  if (known === undefined) values.set(key, value);
  return known ?? value;
}

/** Below this, asking the rules themselves costs no more than finding them. */
const INDEXED_FROM = 4;

/** Fields that rules of one group are found by; each is read for every request. */
const FIELDS_LIMIT = 64;

export const EMPTY_GROUP: RuleGroup = { rules: [], candidates: () => [] };

export function* groupOf(rules: readonly CompiledRule[], slots: Slots): Steps<RuleGroup> {
  if (rules.length === 0) return EMPTY_GROUP;
  const tested: Guards[] = [];
  for (const rule of rules) {
    tested.push(rule.guards.map((guard) => slots.testsOf(guard)));
    yield;
  }
  if (rules.length < INDEXED_FROM) {
    return { rules, candidates: (values, model) => (values.all ? rules : passing(rules, tested, values, model)) };
  }
  const index = yield* indexOf(rules, tested);
  return { rules, candidates: (values, model) => (values.all ? rules : index.candidates(values, model)) };
}

function passing(
  rules: readonly CompiledRule[],
  tests: readonly Guards[],
  values: FieldValues,
  model: string | undefined,
): readonly CompiledRule[] {
  const found: CompiledRule[] = [];
  for (let position = 0; position < rules.length; position += 1) {
    const rule = rules[position];
    if (rule !== undefined && holdAll(tests[position] ?? [], values, model)) found.push(rule);
  }
  return found;
}

interface Test {
  readonly slot: Slot;
  readonly test: Atom["test"];
  readonly value: string;
  /** Which of the program's it is. */
  readonly index: number;
}

/** Each a disjunction; the rule needs all. */
type Guards = readonly (readonly Test[])[];

function holdAll(guards: Guards, values: FieldValues, model: string | undefined): boolean {
  for (const guard of guards) {
    let possible = false;
    for (const test of guard) {
      if (!canHold(test, values.read(test.slot, model))) continue;
      possible = true;
      break;
    }
    if (!possible) return false;
  }
  return true;
}

/** Whether a test is true or not known. */
export function canHold({ test, value }: Pick<Test, "test" | "value">, read: FieldValue): boolean {
  if (read === ABSENT) return test !== "present";
  if (read === UNREAD || test === "present") return true;
  if (test === "member") return typeof read === "string" || mayContain(read, value);
  if (typeof read !== "string") return true;
  return test === "equals" ? read === value : read.startsWith(value);
}

/** A list with a member that is no text is for evaluation to judge. */
function mayContain(list: readonly unknown[], value: string): boolean {
  for (const element of list) if (element === value || !isShortText(element)) return true;
  return false;
}

/** Longer texts cannot be read by rules: evaluation fails on them. */
const SHORT_TEXT = 65_536;

function isShortText(element: unknown): element is string {
  return typeof element === "string" && element.length <= SHORT_TEXT;
}

/** How the rules that have a guard on one field are found. */
interface FieldIndex {
  readonly slot: Slot;
  readonly equals: Map<string, number[]>;
  readonly members: Map<string, number[]>;
  readonly prefixes: Map<string, number[]>;
  /** Of `prefixes`, each once. */
  readonly lengths: Set<number>;
  /** Rules with a test of each kind: found where the field is of another kind, or cannot be read. */
  readonly ofTexts: number[];
  readonly ofLists: number[];
  /** Found where the field is missing: rules that do not ask first whether it is there. */
  readonly unguarded: number[];
}

class Index {
  readonly #rules: readonly CompiledRule[];
  readonly #tests: readonly Guards[];
  /** Rules without a guard, or with none that can be looked up. */
  readonly #always: number[] = [];
  readonly #fields = new Map<Slot, FieldIndex>();

  constructor(rules: readonly CompiledRule[], tests: readonly Guards[]) {
    this.#rules = rules;
    this.#tests = tests;
  }

  always(position: number): void {
    this.#always.push(position);
  }

  candidates(values: FieldValues, model: string | undefined): readonly CompiledRule[] {
    const found: (readonly number[])[] = [];
    if (this.#always.length > 0) found.push(this.#always);
    for (const field of this.#fields.values()) collect(field, values.read(field.slot, model), found);
    const positions = found.length === 1 ? (found[0] ?? []) : merged(found);
    const candidates: CompiledRule[] = [];
    for (const position of positions) {
      const rule = this.#rules[position];
      if (rule !== undefined && holdAll(this.#tests[position] ?? [], values, model)) candidates.push(rule);
    }
    return candidates;
  }

  add(test: Test, position: number, guards: Guards): void {
    let field = this.#fields.get(test.slot);
    if (field === undefined) {
      const { slot } = test;
      field = {
        slot,
        equals: new Map(),
        members: new Map(),
        prefixes: new Map(),
        lengths: new Set(),
        ofTexts: [],
        ofLists: [],
        unguarded: [],
      };
      this.#fields.set(slot, field);
    }
    const { value } = test;
    const kind = test.test === "equals" ? field.equals : test.test === "prefix" ? field.prefixes : field.members;
    if (test.test === "prefix") field.lengths.add(value.length);
    const known = kind.get(value);
    if (known === undefined) kind.set(value, [position]);
    else if (known.at(-1) !== position) known.push(position);
    const rest = test.test === "member" ? field.ofLists : field.ofTexts;
    if (rest.at(-1) !== position) rest.push(position);
    const asks = guards.some((guard) => guard.every((other) => other.test === "present" && other.slot === test.slot));
    if (!asks && field.unguarded.at(-1) !== position) field.unguarded.push(position);
  }
}

function* indexOf(rules: readonly CompiledRule[], tests: readonly Guards[]): Steps<Index> {
  const frequencies = new Map<Slot, Frequencies>();
  for (const guards of tests) {
    for (const guard of guards) for (const test of guard) count(test, frequencies);
    yield;
  }
  const busiest = [...frequencies].sort(([, a], [, b]) => b.all - a.all).slice(0, FIELDS_LIMIT);
  const used = new Set(busiest.map(([slot]) => slot));
  const index = new Index(rules, tests);
  for (const [position, guards] of tests.entries()) {
    const best = rarest(guards, frequencies, used);
    if (best === undefined) index.always(position);
    else for (const test of best) index.add(test, position, guards);
    yield;
  }
  return index;
}

/** How many tests of a field there are: in all, and of each value. */
interface Frequencies extends Readonly<Record<Atom["test"], Map<string, number>>> {
  all: number;
}

function count({ slot, test, value }: Test, frequencies: Map<Slot, Frequencies>): void {
  let known = frequencies.get(slot);
  if (known === undefined) {
    known = { all: 0, equals: new Map(), prefix: new Map(), member: new Map(), present: new Map() };
    frequencies.set(slot, known);
  }
  known.all += 1;
  known[test].set(value, (known[test].get(value) ?? 0) + 1);
}

/** The guard that finds the fewest other rules. */
function rarest(
  guards: Guards,
  frequencies: ReadonlyMap<Slot, Frequencies>,
  used: ReadonlySet<Slot>,
): readonly Test[] | undefined {
  let best: readonly Test[] | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const guard of guards) {
    if (guard.length === 0 || guard.some(({ test, slot }) => test === "present" || !used.has(slot))) continue;
    let found = 0;
    for (const { slot, test, value } of guard) found += frequencies.get(slot)?.[test].get(value) ?? 0;
    if (found >= least) continue;
    best = guard;
    least = found;
  }
  return best;
}

function collect(field: FieldIndex, value: FieldValue, found: (readonly number[])[]): void {
  if (typeof value === "string") {
    const equal = field.equals.get(value);
    if (equal !== undefined) found.push(equal);
    for (const length of field.lengths) {
      if (length > value.length) continue;
      const under = field.prefixes.get(length === value.length ? value : value.slice(0, length));
      if (under !== undefined) found.push(under);
    }
    if (field.ofLists.length > 0) found.push(field.ofLists);
    return;
  }
  if (value === ABSENT) {
    if (field.unguarded.length > 0) found.push(field.unguarded);
    return;
  }
  if (field.ofTexts.length > 0) found.push(field.ofTexts);
  if (value === UNREAD) {
    if (field.ofLists.length > 0) found.push(field.ofLists);
    return;
  }
  if (field.ofLists.length === 0) return;
  if (!value.every(isShortText)) {
    found.push(field.ofLists);
    return;
  }
  for (const element of value) {
    const having = field.members.get(element);
    if (having !== undefined) found.push(having);
  }
}

/** Positions of several lists, ascending, each once. */
function merged(lists: readonly (readonly number[])[]): readonly number[] {
  const all = lists.flat().sort((a, b) => a - b);
  return all.filter((position, index) => position !== all[index - 1]);
}
