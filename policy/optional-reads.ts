import { childrenOf, type Expr } from "./cel/index.ts";
import { memberOf, pathOf } from "./paths.ts";
import { declarationAt } from "./vocabulary.ts";

/** Reads of fields that can be missing, and whether the expression asks first. */

export interface OptionalRead {
  /** `subject.claims.role` is ["subject", "claims", "role"]. */
  readonly path: readonly string[];
  /** Those of its steps that nothing asks for first, each a path from the root; the last one is `path`. */
  readonly missing: readonly (readonly string[])[];
  readonly node: Expr;
  /** `modelRoute`: missing on plain routes alone. */
  readonly presence: "sometimes" | "modelRoute";
}

/** Paths that are there, as keys; "unreachable" where the result in question cannot come about. */
type Facts = ReadonlySet<string> | "unreachable";
type Needs = ReadonlyMap<string, { readonly path: readonly string[]; readonly node: Expr }>;

/** What is known of one part of an expression. */
interface Flow {
  /** Paths that have to be there for it to have a value, and that it does not ask for itself. */
  readonly needs: Needs;
  /** Paths that are there where it came to true, and where it came to false. */
  readonly whenTrue: Facts;
  readonly whenFalse: Facts;
}

/** Paths that local variables stand for; undefined for a variable that stands for none. */
type Aliases = ReadonlyMap<string, Path | undefined>;

interface Path {
  readonly names: readonly string[];
  /** It is a value of an optional type, which is there even where the field is not. */
  readonly optional: boolean;
}

const NO_NEEDS: Needs = new Map();
const NO_FACTS: ReadonlySet<string> = new Set();
const NO_ALIASES: Aliases = new Map();

/**
 * The reads of an expression that make it unknown where a field is missing. Asking first is seen in both operands of &&
 * and || (the one that is decided absorbs the other's error), in the condition of ?:, through negations, `has()`, `in`,
 * `hasValue()`, optional operators, loops and bound variables. A key that is computed is not followed.
 */
export function unguardedReads(root: Expr): readonly OptionalRead[] {
  const needs = [...flowOf(root, NO_ALIASES).needs.values()];
  return needs
    .filter(({ path }) => !needs.some((other) => other.path.length > path.length && startsWith(other.path, path)))
    .map(({ path, node }) => ({
      path,
      node,
      missing: needs
        .map((other) => other.path)
        .filter((other) => startsWith(path, other))
        .toSorted((a, b) => a.length - b.length),
      presence: needs.some((other) => startsWith(path, other.path) && presenceOf(other.path) === "sometimes")
        ? "sometimes"
        : "modelRoute",
    }));
}

function startsWith(path: readonly string[], start: readonly string[]): boolean {
  return start.length <= path.length && start.every((name, index) => name === path[index]);
}

function flowOf(expr: Expr, aliases: Aliases): Flow {
  switch (expr.kind) {
    case "literal":
      if (expr.value === true) return { needs: NO_NEEDS, whenTrue: NO_FACTS, whenFalse: "unreachable" };
      if (expr.value === false) return { needs: NO_NEEDS, whenTrue: "unreachable", whenFalse: NO_FACTS };
      return read(NO_NEEDS, NO_FACTS);
    case "comprehension":
      return expr.loop.macro === "bind" ? ofBinding(expr, aliases) : ofLoop(expr, aliases);
    case "select":
      return expr.testOnly ? ofQuestion(expr, flowOf(expr.operand, aliases), aliases) : ofMember(expr, aliases);
    case "call":
      return ofCall(expr, aliases);
    default:
      return inTurn(childrenOf(expr), aliases);
  }
}

/** A value that tells nothing but what was read for it. */
function read(needs: Needs, facts: Facts): Flow {
  return { needs, whenTrue: facts, whenFalse: facts };
}

/** Each part is evaluated, and what one has read is there for the next. */
function inTurn(parts: readonly Expr[], aliases: Aliases): Flow {
  let needs = NO_NEEDS;
  let facts: Facts = NO_FACTS;
  for (const part of parts) {
    const flow = flowOf(part, aliases);
    needs = together(needs, without(flow.needs, facts));
    facts = both(facts, valueFacts(flow));
  }
  return read(needs, facts);
}

