import { type ComprehensionExpr, childrenOf, type Expr } from "./ast.ts";
import { displayValue } from "./display.ts";

/** Trees as text again, with macros as they were written. For people: explanations of what a part came to. */

const BINARY: Readonly<Record<string, readonly [string, number]>> = {
  "_||_": ["||", 2],
  "_&&_": ["&&", 3],
  "_==_": ["==", 4],
  "_!=_": ["!=", 4],
  "_<_": ["<", 4],
  "_<=_": ["<=", 4],
  "_>_": [">", 4],
  "_>=_": [">=", 4],
  "@in": ["in", 4],
  "_+_": ["+", 5],
  "_-_": ["-", 5],
  "_*_": ["*", 6],
  "_/_": ["/", 6],
  "_%_": ["%", 6],
};
const UNARY: Readonly<Record<string, string>> = { "!_": "!", "-_": "-" };
const MEMBER = 8;
const ATOM = 9;

export function unparse(expr: Expr): string {
  return written(expr, 0);
}

/** In parentheses where it binds less than what is around it. */
function written(expr: Expr, around: number): string {
  const [text, binds] = form(expr);
  return binds < around ? `(${text})` : text;
}

function form(expr: Expr): readonly [string, number] {
  switch (expr.kind) {
    case "literal":
      return [displayValue(expr.value), ATOM];
    case "ident":
      return [expr.name, ATOM];
    case "select": {
      const member = `${written(expr.operand, MEMBER)}.${fieldName(expr.field)}`;
      return [expr.testOnly ? `has(${member})` : member, expr.testOnly ? ATOM : MEMBER];
    }
    case "list": {
      const elements = expr.elements.map((each, index) => `${expr.optional.has(index) ? "?" : ""}${unparse(each)}`);
      return [`[${elements.join(", ")}]`, ATOM];
    }
    case "map": {
      const entries = expr.entries.map(
        ({ key, value, optional }) => `${optional ? "?" : ""}${unparse(key)}: ${unparse(value)}`,
      );
      return [`{${entries.join(", ")}}`, ATOM];
    }
    case "struct": {
      const fields = expr.entries.map(
        ({ field, value, optional }) => `${optional ? "?" : ""}${fieldName(field)}: ${unparse(value)}`,
      );
      return [`${expr.name}{${fields.join(", ")}}`, ATOM];
    }
    case "comprehension":
      return [loopText(expr), MEMBER];
    case "call":
      return callForm(expr);
  }
}

function callForm({ name, target, args }: Extract<Expr, { kind: "call" }>): readonly [string, number] {
  const [first, second, third] = args;
  const binary = BINARY[name];
  if (binary !== undefined && first !== undefined && second !== undefined) {
    const [operator, binds] = binary;
    // && and || mean the same however they are nested; the others go from left to right.
    const right = binds <= 3 ? binds : binds + 1;
    return [`${written(first, binds)} ${operator} ${written(second, right)}`, binds];
  }
  const unary = UNARY[name];
  if (unary !== undefined && first !== undefined) return [`${unary}${written(first, MEMBER)}`, 7];
  if (name === "_?_:_" && first !== undefined && second !== undefined && third !== undefined) {
    return [`${written(first, 2)} ? ${written(second, 2)} : ${written(third, 1)}`, 1];
  }
  if (first !== undefined && second !== undefined) {
    if (name === "_[_]") return [`${written(first, MEMBER)}[${unparse(second)}]`, MEMBER];
    if (name === "_[?_]") return [`${written(first, MEMBER)}[?${unparse(second)}]`, MEMBER];
    if (name === "_?._" && second.kind === "literal") {
      return [`${written(first, MEMBER)}.?${fieldName(String(second.value))}`, MEMBER];
    }
  }
  const called = `${CALLED[name] ?? name}(${args.map(unparse).join(", ")})`;
  return target === undefined ? [called, ATOM] : [`${written(target, MEMBER)}.${called}`, MEMBER];
}

function fieldName(field: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(field) ? field : `\`${field}\``;
}

function loopText(expr: ComprehensionExpr): string {
  const { loop, range, variable, variable2 } = expr;
  const chained = chainedMacro(expr);
  if (chained !== undefined) {
    const { target, name, variable: local, body } = chained;
    return `${written(target, MEMBER)}.${name}(${local}, ${unparse(body)})`;
  }
  if (loop.macro === "bind") {
    return `cel.bind(${expr.accumulator}, ${unparse(expr.init)}, ${unparse(expr.result)})`;
  }
  const variables = variable2 === undefined ? variable : `${variable}, ${variable2}`;
  const bodies = bodiesOf(expr).map(unparse);
  return `${written(range, MEMBER)}.${nameOf(loop.macro, variable2 !== undefined)}(${variables}, ${bodies.join(", ")})`;
}

/** A macro that is written behind its target, and whose expansion holds the target under a name nobody can write. */
interface ChainedMacro {
  readonly target: Expr;
  readonly name: "optMap" | "optFlatMap" | "sortBy";
  readonly variable: string;
  readonly body: Expr;
}

function chainedMacro({ accumulator, init, result }: ComprehensionExpr): ChainedMacro | undefined {
  if (result.kind !== "call") return undefined;
  if (accumulator === "@sortInput") {
    const [keys] = result.args;
    if (keys?.kind !== "comprehension" || !("transform" in keys.loop)) return undefined;
    return { target: init, name: "sortBy", variable: keys.variable, body: keys.loop.transform };
  }
  const [, some] = result.args;
  if (accumulator !== "@optional" || some === undefined) return undefined;
  const wrapped = some.kind === "call" ? some.args[0] : undefined;
  const inner = wrapped ?? some;
  if (inner.kind !== "comprehension") return undefined;
  const name = wrapped === undefined ? "optFlatMap" : "optMap";
  return { target: init, name, variable: inner.accumulator, body: inner.result };
}

/** Functions that macros call, by the names that are written. */
const CALLED: Readonly<Record<string, string>> = { "math.@max": "math.greatest", "math.@min": "math.least" };

function nameOf(macro: Exclude<ComprehensionExpr["loop"]["macro"], "bind">, two: boolean): string {
  if (macro === "existsOne") return two ? "existsOne" : "exists_one";
  return macro === "map" && two ? "transformList" : macro;
}

function bodiesOf({ loop }: ComprehensionExpr): readonly Expr[] {
  if (loop.macro === "bind") return [];
  if ("predicate" in loop) return [loop.predicate];
  return loop.filter === undefined ? [loop.transform] : [loop.filter, loop.transform];
}

/** What an expression is written with: of a macro what was given to it, and not its expansion. */
export function writtenParts(expr: Expr): readonly Expr[] {
  if (expr.kind !== "comprehension") return childrenOf(expr);
  const chained = chainedMacro(expr);
  if (chained !== undefined) return [chained.target, chained.body];
  return expr.loop.macro === "bind" ? [expr.init, expr.result] : [expr.range, ...bodiesOf(expr)];
}
