import { element, hasField, optionalElement, optionalField, type RecordOf, recordFinder, select } from "./access.ts";
import { type CallExpr, type ComprehensionExpr, childrenOf, type Expr, qualifiedName, type SelectExpr } from "./ast.ts";
import type { CheckedTree } from "./check.ts";
import { toType, typeValue } from "./conversions.ts";
import { candidateNames, type Environment, type Variable } from "./environment.ts";
import { Frame } from "./frame.ts";
import { IMPLEMENTATIONS, type Implementation, putEntry } from "./functions.ts";
import { logical } from "./logic.ts";
import { compileLoop } from "./loops.ts";
import { type Compiled, constant, located, type Run } from "./run.ts";
import { specialised } from "./specialise.ts";
import { internalised } from "./text-tests.ts";
import { NAMED_TYPES, type Type } from "./type.ts";
import { CelError, Failure, noOverload, Optional, UintKeyMap } from "./value.ts";
import { makeWrapper } from "./wrappers.ts";

/** The tree as functions that call each other: what can be decided before evaluation is. */

export interface Program {
  /**
   * @param activation  what the variables of the environment read from
   * @param work  see `Frame.work`
   */
  evaluate(activation: unknown, work?: number): unknown;
}

export interface CompileOptions {
  /** Told the value of every node that is evaluated. For explanations: it costs. */
  readonly observe?: (expr: Expr, value: unknown) => void;
}

/** Work of one evaluation, unless it is said. Some tens of milliseconds at most. */
export const DEFAULT_WORK = 1_000_000;
/** Work that goes into one constant part; what costs more is evaluated each time. */
const CONSTANT_WORK = 1_000;

/** A parsed tree, or better a checked one: its types make faster code. */
export type CompilableTree = Pick<CheckedTree, "expr"> & Partial<Pick<CheckedTree, "types">>;

export function compile(tree: CompilableTree, environment: Environment, options: CompileOptions = {}): Program {
  const compiler = new Compiler(environment, tree.types ?? new Map(), options);
  const { run } = compiler.compile(tree.expr);
  return new CompiledProgram(run, compiler.slots);
}

/** A class, so that what calls programs always calls the same function. */
class CompiledProgram implements Program {
  readonly #run: Run;
  readonly #frame: Frame;
  readonly #slots: number;

  constructor(run: Run, slots: number) {
    this.#run = run;
    this.#frame = new Frame(slots);
    this.#slots = slots;
  }

  evaluate(activation: unknown, work = DEFAULT_WORK): unknown {
    const frame = this.#frame;
    frame.activation = activation;
    frame.work = work;
    const run = this.#run;
    const value = run(frame);
    // What a request brought along is not held until the next one.
    frame.activation = undefined;
    for (let slot = 0; slot < this.#slots; slot += 1) frame.locals[slot] = undefined;
    return value;
  }
}

export class Compiler {
  readonly environment: Environment;
  readonly recordOf: RecordOf;
  readonly #types: ReadonlyMap<number, Type>;
  readonly #observe: CompileOptions["observe"];
  readonly #locals: string[] = [];
  #slots = 0;

  constructor(environment: Environment, types: ReadonlyMap<number, Type>, options: CompileOptions) {
    this.environment = environment;
    this.recordOf = recordFinder(environment);
    this.#types = types;
    this.#observe = options.observe;
  }

  /** How many variables of loops there are at the same time. */
  get slots(): number {
    return this.#slots;
  }

  compile(expr: Expr): Compiled {
    const compiled = this.#folded(expr, this.#compile(expr));
    const observe = this.#observe;
    if (observe === undefined) return compiled;
    const { run } = compiled;
    const observed: Run = (frame) => {
      const value = run(frame);
      observe(expr, value);
      return value;
    };
    // Without its constant, so that nothing is done ahead of an evaluation that is looked at.
    return { run: observed };
  }

  /** What depends on constants alone is one. */
  #folded(expr: Expr, compiled: Compiled): Compiled {
    if (compiled.constant !== undefined || !this.#isConstant(expr)) return compiled;
    const frame = new Frame();
    frame.work = CONSTANT_WORK;
    const value = compiled.run(frame);
    return frame.work < 0 ? compiled : constant(value);
  }

  readonly #constants = new Map<number, boolean>();

  #isConstant(expr: Expr): boolean {
    const known = this.#constants.get(expr.id);
    if (known !== undefined) return known;
    const itself = expr.kind === "call" || expr.kind === "list" || expr.kind === "map" || expr.kind === "literal";
    const is = itself && childrenOf(expr).every((child) => this.#isConstant(child));
    this.#constants.set(expr.id, is);
    return is;
  }

