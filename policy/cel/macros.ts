import type { Draft, Expr, LiteralExpr, Loop } from "./ast.ts";

/**
 * Macros, expanded where they are parsed as cel-go expands them: the standard ones, those with two variables
 * (ext/comprehensions, version 2), cel.bind, optMap and optFlatMap, sortBy, math.greatest and math.least.
 */

export interface MacroCall {
  readonly name: string;
  readonly target?: Expr;
  readonly args: readonly Expr[];
  readonly offset: number;
}

/** How the parser makes nodes. */
export interface Builder {
  readonly accumulator: string;
  node(draft: Draft, children?: readonly Expr[]): Expr;
  call(name: string, args: readonly Expr[], offset: number, target?: Expr): Expr;
}

/** What is wrong with the arguments. */
export interface MacroProblem {
  readonly problem: string;
  readonly offset: number;
}

type Expand = (call: MacroCall, build: Builder) => Expr | MacroProblem | undefined;

const EXPANSIONS: Readonly<Record<string, Expand>> = {
  has: expandHas,
  all: (call, build) => expandQuantifier(call, build, "all"),
  exists: (call, build) => expandQuantifier(call, build, "exists"),
  exists_one: (call, build) => expandQuantifier(call, build, "existsOne"),
  existsOne: (call, build) => expandQuantifier(call, build, "existsOne"),
  filter: expandFilter,
  map: expandMap,
  transformList: expandTransformList,
  transformMap: (call, build) => expandTransformMap(call, build, "transformMap"),
  transformMapEntry: (call, build) => expandTransformMap(call, build, "transformMapEntry"),
  bind: expandBind,
  optMap: (call, build) => expandOptional(call, build, true),
  optFlatMap: (call, build) => expandOptional(call, build, false),
  sortBy: expandSortBy,
  greatest: (call, build) => expandExtreme(call, build, "math.@max"),
  least: (call, build) => expandExtreme(call, build, "math.@min"),
};

export const MACRO_NAMES: ReadonlySet<string> = new Set(Object.keys(EXPANSIONS));

/** The expansion; undefined for a call that only has the name of a macro. */
export function expandMacro(call: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  return EXPANSIONS[call.name]?.(call, build);
}

function ident(build: Builder, name: string, offset: number): Expr {
  return build.node({ kind: "ident", name, offset });
}

function literal(build: Builder, value: LiteralExpr["value"], offset: number): Expr {
  return build.node({ kind: "literal", value, offset });
}

function list(build: Builder, elements: readonly Expr[], offset: number): Expr {
  return build.node({ kind: "list", elements, optional: new Set(), offset }, elements);
}

function expandHas({ target, args }: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  const [argument] = args;
  if (target !== undefined || args.length !== 1 || argument === undefined) return undefined;
  if (argument.kind === "call" && argument.name === "_?._") {
    return {
      problem: "has() takes the selection of a field, like has(a.b); a.?b has hasValue()",
      offset: argument.offset,
    };
  }
  if (argument.kind !== "select" || argument.testOnly) {
    return {
      problem: "invalid argument of has(): it takes the selection of a field, like has(a.b)",
      offset: argument.offset,
    };
  }
  const { operand, field, offset } = argument;
  return build.node({ kind: "select", operand, field, testOnly: true, offset }, [operand]);
}

/** Range, variables and the rest of the arguments of a loop. */
interface LoopParts {
  readonly range: Expr;
  readonly variable: string;
  readonly variable2?: string;
  readonly rest: readonly Expr[];
  readonly offset: number;
}

function loopParts(call: MacroCall, build: Builder, variables: 1 | 2): LoopParts | MacroProblem | undefined {
  const { target, args, offset } = call;
  if (target === undefined) return undefined;
  const names: string[] = [];
  for (const argument of args.slice(0, variables)) {
    if (argument.kind !== "ident" || argument.name.startsWith(".")) {
      return { problem: `the variable of ${call.name}() must be a simple name`, offset: argument.offset };
    }
    if (argument.name === build.accumulator || argument.name === "__result__") {
      return { problem: "the variable has the name of the accumulator", offset: argument.offset };
    }
    if (names.includes(argument.name)) {
      return { problem: `both variables of ${call.name}() have one name`, offset: argument.offset };
    }
    names.push(argument.name);
  }
  const [variable, variable2] = names;
  if (variable === undefined) return undefined;
  const rest = args.slice(variables);
  return { range: target, variable, ...(variable2 === undefined ? {} : { variable2 }), rest, offset };
}

