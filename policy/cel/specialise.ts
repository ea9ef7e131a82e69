import { contains, equals, isNumber, order, orderNumbers } from "./compare.ts";
import { charge, type Frame, sizeOf } from "./frame.ts";
import { interned } from "./interned.ts";
import { compilePattern } from "./patterns.ts";
import { type Compiled, located, type Run } from "./run.ts";
import { differsText, equalsText, inTexts, matchesPattern, startsWithText } from "./text-tests.ts";
import { CelError, Failure, noOverload, OUT_OF_WORK } from "./value.ts";

/** Calls with a literal operand, which most rules are made of: they do in one step what the general ones do in several. */

/** @returns undefined where there is nothing faster than the function itself */
export function specialised(name: string, compiled: readonly Compiled[], offset: number): Run | undefined {
  const [first, second] = compiled;
  if (first === undefined || second === undefined || compiled.length !== 2) return undefined;
  switch (name) {
    case "_==_":
    case "_!=_": {
      const wanted = name === "_==_";
      if (isPlain(second.constant?.value)) return equalsLiteral(first, second.constant?.value, wanted, offset);
      if (isPlain(first.constant?.value)) return equalsLiteral(second, first.constant?.value, wanted, offset);
      return undefined;
    }
    case "_<_":
    case "_<=_":
    case "_>_":
    case "_>=_":
      return compared(name, compiled, offset);
    case "@in":
      if (typeof first.constant?.value === "string")
        return literalIn(interned(first.constant.value), second.run, offset);
      return inLiterals(first, second.constant?.value, offset);
    case "startsWith":
    case "endsWith":
    case "contains":
      return textTest(name, first, second.constant?.value, offset);
    case "matches":
      return matchesLiteral(first, second.constant?.value, offset);
    default:
      return undefined;
  }
}

type Plain = string | boolean | bigint;

function isPlain(value: unknown): value is Plain {
  return typeof value === "string" || typeof value === "boolean" || typeof value === "bigint";
}

/** One function for each type: a `typeof` that is compared with a constant is a look at the value's map. */
function equalsLiteral(compiled: Compiled, literal: unknown, wanted: boolean, offset: number): Run {
  const general = (value: unknown, frame: Frame) => {
    const same = equals(value, literal, frame);
    return typeof same === "boolean" ? same === wanted : same.at(offset);
  };
  if (typeof literal === "string")
    return wanted ? equalsText(compiled, literal, general) : differsText(compiled, literal, general);
  const operand = compiled.run;
  if (typeof literal === "boolean") {
    const other = literal === wanted;
    return (activation, frame) => {
      const value = operand(activation, frame);
      return typeof value === "boolean" ? value === other : general(value, frame);
    };
  }
  return (activation, frame) => {
    const value = operand(activation, frame);
    return typeof value === "bigint" ? (value === literal) === wanted : general(value, frame);
  };
}

type Test = (order: number) => boolean;

const TESTS: Readonly<Record<string, Test>> = {
  "_<_": (found) => found < 0,
  "_<=_": (found) => found <= 0,
  "_>_": (found) => found > 0,
  "_>=_": (found) => found >= 0,
};
const MIRRORED: Readonly<Record<string, string>> = { "_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_" };

function compared(name: string, compiled: readonly Compiled[], offset: number): Run | undefined {
  const [first, second] = compiled;
  if (first === undefined || second === undefined) return undefined;
  const right = second.constant?.value;
  if (isNumber(right)) return comparedWith(name, first.run, right, offset);
  const left = first.constant?.value;
  const mirrored = MIRRORED[name];
  return isNumber(left) && mirrored !== undefined ? comparedWith(mirrored, second.run, left, offset) : undefined;
}

function comparedWith(name: string, operand: Run, literal: number | bigint, offset: number): Run | undefined {
  const test = TESTS[name];
  if (test === undefined) return undefined;
  return (activation, frame) => {
    const value = operand(activation, frame);
    if (isNumber(value)) return test(orderNumbers(value, literal));
    const found = order(value, literal, frame);
    return found === undefined ? noOverload(name, value, literal).at(offset) : test(found);
  };
}

/** `"a" in list`, `"a" in map` */
function literalIn(literal: string, container: Run, offset: number): Run {
  return (activation, frame) => {
    const held = container(activation, frame);
    if (held instanceof Map) return held.has(literal);
    if (!Array.isArray(held)) return located(contains(literal, held, frame), offset);
    if (!charge(frame, held.length >> 2)) return OUT_OF_WORK;
    let failure: Failure | undefined;
    for (let index = 0; index < held.length; index += 1) {
      const each: unknown = held[index];
      if (each === literal) return true;
      if (typeof each === "object" && each instanceof Failure) failure ??= each;
    }
    return failure ?? false;
  };
}

/** `x in ["a", "b"]` with literals alone. */
function inLiterals(operand: Compiled, list: unknown, offset: number): Run | undefined {
  if (!Array.isArray(list) || !list.every((each) => typeof each === "string")) return undefined;
  return inTexts(operand, list, (value) => (value instanceof Failure ? value.at(offset) : false));
}

function textTest(
  name: "startsWith" | "endsWith" | "contains",
  operand: Compiled,
  part: unknown,
  offset: number,
): Run | undefined {
  if (typeof part !== "string") return undefined;
  const odd = (text: unknown) => noOverload(name, text, part).at(offset);
  if (name === "startsWith") return startsWithText(operand, part, odd);
  const { run } = operand;
  if (name === "endsWith") {
    return (activation, frame) => {
      const text = run(activation, frame);
      return typeof text === "string" ? text.endsWith(part) : odd(text);
    };
  }
  return (activation, frame) => {
    const text = run(activation, frame);
    if (typeof text !== "string") return odd(text);
    return charge(frame, sizeOf(text)) ? text.includes(part) : OUT_OF_WORK;
  };
}

function matchesLiteral(operand: Compiled, text: unknown, offset: number): Run | undefined {
  if (typeof text !== "string") return undefined;
  const pattern = compilePattern(text);
  if (typeof pattern === "string") {
    const failure = new CelError(`not an RE2 pattern: ${pattern}`, offset);
    return () => failure;
  }
  return matchesPattern(operand, pattern, offset, (subject) => noOverload("matches", subject, text).at(offset));
}
