import { located, type Run } from "./run.ts";
import { noOverload } from "./value.ts";

/** A chain of && or ||: `decisive` ends it, a failure only where nothing decides. Short chains are written out. */
export function logical(name: string, decisive: boolean, links: readonly Run[], offset: number): Run {
  const other = !decisive;
  const settle = (...values: readonly unknown[]) => {
    const odd = values.filter((value) => typeof value !== "boolean");
    return odd.length === 0 ? other : located(noOverload(name, ...odd), offset);
  };
  const [first, second, third, fourth, fifth] = links;
  if (first === undefined || second === undefined) return () => settle();
  if (third === undefined) {
    return (frame) => {
      const a = first(frame);
      if (a === decisive) return decisive;
      const b = second(frame);
      if (b === decisive) return decisive;
      return a === other && b === other ? other : settle(a, b);
    };
  }
  if (fourth === undefined) {
    return (frame) => {
      const a = first(frame);
      if (a === decisive) return decisive;
      const b = second(frame);
      if (b === decisive) return decisive;
      const c = third(frame);
      if (c === decisive) return decisive;
      return a === other && b === other && c === other ? other : settle(a, b, c);
    };
  }
  if (fifth === undefined) {
    return (frame) => {
      const a = first(frame);
      if (a === decisive) return decisive;
      const b = second(frame);
      if (b === decisive) return decisive;
      const c = third(frame);
      if (c === decisive) return decisive;
      const d = fourth(frame);
      if (d === decisive) return decisive;
      return a === other && b === other && c === other && d === other ? other : settle(a, b, c, d);
    };
  }
  return (frame) => {
    let odd: unknown[] | undefined;
    for (const link of links) {
      const value = link(frame);
      if (value === decisive) return decisive;
      if (value !== other) {
        odd ??= [];
        odd.push(value);
      }
    }
    return odd === undefined ? other : settle(...odd);
  };
}