  typeOf(expr: Expr): Type | undefined {
    return this.#types.get(expr.id);
  }

  #compile(expr: Expr): Compiled {
    switch (expr.kind) {
      case "literal":
        return constant(expr.value);
      case "ident":
        return this.#name(expr.name) ?? constant(new CelError(`undeclared reference to "${expr.name}"`, expr.offset));
      case "select":
        return this.#select(expr);
      case "call":
        return this.#call(expr);
      case "list":
        return { run: this.#list(expr.elements, expr.optional) };
      case "map":
        return { run: this.#map(expr) };
      case "struct":
        return { run: this.#struct(expr) };
      case "comprehension":
        return { run: this.#comprehension(expr) };
    }
  }

  #localSlot(name: string): number {
    return this.#locals.lastIndexOf(name);
  }

  #name(name: string): Compiled | undefined {
    const slot = this.#localSlot(name);
    if (slot >= 0) return { run: (frame) => frame.locals[slot] };
    for (const candidate of candidateNames(this.environment.container, name)) {
      const variable = this.environment.variables.get(candidate);
      if (variable !== undefined) return { run: readVariable(candidate, variable) };
      if (NAMED_TYPES.has(candidate) || this.environment.records.has(candidate)) return constant(typeValue(candidate));
    }
    return undefined;
  }

  #select(expr: SelectExpr): Compiled {
    const { operand: inner, field, offset } = expr;
    const name = expr.testOnly ? undefined : qualifiedName(expr);
    if (name !== undefined && this.#localSlot(name.slice(0, name.indexOf("."))) < 0) {
      const named = this.#name(name);
      if (named !== undefined) return named;
    }
    const { run: operand } = this.compile(inner);
    const { recordOf } = this;
    const declared = this.#fieldOf(inner, field);
    if (declared !== undefined) {
      const missing = new CelError(`"${name ?? field}" is missing`, offset);
      if (expr.testOnly) {
        return {
          run: (frame) => {
            const record = operand(frame);
            return record instanceof Failure ? record : declared(record) !== undefined;
          },
        };
      }
      const variable = this.#reader(inner);
      if (variable !== undefined) {
        return {
          run: (frame) => {
            const record = variable(frame.activation);
            const value = declared(record);
            if (value !== undefined) return value;
            // A reader finds nothing in what is no record: a failure, or a variable that is missing.
            return record === undefined || record instanceof Failure ? operand(frame) : missing;
          },
          source: { kind: "field", variable, field: declared },
        };
      }
      return {
        run: (frame) => {
          const record = operand(frame);
          const value = declared(record);
          if (value !== undefined) return value;
          return record instanceof Failure ? record : missing;
        },
      };
    }
    if (expr.testOnly) return { run: (frame) => located(hasField(operand(frame), field, recordOf), offset) };
    return this.#memberOf(inner, operand, field, offset);
  }

  /** As `#member`; a variable is read without a step of its own. */
  #memberOf(inner: Expr, operand: Run, field: string, offset: number): Compiled {
    const variable = this.#reader(inner);
    const general = this.#member(operand, field, offset);
    if (variable === undefined) return { run: general };
    const missing = new CelError(`no such key: "${field}"`, offset);
    const key = internalised(field);
    const run: Run = (frame) => {
      const target = variable(frame.activation);
      if (!(target instanceof Map)) return general(frame);
      const value: unknown = target.get(key);
      return value === undefined ? missing : value;
    };
    return { run, source: { kind: "key", variable, key } };
  }

  /** How a variable is read that has a reader of its own. */
  #reader(expr: Expr): Variable["read"] {
    if (this.#observe !== undefined) return undefined;
    if (expr.kind !== "ident" || this.#localSlot(expr.name) >= 0) return undefined;
    const { container, variables } = this.environment;
    const name = candidateNames(container, expr.name).find((candidate) => variables.has(candidate));
    return name === undefined ? undefined : variables.get(name)?.read;
  }

  /** `operand.field`, and `operand["field"]` */
  #member(operand: Run, field: string, offset: number): Run {
    const { recordOf } = this;
    const missing = new CelError(`no such key: "${field}"`, offset);
    return (frame) => {
      const target = operand(frame);
      if (target instanceof Map) {
        const value: unknown = target.get(field);
        return value === undefined ? missing : value;
      }
      return located(select(target, field, missing, recordOf), offset);
    };
  }

