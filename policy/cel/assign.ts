import { DYN, listOf, mapOf, NULL, parametersOf, sameType, type Type, typeOf } from "./type.ts";

type Parameter = Extract<Type, { kind: "param" }>;

/**
 * Assignability with type parameters, as cel-go has it: a parameter takes on the first type that it meets and becomes
 * more general where it meets more.
 */
export class Substitutions {
  readonly #bound: Map<string, Type>;
  /** What parameters stood for before the assignment that is under way, in the order in which they were bound. */
  readonly #before: (readonly [name: string, bound: Type | undefined])[] = [];

  constructor(bound: ReadonlyMap<string, Type> = new Map()) {
    this.#bound = new Map(bound);
  }

  /** The type with its parameters replaced by what they stand for; what is free becomes dyn where `free` says so. */
  apply(type: Type, free: "keep" | "dyn"): Type {
    switch (type.kind) {
      case "param": {
        const bound = this.#bound.get(type.name);
        if (bound === undefined) return free === "dyn" ? DYN : type;
        if (bound.kind !== "param") return this.apply(bound, free);
        // Chains are shortened where they are gone along: the elements of a long list would make a long one.
        const last = this.#lastOf(bound);
        if (last !== bound) this.#bound.set(type.name, last);
        return this.apply(this.#bound.get(last.name) ?? last, free);
      }
      case "list":
        return listOf(this.apply(type.element, free));
      case "map":
        return mapOf(this.apply(type.key, free), this.apply(type.value, free));
      case "type":
        return type.of === undefined ? type : typeOf(this.apply(type.of, free));
      case "opaque":
        return { ...type, parameters: type.parameters.map((inner) => this.apply(inner, free)) };
      default:
        return type;
    }
  }

  /** Whether each of `given` can be passed for what is `wanted`. Parameters are bound only if all can. */
  assignAll(given: readonly Type[], wanted: readonly Type[]): boolean {
    if (given.length !== wanted.length) return false;
    const can = given.every((type, index) => this.#assign(type, wanted[index] ?? DYN));
    if (!can) this.#takeBack();
    this.#before.length = 0;
    return can;
  }

  #set(name: string, type: Type): void {
    this.#before.push([name, this.#bound.get(name)]);
    this.#bound.set(name, type);
  }

  #takeBack(): void {
    for (const [name, bound] of this.#before.reverse()) {
      if (bound === undefined) this.#bound.delete(name);
      else this.#bound.set(name, bound);
    }
  }

  /** The last parameter of a chain of them. */
  #lastOf(parameter: Parameter): Parameter {
    let last = parameter;
    for (let next = this.#bound.get(last.name); next?.kind === "param"; next = this.#bound.get(last.name)) last = next;
    return last;
  }

  assign(given: Type, wanted: Type): boolean {
    return this.assignAll([given], [wanted]);
  }

  #assign(given: Type, wanted: Type): boolean {
    if (wanted.kind === "param") {
      const outcome = this.#bind(given, wanted.name);
      if (outcome !== "free") return outcome;
    }
    if (given.kind === "param") return this.#bind(wanted, given.name) === true;
    if (isDyn(given) || isDyn(wanted)) return true;
    if (given.kind === "null") return takesNull(wanted);
    if (wanted.kind === "null") return takesNull(given);
    if (given.kind === "wrapper" || wanted.kind === "wrapper") return unwrapped(given) === unwrapped(wanted);
    if (given.kind !== wanted.kind) return false;
    switch (given.kind) {
      case "type":
        return true;
      case "record":
        return sameType(given, wanted);
      case "opaque":
        if (wanted.kind !== "opaque" || given.name !== wanted.name) return false;
    }
    const inner = parametersOf(given);
    const others = parametersOf(wanted);
    return inner.length === others.length && inner.every((type, index) => this.#assign(type, others[index] ?? DYN));
  }

  /** "free": the parameter cannot stand for the type, and stands for nothing yet. */
  #bind(type: Type, name: string): boolean | "free" {
    if (type.kind === "param" && type.name === name) return true;
    const bound = this.#bound.get(name);
    if (bound === undefined) {
      if (this.#occurs(name, type)) return "free";
      this.#set(name, type);
      return true;
    }
    if (sameType(type, bound)) return true;
    if (!this.#assign(type, bound)) return false;
    const general = mostGeneral(type, bound);
    if (!this.#occurs(name, general)) this.#set(name, general);
    return true;
  }

  #occurs(name: string, type: Type): boolean {
    if (type.kind === "param") {
      if (type.name === name) return true;
      const bound = this.#bound.get(type.name);
      return bound !== undefined && this.#occurs(name, bound);
    }
    return parametersOf(type).some((inner) => this.#occurs(name, inner));
  }
}

export function isDyn(type: Type): boolean {
  return type.kind === "dyn" || type.kind === "error" || type.kind === "any";
}

function unwrapped(type: Type): string {
  return type.kind === "wrapper" ? type.of : type.kind;
}

function takesNull(type: Type): boolean {
  return ["null", "wrapper", "opaque", "record", "timestamp", "duration", "any"].includes(type.kind);
}

/** Of two types of which one can be assigned to the other, that which takes both. */
export function mostGeneral(a: Type, b: Type): Type {
  // cel-go answers null for [optional.of(1), null]; the suite (type_deductions) wants the type that takes null.
  if (b === NULL && takesNull(a)) return a;
  return isLessSpecific(a, b) ? a : b;
}

function isLessSpecific(a: Type, b: Type): boolean {
  if (isDyn(a) || a.kind === "param") return true;
  if (isDyn(b) || b.kind === "param") return false;
  if (a.kind === "wrapper" && unwrapped(a) === unwrapped(b)) return true;
  if (a.kind !== b.kind) return false;
  if (a.kind === "type") return true;
  if (a.kind !== "opaque" && a.kind !== "list" && a.kind !== "map") return sameType(a, b);
  if (a.kind === "opaque" && b.kind === "opaque" && a.name !== b.name) return false;
  const inner = parametersOf(a);
  const others = parametersOf(b);
  return inner.length === others.length && inner.every((type, index) => isLessSpecific(type, others[index] ?? DYN));
}
