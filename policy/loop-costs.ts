import { childrenOf, type Expr, loopWork } from "./cel/index.ts";
import { type EXPRESSION_LIMITS, type ExpressionDoubt, problemAt } from "./expression.ts";
import { VALUE_LIMITS } from "./values.ts";

/** Loops in loops, told before a request comes whose lists are long. */

/** What people write into a tree is short; what a request brings along can have as many members as are read at all. */
const WRITTEN_MEMBERS = 64;
const WRITTEN = new Set(["application", "model", "target", "countries", "xds"]);

/** @returns undefined where the loops of an expression stay within the work of one evaluation, however long the lists */
export function costlyLoops(root: Expr, text: string, limits: typeof EXPRESSION_LIMITS): ExpressionDoubt | undefined {
  if (loopWork(root, membersOf) <= limits.work) return undefined;
  const message = `With lists of ${VALUE_LIMITS.members} members this costs more than is allowed, and the rule is unknown`;
  const hint = "a loop inside a loop goes over each pair: look for a member with `in`, or go over one list alone";
  return { ...problemAt(text, offsetOfLoop(root), message, hint), kind: "costly" };
}

/** Of the outermost loop. */
function offsetOfLoop(root: Expr): number {
  let level: readonly Expr[] = [root];
  while (level.length > 0) {
    const loop = level.find((expr) => expr.kind === "comprehension" && expr.loop.macro !== "bind");
    if (loop !== undefined) return loop.offset;
    level = level.flatMap(childrenOf);
  }
  return 0;
}

function membersOf(range: Expr): number {
  const name = rootOf(range);
  return name !== undefined && WRITTEN.has(name) ? WRITTEN_MEMBERS : VALUE_LIMITS.members;
}

/** The variable that a chain of members, calls and indices starts with. */
function rootOf(expr: Expr): string | undefined {
  switch (expr.kind) {
    case "ident":
      return expr.name;
    case "select":
      return rootOf(expr.operand);
    case "call": {
      const first = expr.target ?? expr.args[0];
      return first === undefined ? undefined : rootOf(first);
    }
    default:
      return undefined;
  }
}
