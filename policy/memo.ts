import { type Atom, pathOf, testsIn } from "./atoms.ts";
import { childrenOf, type Expr } from "./cel/ast.ts";
import type { Unknown, Value } from "./expression.ts";
import { ABSENT, type Field, fieldOf, UNREAD } from "./fields.ts";
import type { FieldValues } from "./rule-group.ts";

/** What an expression about a target comes to, kept by exactly what it reads. */

/** What an expression reads beside the target itself, which never changes. */
export interface Reads {
  readonly fields: readonly Field[];
  readonly application: boolean;
  readonly model: boolean;
}

/** What of a request an expression depends on. */
export interface Dependencies {
  readonly reads: Reads;
  /** The fields that are asked nothing but these tests, */
  readonly tests: readonly Atom[];
  /** and the others. */
  readonly whole: readonly Field[];
  /** Milliseconds since the epoch: where comparisons with `now` turn. */
  readonly instants: readonly number[];
  /** Whether it depends on the time, or on what an approval or certification says at that time. */
  readonly timed: boolean;
}

/** Of `target`, what depends on the time or on the caller. */
const STANDING = new Set([
  "approved",
  "certifications",
  "agreements",
  "subprocessorAgreements",
  "safeguardedCountries",
]);

/** @returns undefined where an expression depends on what cannot be told field by field */
export function dependenciesOf(root: Expr): Dependencies | undefined {
  const found: Found = {
    fields: new Map(),
    whole: new Map(),
    tests: [],
    roots: new Set(),
    instants: [],
    timed: false,
  };
  if (!collect(root, found, new Set())) return undefined;
  const { fields, whole, tests, roots, instants, timed } = found;
  return {
    reads: { fields: [...fields.values()], application: roots.has("application"), model: roots.has("model") },
    tests: [...new Set(tests)],
    whole: [...whole.values()],
    instants,
    timed,
  };
}

interface Found {
  readonly fields: Map<string, Field>;
  readonly whole: Map<string, Field>;
  readonly tests: Atom[];
  readonly roots: Set<string>;
  readonly instants: number[];
  timed: boolean;
}

function collect(expr: Expr, found: Found, locals: ReadonlySet<string>): boolean {
  if (noteTests(expr, found, locals) || noteInstant(expr, found, locals)) return true;
  const path = expr.kind === "select" && expr.testOnly ? testedPath(expr.operand, expr.field) : pathOf(expr);
  if (path !== undefined && path[0] !== undefined) return path[0].startsWith("@") || note(path, found, locals);
  if (expr.kind === "ident") return false;
  if (expr.kind !== "comprehension") {
    return childrenOf(expr).every((child) => collect(child, found, locals));
  }
  if (!collect(expr.range, found, locals)) return false;
  const inner = new Set([...locals, expr.variable, ...(expr.variable2 === undefined ? [] : [expr.variable2])]);
  return [expr.init, expr.condition, expr.step, expr.result].every((part) => collect(part, found, inner));
}

/** Roots of which a tree of kept verdicts has one each. */
const FIXED_ROOTS = ["application", "model", "target"];

function noteTests(expr: Expr, found: Found, locals: ReadonlySet<string>): boolean {
  const tests = testsIn(expr);
  if (tests === undefined || tests.length === 0) return false;
  for (const { field } of tests) {
    const [root = ""] = field.path;
    if (locals.has(root) || FIXED_ROOTS.includes(root)) return false;
  }
  for (const test of tests) found.fields.set(test.field.key, test.field);
  found.tests.push(...tests);
  return true;
}

const COMPARISONS = ["_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_"];

/** `now < timestamp("…")` and its like. */
function noteInstant(expr: Expr, found: Found, locals: ReadonlySet<string>): boolean {
  if (expr.kind !== "call" || !COMPARISONS.includes(expr.name) || locals.has("now")) return false;
  const [left, right] = expr.args;
  const instant = isNow(left) ? instantOf(right) : isNow(right) ? instantOf(left) : undefined;
  if (instant === undefined) return false;
  // Time comes in whole milliseconds, and what is written may not: it turns at the one before or the one after.
  found.instants.push(Math.floor(instant), Math.floor(instant) + 1);
  found.timed = true;
  return true;
}

function isNow(expr: Expr | undefined): boolean {
  return expr?.kind === "ident" && expr.name === "now";
}

function instantOf(expr: Expr | undefined): number | undefined {
  if (expr?.kind !== "call" || expr.name !== "timestamp" || expr.target !== undefined) return undefined;
  const [literal] = expr.args;
  if (literal?.kind !== "literal" || typeof literal.value !== "string") return undefined;
  const instant = Date.parse(literal.value);
  return Number.isNaN(instant) ? undefined : instant;
}

function testedPath(operand: Expr, field: string): readonly string[] | undefined {
  const path = pathOf(operand);
  return path === undefined ? undefined : [...path, field];
}

function note(path: readonly string[], found: Found, locals: ReadonlySet<string>): boolean {
  const [root = "", name = ""] = path;
  if (locals.has(root)) return true;
  switch (root) {
    case "countries":
      return true;
    case "target":
      if (STANDING.has(name)) found.timed = true;
      return name !== "";
    case "application":
    case "model":
      found.roots.add(root);
      return true;
    case "string":
    case "int":
    case "double":
    case "bool":
      return true;
    default: {
      const field = fieldOf(path);
      if (field === undefined || field.ofModel) return false;
      found.fields.set(field.key, field);
      found.whole.set(field.key, field);
      return true;
    }
  }
}

/** Longest key; where what is read is longer, the answer is not kept. */
const KEY_LENGTH = 512;

/** @returns undefined where something that is read cannot be told apart from other values */
export function keyOf(
  { fields, application, model }: Reads,
  values: FieldValues,
  asked: { readonly application: object; readonly model: string | undefined },
): string | undefined {
  let key = application ? `${identityOf(asked.application)}` : "";
  if (model) key += asked.model === undefined ? "-" : `+${asked.model.length} ${asked.model}`;
  for (const field of fields) {
    const value = values.readField(field, asked.model);
    if (value === UNREAD) return undefined;
    if (value === ABSENT) key += "!";
    else if (typeof value === "string") {
      if (value.length > KEY_LENGTH) return undefined;
      key += `"${value.length} ${value}`;
    } else {
      if (value.length > KEY_LENGTH || !value.every(isShort)) return undefined;
      key += JSON.stringify(value);
    }
    if (key.length > KEY_LENGTH) return undefined;
  }
  return key;
}

function isShort(value: unknown): boolean {
  return typeof value === "string" && value.length <= KEY_LENGTH;
}

const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** The same number for the same object. */
export function identityOf(object: object): number {
  let identity = identities.get(object);
  if (identity === undefined) {
    lastIdentity += 1;
    identity = lastIdentity;
    identities.set(object, identity);
  }
  return identity;
}

/** Answers by key. Of those that were not asked for lately the older half goes when there are too many. */
export class Memo {
  readonly #capacity: number;
  #young = new Map<string, Value | Unknown>();
  #old = new Map<string, Value | Unknown>();

  /** @param capacity  answers kept at most */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(key: string): Value | Unknown | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: Value | Unknown): void {
    if (this.#young.size >= this.#capacity >> 1) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
