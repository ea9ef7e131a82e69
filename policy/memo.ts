import { pathOf } from "./atoms.ts";
import { childrenOf, type Expr } from "./cel/ast.ts";
import { parse } from "./cel/parse.ts";
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

/** Of `target`, what depends on the time or on the caller. */
const STANDING = new Set([
  "approved",
  "certifications",
  "agreements",
  "subprocessorAgreements",
  "safeguardedCountries",
]);

/**
 * @returns undefined where the answer depends on the time, or on what cannot be told field by field: then it is not
 *   kept
 */
export function readsOf(text: string): Reads | undefined {
  const parsed = parse(text);
  if (!parsed.ok) return undefined;
  const fields = new Map<string, Field>();
  const roots = new Set<string>();
  const locals = new Set<string>();
  return collect(parsed.expr, fields, roots, locals)
    ? { fields: [...fields.values()], application: roots.has("application"), model: roots.has("model") }
    : undefined;
}

function collect(expr: Expr, fields: Map<string, Field>, roots: Set<string>, locals: Set<string>): boolean {
  const path = expr.kind === "select" && expr.testOnly ? testedPath(expr.operand, expr.field) : pathOf(expr);
  if (path !== undefined && path[0] !== undefined) return path[0].startsWith("@") || note(path, fields, roots, locals);
  if (expr.kind === "ident") return false;
  if (expr.kind !== "comprehension") {
    return childrenOf(expr).every((child) => collect(child, fields, roots, locals));
  }
  if (!collect(expr.range, fields, roots, locals)) return false;
  const inner = new Set([...locals, expr.variable, ...(expr.variable2 === undefined ? [] : [expr.variable2])]);
  return [expr.init, expr.condition, expr.step, expr.result].every((part) => collect(part, fields, roots, inner));
}

function testedPath(operand: Expr, field: string): readonly string[] | undefined {
  const path = pathOf(operand);
  return path === undefined ? undefined : [...path, field];
}

function note(
  path: readonly string[],
  fields: Map<string, Field>,
  roots: Set<string>,
  locals: ReadonlySet<string>,
): boolean {
  const [root = "", name = ""] = path;
  if (locals.has(root)) return true;
  switch (root) {
    case "countries":
      return true;
    case "target":
      return name !== "" && !STANDING.has(name);
    case "application":
    case "model":
      roots.add(root);
      return true;
    case "string":
    case "int":
    case "double":
    case "bool":
      return true;
    default: {
      const field = fieldOf(path);
      if (field === undefined || field.ofModel) return false;
      fields.set(field.key, field);
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
