import { childrenOf, type Expr } from "./ast.ts";

/** What an evaluation can cost, told from the tree: in nodes that are evaluated. */

export interface CostEstimate {
  /** Where every loop is empty and every && and || is decided by its first operand. */
  readonly least: number;
  /** Where each loop goes to its end. Infinity where loops in loops leave the range of numbers. */
  readonly most: number;
}

export interface SizeHints {
  /** Elements of a list or map whose length is not in the text. */
  readonly members: number;
}

/**
 * Never throws. A loop over a literal list has its length; over what else, `members`; a function that goes over its
 * operands costs one node, because what it looks at is counted when it runs (`Frame.work`).
 */
export function estimateCost(expr: Expr, hints: SizeHints): CostEstimate {
  if (expr.kind === "comprehension") return loopCost(expr, hints);
  const parts = childrenOf(expr).map((child) => estimateCost(child, hints));
  const most = parts.reduce((sum, part) => sum + part.most, 1);
  const [first, second, third] = parts;
  if (expr.kind === "call" && first !== undefined) {
    if (expr.name === "_&&_" || expr.name === "_||_") return { least: 1 + first.least, most };
    if (expr.name === "_?_:_" && second !== undefined && third !== undefined) {
      return {
        least: 1 + first.least + Math.min(second.least, third.least),
        most: 1 + first.most + Math.max(second.most, third.most),
      };
    }
  }
  return { least: parts.reduce((sum, part) => sum + part.least, 1), most };
}

function loopCost(expr: Extract<Expr, { kind: "comprehension" }>, hints: SizeHints): CostEstimate {
  const [range, init, result] = [expr.range, expr.init, expr.result].map((each) => estimateCost(each, hints));
  const { loop } = expr;
  const bodies =
    loop.macro === "bind"
      ? []
      : "predicate" in loop
        ? [loop.predicate]
        : [...(loop.filter === undefined ? [] : [loop.filter]), loop.transform];
  const turn = bodies.reduce((sum, body) => sum + estimateCost(body, hints).most, 1);
  const turns = expr.loop.macro === "bind" ? 0 : (lengthOf(expr.range) ?? hints.members);
  const fixed = (range?.least ?? 0) + (init?.least ?? 0) + (result?.least ?? 0);
  const whole = (range?.most ?? 0) + (init?.most ?? 0) + (result?.most ?? 0);
  return { least: 1 + fixed, most: 1 + whole + turns * turn };
}

/** How many elements a list or map has at most, where the text says so. */
function lengthOf(range: Expr): number | undefined {
  if (range.kind === "list") return range.elements.length;
  if (range.kind === "map") return range.entries.length;
  return range.kind === "comprehension" && range.loop.macro !== "bind" ? lengthOf(range.range) : undefined;
}
