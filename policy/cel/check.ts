import { isDyn, mostGeneral, Substitutions } from "./assign.ts";
import { type CallExpr, type ComprehensionExpr, type Expr, qualifiedName, type SelectExpr } from "./ast.ts";
import { candidateNames, type Environment } from "./environment.ts";
import type { Overload } from "./signatures.ts";
import { type Problem, problemAt } from "./source.ts";
import {
  BOOL,
  BYTES,
  DOUBLE,
  DYN,
  ERROR,
  formatType,
  INT,
  listOf,
  mapOf,
  NAMED_TYPES,
  NULL,
  optionalOf,
  STRING,
  type Type,
  typeOf,
  UINT,
} from "./type.ts";
import { Uint } from "./value.ts";

/**
 * The type checker: every node of a tree gets its type, every name what it refers to, and what cannot be is a problem
 * with its place. Semantics of cel-spec langdef.md "Gradual Type Checking", with cel-go as the reference.
 */

/** What the checker found out; keys are ids of nodes. */
export interface CheckedTree {
  readonly expr: Expr;
  readonly source: string;
  readonly type: Type;
  readonly types: ReadonlyMap<number, Type>;
  /** What names were resolved to: of variables and types at the node that is the whole name, of functions at the call. */
  readonly names: ReadonlyMap<number, string>;
  /** Overloads that a call may mean, by id. */
  readonly overloads: ReadonlyMap<number, readonly string[]>;
}

export type Checked =
  | { readonly ok: true; readonly tree: CheckedTree }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Problems that are reported at most. */
const MAX_PROBLEMS = 50;

/** Never throws. Depth of recursion is that of the tree, which the parser has bounded. */
export function check(expr: Expr, source: string, environment: Environment): Checked {
  const checker = new Checker(environment);
  const type = checker.check(expr);
  if (checker.problems.length > 0) {
    const problems = checker.problems.slice(0, MAX_PROBLEMS);
    return { ok: false, problems: problems.map(({ offset, message }) => problemAt(source, offset, message)) };
  }
  const { substitutions, names, overloads } = checker;
  const types = new Map<number, Type>();
  for (const [id, each] of checker.types) types.set(id, substitutions.apply(each, "dyn"));
  return { ok: true, tree: { expr, source, type: substitutions.apply(type, "dyn"), types, names, overloads } };
}