interface Fold {
  readonly init: Expr;
  readonly condition: Expr;
  readonly step: Expr;
  readonly result: Expr;
  readonly loop: Loop;
}

function comprehension(parts: LoopParts, fold: Fold, build: Builder, accumulator = build.accumulator): Expr {
  const { range, variable, variable2, offset } = parts;
  const variables = variable2 === undefined ? { variable } : { variable, variable2 };
  return build.node({ kind: "comprehension", range, ...variables, accumulator, ...fold, offset }, [
    range,
    fold.init,
    fold.condition,
    fold.step,
    fold.result,
  ]);
}

function expandQuantifier(
  call: MacroCall,
  build: Builder,
  macro: "all" | "exists" | "existsOne",
): Expr | MacroProblem | undefined {
  // existsOne is exists_one; with one variable the standard has only exists_one, cel-go both.
  if (call.args.length !== 2 && call.args.length !== 3) return undefined;
  const parts = loopParts(call, build, call.args.length === 2 ? 1 : 2);
  if (parts === undefined || "problem" in parts) return parts;
  const [predicate] = parts.rest;
  if (predicate === undefined) return undefined;
  const at = call.offset;
  const gathered = () => ident(build, build.accumulator, at);
  const loop: Loop = { macro, predicate };
  if (macro === "existsOne") {
    const init = literal(build, 0n, at);
    const condition = literal(build, true, at);
    const more = build.call("_+_", [gathered(), literal(build, 1n, at)], at);
    const step = build.call("_?_:_", [predicate, more, gathered()], at);
    const result = build.call("_==_", [gathered(), literal(build, 1n, at)], at);
    return comprehension(parts, { init, condition, step, result, loop }, build);
  }
  const all = macro === "all";
  const init = literal(build, all, at);
  const goOn = all ? gathered() : build.call("!_", [gathered()], at);
  const condition = build.call("@not_strictly_false", [goOn], at);
  const step = build.call(all ? "_&&_" : "_||_", [gathered(), predicate], at);
  return comprehension(parts, { init, condition, step, result: gathered(), loop }, build);
}

/** [] grown by `element`, where `filter` holds if there is one. */
function growList(parts: LoopParts, element: Expr, filter: Expr | undefined, loop: Loop, build: Builder): Expr {
  const at = parts.offset;
  const init = list(build, [], at);
  const condition = literal(build, true, at);
  const grown = build.call("_+_", [ident(build, build.accumulator, at), list(build, [element], at)], at);
  const step =
    filter === undefined ? grown : build.call("_?_:_", [filter, grown, ident(build, build.accumulator, at)], at);
  return comprehension(parts, { init, condition, step, result: ident(build, build.accumulator, at), loop }, build);
}

function expandFilter(call: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  if (call.args.length !== 2) return undefined;
  const parts = loopParts(call, build, 1);
  if (parts === undefined || "problem" in parts) return parts;
  const [predicate] = parts.rest;
  if (predicate === undefined) return undefined;
  const element = ident(build, parts.variable, parts.offset);
  return growList(parts, element, predicate, { macro: "filter", predicate }, build);
}

function expandMap(call: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  if (call.args.length !== 2 && call.args.length !== 3) return undefined;
  return growTransformed(loopParts(call, build, 1), build);
}

function expandTransformList(call: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  if (call.args.length !== 3 && call.args.length !== 4) return undefined;
  return growTransformed(loopParts(call, build, 2), build);
}

function growTransformed(parts: LoopParts | MacroProblem | undefined, build: Builder): Expr | MacroProblem | undefined {
  if (parts === undefined || "problem" in parts) return parts;
  const [first, second] = parts.rest;
  const transform = second ?? first;
  if (transform === undefined) return undefined;
  const filter = second === undefined ? undefined : first;
  const loop: Loop = { macro: "map", transform, ...(filter === undefined ? {} : { filter }) };
  return growList(parts, transform, filter, loop, build);
}

