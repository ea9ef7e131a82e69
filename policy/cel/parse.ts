import { type Expr, type FieldEntry, type MapEntry, qualifiedName } from "./ast.ts";
import { intLiteral } from "./literal.ts";
import { expandMacro, MACRO_NAMES, type MacroCall } from "./macros.ts";
import type { Token } from "./scan.ts";
import { type Problem, problemAt } from "./source.ts";
import { SyntaxProblem, Tokens } from "./tokens.ts";
import { PARSE_LIMITS, type ParseLimits, TreeBuilder } from "./tree-builder.ts";

/** Text → syntax tree (cel-spec v0.25.1, langdef.md "Syntax"). Recursive descent; depth and size are bounded. */

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

const RESERVED = new Set(
  "as break const continue else for function if import let loop package namespace return var void while".split(" "),
);
const KEYWORDS = new Set(["in", "true", "false", "null"]);

/** How strong the operators between two operands bind that are evaluated from left to right. */
const BINDING: ReadonlyMap<string, number> = new Map([
  ...["<", "<=", ">", ">=", "==", "!=", "in"].map((operator) => [operator, 1] as const),
  ...["+", "-"].map((operator) => [operator, 2] as const),
  ...["*", "/", "%"].map((operator) => [operator, 3] as const),
]);

class Parser {
  readonly #tokens: Tokens;
  readonly #tree: TreeBuilder;
  readonly #limits: ParseLimits;
  readonly #macros: boolean;
  readonly #accumulator: string;
  #nesting = 0;

  constructor(source: string, limits: ParseLimits, macros: boolean, accumulator: string) {
    this.#tokens = new Tokens(source);
    this.#tree = new TreeBuilder(limits);
    this.#limits = limits;
    this.#macros = macros;
    this.#accumulator = accumulator;
  }

  whole(): Expr {
    const expr = this.#expr();
    if (this.#tokens.next.kind !== "end") this.#tokens.unexpected("an operator or the end");
    return expr;
  }

  #expr(): Expr {
    this.#nesting += 1;
    this.#tree.demandDepth(this.#nesting, this.#tokens.next.offset);
    const condition = this.#logical("||");
    let expr = condition;
    const { offset } = this.#tokens.next;
    if (this.#tokens.take("?")) {
      const then = this.#logical("||");
      this.#tokens.need(":");
      expr = this.#tree.call("_?_:_", [condition, then, this.#expr()], offset);
    }
    this.#nesting -= 1;
    return expr;
  }

  /** A chain of one operator becomes a balanced tree: no long chain is deep. */
  #logical(operator: "||" | "&&"): Expr {
    const operand = () => (operator === "||" ? this.#logical("&&") : this.#operation(1));
    const first = operand();
    if (!this.#tokens.at(operator)) return first;
    const operands = [first];
    const offsets: number[] = [];
    while (this.#tokens.at(operator)) {
      offsets.push(this.#tokens.advance().offset);
      operands.push(operand());
    }
    const name = `_${operator}_`;
    const balance = (from: number, to: number): Expr => {
      const middle = Math.floor((from + to + 1) / 2);
      const left = middle === from ? operands[middle] : balance(from, middle - 1);
      const right = middle === to ? operands[middle + 1] : balance(middle + 1, to);
      if (left === undefined || right === undefined) return first;
      return this.#tree.call(name, [left, right], offsets[middle] ?? first.offset);
    };
    return balance(0, offsets.length - 1);
  }

  /** Operands and the operators between them that bind at least so strong. */
  #operation(least: number): Expr {
    let left = this.#unary();
    for (;;) {
      const token = this.#tokens.next;
      if (token.kind !== "op" && token.kind !== "ident") return left;
      const binding = BINDING.get(token.text);
      if (binding === undefined || binding < least) return left;
      this.#tokens.advance();
      const name = token.text === "in" ? "@in" : `_${token.text}_`;
      left = this.#tree.call(name, [left, this.#operation(binding + 1)], token.offset);
    }
  }

  #unary(): Expr {
    const signs: Token[] = [];
    while (this.#tokens.at("!") || this.#tokens.at("-")) {
      signs.push(this.#tokens.advance());
      this.#tree.demandDepth(signs.length, signs[0]?.offset ?? 0);
    }
    const last = signs.at(-1);
    const isNumber = this.#tokens.next.kind === "int" || this.#tokens.next.kind === "double";
    let expr: Expr;
    if (last !== undefined && isNumber && this.#tokens.source[last.offset] === "-") {
      signs.pop();
      expr = this.#member(this.#number(last.offset, true), false);
    } else {
      const bare = !this.#tokens.at("(");
      expr = this.#member(this.#primary(), bare);
    }
    for (const sign of signs.reverse()) {
      expr = this.#tree.call(this.#tokens.source[sign.offset] === "!" ? "!_" : "-_", [expr], sign.offset);
    }
    return expr;
  }

  #number(offset: number, negative: boolean): Expr {
    const token = this.#tokens.advance();
    if (token.kind === "double") return this.#tree.literal(negative ? -token.value : token.value, offset);
    const text = token.kind === "int" ? token.text : "";
    const value = intLiteral(text, negative);
    if (value === undefined) throw new SyntaxProblem(`${text} does not fit an int`, token.offset);
    return this.#tree.literal(value, offset);
  }

