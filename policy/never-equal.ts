import { type CheckedTree, childrenOf, type Expr, formatType, parseType, type Type } from "./cel/index.ts";
import { pathOf } from "./paths.ts";
import { declarationAt } from "./vocabulary.ts";

/**
 * Comparisons that the type checker lets through, because one side is dyn to it, and that are false for every request
 * all the same: values of different types are not equal (langdef.md "Equality").
 */

export interface NeverEqual {
  readonly node: Expr;
  readonly operator: "==" | "!=" | "in";
  /** As `formatType` writes them. */
  readonly left: string;
  readonly right: string;
}

export function neverEqual({ expr, types }: Pick<CheckedTree, "expr" | "types">): readonly NeverEqual[] {
  const found: NeverEqual[] = [];
  const stack = [expr];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    const comparison = comparisonIn(node, types);
    if (comparison !== undefined) found.push(comparison);
    stack.push(...childrenOf(node));
  }
  return found;
}

function comparisonIn(node: Expr, types: CheckedTree["types"]): NeverEqual | undefined {
  if (node.kind !== "call") return undefined;
  const [first, second] = node.args;
  if (first === undefined || second === undefined) return undefined;
  const left = knownType(first, types);
  switch (node.name) {
    case "_==_":
    case "_!=_": {
      const right = knownType(second, types);
      if (!areApart(left, right)) return undefined;
      const operator = node.name === "_==_" ? "==" : "!=";
      return { node, operator, left: formatType(left), right: formatType(right) };
    }
    case "@in": {
      const members = memberTypes(second, types);
      if (members.length === 0 || !members.every((member) => areApart(left, member))) return undefined;
      return { node, operator: "in", left: formatType(left), right: formatType(knownType(second, types)) };
    }
    default:
      return undefined;
  }
}

/** Types of what `in` compares with. */
function memberTypes(container: Expr, types: CheckedTree["types"]): readonly Type[] {
  if (container.kind === "list") return container.elements.map((element) => knownType(element, types));
  const type = knownType(container, types);
  if (type.kind === "list") return [type.element];
  return type.kind === "map" ? [type.key] : [];
}

const DYN: Type = { kind: "dyn" };

/** The type that the vocabulary or a dyn() hides from the checker, or what the checker found. */
function knownType(expr: Expr, types: CheckedTree["types"]): Type {
  const found = types.get(expr.id) ?? DYN;
  if (found.kind !== "dyn") return found;
  if (expr.kind === "call" && expr.name === "dyn" && expr.args[0] !== undefined) return knownType(expr.args[0], types);
  const path = expr.kind === "select" && expr.testOnly ? undefined : pathOf(expr);
  const declared = path === undefined ? undefined : declarationAt(path);
  return (declared === undefined ? undefined : parseType(declared.type)) ?? found;
}

/** Numbers of all types are compared by their worth. */
const NUMBERS: ReadonlySet<Type["kind"]> = new Set(["int", "uint", "double"]);
/** Of these it is not known what a value will be. */
const OPEN: ReadonlySet<Type["kind"]> = new Set(["dyn", "any", "error", "param", "wrapper"]);

function areApart(a: Type, b: Type): boolean {
  if (OPEN.has(a.kind) || OPEN.has(b.kind)) return false;
  if (NUMBERS.has(a.kind) && NUMBERS.has(b.kind)) return false;
  if (a.kind !== b.kind) return true;
  // Two lists can both be empty; two optionals can both be none.
  return (a.kind === "opaque" || a.kind === "record") && "name" in b && a.name !== b.name;
}
