import type { Uint } from "./value.ts";

/**
 * The syntax tree: plain, read-only data in the shape of cel.expr.Expr (cel-spec v0.25.1, syntax.proto). Operators are
 * calls by the names of the spec ("_+_", "_[_]"); macros are expanded where they are parsed.
 */

interface Node {
  /** From 1, unique within one tree. */
  readonly id: number;
  /** UTF-16 units from the start of the source: where an error about the node points to. */
  readonly offset: number;
}

export interface LiteralExpr extends Node {
  readonly kind: "literal";
  /** int is bigint, double is number. */
  readonly value: null | boolean | bigint | Uint | number | string | Uint8Array;
}

export interface IdentExpr extends Node {
  readonly kind: "ident";
  /** With a leading dot where it was written so: then the container is not searched. */
  readonly name: string;
}

export interface SelectExpr extends Node {
  readonly kind: "select";
  readonly operand: Expr;
  readonly field: string;
  /** Whether it is `has(operand.field)`. */
  readonly testOnly: boolean;
}

export interface CallExpr extends Node {
  readonly kind: "call";
  readonly name: string;
  readonly target?: Expr;
  readonly args: readonly Expr[];
}

export interface ListExpr extends Node {
  readonly kind: "list";
  readonly elements: readonly Expr[];
  /** Indices of `[?x]`. */
  readonly optional: ReadonlySet<number>;
}

export interface MapEntry extends Node {
  readonly key: Expr;
  readonly value: Expr;
  /** `{?key: value}` */
  readonly optional: boolean;
}

export interface MapExpr extends Node {
  readonly kind: "map";
  readonly entries: readonly MapEntry[];
}

export interface FieldEntry extends Node {
  readonly field: string;
  readonly value: Expr;
  readonly optional: boolean;
}

export interface StructExpr extends Node {
  readonly kind: "struct";
  readonly name: string;
  readonly entries: readonly FieldEntry[];
}

/** What a loop came from: the compiler runs the macro and not its expansion. */
export type Loop =
  | { readonly macro: "all" | "exists" | "existsOne" | "filter"; readonly predicate: Expr }
  | { readonly macro: "map" | "transformMap" | "transformMapEntry"; readonly filter?: Expr; readonly transform: Expr }
  | { readonly macro: "bind" };

/**
 * A fold over `range`: the meaning of a macro, which the type checker reads. `variable2` is there in macros with two
 * variables: then `variable` is the index or key and `variable2` the element or value.
 */
export interface ComprehensionExpr extends Node {
  readonly kind: "comprehension";
  readonly range: Expr;
  readonly variable: string;
  readonly variable2?: string;
  readonly accumulator: string;
  readonly init: Expr;
  readonly condition: Expr;
  readonly step: Expr;
  readonly result: Expr;
  readonly loop: Loop;
}

export type Expr =
  | LiteralExpr
  | IdentExpr
  | SelectExpr
  | CallExpr
  | ListExpr
  | MapExpr
  | StructExpr
  | ComprehensionExpr;

/** A node before it has its id. */
export type Draft = Expr extends infer T ? (T extends Expr ? Omit<T, "id"> : never) : never;

/** Everything below a node, in the order of evaluation. */
export function childrenOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case "literal":
    case "ident":
      return [];
    case "select":
      return [expr.operand];
    case "call":
      return expr.target === undefined ? expr.args : [expr.target, ...expr.args];
    case "list":
      return expr.elements;
    case "map":
      return expr.entries.flatMap(({ key, value }) => [key, value]);
    case "struct":
      return expr.entries.map(({ value }) => value);
    case "comprehension":
      return [expr.range, expr.init, expr.condition, expr.step, expr.result];
  }
}

/** "a.b.c" for a chain of names, with its leading dot if it has one; undefined for everything else. */
export function qualifiedName(expr: Expr): string | undefined {
  const fields: string[] = [];
  for (let at = expr; ; at = at.operand) {
    if (at.kind === "ident") return [at.name, ...fields.reverse()].join(".");
    if (at.kind !== "select" || at.testOnly) return undefined;
    fields.push(at.field);
  }
}
