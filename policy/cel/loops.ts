import type { ComprehensionExpr, Expr } from "./ast.ts";
import { turnWork } from "./cost.ts";
import { charge, type Frame } from "./frame.ts";
import { putEntry } from "./functions.ts";
import type { Run } from "./run.ts";
import { Failure, keyIn, noOverload, OUT_OF_WORK, UintKeyMap } from "./value.ts";

/** Loops of macros. Each turn draws on the work that is left, and a loop ends where there is none. */

/** How the body of a loop is compiled: with its variables in slots of the frame. */
export interface Scope {
  compile(expr: Expr): Run;
  /** @returns the slot of a new variable */
  declare(name: string): number;
  /** Ends the scope of the last `count` variables. */
  forget(count: number): void;
}

/** Decides after each turn: undefined goes on, anything else is the answer. */
type Turn = () => unknown;

export function compileLoop(expr: ComprehensionExpr, range: Run, scope: Scope): Run {
  const { loop, offset } = expr;
  if (loop.macro === "bind") return compileBind(expr, scope);
  const slot = scope.declare(expr.variable);
  const slot2 = expr.variable2 === undefined ? undefined : scope.declare(expr.variable2);
  const each = iteration(range, slot, slot2, turnWork(expr), offset);
  const variable: Run = (_activation, frame) => frame.locals[slot];
  const body = (inner: Expr) => scope.compile(inner);
  const run = ((): Run => {
    switch (loop.macro) {
      case "all":
      case "exists":
        return quantifier(each, body(loop.predicate), loop.macro === "exists", offset);
      case "existsOne":
        return existsOne(each, body(loop.predicate), offset);
      case "filter":
        return gatherList(each, body(loop.predicate), variable, offset);
    }
    const filter = loop.filter === undefined ? undefined : body(loop.filter);
    const transform = body(loop.transform);
    if (loop.macro === "map") return gatherList(each, filter, transform, offset);
    return gatherMap(each, filter, loop.macro === "transformMap" ? variable : undefined, transform, offset);
  })();
  scope.forget(slot2 === undefined ? 1 : 2);
  return run;
}

function compileBind(expr: ComprehensionExpr, scope: Scope): Run {
  const init = scope.compile(expr.init);
  const slot = scope.declare(expr.accumulator);
  const result = scope.compile(expr.result);
  scope.forget(1);
  return (activation, frame) => {
    // A failure is bound like a value: it matters only where it is read.
    frame.locals[slot] = init(activation, frame);
    return result(activation, frame);
  };
}

interface Each {
  readonly range: Run;
  readonly slot: number;
  readonly slot2: number | undefined;
  /** Of one turn. */
  readonly work: number;
  /** Runs `turn` for each element until it answers. */
  iterate(frame: Frame, over: unknown, turn: Turn): unknown;
}

function iteration(range: Run, slot: number, slot2: number | undefined, work: number, offset: number): Each {
  const iterate: Each["iterate"] = (frame, over, turn) => {
    const { locals } = frame;
    if (Array.isArray(over)) {
      for (let index = 0; index < over.length; index += 1) {
        if (!charge(frame, work)) return OUT_OF_WORK;
        if (slot2 === undefined) locals[slot] = over[index];
        else {
          locals[slot] = BigInt(index);
          locals[slot2] = over[index];
        }
        const answer = turn();
        if (answer !== undefined) return answer;
      }
      return undefined;
    }
    if (!(over instanceof Map)) return noOverload("a loop", over).at(offset);
    for (const [key, value] of over) {
      if (!charge(frame, work)) return OUT_OF_WORK;
      locals[slot] = keyIn(over, key);
      if (slot2 !== undefined) locals[slot2] = value;
      const answer = turn();
      if (answer !== undefined) return answer;
    }
    return undefined;
  };
  return { range, slot, slot2, work, iterate };
}

/**
 * all() and exists(): `decisive` ends the loop, a failure only where nothing decides. Written out for lists, which most
 * are over: nothing is allocated.
 */
function quantifier(each: Each, predicate: Run, decisive: boolean, offset: number): Run {
  const { range, slot, slot2, work } = each;
  const name = decisive ? "exists" : "all";
  const overMap = (activation: unknown, frame: Frame, over: unknown) => {
    let failure: unknown;
    const answer = each.iterate(frame, over, () => {
      const value = predicate(activation, frame);
      if (value === decisive) return decisive;
      if (value !== !decisive) failure = noOverload(name, failure ?? value, value).at(offset);
      return undefined;
    });
    return answer ?? failure ?? !decisive;
  };
  return (activation, frame) => {
    const over = range(activation, frame);
    if (!Array.isArray(over)) return overMap(activation, frame, over);
    const { locals } = frame;
    let failure: unknown;
    for (let index = 0; index < over.length; index += 1) {
      if (!charge(frame, work)) return OUT_OF_WORK;
      if (slot2 === undefined) locals[slot] = over[index];
      else {
        locals[slot] = BigInt(index);
        locals[slot2] = over[index];
      }
      const value = predicate(activation, frame);
      if (value === decisive) return decisive;
      if (value !== !decisive) failure = noOverload(name, failure ?? value, value).at(offset);
    }
    return failure ?? !decisive;
  };
}

function existsOne(each: Each, predicate: Run, offset: number): Run {
  return (activation, frame) => {
    let found = 0;
    const answer = each.iterate(frame, each.range(activation, frame), () => {
      const value = predicate(activation, frame);
      if (value === true) found += 1;
      else if (value !== false) return noOverload("existsOne", value).at(offset);
      return undefined;
    });
    return answer ?? found === 1;
  };
}

/** Whether the turn counts; a failure that ends the loop where the filter gives no bool. */
function admits(filter: Run | undefined, activation: unknown, frame: Frame, offset: number): boolean | Failure {
  if (filter === undefined) return true;
  const value = filter(activation, frame);
  return typeof value === "boolean" ? value : noOverload("filter", value).at(offset);
}

function gatherList(each: Each, filter: Run | undefined, transform: Run, offset: number): Run {
  return (activation, frame) => {
    const list: unknown[] = [];
    const answer = each.iterate(frame, each.range(activation, frame), () => {
      const admitted = admits(filter, activation, frame, offset);
      if (admitted === false) return undefined;
      if (admitted !== true) return admitted;
      const value = transform(activation, frame);
      if (value instanceof Failure) return value;
      list.push(value);
      return undefined;
    });
    return answer ?? list;
  };
}

/** With `key` one entry a turn; without, the entries of the map that `transform` gives. */
function gatherMap(each: Each, filter: Run | undefined, key: Run | undefined, transform: Run, offset: number): Run {
  return (activation, frame) => {
    const map = new UintKeyMap();
    const answer = each.iterate(frame, each.range(activation, frame), () => {
      const admitted = admits(filter, activation, frame, offset);
      if (admitted === false) return undefined;
      if (admitted !== true) return admitted;
      const value = transform(activation, frame);
      if (key !== undefined) return putEntry(map, key(activation, frame), value)?.at(offset);
      if (!(value instanceof Map)) return noOverload("transformMapEntry", value).at(offset);
      for (const [inner, held] of value) {
        if (!charge(frame, 1)) return OUT_OF_WORK;
        const failure = putEntry(map, keyIn(value, inner), held);
        if (failure !== undefined) return failure.at(offset);
      }
      return undefined;
    });
    return answer ?? map;
  };
}