function ofCall(expr: Extract<Expr, { kind: "call" }>, aliases: Aliases): Flow {
  const [first, second, third] = expr.target === undefined ? expr.args : [expr.target, ...expr.args];
  switch (expr.name) {
    case "_&&_":
      return ofChain(linksOf(expr, expr.name), aliases);
    case "_||_":
      return negated(ofChain(linksOf(expr, expr.name), aliases, (link) => negated(flowOf(link, aliases))));
    case "!_":
      return first === undefined ? read(NO_NEEDS, NO_FACTS) : negated(flowOf(first, aliases));
    case "_?_:_":
      if (first === undefined || second === undefined || third === undefined) break;
      return ofChoice(flowOf(first, aliases), flowOf(second, aliases), flowOf(third, aliases));
    case "or":
    case "orValue": {
      if (first === undefined || second === undefined) break;
      const flow = flowOf(first, aliases);
      // What stands in is evaluated only where it is needed.
      return read(together(flow.needs, flowOf(second, aliases).needs), valueFacts(flow));
    }
    case "hasValue":
      return ofQuestion(expr, inTurn(childrenOf(expr), aliases), aliases);
    case "@in":
      return ofQuestion(expr, inTurn(childrenOf(expr), aliases), aliases);
    case "value":
    case "_[_]":
      return ofMember(expr, aliases);
  }
  return inTurn(childrenOf(expr), aliases);
}

/** A read of `a.b`, `a["b"]` or `a.?b.value()`. */
function ofMember(expr: Expr, aliases: Aliases): Flow {
  const flow = inTurn(childrenOf(expr), aliases);
  const path = resolve(expr, aliases);
  if (path === undefined || path.optional || !canBeMissing(path.names)) return flow;
  const key = keyOf(path.names);
  return read(
    together(flow.needs, new Map([[key, { path: path.names, node: expr }]])),
    both(flow.whenTrue, new Set([key])),
  );
}

/** `has(a.b)`, `"b" in a`, `a.?b.hasValue()`: true tells that the path is there. */
function ofQuestion(expr: Expr, operands: Flow, aliases: Aliases): Flow {
  const asked = questionPath(expr, aliases);
  if (asked === undefined) return operands;
  return { ...operands, whenTrue: both(operands.whenTrue, new Set([keyOf(asked.names)])) };
}

function questionPath(expr: Expr, aliases: Aliases): Path | undefined {
  if (expr.kind === "select") return resolve(expr, aliases);
  if (expr.kind !== "call") return undefined;
  if (expr.name === "hasValue") return expr.target === undefined ? undefined : resolve(expr.target, aliases);
  const [key, map] = expr.args;
  if (key?.kind !== "literal" || typeof key.value !== "string" || map === undefined) return undefined;
  const within = resolve(map, aliases);
  return within === undefined ? undefined : { names: [...within.names, key.value], optional: false };
}

function linksOf(expr: Expr, name: string): readonly Expr[] {
  return expr.kind === "call" && expr.name === name ? expr.args.flatMap((link) => linksOf(link, name)) : [expr];
}

/**
 * The links of &&. A link that is false decides, whatever the others come to: so what a link that always has a value
 * asks for is there, as far as the others matter, on its left as on its right.
 */
function ofChain(
  links: readonly Expr[],
  aliases: Aliases,
  flow: (link: Expr) => Flow = (link) => flowOf(link, aliases),
): Flow {
  let waiting = links.map(flow);
  const all = waiting;
  let facts: Facts = NO_FACTS;
  for (;;) {
    const ready = waiting.filter((link) => link.needs.size === 0);
    if (ready.length === 0) break;
    for (const link of ready) facts = both(facts, link.whenTrue);
    const known = facts;
    waiting = waiting.filter((link) => link.needs.size > 0).map((link) => lessNeedy(link, known));
  }
  let needs = NO_NEEDS;
  for (const link of waiting) {
    needs = together(needs, without(link.needs, facts));
    facts = both(facts, link.whenTrue);
  }
  return { needs, whenTrue: facts, whenFalse: all.map(({ whenFalse }) => whenFalse).reduce(either) };
}

function lessNeedy(flow: Flow, facts: Facts): Flow {
  return { ...flow, needs: without(flow.needs, facts) };
}

function ofChoice(condition: Flow, then: Flow, otherwise: Flow): Flow {
  const needs = together(
    condition.needs,
    together(without(then.needs, condition.whenTrue), without(otherwise.needs, condition.whenFalse)),
  );
  return {
    needs,
    whenTrue: either(both(condition.whenTrue, then.whenTrue), both(condition.whenFalse, otherwise.whenTrue)),
    whenFalse: either(both(condition.whenTrue, then.whenFalse), both(condition.whenFalse, otherwise.whenFalse)),
  };
}

type Comprehension = Extract<Expr, { kind: "comprehension" }>;

