import type { Frame } from "./frame.ts";
import { interned } from "./interned.ts";
import { matchPattern, type Pattern } from "./patterns.ts";
import { type Compiled, located, type Run } from "./run.ts";

/**
 * Tests of a text against a constant, which most rules are made of. Each is written out for each way of reading its
 * operand: one function that is called less is a third of the time of such a test.
 */

/** What comes of an operand that is no string. */
export type Otherwise = (value: unknown, frame: Frame) => unknown;

export function equalsText(operand: Compiled, literal: string, otherwise: Otherwise): Run {
  const text = interned(literal);
  const { run, source } = operand;
  const general: Run = (frame) => {
    const value = run(frame);
    return typeof value === "string" ? value === text : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (frame) => {
      const map = variable(frame.activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? value === text : general(frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (frame) => {
      const value = field(variable(frame.activation));
      return typeof value === "string" ? value === text : general(frame);
    };
  }
  return general;
}

export function differsText({ run }: Compiled, literal: string, otherwise: Otherwise): Run {
  const text = interned(literal);
  return (frame) => {
    const value = run(frame);
    return typeof value === "string" ? value !== text : otherwise(value, frame);
  };
}

/** Up to so many members are compared one by one, which is faster than a look into a set. */
const FEW = 8;

export function inTexts(operand: Compiled, members: readonly string[], otherwise: Otherwise): Run {
  if (members.length > FEW) return inTextSet(operand, new Set(members), otherwise);
  const texts = members.map(interned);
  const { run, source } = operand;
  const general: Run = (frame) => {
    const value = run(frame);
    return typeof value === "string" ? isOneOf(value, texts) : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (frame) => {
      const map = variable(frame.activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? isOneOf(value, texts) : general(frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (frame) => {
      const value = field(variable(frame.activation));
      return typeof value === "string" ? isOneOf(value, texts) : general(frame);
    };
  }
  return general;
}

/** Not `includes`, which is a call that the engine does not write out in place. */
function isOneOf(value: string, texts: readonly string[]): boolean {
  for (let index = 0; index < texts.length; index += 1) if (value === texts[index]) return true;
  return false;
}

function inTextSet({ run }: Compiled, members: ReadonlySet<string>, otherwise: Otherwise): Run {
  return (frame) => {
    const value = run(frame);
    return typeof value === "string" ? members.has(value) : otherwise(value, frame);
  };
}

export function startsWithText(operand: Compiled, text: string, otherwise: Otherwise): Run {
  const { run, source } = operand;
  const general: Run = (frame) => {
    const value = run(frame);
    return typeof value === "string" ? value.startsWith(text) : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (frame) => {
      const map = variable(frame.activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? value.startsWith(text) : general(frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (frame) => {
      const value = field(variable(frame.activation));
      return typeof value === "string" ? value.startsWith(text) : general(frame);
    };
  }
  return general;
}

export function matchesPattern(operand: Compiled, pattern: Pattern, offset: number, otherwise: Otherwise): Run {
  const { run, source } = operand;
  const general: Run = (frame) => {
    const value = run(frame);
    return typeof value === "string" ? located(matchPattern(value, pattern, frame), offset) : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (frame) => {
      const map = variable(frame.activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? located(matchPattern(value, pattern, frame), offset) : general(frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (frame) => {
      const value = field(variable(frame.activation));
      return typeof value === "string" ? located(matchPattern(value, pattern, frame), offset) : general(frame);
    };
  }
  return general;
}
