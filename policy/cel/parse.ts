import { type Draft, type Expr, type FieldEntry, type LiteralExpr, type MapEntry, qualifiedName } from "./ast.ts";
import { intLiteral } from "./literal.ts";
import { expandMacro, MACRO_NAMES, type MacroCall } from "./macros.ts";
import { nextToken, type Token } from "./scan.ts";
import { type Problem, problemAt } from "./source.ts";

/** Text → syntax tree (cel-spec v0.25.1, langdef.md "Syntax"). Recursive descent; depth and size are bounded. */

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

export interface ParseOptions {
  readonly limits?: Partial<ParseLimits>;
  /** false: `has`, `all` and the like are calls of functions. */
  readonly macros?: boolean;
  /** Name of the variable in which macros gather; nobody can write the usual one. */
  readonly accumulator?: string;
}

export type Parsed =
  | { readonly ok: true; readonly expr: Expr; readonly source: string }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Never throws. */
export function parse(source: string, options: ParseOptions = {}): Parsed {
  const limits = { ...PARSE_LIMITS, ...options.limits };
  if (source.length > limits.length) {
    const message = `the expression has ${source.length} characters; at most ${limits.length} are taken`;
    return { ok: false, problems: [problemAt(source, 0, message)] };
  }
  try {
    const parser = new Parser(source, limits, options.macros ?? true, options.accumulator ?? "@result");
    return { ok: true, expr: parser.whole(), source };
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    return { ok: false, problems: [problemAt(source, error.offset, error.message)] };
  }
}

/** Ends a parse; does not leave this file. */
class SyntaxProblem extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const RESERVED = new Set(
  "as break const continue else for function if import let loop package namespace return var void while".split(" "),
);
const KEYWORDS = new Set(["in", "true", "false", "null"]);

const RELATIONS = new Set(["<", "<=", ">", ">=", "==", "!=", "in"]);
const SUMS = new Set(["+", "-"]);
const PRODUCTS = new Set(["*", "/", "%"]);

class Parser {
  readonly #source: string;
  readonly #limits: ParseLimits;
  readonly #macros: boolean;
  readonly #accumulator: string;
  #token: Token;
  #nodes = 0;
  #nesting = 0;
  /** Height of each node of the tree so far, by id. */
  readonly #heights: number[] = [];

  constructor(source: string, limits: ParseLimits, macros: boolean, accumulator: string) {
    this.#source = source;
    this.#limits = limits;
    this.#macros = macros;
    this.#accumulator = accumulator;
    this.#token = nextToken(source, 0);
  }

  whole(): Expr {
    const expr = this.#expr();
    if (this.#token.kind !== "end") this.#unexpected("an operator or the end");
    return expr;
  }

  #fail(message: string, offset: number): never {
    throw new SyntaxProblem(message, offset);
  }

