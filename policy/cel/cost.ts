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

type Loop = Extract<Expr, { kind: "comprehension" }>;

/** What is evaluated in each turn. */
function bodiesOf(loop: Loop["loop"]): readonly Expr[] {
  if (loop.macro === "bind") return [];
  if ("predicate" in loop) return [loop.predicate];
  return loop.filter === undefined ? [loop.transform] : [loop.filter, loop.transform];
}

function loopCost(expr: Loop, hints: SizeHints): CostEstimate {
  const [range, init, result] = [expr.range, expr.init, expr.result].map((each) => estimateCost(each, hints));
  const turn = bodiesOf(expr.loop).reduce((sum, body) => sum + estimateCost(body, hints).most, 1);
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

/**
 * Work (`Frame.work`) that the turns of loops draw where each goes to its end. What functions look at comes on top.
 * Infinity where loops in loops leave the range of numbers.
 *
 * @param membersOf  how many elements a list or map may have whose length is not in the text
 */
export function loopWork(expr: Expr, membersOf: (range: Expr) => number): number {
  const inner = (each: Expr) => loopWork(each, membersOf);
  if (expr.kind !== "comprehension") {
    const parts = childrenOf(expr).map(inner);
    const [condition = 0, ...branches] = parts;
    if (expr.kind === "call" && expr.name === "_?_:_") return condition + Math.max(...branches);
    return parts.reduce((sum, part) => sum + part, 0);
  }
  if (expr.loop.macro === "bind") return inner(expr.init) + inner(expr.result);
  const turns = lengthOf(expr.range) ?? membersOf(expr.range);
  const turn = bodiesOf(expr.loop).reduce((sum, body) => sum + inner(body), turnWork(expr));
  return inner(expr.range) + turns * turn;
}

/** Work of one turn: a part for each sixteen nodes that it evaluates. */
export function turnWork(expr: Loop): number {
  return Math.max(1, nodesIn(expr.step) >> 4);
}

function nodesIn(expr: Expr): number {
  let count = 0;
  const stack = [expr];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    count += 1;
    stack.push(...childrenOf(next));
  }
  return count;
}
