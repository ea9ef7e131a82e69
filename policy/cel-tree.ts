/**
 * The syntax tree of cel-js beyond what its types declare: the loops that macros expand to, and the handlers that the
 * checker leaves in the nodes. The pinned version of the library is read here and in `cel-guards.ts`, nowhere else;
 * `expression.test.ts` fails where it stops looking like this.
 */

export type Handle = (...parameters: readonly unknown[]) => unknown;

export interface CelNode {
  readonly op: string;
  readonly args: unknown;
  readonly start: number;
  readonly end: number;
  /** Set by the checker on operators, accesses, calls and loops. */
  handle?: Handle;
  readonly meta: { readonly alternate?: unknown; readonly macro?: unknown };
}

/** Arguments of a "comprehension" node. */
export interface CelLoop {
  readonly iterable: CelNode;
  readonly init: CelNode;
  readonly step: CelNode;
  readonly iterVarName: string;
  /** Asked before each turn with what was gathered so far; false ends the loop. */
  condition?: (gathered: unknown) => boolean;
}

export function isNode(value: unknown): value is CelNode {
  return typeof value === "object" && value !== null && "op" in value && "args" in value && "meta" in value;
}

export function isLoop(value: unknown): value is CelLoop {
  return typeof value === "object" && value !== null && "iterable" in value && "step" in value && "init" in value;
}

/** Name, receiver (calls on a value) and arguments of a call node, as they were written. */
export interface CelCall {
  readonly name: string;
  readonly receiver?: CelNode;
  readonly parameters: readonly CelNode[];
}

export function callOf(node: CelNode): CelCall | undefined {
  if (!Array.isArray(node.args)) return undefined;
  const parts: readonly unknown[] = node.args;
  const name = parts[0];
  if (typeof name !== "string") return undefined;
  if (node.op === "call") return { name, parameters: nodesIn(parts[1]) };
  const receiver = parts[1];
  if (node.op !== "rcall" || !isNode(receiver)) return undefined;
  return { name, receiver, parameters: nodesIn(parts[2]) };
}

/** `left.field`, or `left["field"]` with a literal. */
export function memberOf(node: CelNode): { readonly left: CelNode; readonly field: string } | undefined {
  if ((node.op !== "." && node.op !== "[]") || !Array.isArray(node.args)) return undefined;
  const parts: readonly unknown[] = node.args;
  const [left, right] = parts;
  if (!isNode(left)) return undefined;
  const field = node.op === "." ? right : literalText(right);
  return typeof field === "string" ? { left, field } : undefined;
}

export function literalText(value: unknown): string | undefined {
  return isNode(value) && value.op === "value" && typeof value.args === "string" ? value.args : undefined;
}

/** What the node evaluates: for a macro what it expands to, else its operands. */
export function childrenOf(node: CelNode): readonly CelNode[] {
  if (isNode(node.meta.alternate)) return [node.meta.alternate];
  return nodesIn(node.args);
}

/** Calls `visit` once for each node, parents first, with its depth from 1. */
export function walk(root: CelNode, visit: (node: CelNode, depth: number) => void): void {
  const seen = new Set<CelNode>();
  const stack: [CelNode, number][] = [[root, 1]];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const [node, depth] = next;
    if (seen.has(node)) continue;
    seen.add(node);
    visit(node, depth);
    for (const child of childrenOf(node)) stack.push([child, depth + 1]);
  }
}

function nodesIn(value: unknown): readonly CelNode[] {
  if (isNode(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(nodesIn);
  if (isLoop(value)) return [value.iterable, value.init, value.step];
  return [];
}