  /** How a field of a record is read, where the type of the record is known. */
  #fieldOf(operand: Expr, field: string): ((record: unknown) => unknown) | undefined {
    const type = this.typeOf(operand);
    return type?.kind === "record" ? this.environment.records.get(type.name)?.fields.get(field)?.read : undefined;
  }

  #call(expr: CallExpr): Compiled {
    const { offset } = expr;
    const [name, operands] = this.#callee(expr);
    const special = this.#operator(name, operands, offset);
    if (special !== undefined) return special;
    const compiled = operands.map((each) => this.compile(each));
    const faster = specialised(name, compiled, offset);
    if (faster !== undefined) return { run: faster };
    const implementation = IMPLEMENTATIONS.get(name);
    if (implementation === undefined) return constant(new CelError(`undeclared reference to "${name}"`, offset));
    return {
      run: apply(
        name,
        implementation,
        compiled.map(({ run }) => run),
        offset,
      ),
    };
  }

  /** Name of the function and its operands: the receiver is the first, a namespace is part of the name. */
  #callee(expr: CallExpr): readonly [string, readonly Expr[]] {
    const { target, args, name } = expr;
    const { container } = this.environment;
    const known = (candidate: string) => IMPLEMENTATIONS.has(candidate);
    if (target === undefined) return [candidateNames(container, name).find(known) ?? name, args];
    const namespace = qualifiedName(target);
    if (namespace !== undefined && this.#localSlot(namespace.split(".", 1)[0] ?? "") < 0) {
      const qualified = candidateNames(container, `${namespace}.${name}`).find(known);
      if (qualified !== undefined) return [qualified, args];
    }
    return [name, [target, ...args]];
  }

  /** Operators that do not evaluate all their operands, or look at more than values. */
  #operator(name: string, operands: readonly Expr[], offset: number): Compiled | undefined {
    const [first, second, third] = operands;
    if (first === undefined) return undefined;
    if (name === "type" && operands.length === 1) return { run: this.#typeCall(this.compile(first).run) };
    if (second === undefined) return undefined;
    switch (name) {
      case "_&&_":
        return { run: logical(name, false, this.#chain(name, operands), offset) };
      case "_||_":
        return { run: logical(name, true, this.#chain(name, operands), offset) };
      case "_?_:_":
        return third === undefined ? undefined : { run: this.#conditional(first, second, third, offset) };
      case "_[_]":
        return this.#index(first, second, offset);
      case "_[?_]": {
        const [left, right] = [this.compile(first).run, this.compile(second).run];
        return { run: (frame) => located(optionalElement(left(frame), right(frame)), offset) };
      }
      case "_?._":
        return this.#optionalSelect(first, second, offset);
      case "or":
      case "orValue":
        return operands.length === 2 ? { run: this.#alternative(name, first, second, offset) } : undefined;
      default:
        return undefined;
    }
  }

  #typeCall(operand: Run): Run {
    const { recordOf } = this;
    return (frame) => {
      const value = operand(frame);
      if (value instanceof Failure) return value;
      const record = typeof value === "object" && value !== null ? recordOf(value) : undefined;
      return record === undefined ? toType(value) : typeValue(record.name);
    };
  }

  /** The links of a chain of one operator, from left to right, however it is nested. */
  #chain(name: string, operands: readonly Expr[]): readonly Run[] {
    return operands.flatMap((operand) =>
      operand.kind === "call" && operand.name === name && operand.target === undefined && this.#observe === undefined
        ? this.#chain(name, operand.args)
        : [this.compile(operand).run],
    );
  }

  #conditional(first: Expr, second: Expr, third: Expr, offset: number): Run {
    const [condition, then, otherwise] = [this.compile(first).run, this.compile(second).run, this.compile(third).run];
    return (frame) => {
      const chosen = condition(frame);
      if (chosen === true) return then(frame);
      if (chosen === false) return otherwise(frame);
      return located(noOverload("_?_:_", chosen), offset);
    };
  }

  #index(first: Expr, second: Expr, offset: number): Compiled {
    const operand = this.compile(first);
    const index = this.compile(second);
    const key = index.constant?.value;
    if (typeof key === "string") {
      // A string finds nothing in a record or a list; only maps and optionals of maps have such a member.
      if (this.typeOf(first)?.kind === "map") return this.#memberOf(first, operand.run, key, offset);
      const general = operand.run;
      const run: Run = (frame) => {
        const value = general(frame);
        if (!(value instanceof Map)) return located(element(value, key), offset);
        const found: unknown = value.get(key);
        return found === undefined ? new CelError(`no such key: "${key}"`, offset) : found;
      };
      return { run };
    }
    const [left, right] = [operand.run, index.run];
    return { run: (frame) => located(element(left(frame), right(frame)), offset) };
  }

  #optionalSelect(first: Expr, second: Expr, offset: number): Compiled | undefined {
    if (second.kind !== "literal" || typeof second.value !== "string") return undefined;
    const field = second.value;
    const operand = this.compile(first).run;
    const { recordOf } = this;
    return { run: (frame) => located(optionalField(operand(frame), field, recordOf), offset) };
  }

  /** `or` and `orValue` evaluate what is written in them only where it is needed. */
  #alternative(name: string, first: Expr, second: Expr, offset: number): Run {
    const [left, right] = [this.compile(first).run, this.compile(second).run];
    return (frame) => {
      const optional = left(frame);
      if (!(optional instanceof Optional)) return located(noOverload(name, optional), offset);
      if (optional.value === undefined) return right(frame);
      return name === "or" ? optional : optional.value;
    };
  }

  #list(elements: readonly Expr[], optional: ReadonlySet<number>): Run {
    const runs = elements.map((each) => this.compile(each).run);
    return (frame) => {
      const list: unknown[] = [];
      for (let index = 0; index < runs.length; index += 1) {
        const value = runs[index]?.(frame);
        if (value instanceof Failure) return value;
        if (!optional.has(index)) list.push(value);
        else if (!(value instanceof Optional)) return noOverload("[?_]", value);
        else if (value.value !== undefined) list.push(value.value);
      }
      return list;
    };
  }

  #map(expr: Extract<Expr, { kind: "map" }>): Run {
    const entries = expr.entries.map(({ key, value, optional, offset }) => ({
      key: this.compile(key).run,
      value: this.compile(value).run,
      optional,
      offset,
    }));
    return (frame) => {
      const map = new UintKeyMap();
      for (const { key, value, optional, offset } of entries) {
        const at = key(frame);
        let held = value(frame);
        if (optional && !(held instanceof Failure)) {
          if (!(held instanceof Optional)) return located(noOverload("{?_}", held), offset);
          if (held.value === undefined) continue;
          held = held.value;
        }
        const failure = putEntry(map, at, held);
        if (failure !== undefined) return failure.at(offset);
      }
      return map;
    };
  }

  #struct(expr: Extract<Expr, { kind: "struct" }>): Run {
    const name = candidateNames(this.environment.container, expr.name).find((each) => NAMED_TYPES.has(each));
    const fields = expr.entries.map(({ field, value }) => ({ field, run: this.compile(value).run }));
    return (frame) => {
      const values = new Map<string, unknown>();
      for (const { field, run } of fields) values.set(field, run(frame));
      return located(makeWrapper(name ?? expr.name, values), expr.offset);
    };
  }

  #comprehension(expr: ComprehensionExpr): Run {
    return compileLoop(expr, this.compile(expr.range).run, {
      compile: (inner) => this.compile(inner).run,
      declare: (name) => {
        const known = this.#locals.length;
        this.#locals.push(name);
        this.#slots = Math.max(this.#slots, this.#locals.length);
        return known;
      },
      forget: (count) => {
        this.#locals.length -= count;
      },
    });
  }
}

function readVariable(name: string, { read }: Variable): Run {
  const missing = new CelError(`"${name}" is missing`);
  if (read !== undefined) {
    return (frame) => {
      const value = read(frame.activation);
      return value === undefined ? missing : value;
    };
  }
  return ({ activation }) => {
    const value = activation instanceof Map ? activation.get(name) : undefined;
    return value === undefined ? missing : value;
  };
}

function apply(
  name: string,
  { unary, binary, variadic, arities }: Implementation,
  runs: readonly Run[],
  offset: number,
): Run {
  const [first, second] = runs;
  if (unary !== undefined && runs.length === 1 && first !== undefined) {
    return (frame) => located(unary(first(frame), frame), offset);
  }
  if (binary !== undefined && runs.length === 2 && first !== undefined && second !== undefined) {
    return (frame) => located(binary(first(frame), second(frame), frame), offset);
  }
  if (variadic !== undefined && arities?.includes(runs.length) === true) {
    return (frame) =>
      located(
        variadic(
          runs.map((run) => run(frame)),
          frame,
        ),
        offset,
      );
  }
  return (frame) => located(noOverload(name, ...runs.map((run) => run(frame))), offset);
}
