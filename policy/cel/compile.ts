import { type RecordOf, recordFinder } from "./access.ts";
import { type CallExpr, type ComprehensionExpr, childrenOf, type Expr, qualifiedName, type SelectExpr } from "./ast.ts";
import { apply, typeCall } from "./call.ts";
import type { CheckedTree } from "./check.ts";
import { makeList, makeMap, makeStruct } from "./construct.ts";
import { typeValue } from "./conversions.ts";
import { candidateNames, type Environment, type Variable } from "./environment.ts";
import { Frame } from "./frame.ts";
import { IMPLEMENTATIONS } from "./functions.ts";
import { alternative, conditional, logical } from "./logic.ts";
import { compileLoop } from "./loops.ts";
import {
  readElement,
  readField,
  readKey,
  readMember,
  readOptionalElement,
  readOptionalField,
  readVariable,
  testField,
  testMember,
} from "./members.ts";
import { type Compiled, constant, type Run } from "./run.ts";
import { specialised } from "./specialise.ts";
import { NAMED_TYPES, type Type } from "./type.ts";
import { CelError } from "./value.ts";

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

/** Work of one evaluation, unless it is said: mostly some tens of milliseconds, a second where it goes into patterns. */
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
    frame.work = work;
    const run = this.#run;
    const value = run(activation, frame);
    // What a request brought along is not held until the next one.
    for (let slot = 0; slot < this.#slots; slot += 1) frame.locals[slot] = undefined;
    return value;
  }
}

class Compiler {
  readonly #environment: Environment;
  readonly #recordOf: RecordOf;
  readonly #types: ReadonlyMap<number, Type>;
  readonly #observe: CompileOptions["observe"];
  readonly #locals: string[] = [];
  #slots = 0;

  constructor(environment: Environment, types: ReadonlyMap<number, Type>, options: CompileOptions) {
    this.#environment = environment;
    this.#recordOf = recordFinder(environment);
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
    const observed: Run = (activation, frame) => {
      const value = run(activation, frame);
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
    const value = compiled.run(undefined, frame);
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

  #typeOf(expr: Expr): Type | undefined {
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
        return {
          run: makeList(
            expr.elements.map((each) => this.compile(each).run),
            expr.optional,
          ),
        };
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
    if (slot >= 0) return { run: (_activation, frame) => frame.locals[slot] };
    for (const candidate of candidateNames(this.#environment.container, name)) {
      const variable = this.#environment.variables.get(candidate);
      if (variable !== undefined) return { run: readVariable(candidate, variable) };
      if (NAMED_TYPES.has(candidate) || this.#environment.records.has(candidate)) return constant(typeValue(candidate));
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
    const declared = this.#fieldOf(inner, field);
    if (expr.testOnly) {
      const run =
        declared === undefined ? testMember(operand, field, this.#recordOf, offset) : testField(operand, declared);
      return { run };
    }
    return declared === undefined
      ? readMember(operand, this.#reader(inner), field, this.#recordOf, offset)
      : readField(operand, this.#reader(inner), declared, name ?? field, offset);
  }

  /** How a variable is read that has a reader of its own. */
  #reader(expr: Expr): Variable["read"] {
    if (this.#observe !== undefined) return undefined;
    if (expr.kind !== "ident" || this.#localSlot(expr.name) >= 0) return undefined;
    const { container, variables } = this.#environment;
    const name = candidateNames(container, expr.name).find((candidate) => variables.has(candidate));
    return name === undefined ? undefined : variables.get(name)?.read;
  }

  /** How a field of a record is read, where the type of the record is known. */
  #fieldOf(operand: Expr, field: string): ((record: unknown) => unknown) | undefined {
    const type = this.#typeOf(operand);
    return type?.kind === "record" ? this.#environment.records.get(type.name)?.fields.get(field)?.read : undefined;
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
    const { container } = this.#environment;
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
    if (name === "type" && operands.length === 1) return { run: typeCall(this.compile(first).run, this.#recordOf) };
    if (second === undefined) return undefined;
    switch (name) {
      case "_&&_":
        return { run: logical(name, false, this.#chain(name, operands), offset) };
      case "_||_":
        return { run: logical(name, true, this.#chain(name, operands), offset) };
      case "_?_:_": {
        if (third === undefined) return undefined;
        const [condition, then] = [this.compile(first).run, this.compile(second).run];
        return { run: conditional(condition, then, this.compile(third).run, offset) };
      }
      case "_[_]":
        return this.#index(first, second, offset);
      case "_[?_]":
        return { run: readOptionalElement(this.compile(first).run, this.compile(second).run, offset) };
      case "_?._":
        return this.#optionalSelect(first, second, offset);
      case "or":
      case "orValue":
        return operands.length === 2
          ? { run: alternative(name, this.compile(first).run, this.compile(second).run, offset) }
          : undefined;
      default:
        return undefined;
    }
  }

  /** The links of a chain of one operator, from left to right, however it is nested. */
  #chain(name: string, operands: readonly Expr[]): readonly Run[] {
    return operands.flatMap((operand) =>
      operand.kind === "call" && operand.name === name && operand.target === undefined && this.#observe === undefined
        ? this.#chain(name, operand.args)
        : [this.compile(operand).run],
    );
  }

  #index(first: Expr, second: Expr, offset: number): Compiled {
    const { run: operand } = this.compile(first);
    const index = this.compile(second);
    const key = index.constant?.value;
    if (typeof key !== "string") return { run: readElement(operand, index.run, offset) };
    // A string finds nothing in a record or a list; only maps and optionals of maps have such a member.
    return this.#typeOf(first)?.kind === "map"
      ? readMember(operand, this.#reader(first), key, this.#recordOf, offset)
      : { run: readKey(operand, key, offset) };
  }

  #optionalSelect(first: Expr, second: Expr, offset: number): Compiled | undefined {
    if (second.kind !== "literal" || typeof second.value !== "string") return undefined;
    return { run: readOptionalField(this.compile(first).run, second.value, this.#recordOf, offset) };
  }

  #map(expr: Extract<Expr, { kind: "map" }>): Run {
    return makeMap(
      expr.entries.map(({ key, value, optional, offset }) => ({
        key: this.compile(key).run,
        value: this.compile(value).run,
        optional,
        offset,
      })),
    );
  }

  #struct(expr: Extract<Expr, { kind: "struct" }>): Run {
    const name = candidateNames(this.#environment.container, expr.name).find((each) => NAMED_TYPES.has(each));
    const fields = expr.entries.map(({ field, value }) => ({ field, run: this.compile(value).run }));
    return makeStruct(name ?? expr.name, fields, expr.offset);
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
