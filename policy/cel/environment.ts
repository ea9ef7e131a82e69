import { type Overload, SIGNATURES, SIGNATURES_MIXED, type Signatures } from "./signatures.ts";
import type { Type } from "./type.ts";

/** What an expression can name. */

export interface Variable {
  readonly type: Type;
  /**
   * Finds the value in what an evaluation is given; undefined: it is missing. Without one, the value is looked up by
   * name in a `Map` or a record. A reader of its own for each variable is faster.
   */
  readonly read?: (activation: unknown) => unknown;
}

export interface Field {
  readonly type: Type;
  /** undefined: the field is missing, or what is given is no such record. Given anything; must not throw. */
  readonly read: (record: unknown) => unknown;
}

export interface RecordType {
  readonly fields: ReadonlyMap<string, Field>;
  /** Values of the record are instances of this class; needed where they are read through dyn. */
  readonly view?: abstract new (
    ...parameters: never[]
  ) => object;
}

export interface Environment {
  /** Namespace in which names are looked up first: "a.b" finds `x` as a.b.x, a.x, x. */
  readonly container: string;
  readonly variables: ReadonlyMap<string, Variable>;
  readonly functions: Signatures;
  readonly records: ReadonlyMap<string, RecordType>;
}

export interface EnvironmentOptions {
  readonly container?: string;
  readonly variables?: Iterable<readonly [string, Variable]>;
  readonly records?: Iterable<readonly [string, RecordType]>;
  /** Declared beside the standard ones; the type checker knows them, the evaluator does not. */
  readonly functions?: Iterable<readonly [string, readonly Overload[]]>;
  /** Whether the type checker takes `1 < 1.5`. */
  readonly mixedComparisons?: boolean;
}

export function environment(options: EnvironmentOptions = {}): Environment {
  const base = options.mixedComparisons === true ? SIGNATURES_MIXED : SIGNATURES;
  const functions = new Map(base);
  for (const [name, overloads] of options.functions ?? []) {
    // A declaration with the id of a known one replaces it.
    const kept = (functions.get(name) ?? []).filter(({ id }) => overloads.every((each) => each.id !== id));
    functions.set(name, [...kept, ...overloads]);
  }
  return {
    container: options.container ?? "",
    variables: new Map(options.variables ?? []),
    functions,
    records: new Map(options.records ?? []),
  };
}

/** Names that `name` may stand for in a container, the innermost first. */
export function candidateNames(container: string, name: string): readonly string[] {
  if (name.startsWith(".")) return [name.slice(1)];
  const candidates: string[] = [];
  for (let scope = container; scope !== ""; scope = scope.slice(0, Math.max(0, scope.lastIndexOf(".")))) {
    candidates.push(`${scope}.${name}`);
  }
  return [...candidates, name];
}