class Checker {
  readonly substitutions = new Substitutions();
  readonly types = new Map<number, Type>();
  readonly names = new Map<number, string>();
  readonly overloads = new Map<number, readonly string[]>();
  readonly problems: { readonly offset: number; readonly message: string }[] = [];
  readonly #environment: Environment;
  readonly #locals: { readonly name: string; readonly type: Type }[] = [];
  #fresh = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  check(expr: Expr): Type {
    const type = this.#typeOf(expr);
    this.types.set(expr.id, type);
    return type;
  }

  #report(offset: number, message: string): Type {
    this.problems.push({ offset, message });
    return ERROR;
  }

  #format(type: Type): string {
    return formatType(this.substitutions.apply(type, "keep")).replace(/%(\d+)/g, "_var$1");
  }

  #variable(): Type {
    this.#fresh += 1;
    return { kind: "param", name: `%${this.#fresh - 1}` };
  }

  #typeOf(expr: Expr): Type {
    switch (expr.kind) {
      case "literal":
        return literalType(expr.value);
      case "ident":
        return this.#ident(expr.id, expr.name, expr.offset);
      case "select":
        return this.#select(expr);
      case "call":
        return this.#call(expr);
      case "list":
        return this.#list(expr.elements, expr.optional);
      case "map":
        return this.#map(expr);
      case "struct":
        return this.#struct(expr);
      case "comprehension":
        return this.#comprehension(expr);
    }
  }

  #local(name: string): Type | undefined {
    for (let at = this.#locals.length - 1; at >= 0; at -= 1) {
      const local = this.#locals[at];
      if (local?.name === name) return local.type;
    }
    return undefined;
  }

  /** The type of what a name resolves to: a variable, or a type. */
  #resolve(id: number, name: string): Type | undefined {
    const local = this.#local(name);
    if (local !== undefined) {
      this.names.set(id, name);
      return local;
    }
    for (const candidate of candidateNames(this.#environment.container, name)) {
      const type = this.#environment.variables.get(candidate)?.type ?? this.#typeNamed(candidate);
      if (type === undefined) continue;
      this.names.set(id, candidate);
      return type;
    }
    return undefined;
  }

  #typeNamed(name: string): Type | undefined {
    const type = NAMED_TYPES.get(name);
    if (type !== undefined) return typeOf(type);
    return this.#environment.records.has(name) ? typeOf({ kind: "record", name }) : undefined;
  }

  #ident(id: number, name: string, offset: number): Type {
    return this.#resolve(id, name) ?? this.#report(offset, this.#undeclared(name));
  }

  #undeclared(name: string, what: "reference to" | "function" = "reference to"): string {
    const { container } = this.#environment;
    return `undeclared ${what} "${name}"${container === "" ? "" : ` (in container "${container}")`}`;
  }

  #select(expr: SelectExpr): Type {
    const name = expr.testOnly ? undefined : qualifiedName(expr);
    if (name !== undefined && this.#local(name.slice(0, name.indexOf("."))) === undefined) {
      const type = this.#resolve(expr.id, name);
      if (type !== undefined) return type;
    }
    const type = this.#fieldOf(this.check(expr.operand), expr.field, expr, false);
    return expr.testOnly ? BOOL : type;
  }

  #fieldOf(operand: Type, field: string, at: Expr, optional: boolean): Type {
    const applied = this.substitutions.apply(operand, "keep");
    const inner = applied.kind === "opaque" && applied.name === "optional_type" ? applied.parameters[0] : undefined;
    const result = this.#plainFieldOf(inner ?? applied, field, at);
    return inner !== undefined || optional ? optionalOf(result) : result;
  }

  #plainFieldOf(target: Type, field: string, { offset }: Expr): Type {
    switch (target.kind) {
      case "map":
        return target.value;
      case "record": {
        const found = this.#environment.records.get(target.name)?.fields.get(field);
        return found?.type ?? this.#report(offset, `undefined field "${field}"`);
      }
      case "param":
        this.substitutions.assign(DYN, target);
        return DYN;
      default:
        if (!isDyn(target)) {
          return this.#report(offset, `type "${this.#format(target)}" does not support field selection`);
        }
        return DYN;
    }
  }

  #call(expr: CallExpr): Type {
    if (expr.name === "_?._") return this.#optionalField(expr);
    const { functions, container } = this.#environment;
    if (expr.target === undefined) {
      const found = candidateNames(container, expr.name).find((candidate) => functions.has(candidate));
      if (found === undefined) {
        for (const each of expr.args) this.check(each);
        return this.#report(expr.offset, this.#undeclared(expr.name, "function"));
      }
      this.names.set(expr.id, found);
      const args = expr.args.map((each) => this.check(each));
      return this.#dispatch(expr, found, args, false);
    }
    const namespace = qualifiedName(expr.target);
    if (namespace !== undefined && this.#local(namespace.split(".", 1)[0] ?? "") === undefined) {
      const qualified = `${namespace}.${expr.name}`;
      const found = candidateNames(container, qualified).find((candidate) => functions.has(candidate));
      if (found !== undefined) {
        this.names.set(expr.id, found);
        const args = expr.args.map((each) => this.check(each));
        return this.#dispatch(expr, found, args, false);
      }
    }
    const args = [expr.target, ...expr.args].map((each) => this.check(each));
    if (!functions.has(expr.name)) return this.#report(expr.offset, this.#undeclared(expr.name, "function"));
    return this.#dispatch(expr, expr.name, args, true);
  }

  #optionalField(expr: CallExpr): Type {
    const [operand, field] = expr.args;
    if (operand === undefined || field?.kind !== "literal" || typeof field.value !== "string") {
      return this.#report(expr.offset, "an optional selection names a field");
    }
    const type = this.#fieldOf(this.check(operand), field.value, expr, true);
    this.types.set(field.id, STRING);
    this.overloads.set(expr.id, ["select_optional_field"]);
    return type;
  }

  #dispatch(expr: CallExpr, name: string, args: readonly Type[], receiver: boolean): Type {
    let result: Type | undefined;
    const matching: string[] = [];
    for (const overload of this.#environment.functions.get(name) ?? []) {
      if (overload.receiver !== receiver) continue;
      const { parameters, result: type } = this.#instance(overload);
      if (!this.substitutions.assignAll(args, parameters)) continue;
      matching.push(overload.id);
      const own = this.substitutions.apply(type, "keep");
      if (result === undefined) result = own;
      else if (!isDyn(result) && formatType(own) !== formatType(result)) result = DYN;
    }
    if (result === undefined) {
      const shown = args.map((type) => this.#format(type));
      const signature = receiver ? `${shown[0]}.(${shown.slice(1).join(", ")})` : `(${shown.join(", ")})`;
      return this.#report(expr.offset, `no such overload: no matching overload for "${name}" applied to ${signature}`);
    }
    this.overloads.set(expr.id, matching);
    return result;
  }

  /** The overload with type parameters of this call. */
  #instance(overload: Overload): { readonly parameters: readonly Type[]; readonly result: Type } {
    if (overload.typeParameters.length === 0) return overload;
    const own = new Substitutions(new Map(overload.typeParameters.map((name) => [name, this.#variable()])));
    return {
      parameters: overload.parameters.map((type) => own.apply(type, "keep")),
      result: own.apply(overload.result, "keep"),
    };
  }

  /** The type of both, for elements of a list and entries of a map. */
  #join(previous: Type | undefined, current: Type): Type {
    if (previous === undefined) return current;
    if (!this.substitutions.assign(previous, current)) return DYN;
    return mostGeneral(this.substitutions.apply(previous, "keep"), this.substitutions.apply(current, "keep"));
  }

  /** The type inside an optional that `[?x]` and `{?k: v}` take. */
  #unwrapped(expr: Expr, type: Type): Type {
    const applied = this.substitutions.apply(type, "keep");
    if (applied.kind === "opaque" && applied.name === "optional_type") return applied.parameters[0] ?? DYN;
    if (isDyn(applied)) return DYN;
    return this.#report(expr.offset, `expected type "optional_type" but found "${this.#format(type)}"`);
  }

  #list(elements: readonly Expr[], optional: ReadonlySet<number>): Type {
    let joined: Type | undefined;
    for (const [index, element] of elements.entries()) {
      const type = this.check(element);
      joined = this.#join(joined, optional.has(index) ? this.#unwrapped(element, type) : type);
    }
    return listOf(joined ?? this.#variable());
  }

  #map(expr: Extract<Expr, { kind: "map" }>): Type {
    let key: Type | undefined;
    let value: Type | undefined;
    for (const entry of expr.entries) {
      key = this.#join(key, this.check(entry.key));
      const type = this.check(entry.value);
      value = this.#join(value, entry.optional ? this.#unwrapped(entry.value, type) : type);
    }
    return mapOf(key ?? this.#variable(), value ?? this.#variable());
  }

  #struct(expr: Extract<Expr, { kind: "struct" }>): Type {
    const name = candidateNames(this.#environment.container, expr.name).find(
      (candidate) => this.#environment.variables.has(candidate) || this.#typeNamed(candidate) !== undefined,
    );
    for (const entry of expr.entries) this.check(entry.value);
    if (name === undefined) return this.#report(expr.offset, this.#undeclared(expr.name));
    const type = NAMED_TYPES.get(name);
    if (type?.kind !== "wrapper" && name !== "google.protobuf.Value") {
      return this.#report(expr.offset, `"${name}" is not a message type`);
    }
    this.names.set(expr.id, name);
    for (const { field, value, offset } of expr.entries) {
      const given = this.types.get(value.id) ?? DYN;
      if (type?.kind !== "wrapper" || field !== "value") this.#report(offset, `undefined field "${field}"`);
      else if (!this.substitutions.assign(given, type)) {
        this.#report(
          offset,
          `expected type of field "${field}" is "${type.of}" but provided type is "${this.#format(given)}"`,
        );
      }
    }
    return type ?? DYN;
  }

  #comprehension(expr: ComprehensionExpr): Type {
    const range = this.substitutions.apply(this.check(expr.range), "keep");
    const accumulated = this.check(expr.init);
    const [first, second] = this.#elementTypes(expr, range);
    const depth = this.#locals.push({ name: expr.accumulator, type: accumulated });
    this.#locals.push({ name: expr.variable, type: first });
    if (expr.variable2 !== undefined) this.#locals.push({ name: expr.variable2, type: second });
    this.#assert(expr.condition, BOOL);
    this.#assert(expr.step, accumulated);
    this.#locals.length = depth;
    const result = this.check(expr.result);
    this.#locals.length = depth - 1;
    return this.substitutions.apply(result, "keep");
  }

  #elementTypes(expr: ComprehensionExpr, range: Type): readonly [Type, Type] {
    const two = expr.variable2 !== undefined;
    switch (range.kind) {
      case "list":
        return two ? [INT, range.element] : [range.element, range.element];
      case "map":
        return [range.key, range.value];
      case "dyn":
      case "any":
      case "error":
      case "param":
        this.substitutions.assign(DYN, range);
        return [DYN, DYN];
      default: {
        const type = this.#format(range);
        this.#report(
          expr.range.offset,
          `expression of type "${type}" cannot be the range of a comprehension: it must be a list, a map, or dynamic`,
        );
        return [ERROR, ERROR];
      }
    }
  }

  #assert(expr: Expr, wanted: Type): void {
    const type = this.check(expr);
    if (this.substitutions.assign(type, wanted)) return;
    this.#report(expr.offset, `expected type "${this.#format(wanted)}" but found "${this.#format(type)}"`);
  }
}

function literalType(value: unknown): Type {
  switch (typeof value) {
    case "boolean":
      return BOOL;
    case "bigint":
      return INT;
    case "number":
      return DOUBLE;
    case "string":
      return STRING;
    default:
      if (value === null) return NULL;
      return value instanceof Uint ? UINT : BYTES;
  }
}
