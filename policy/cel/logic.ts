import { located, type Run } from "./run.ts";
import { noOverload, Optional } from "./value.ts";

/** Operators that evaluate only what decides. */

/** A chain of && or ||: `decisive` ends it, a failure only where nothing decides. Short chains are written out. */
export function logical(name: string, decisive: boolean, links: readonly Run[], offset: number): Run {
  const other = !decisive;
  const [first, second, third, fourth, fifth] = links;
  if (first === undefined || second === undefined) return () => other;
  if (third === undefined) {
    return (activation, frame) => {
      const a = first(activation, frame);
      if (a === decisive) return decisive;
      const b = second(activation, frame);
      if (b === decisive) return decisive;
      return a === other && b === other ? other : unsettled(name, offset, a, b);
    };
  }
  if (fourth === undefined) {
    return (activation, frame) => {
      const a = first(activation, frame);
      if (a === decisive) return decisive;
      const b = second(activation, frame);
      if (b === decisive) return decisive;
      const c = third(activation, frame);
      if (c === decisive) return decisive;
      return a === other && b === other && c === other ? other : unsettled(name, offset, a, b, c);
    };
  }
  if (fifth === undefined) {
    return (activation, frame) => {
      const a = first(activation, frame);
      if (a === decisive) return decisive;
      const b = second(activation, frame);
      if (b === decisive) return decisive;
      const c = third(activation, frame);
      if (c === decisive) return decisive;
      const d = fourth(activation, frame);
      if (d === decisive) return decisive;
      return a === other && b === other && c === other && d === other ? other : unsettled(name, offset, a, b, c, d);
    };
  }
  return longChain(name, decisive, links, offset);
}

/** By itself, so that short chains do not hold the list of their links. */
function longChain(name: string, decisive: boolean, links: readonly Run[], offset: number): Run {
  const other = !decisive;
  return (activation, frame) => {
    let odd: unknown[] | undefined;
    for (const link of links) {
      const value = link(activation, frame);
      if (value === decisive) return decisive;
      if (value !== other) {
        odd ??= [];
        odd.push(value);
      }
    }
    return odd === undefined ? other : unsettled(name, offset, ...odd);
  };
}

/** What a chain comes to that nothing decides, and of which some links are no bool. */
function unsettled(name: string, offset: number, ...values: readonly unknown[]): unknown {
  return located(noOverload(name, ...values.filter((value) => typeof value !== "boolean")), offset);
}

export function conditional(condition: Run, then: Run, otherwise: Run, offset: number): Run {
  return (activation, frame) => {
    const chosen = condition(activation, frame);
    if (chosen === true) return then(activation, frame);
    if (chosen === false) return otherwise(activation, frame);
    return located(noOverload("_?_:_", chosen), offset);
  };
}

/** `or` and `orValue` of optionals. */
export function alternative(name: "or" | "orValue", first: Run, second: Run, offset: number): Run {
  return (activation, frame) => {
    const optional = first(activation, frame);
    if (!(optional instanceof Optional)) return located(noOverload(name, optional), offset);
    if (optional.value === undefined) return second(activation, frame);
    return name === "or" ? optional : optional.value;
  };
}