  #unexpected(wanted: string): never {
    const token = this.#token;
    if (token.kind === "problem") this.#fail(token.text, token.offset);
    const found = token.kind === "end" ? token.text : `"${this.#source.slice(token.offset, token.end)}"`;
    this.#fail(`unexpected ${found}: ${wanted} is needed`, token.offset);
  }

  #advance(): Token {
    const token = this.#token;
    this.#token = nextToken(this.#source, token.end);
    return token;
  }

  #at(operator: string): boolean {
    return this.#token.kind === "op" && this.#token.text === operator;
  }

  #take(operator: string): boolean {
    if (!this.#at(operator)) return false;
    this.#advance();
    return true;
  }

  #need(operator: string): void {
    if (!this.#take(operator)) this.#unexpected(`"${operator}"`);
  }

  #nextId(offset: number): number {
    this.#nodes += 1;
    if (this.#nodes > this.#limits.nodes) {
      this.#fail(`the expression has more than ${this.#limits.nodes} nodes`, offset);
    }
    return this.#nodes;
  }

  /** Gives a node its id and looks at its height. */
  #node = (draft: Draft, children: readonly Expr[] = []): Expr => {
    const id = this.#nextId(draft.offset);
    let height = 0;
    for (const child of children) height = Math.max(height, this.#heights[child.id] ?? 0);
    this.#heights[id] = height + 1;
    if (height + 1 > this.#limits.depth) this.#tooDeep(draft.offset);
    return { id, ...draft };
  };

  #call = (name: string, args: readonly Expr[], offset: number, target?: Expr): Expr =>
    this.#node(
      target === undefined ? { kind: "call", name, args, offset } : { kind: "call", name, target, args, offset },
      target === undefined ? args : [target, ...args],
    );

  #tooDeep(offset: number): never {
    this.#fail(`the expression is nested deeper than ${this.#limits.depth}`, offset);
  }

  #expr(): Expr {
    this.#nesting += 1;
    if (this.#nesting > this.#limits.depth) this.#tooDeep(this.#token.offset);
    const condition = this.#logical("||");
    let expr = condition;
    const { offset } = this.#token;
    if (this.#take("?")) {
      const then = this.#logical("||");
      this.#need(":");
      expr = this.#call("_?_:_", [condition, then, this.#expr()], offset);
    }
    this.#nesting -= 1;
    return expr;
  }

  /** A chain of one operator becomes a balanced tree: no long chain is deep. */
  #logical(operator: "||" | "&&"): Expr {
    const operand = () => (operator === "||" ? this.#logical("&&") : this.#relation());
    const first = operand();
    if (!this.#at(operator)) return first;
    const operands = [first];
    const offsets: number[] = [];
    while (this.#at(operator)) {
      offsets.push(this.#advance().offset);
      operands.push(operand());
    }
    const name = `_${operator}_`;
    const balance = (from: number, to: number): Expr => {
      const middle = Math.floor((from + to + 1) / 2);
      const left = middle === from ? operands[middle] : balance(from, middle - 1);
      const right = middle === to ? operands[middle + 1] : balance(middle + 1, to);
      if (left === undefined || right === undefined) return first;
      return this.#call(name, [left, right], offsets[middle] ?? first.offset);
    };
    return balance(0, offsets.length - 1);
  }

  #relation(): Expr {
    return this.#chain(RELATIONS, () => this.#chain(SUMS, () => this.#chain(PRODUCTS, () => this.#unary())));
  }

  /** Left-associative operators of one precedence. */
  #chain(operators: ReadonlySet<string>, operand: () => Expr): Expr {
    let left = operand();
    for (;;) {
      const token = this.#token;
      if ((token.kind !== "op" && token.kind !== "ident") || !operators.has(token.text)) return left;
      this.#advance();
      const name = token.text === "in" ? "@in" : `_${token.text}_`;
      left = this.#call(name, [left, operand()], token.offset);
    }
  }

  #unary(): Expr {
    const signs: Token[] = [];
    while (this.#at("!") || this.#at("-")) {
      signs.push(this.#advance());
      if (signs.length > this.#limits.depth) this.#tooDeep(signs[0]?.offset ?? 0);
    }
    const last = signs.at(-1);
    const isNumber = this.#token.kind === "int" || this.#token.kind === "double";
    let expr: Expr;
    if (last !== undefined && isNumber && this.#source[last.offset] === "-") {
      signs.pop();
      expr = this.#member(this.#number(last.offset, true), false);
    } else {
      const bare = !this.#at("(");
      expr = this.#member(this.#primary(), bare);
    }
    for (const sign of signs.reverse()) {
      expr = this.#call(this.#source[sign.offset] === "!" ? "!_" : "-_", [expr], sign.offset);
    }
    return expr;
  }

  #literal(value: LiteralExpr["value"], offset: number): Expr {
    return this.#node({ kind: "literal", value, offset });
  }

  #number(offset: number, negative: boolean): Expr {
    const token = this.#advance();
    if (token.kind === "double") return this.#literal(negative ? -token.value : token.value, offset);
    const text = token.kind === "int" ? token.text : "";
    const value = intLiteral(text, negative);
    if (value === undefined) this.#fail(`${text} does not fit an int`, token.offset);
    return this.#literal(value, offset);
  }

  #primary(): Expr {
    const token = this.#token;
    const { offset } = token;
    switch (token.kind) {
      case "int":
      case "double":
        return this.#number(offset, false);
      case "uint":
      case "string":
      case "bytes":
        this.#advance();
        return this.#literal(token.value, offset);
      case "ident":
        return this.#name("");
      case "op":
        if (this.#take("(")) {
          const inner = this.#expr();
          this.#need(")");
          return inner;
        }
        if (this.#take(".")) return this.#name(".");
        if (this.#take("[")) return this.#list(offset);
        if (this.#take("{")) return this.#map(offset);
    }
    return this.#unexpected("a value");
  }

  #name(dot: "" | "."): Expr {
    const token = this.#token;
    if (token.kind !== "ident" || (KEYWORDS.has(token.text) && dot === ".")) return this.#unexpected("a name");
    const { text, offset } = token;
    if (text === "true" || text === "false" || text === "null") {
      this.#advance();
      return this.#literal(text === "null" ? null : text === "true", offset);
    }
    if (text === "in") return this.#unexpected("a value");
    if (RESERVED.has(text)) this.#fail(`"${text}" is a reserved word`, offset);
    this.#advance();
    const name = dot + text;
    if (this.#take("(")) return this.#invoke(name, this.#arguments(), offset);
    return this.#node({ kind: "ident", name, offset });
  }

  /** What follows a value: `.field`, `.?field`, `[index]`, `[?index]`, `.method()`, and `{…}` after a type's name. */
  #member(start: Expr, bare: boolean): Expr {
    let expr = start;
    let canBeType = bare && qualifiedName(start) !== undefined;
    for (;;) {
      const { offset } = this.#token;
      if (this.#take(".")) {
        const optional = this.#take("?");
        expr = this.#field(expr, optional, offset);
      } else if (this.#take("[")) {
        const optional = this.#take("?");
        const index = this.#expr();
        this.#need("]");
        expr = this.#call(optional ? "_[?_]" : "_[_]", [expr, index], offset);
      } else if (canBeType && this.#at("{")) {
        this.#advance();
        expr = this.#struct(qualifiedName(expr) ?? "", offset);
      } else {
        return expr;
      }
      canBeType &&= qualifiedName(expr) !== undefined;
    }
  }

  #field(operand: Expr, optional: boolean, offset: number): Expr {
    const token = this.#token;
    if ((token.kind !== "ident" && token.kind !== "quoted") || (token.kind === "ident" && KEYWORDS.has(token.text))) {
      return this.#unexpected("the name of a field");
    }
    this.#advance();
    const field = token.text;
    if (optional) return this.#call("_?._", [operand, this.#literal(field, token.offset)], offset);
    if (token.kind === "ident" && this.#take("(")) {
      return this.#invoke(field, this.#arguments(), token.offset, operand);
    }
    return this.#node({ kind: "select", operand, field, testOnly: false, offset: token.offset }, [operand]);
  }

  #arguments(): readonly Expr[] {
    const args: Expr[] = [];
    if (this.#take(")")) return args;
    do {
      args.push(this.#expr());
      if (args.length > this.#limits.arguments) {
        this.#fail(`a call has more than ${this.#limits.arguments} arguments`, this.#token.offset);
      }
    } while (this.#take(","));
    this.#need(")");
    return args;
  }

  #invoke(name: string, args: readonly Expr[], offset: number, target?: Expr): Expr {
    if (this.#macros && MACRO_NAMES.has(name)) {
      const call: MacroCall = { name, args, offset, ...(target === undefined ? {} : { target }) };
      const expanded = expandMacro(call, {
        accumulator: this.#accumulator,
        node: this.#node,
        call: this.#call,
      });
      if (expanded !== undefined && "problem" in expanded) this.#fail(expanded.problem, expanded.offset);
      if (expanded !== undefined) return expanded;
    }
    return this.#call(name, args, offset, target);
  }

  #list(offset: number): Expr {
    const elements: Expr[] = [];
    const optional = new Set<number>();
    while (!this.#at("]")) {
      if (this.#take("?")) optional.add(elements.length);
      elements.push(this.#expr());
      if (elements.length > this.#limits.listElements) {
        this.#fail(`a list has more than ${this.#limits.listElements} elements`, this.#token.offset);
      }
      if (!this.#take(",")) break;
    }
    this.#need("]");
    return this.#node({ kind: "list", elements, optional, offset }, elements);
  }

  #map(offset: number): Expr {
    const entries: MapEntry[] = [];
    while (!this.#at("}")) {
      const optional = this.#take("?");
      const key = this.#expr();
      const colon = this.#token.offset;
      this.#need(":");
      const value = this.#expr();
      entries.push({ id: this.#nextId(colon), offset: colon, key, value, optional });
      this.#checkEntries(entries.length);
      if (!this.#take(",")) break;
    }
    this.#need("}");
    return this.#node(
      { kind: "map", entries, offset },
      entries.flatMap(({ key, value }) => [key, value]),
    );
  }

  #struct(name: string, offset: number): Expr {
    const entries: FieldEntry[] = [];
    while (!this.#at("}")) {
      const optional = this.#take("?");
      const token = this.#token;
      if ((token.kind !== "ident" && token.kind !== "quoted") || (token.kind === "ident" && KEYWORDS.has(token.text))) {
        return this.#unexpected("the name of a field");
      }
      this.#advance();
      const colon = this.#token.offset;
      this.#need(":");
      entries.push({ id: this.#nextId(colon), offset: colon, field: token.text, value: this.#expr(), optional });
      this.#checkEntries(entries.length);
      if (!this.#take(",")) break;
    }
    this.#need("}");
    return this.#node(
      { kind: "struct", name, entries, offset },
      entries.map(({ value }) => value),
    );
  }

  #checkEntries(count: number): void {
    if (count > this.#limits.mapEntries) {
      this.#fail(`a map has more than ${this.#limits.mapEntries} entries`, this.#token.offset);
    }
  }
}