function expandTransformMap(
  call: MacroCall,
  build: Builder,
  macro: "transformMap" | "transformMapEntry",
): Expr | MacroProblem | undefined {
  if (call.args.length !== 3 && call.args.length !== 4) return undefined;
  const parts = loopParts(call, build, 2);
  if (parts === undefined || "problem" in parts) return parts;
  const [first, second] = parts.rest;
  const transform = second ?? first;
  if (transform === undefined) return undefined;
  const filter = second === undefined ? undefined : first;
  const at = call.offset;
  const init = build.node({ kind: "map", entries: [], offset: at });
  const condition = literal(build, true, at);
  const gathered = ident(build, build.accumulator, at);
  const added =
    macro === "transformMap" ? [gathered, ident(build, parts.variable, at), transform] : [gathered, transform];
  const grown = build.call("cel.@mapInsert", added, at);
  const step =
    filter === undefined ? grown : build.call("_?_:_", [filter, grown, ident(build, build.accumulator, at)], at);
  const result = ident(build, build.accumulator, at);
  const loop: Loop = { macro, transform, ...(filter === undefined ? {} : { filter }) };
  return comprehension(parts, { init, condition, step, result, loop }, build);
}

function isNamespace(target: Expr | undefined, name: string): boolean {
  return target?.kind === "ident" && (target.name === name || target.name === `.${name}`);
}

/** `init` evaluated once, read as `name` in `result`. */
function bind(build: Builder, name: string, init: Expr, result: Expr, offset: number): Expr {
  const parts: LoopParts = { range: list(build, [], offset), variable: "#unused", rest: [], offset };
  const condition = literal(build, false, offset);
  const step = ident(build, name, offset);
  return comprehension(parts, { init, condition, step, result, loop: { macro: "bind" } }, build, name);
}

function expandBind({ target, args, offset }: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  const [name, init, result] = args;
  if (!isNamespace(target, "cel") || args.length !== 3 || init === undefined || result === undefined) return undefined;
  if (name?.kind !== "ident" || name.name.startsWith(".")) {
    return { problem: "the variable of cel.bind() must be a simple name", offset: name?.offset ?? offset };
  }
  return bind(build, name.name, init, result, offset);
}

function expandOptional(
  { name, target, args, offset }: MacroCall,
  build: Builder,
  wrap: boolean,
): Expr | MacroProblem | undefined {
  const [variable, transform] = args;
  if (target === undefined || args.length !== 2 || variable === undefined || transform === undefined) return undefined;
  if (variable.kind !== "ident" || variable.name.startsWith(".")) {
    return { problem: `the variable of ${name}() must be a simple name`, offset: variable.offset };
  }
  // The target is bound to a name, so that a chain of these stays as long as it is written.
  const held = () => ident(build, "@optional", offset);
  const present = build.call("hasValue", [], offset, held());
  const inner = bind(build, variable.name, build.call("value", [], offset, held()), transform, offset);
  const some = wrap ? build.call("optional.of", [inner], offset) : inner;
  const none = build.call("optional.none", [], offset);
  return bind(build, "@optional", target, build.call("_?_:_", [present, some, none], offset), offset);
}

function expandSortBy({ name, target, args, offset }: MacroCall, build: Builder): Expr | MacroProblem | undefined {
  const [, key] = args;
  if (target === undefined || args.length !== 2 || key === undefined) return undefined;
  const input = () => ident(build, "@sortInput", offset);
  const parts = loopParts({ name, target: input(), args, offset }, build, 1);
  if (parts === undefined || "problem" in parts) return parts;
  const keys = growList(parts, key, undefined, { macro: "map", transform: key }, build);
  return bind(build, "@sortInput", target, build.call("@sortByAssociatedKeys", [keys], offset, input()), offset);
}

const NUMERIC = new Set(["number", "bigint"]);

function expandExtreme(
  { name, target, args, offset }: MacroCall,
  build: Builder,
  internal: string,
): Expr | MacroProblem | undefined {
  if (!isNamespace(target, "math")) return undefined;
  if (args.length === 0) return { problem: `math.${name}() needs an argument`, offset };
  const odd = args.find((argument) => !canBeNumber(argument, args.length === 1));
  if (odd !== undefined) return { problem: `math.${name}() takes numbers, or one list of them`, offset: odd.offset };
  return build.call(internal, args.length > 2 ? [list(build, args, offset)] : args, offset);
}

function canBeNumber(argument: Expr, alone: boolean): boolean {
  if (argument.kind === "list")
    return alone && argument.elements.length > 0 && argument.elements.every((element) => canBeNumber(element, false));
  if (argument.kind === "map" || argument.kind === "struct") return false;
  if (argument.kind !== "literal") return true;
  const { value } = argument;
  return NUMERIC.has(typeof value) || (typeof value === "object" && value !== null && !(value instanceof Uint8Array));
}