  #primary(): Expr {
    const token = this.#tokens.next;
    const { offset } = token;
    switch (token.kind) {
      case "int":
      case "double":
        return this.#number(offset, false);
      case "uint":
      case "string":
      case "bytes":
        this.#tokens.advance();
        return this.#tree.literal(token.value, offset);
      case "ident":
        return this.#name("");
      case "op":
        if (this.#tokens.take("(")) {
          const inner = this.#expr();
          this.#tokens.need(")");
          return inner;
        }
        if (this.#tokens.take(".")) return this.#name(".");
        if (this.#tokens.take("[")) return this.#list(offset);
        if (this.#tokens.take("{")) return this.#map(offset);
    }
    return this.#tokens.unexpected("a value");
  }

  #name(dot: "" | "."): Expr {
    const token = this.#tokens.next;
    if (token.kind !== "ident" || (KEYWORDS.has(token.text) && dot === ".")) return this.#tokens.unexpected("a name");
    const { text, offset } = token;
    if (text === "true" || text === "false" || text === "null") {
      this.#tokens.advance();
      return this.#tree.literal(text === "null" ? null : text === "true", offset);
    }
    if (text === "in") return this.#tokens.unexpected("a value");
    if (RESERVED.has(text)) throw new SyntaxProblem(`"${text}" is a reserved word`, offset);
    this.#tokens.advance();
    const name = dot + text;
    if (this.#tokens.take("(")) return this.#invoke(name, this.#arguments(), offset);
    return this.#tree.node({ kind: "ident", name, offset });
  }

  /** What follows a value: `.field`, `.?field`, `[index]`, `[?index]`, `.method()`, and `{…}` after a type's name. */
  #member(start: Expr, bare: boolean): Expr {
    let expr = start;
    let canBeType = bare && qualifiedName(start) !== undefined;
    for (;;) {
      const { offset } = this.#tokens.next;
      if (this.#tokens.take(".")) {
        const optional = this.#tokens.take("?");
        expr = this.#field(expr, optional, offset);
      } else if (this.#tokens.take("[")) {
        const optional = this.#tokens.take("?");
        const index = this.#expr();
        this.#tokens.need("]");
        expr = this.#tree.call(optional ? "_[?_]" : "_[_]", [expr, index], offset);
      } else if (canBeType && this.#tokens.at("{")) {
        this.#tokens.advance();
        expr = this.#struct(qualifiedName(expr) ?? "", offset);
      } else {
        return expr;
      }
      canBeType &&= qualifiedName(expr) !== undefined;
    }
  }

  #field(operand: Expr, optional: boolean, offset: number): Expr {
    const token = this.#tokens.next;
    if ((token.kind !== "ident" && token.kind !== "quoted") || (token.kind === "ident" && KEYWORDS.has(token.text))) {
      return this.#tokens.unexpected("the name of a field");
    }
    this.#tokens.advance();
    const field = token.text;
    if (optional) return this.#tree.call("_?._", [operand, this.#tree.literal(field, token.offset)], offset);
    if (token.kind === "ident" && this.#tokens.take("(")) {
      return this.#invoke(field, this.#arguments(), token.offset, operand);
    }
    return this.#tree.node({ kind: "select", operand, field, testOnly: false, offset: token.offset }, [operand]);
  }

