import type { Draft, Expr, LiteralExpr } from "./ast.ts";
import { SyntaxProblem } from "./tokens.ts";

export interface ParseLimits {
  /** UTF-16 units. */
  readonly length: number;
  /** Nodes of the tree, expanded macros included. */
  readonly nodes: number;
  /** Nesting of the tree and of the text. */
  readonly depth: number;
  readonly listElements: number;
  readonly mapEntries: number;
  readonly arguments: number;
}

export const PARSE_LIMITS: ParseLimits = {
  length: 100_000,
  nodes: 50_000,
  depth: 250,
  listElements: 10_000,
  mapEntries: 10_000,
  arguments: 64,
};

/** Makes the nodes of a tree, and sees that it does not grow beyond its limits. */
export class TreeBuilder {
  readonly #limits: Pick<ParseLimits, "nodes" | "depth">;
  #nodes = 0;
  /** Height of each node of the tree so far, by id. */
  readonly #heights: number[] = [];

  constructor(limits: Pick<ParseLimits, "nodes" | "depth">) {
    this.#limits = limits;
  }

  nextId(offset: number): number {
    this.#nodes += 1;
    if (this.#nodes > this.#limits.nodes) {
      throw new SyntaxProblem(`the expression has more than ${this.#limits.nodes} nodes`, offset);
    }
    return this.#nodes;
  }

  /** Gives a node its id and looks at its height. */
  readonly node = (draft: Draft, children: readonly Expr[] = []): Expr => {
    const id = this.nextId(draft.offset);
    let height = 0;
    for (const child of children) height = Math.max(height, this.#heights[child.id] ?? 0);
    this.#heights[id] = height + 1;
    this.demandDepth(height + 1, draft.offset);
    return { id, ...draft };
  };

  readonly call = (name: string, args: readonly Expr[], offset: number, target?: Expr): Expr =>
    target === undefined
      ? this.node({ kind: "call", name, args, offset }, args)
      : this.node({ kind: "call", name, target, args, offset }, [target, ...args]);

  literal(value: LiteralExpr["value"], offset: number): Expr {
    return this.node({ kind: "literal", value, offset });
  }

  /** @throws SyntaxProblem where what is nested so deep is not taken */
  demandDepth(depth: number, offset: number): void {
    if (depth <= this.#limits.depth) return;
    throw new SyntaxProblem(`the expression is nested deeper than ${this.#limits.depth}`, offset);
  }
}
