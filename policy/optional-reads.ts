import { type CheckedTree, childrenOf, type Expr, unparse } from "./cel/index.ts";
import { computedName, memberOf, pathOf, pathText } from "./paths.ts";
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

interface Scope {
  readonly locals: ReadonlyMap<string, Local>;
  readonly types: CheckedTree["types"];
}

/** What a local variable stands for. */
interface Local {
  /** Of the loop or binding that it belongs to. */
  readonly id: number;
  /** undefined: it stands for no path. */
  readonly path?: Path | undefined;
}

interface Path {
  readonly names: readonly string[];
  /** It is a value of an optional type, which is there even where the field is not. */
  readonly optional: boolean;
}

const NO_NEEDS: Needs = new Map();
const NO_FACTS: ReadonlySet<string> = new Set();

/**
 * The reads of an expression that make it unknown where a field is missing. Asking first is seen in both operands of &&
 * and || (the one that is decided absorbs the other's error), in the condition of ?:, through negations, `has()`, `in`,
 * `hasValue()`, optional operators, loops and bound variables. A key that is computed is the same wherever it is computed
 * alike. A number finds elements of lists, and those are not followed.
 */
export function unguardedReads({ expr, types }: Pick<CheckedTree, "expr" | "types">): readonly OptionalRead[] {
  const needs = [...flowOf(expr, { locals: new Map(), types }).needs.values()];
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

function flowOf(expr: Expr, scope: Scope): Flow {
  switch (expr.kind) {
    case "literal":
      if (expr.value === true) return { needs: NO_NEEDS, whenTrue: NO_FACTS, whenFalse: "unreachable" };
      if (expr.value === false) return { needs: NO_NEEDS, whenTrue: "unreachable", whenFalse: NO_FACTS };
      return read(NO_NEEDS, NO_FACTS);
    case "comprehension":
      return expr.loop.macro === "bind" ? ofBinding(expr, scope) : ofLoop(expr, scope);
    case "select":
      return expr.testOnly ? ofQuestion(expr, flowOf(expr.operand, scope), scope) : ofMember(expr, scope);
    case "call":
      return ofCall(expr, scope);
    default:
      return inTurn(childrenOf(expr), scope);
  }
}

/** A value that tells nothing but what was read for it. */
function read(needs: Needs, facts: Facts): Flow {
  return { needs, whenTrue: facts, whenFalse: facts };
}

/** Each part is evaluated, and what one has read is there for the next. */
function inTurn(parts: readonly Expr[], scope: Scope): Flow {
  let needs = NO_NEEDS;
  let facts: Facts = NO_FACTS;
  for (const part of parts) {
    const flow = flowOf(part, scope);
    needs = together(needs, without(flow.needs, facts));
    facts = both(facts, valueFacts(flow));
  }
  return read(needs, facts);
}

function ofCall(expr: Extract<Expr, { kind: "call" }>, scope: Scope): Flow {
  const [first, second, third] = expr.target === undefined ? expr.args : [expr.target, ...expr.args];
  switch (expr.name) {
    case "_&&_":
      return ofChain(linksOf(expr, expr.name), scope);
    case "_||_":
      return negated(ofChain(linksOf(expr, expr.name), scope, (link) => negated(flowOf(link, scope))));
    case "!_":
      return first === undefined ? read(NO_NEEDS, NO_FACTS) : negated(flowOf(first, scope));
    case "_?_:_":
      if (first === undefined || second === undefined || third === undefined) break;
      return ofChoice(flowOf(first, scope), flowOf(second, scope), flowOf(third, scope));
    case "or":
    case "orValue": {
      if (first === undefined || second === undefined) break;
      const flow = flowOf(first, scope);
      // What stands in is evaluated only where it is needed.
      return read(together(flow.needs, flowOf(second, scope).needs), valueFacts(flow));
    }
    case "hasValue":
      return ofQuestion(expr, inTurn(childrenOf(expr), scope), scope);
    case "@in":
      return ofQuestion(expr, inTurn(childrenOf(expr), scope), scope);
    case "value":
    case "_[_]":
      return ofMember(expr, scope);
  }
  return inTurn(childrenOf(expr), scope);
}

/** A read of `a.b`, `a["b"]` or `a.?b.value()`. */
function ofMember(expr: Expr, scope: Scope): Flow {
  const flow = inTurn(childrenOf(expr), scope);
  const path = resolve(expr, scope);
  if (path === undefined || path.optional || !canBeMissing(path.names)) return flow;
  const key = keyOf(path.names);
  return read(
    together(flow.needs, new Map([[key, { path: path.names, node: expr }]])),
    both(flow.whenTrue, new Set([key])),
  );
}

/** `has(a.b)`, `"b" in a`, `a.?b.hasValue()`: true tells that the path is there. */
function ofQuestion(expr: Expr, operands: Flow, scope: Scope): Flow {
  const asked = questionPath(expr, scope);
  if (asked === undefined) return operands;
  return { ...operands, whenTrue: both(operands.whenTrue, new Set([keyOf(asked.names)])) };
}

function questionPath(expr: Expr, scope: Scope): Path | undefined {
  if (expr.kind === "select") return resolve(expr, scope);
  if (expr.kind !== "call") return undefined;
  if (expr.name === "hasValue") return expr.target === undefined ? undefined : resolve(expr.target, scope);
  const [key, map] = expr.args;
  const outer = map === undefined ? undefined : resolve(map, scope);
  const name = keyName(key, scope);
  return outer === undefined || name === undefined ? undefined : { names: [...outer.names, name], optional: false };
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
  scope: Scope,
  flow: (link: Expr) => Flow = (link) => flowOf(link, scope),
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

function ofBinding(expr: Comprehension, scope: Scope): Flow {
  const bound = flowOf(expr.init, scope);
  const local = { id: expr.id, path: resolve(expr.init, scope) };
  const result = flowOf(expr.result, within(scope, [expr.accumulator, local]));
  return { ...result, needs: together(bound.needs, without(result.needs, valueFacts(bound))) };
}

/** A body is not always evaluated: what it reads is there only where its result says that it was. */
function ofLoop(expr: Comprehension, scope: Scope): Flow {
  const range = flowOf(expr.range, scope);
  const second = expr.variable2 === undefined ? [] : [[expr.variable2, { id: expr.id }] as const];
  const inner = within(scope, [expr.variable, { id: expr.id }], ...second);
  const { loop } = expr;
  const reached = both(valueFacts(range), ownKeys(expr, inner));
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

function within(scope: Scope, ...locals: readonly (readonly [string, Local])[]): Scope {
  return { ...scope, locals: new Map([...scope.locals, ...locals]) };
}

/** Of a map, the keys that a loop goes over are there. */
function ownKeys(expr: Comprehension, inner: Scope): Facts {
  const range = resolve(expr.range, inner);
  if (range === undefined || range.optional) return NO_FACTS;
  return new Set([keyOf([...range.names, computedName(expr.variable, [expr.id])])]);
}

const NUMBERS: ReadonlySet<string> = new Set(["int", "uint", "double"]);

/** The step of a path that a key is; undefined for an index of a list. */
function keyName(key: Expr | undefined, scope: Scope): string | undefined {
  if (key?.kind === "literal" && typeof key.value === "string") return key.value;
  if (key === undefined || NUMBERS.has(scope.types.get(key.id)?.kind ?? "")) return undefined;
  const path = resolve(key, scope);
  if (path !== undefined && !path.optional) return computedName(pathText(path.names), []);
  return computedName(unparse(key), localsIn(key, scope));
}

/** The loops and bindings whose variables an expression reads. */
function localsIn(root: Expr, { locals }: Scope): readonly number[] {
  const found = new Set<number>();
  const waiting = [root];
  for (let expr = waiting.pop(); expr !== undefined; expr = waiting.pop()) {
    const local = expr.kind === "ident" ? locals.get(expr.name) : undefined;
    if (local !== undefined) found.add(local.id);
    waiting.push(...childrenOf(expr));
  }
  return [...found].sort((a, b) => a - b);
}

/** The declared path that an expression reads, by names and keys; undefined for everything else. */
function resolve(expr: Expr, scope: Scope): Path | undefined {
  const local = expr.kind === "ident" ? scope.locals.get(expr.name) : undefined;
  if (local !== undefined) return local.path;
  const member = memberOf(expr);
  if (member !== undefined) {
    const outer = resolve(member.left, scope);
    return outer === undefined ? undefined : { ...outer, names: [...outer.names, member.field] };
  }
  if (expr.kind === "call" && (expr.name === "_?._" || expr.name === "_[?_]" || expr.name === "_[_]")) {
    const [operand, key] = expr.args;
    const outer = operand === undefined ? undefined : resolve(operand, scope);
    const name = keyName(key, scope);
    if (outer === undefined || name === undefined) return undefined;
    return { names: [...outer.names, name], optional: outer.optional || expr.name !== "_[_]" };
  }
  if (expr.kind === "call" && expr.name === "value" && expr.target !== undefined) {
    const inside = resolve(expr.target, scope);
    return inside?.optional === true ? { names: inside.names, optional: false } : undefined;
  }
  const names = pathOf(expr);
  return names === undefined ? undefined : { names, optional: false };
}