  #arguments(): readonly Expr[] {
    const args: Expr[] = [];
    if (this.#tokens.take(")")) return args;
    do {
      args.push(this.#expr());
      if (args.length > this.#limits.arguments) {
        throw new SyntaxProblem(`a call has more than ${this.#limits.arguments} arguments`, this.#tokens.next.offset);
      }
    } while (this.#tokens.take(","));
    this.#tokens.need(")");
    return args;
  }

  #invoke(name: string, args: readonly Expr[], offset: number, target?: Expr): Expr {
    if (this.#macros && MACRO_NAMES.has(name)) {
      const call: MacroCall = { name, args, offset, ...(target === undefined ? {} : { target }) };
      const expanded = expandMacro(call, {
        accumulator: this.#accumulator,
        node: this.#tree.node,
        call: this.#tree.call,
      });
      if (expanded !== undefined && "problem" in expanded) throw new SyntaxProblem(expanded.problem, expanded.offset);
      if (expanded !== undefined) return expanded;
    }
    return this.#tree.call(name, args, offset, target);
  }

  #list(offset: number): Expr {
    const elements: Expr[] = [];
    const optional = new Set<number>();
    while (!this.#tokens.at("]")) {
      if (this.#tokens.take("?")) optional.add(elements.length);
      elements.push(this.#expr());
      if (elements.length > this.#limits.listElements) {
        throw new SyntaxProblem(`a list has more than ${this.#limits.listElements} elements`, this.#tokens.next.offset);
      }
      if (!this.#tokens.take(",")) break;
    }
    this.#tokens.need("]");
    return this.#tree.node({ kind: "list", elements, optional, offset }, elements);
  }

  #map(offset: number): Expr {
    const entries: MapEntry[] = [];
    while (!this.#tokens.at("}")) {
      const optional = this.#tokens.take("?");
      const key = this.#expr();
      const colon = this.#tokens.next.offset;
      this.#tokens.need(":");
      const value = this.#expr();
      entries.push({ id: this.#tree.nextId(colon), offset: colon, key, value, optional });
      this.#checkEntries(entries.length);
      if (!this.#tokens.take(",")) break;
    }
    this.#tokens.need("}");
    return this.#tree.node(
      { kind: "map", entries, offset },
      entries.flatMap(({ key, value }) => [key, value]),
    );
  }

  #struct(name: string, offset: number): Expr {
    const entries: FieldEntry[] = [];
    while (!this.#tokens.at("}")) {
      const optional = this.#tokens.take("?");
      const token = this.#tokens.next;
      if ((token.kind !== "ident" && token.kind !== "quoted") || (token.kind === "ident" && KEYWORDS.has(token.text))) {
        return this.#tokens.unexpected("the name of a field");
      }
      this.#tokens.advance();
      const colon = this.#tokens.next.offset;
      this.#tokens.need(":");
      entries.push({ id: this.#tree.nextId(colon), offset: colon, field: token.text, value: this.#expr(), optional });
      this.#checkEntries(entries.length);
      if (!this.#tokens.take(",")) break;
    }
    this.#tokens.need("}");
    return this.#tree.node(
      { kind: "struct", name, entries, offset },
      entries.map(({ value }) => value),
    );
  }

  #checkEntries(count: number): void {
    if (count > this.#limits.mapEntries) {
      throw new SyntaxProblem(`a map has more than ${this.#limits.mapEntries} entries`, this.#tokens.next.offset);
    }
  }
}