function ofBinding(expr: Comprehension, aliases: Aliases): Flow {
  const bound = flowOf(expr.init, aliases);
  const result = flowOf(expr.result, new Map([...aliases, [expr.accumulator, resolve(expr.init, aliases)]]));
  return { ...result, needs: together(bound.needs, without(result.needs, valueFacts(bound))) };
}

/** A body is not always evaluated: what it reads is there only where its result says that it was. */
function ofLoop(expr: Comprehension, aliases: Aliases): Flow {
  const range = flowOf(expr.range, aliases);
  const inner = new Map([...aliases, [expr.variable, undefined]]);
  if (expr.variable2 !== undefined) inner.set(expr.variable2, undefined);
  const { loop } = expr;
  const reached = valueFacts(range);
  if (loop.macro === "bind") return range;
  if ("transform" in loop) {
    const filter = loop.filter === undefined ? undefined : flowOf(loop.filter, inner);
    const transform = flowOf(loop.transform, inner);
    const own = together(filter?.needs ?? NO_NEEDS, without(transform.needs, filter?.whenTrue ?? NO_FACTS));
    return read(together(range.needs, without(own, reached)), reached);
  }
  const body = flowOf(loop.predicate, inner);
  const needs = together(range.needs, without(body.needs, reached));
  if (loop.macro === "exists" || loop.macro === "existsOne") {
    return { needs, whenTrue: both(reached, body.whenTrue), whenFalse: reached };
  }
  if (loop.macro === "all") return { needs, whenTrue: reached, whenFalse: both(reached, body.whenFalse) };
  return read(needs, reached);
}

function negated({ needs, whenTrue, whenFalse }: Flow): Flow {
  return { needs, whenTrue: whenFalse, whenFalse: whenTrue };
}

function valueFacts({ whenTrue, whenFalse }: Flow): Facts {
  return either(whenTrue, whenFalse);
}

function both(a: Facts, b: Facts): Facts {
  if (a === "unreachable" || b === "unreachable") return "unreachable";
  if (a.size === 0) return b;
  return b.size === 0 ? a : new Set([...a, ...b]);
}

function either(a: Facts, b: Facts): Facts {
  if (a === "unreachable") return b;
  if (b === "unreachable") return a;
  return a === b ? a : new Set([...a].filter((key) => holds(b, key)).concat([...b].filter((key) => holds(a, key))));
}

/** Whether a path is there: itself is, or something inside it. */
function holds(facts: Facts, key: string): boolean {
  if (facts === "unreachable" || facts.has(key)) return true;
  for (const fact of facts) if (fact.startsWith(key) && fact[key.length] === SEPARATOR) return true;
  return false;
}

function without(needs: Needs, facts: Facts): Needs {
  if (needs.size === 0 || (facts !== "unreachable" && facts.size === 0)) return needs;
  return new Map([...needs].filter(([key]) => !holds(facts, key)));
}

function together(a: Needs, b: Needs): Needs {
  if (a.size === 0) return b;
  return b.size === 0 ? a : new Map([...b, ...a]);
}

const SEPARATOR = "\n";

function keyOf(path: readonly string[]): string {
  return path.join(SEPARATOR);
}

function presenceOf(path: readonly string[]): string | undefined {
  return declarationAt(path)?.presence;
}

/** Of a target it is known in the rule that it may be none of a model; that takes the target away and nothing else. */
function canBeMissing(path: readonly string[]): boolean {
  const presence = presenceOf(path);
  return presence === "sometimes" || presence === "modelRoute";
}

/** The declared path that an expression reads, by members with literal names; undefined for everything else. */
function resolve(expr: Expr, aliases: Aliases): Path | undefined {
  if (expr.kind === "ident" && aliases.has(expr.name)) return aliases.get(expr.name);
  const member = memberOf(expr);
  if (member !== undefined) {
    const within = resolve(member.left, aliases);
    return within === undefined ? undefined : { ...within, names: [...within.names, member.field] };
  }
  if (expr.kind === "call" && (expr.name === "_?._" || expr.name === "_[?_]")) {
    const [operand, key] = expr.args;
    if (operand === undefined || key?.kind !== "literal" || typeof key.value !== "string") return undefined;
    const within = resolve(operand, aliases);
    return within === undefined ? undefined : { names: [...within.names, key.value], optional: true };
  }
  if (expr.kind === "call" && expr.name === "value" && expr.target !== undefined) {
    const within = resolve(expr.target, aliases);
    return within?.optional === true ? { names: within.names, optional: false } : undefined;
  }
  const names = pathOf(expr);
  return names === undefined ? undefined : { names, optional: false };
}
