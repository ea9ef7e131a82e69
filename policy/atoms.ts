import type { CallExpr, Expr } from "./cel/ast.ts";
import { type Field, fieldOf } from "./fields.ts";

/**
 * What of a rule's `when` can be told without evaluating it: tests of one field against one literal. They make rules
 * findable by what a request says.
 */

export interface Atom {
  readonly field: Field;
  /**
   * `equals`: the field is the value. `prefix`: it starts with it. `member`: it is a list that has it. `present`: it is
   * there.
   */
  readonly test: "equals" | "prefix" | "member" | "present";
  /** "" for `present`. */
  readonly value: string;
}

/** One of these is true wherever the rule is: when all are false, so is the rule, whatever else it says. */
export type Guard = readonly Atom[];

/** Atoms in one guard; a longer list is left to evaluation. */
const GUARD_LIMIT = 100;
/** Guards of one rule; more do not make it easier to find. */
const GUARDS_LIMIT = 8;

/**
 * The guards of an expression, each a necessary condition for it to be true *or unknown*: CEL's `false && unknown` is
 * false.
 */
export function guardsOf(root: Expr): readonly Guard[] {
  return conjunctsOf(root)
    .flatMap((conjunct) => {
      const guard = guardOf(conjunct);
      return guard === undefined || guard.length > GUARD_LIMIT ? [] : [guard];
    })
    .slice(0, GUARDS_LIMIT);
}

/** What must hold for the whole to hold, in order. */
export function conjunctsOf(expr: Expr, found: Expr[] = []): readonly Expr[] {
  if (expr.kind !== "call" || expr.name !== "_&&_") found.push(expr);
  else for (const operand of expr.args) conjunctsOf(operand, found);
  return found;
}

function guardOf(expr: Expr): Guard | undefined {
  if (expr.kind === "select" && expr.testOnly) return atomsOn([...(pathOf(expr.operand) ?? []), expr.field], "present");
  if (expr.kind !== "call") return undefined;
  const [left, right] = expr.args;
  if (expr.name === "startsWith") return startsWith(expr);
  if (left === undefined || right === undefined) return undefined;
  switch (expr.name) {
    case "_||_":
      return anyOf(guardOf(left), guardOf(right));
    case "_&&_":
      return shortest(guardOf(left), guardOf(right));
    case "_==_":
      return equals(left, right) ?? equals(right, left);
    case "@in":
      return isIn(left, right);
    default:
      return undefined;
  }
}

/**
 * The tests that a node is, where it is nothing else: its value, whatever that is, follows from theirs.
 *
 * @returns undefined for other nodes, and for tests of what is no field
 */
export function testsIn(expr: Expr): readonly Atom[] | undefined {
  if (expr.kind === "call" && (expr.name === "_||_" || expr.name === "_&&_")) return undefined;
  return guardOf(expr);
}

function anyOf(left: Guard | undefined, right: Guard | undefined): Guard | undefined {
  return left === undefined || right === undefined ? undefined : [...left, ...right];
}

/** Both are necessary inside a disjunction; one is enough, and the shorter finds less. */
function shortest(left: Guard | undefined, right: Guard | undefined): Guard | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  const weight = (guard: Guard) => guard.length + (guard.some(({ test }) => test === "present") ? GUARD_LIMIT : 0);
  return weight(right) < weight(left) ? right : left;
}

function equals(path: Expr, value: Expr): Guard | undefined {
  const text = textOf(value);
  return text === undefined ? undefined : atomsOn(pathOf(path), "equals", [text]);
}

function startsWith({ target, args }: CallExpr): Guard | undefined {
  const prefix = args.length === 1 ? textOf(args[0]) : undefined;
  return target === undefined || prefix === undefined ? undefined : atomsOn(pathOf(target), "prefix", [prefix]);
}

function isIn(element: Expr, container: Expr): Guard | undefined {
  const text = textOf(element);
  if (text !== undefined) {
    const path = pathOf(container);
    if (path === undefined) return undefined;
    return isMap(path) ? atomsOn([...path, text], "present") : atomsOn(path, "member", [text]);
  }
  // `x in []` is not false but unknown where x is missing, and no atom on x would say so.
  if (container.kind !== "list" || container.elements.length === 0 || container.optional.size > 0) return undefined;
  const values = container.elements.map(textOf);
  const texts = values.filter((value) => value !== undefined);
  return texts.length === values.length ? atomsOn(pathOf(element), "equals", texts) : undefined;
}

/** Where `"x" in path` asks for a key. What is a map inside claims is not known before a request comes. */
function isMap(path: readonly string[]): boolean {
  return ["request.headers", "subject", "subject.claims", "application.labels", "xds"].includes(path.join("."));
}

function atomsOn(
  path: readonly string[] | undefined,
  test: Atom["test"],
  values: readonly string[] = [""],
): Guard | undefined {
  const field = path === undefined ? undefined : fieldOf(path);
  return field === undefined ? undefined : values.map((value) => atomOf(field, test, value));
}

/** Rules have most of their atoms in common: there is one of each, as long as there are not too many, or too long ones. */
const known = new Map<string, Atom>();
const MAX_KNOWN = 16_384;
const MAX_LENGTH = 128;

function atomOf(field: Field, test: Atom["test"], value: string): Atom {
  if (value.length > MAX_LENGTH) return { field, test, value };
  const key = `${test} ${field.key.length} ${field.key}${value}`;
  let atom = known.get(key);
  if (atom === undefined) {
    atom = { field, test, value };
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(key, atom);
  }
  return atom;
}

/** `a.b["c"]` → ["a", "b", "c"]. */
export function pathOf(expr: Expr): readonly string[] | undefined {
  const names: string[] = [];
  for (let at = expr; ; ) {
    if (at.kind === "ident") return at.name.startsWith(".") ? undefined : [at.name, ...names.reverse()];
    if (at.kind === "select" && !at.testOnly) {
      names.push(at.field);
      at = at.operand;
      continue;
    }
    if (at.kind !== "call" || at.name !== "_[_]") return undefined;
    const [operand, key] = at.args;
    const text = textOf(key);
    if (operand === undefined || text === undefined) return undefined;
    names.push(text);
    at = operand;
  }
}

function textOf(expr: Expr | undefined): string | undefined {
  return expr?.kind === "literal" && typeof expr.value === "string" ? expr.value : undefined;
}
