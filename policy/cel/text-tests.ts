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
  const general: Run = (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string" ? value === text : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (activation, frame) => {
      const map = variable(activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? value === text : general(activation, frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (activation, frame) => {
      const value = field(variable(activation));
      return typeof value === "string" ? value === text : general(activation, frame);
    };
  }
  return general;
}

export function differsText({ run }: Compiled, literal: string, otherwise: Otherwise): Run {
  const text = interned(literal);
  return (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string" ? value !== text : otherwise(value, frame);
  };
}

/** Up to so many members are compared one by one, which is faster than a look into a set; up to a few without a loop. */
const SOME = 8;
const FEW = 4;

export function inTexts(operand: Compiled, members: readonly string[], otherwise: Otherwise): Run {
  if (members.length > SOME) return inTextSet(operand, new Set(members), otherwise);
  const texts = members.map(interned);
  const [first] = texts;
  return texts.length > FEW || first === undefined
    ? inSomeTexts(operand, texts, otherwise)
    : inFewTexts(operand, [first, texts[1] ?? first, texts[2] ?? first, texts[3] ?? first], otherwise);
}

type Four = readonly [string, string, string, string];

function inFewTexts({ run, source }: Compiled, [a, b, c, d]: Four, otherwise: Otherwise): Run {
  const general: Run = (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string"
      ? value === a || value === b || value === c || value === d
      : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (activation, frame) => {
      const map = variable(activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string"
        ? value === a || value === b || value === c || value === d
        : general(activation, frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (activation, frame) => {
      const value = field(variable(activation));
      return typeof value === "string"
        ? value === a || value === b || value === c || value === d
        : general(activation, frame);
    };
  }
  return general;
}

function inSomeTexts({ run, source }: Compiled, texts: readonly string[], otherwise: Otherwise): Run {
  const general: Run = (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string" ? isOneOf(value, texts) : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (activation, frame) => {
      const map = variable(activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? isOneOf(value, texts) : general(activation, frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (activation, frame) => {
      const value = field(variable(activation));
      return typeof value === "string" ? isOneOf(value, texts) : general(activation, frame);
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
  return (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string" ? members.has(value) : otherwise(value, frame);
  };
}

export function startsWithText(operand: Compiled, text: string, otherwise: Otherwise): Run {
  const { run, source } = operand;
  const general: Run = (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string" ? value.startsWith(text) : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (activation, frame) => {
      const map = variable(activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string" ? value.startsWith(text) : general(activation, frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (activation, frame) => {
      const value = field(variable(activation));
      return typeof value === "string" ? value.startsWith(text) : general(activation, frame);
    };
  }
  return general;
}

export function matchesPattern(operand: Compiled, pattern: Pattern, offset: number, otherwise: Otherwise): Run {
  const { run, source } = operand;
  const general: Run = (activation, frame) => {
    const value = run(activation, frame);
    return typeof value === "string" ? located(matchPattern(value, pattern, frame), offset) : otherwise(value, frame);
  };
  if (source?.kind === "key") {
    const { variable, key } = source;
    return (activation, frame) => {
      const map = variable(activation);
      const value: unknown = map instanceof Map ? map.get(key) : undefined;
      return typeof value === "string"
        ? located(matchPattern(value, pattern, frame), offset)
        : general(activation, frame);
    };
  }
  if (source?.kind === "field") {
    const { variable, field } = source;
    return (activation, frame) => {
      const value = field(variable(activation));
      return typeof value === "string"
        ? located(matchPattern(value, pattern, frame), offset)
        : general(activation, frame);
    };
  }
  return general;
}
