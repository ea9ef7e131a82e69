import { RE2JS } from "re2js";
import { type CelNode, callOf, type Handle, isLoop, literalText, walk } from "./cel-tree.ts";
import { VALUE_LIMITS } from "./values.ts";

/**
 * Bounds on what an expression costs when it runs, which the library does not have. Every loop turn and every operation
 * whose cost grows with its operands draws on a meter; an empty meter is an error like any other, that is unknown.
 */

const OUT_OF_WORK = new Error("the expression costs more than is allowed");

/** One meter for all: evaluation is synchronous and does not nest. */
const meter = { left: 0 };

export function refill(work: number): void {
  meter.left = work;
}

function charge(work: number): void {
  meter.left -= work;
  // Errors inside exists() and all() do not end the loop; the meter stays empty, so that its next turn does.
  if (meter.left < 0) throw OUT_OF_WORK;
}

/** Longest text that a duration() or getHours("zone") is given. */
const SHORT_TEXT = 64;
/** Setting up a time zone costs far more than any other call. */
const ZONE_WORK = 100;
/** Characters × instructions of one match: some tens of milliseconds where the matcher is at its slowest. */
const MATCH_WORK = 8_000_000;

/** Puts the guards into a checked tree. */
export function guard(root: CelNode): void {
  const nodes: CelNode[] = [];
  walk(root, (node) => nodes.push(node));
  for (const node of nodes) {
    if (node.op === "comprehension") guardLoop(node);
    if (node.handle === undefined) continue;
    if (node.op === "call" || node.op === "rcall") node.handle = guardCall(node, node.handle);
    if (node.op === "+") node.handle = guardJoin(node.handle);
    if (node.op === "in" || node.op === "==" || node.op === "!=") node.handle = guardCompare(node.handle);
  }
}

function guardLoop(node: CelNode): void {
  if (!isLoop(node.args)) throw OUT_OF_WORK;
  const loop = node.args;
  let body = 0;
  walk(loop.step, () => {
    body += 1;
  });
  const turn = Math.max(1, body >> 4);
  const goOn = loop.condition;
  loop.condition = (gathered) => {
    charge(turn);
    return goOn === undefined || goOn(gathered);
  };
}

/** Operands of a comparison come first and second. */
function guardCompare(handle: Handle): Handle {
  return (...operands) => {
    charge(size(operands[0]) + size(operands[1]));
    return handle(...operands);
  };
}

function guardJoin(handle: Handle): Handle {
  return (...operands) => {
    const [left, right] = operands;
    if (typeof left === "string" && typeof right === "string" && left.length + right.length > VALUE_LIMITS.text) {
      throw OUT_OF_WORK;
    }
    charge(size(left) + size(right));
    return handle(...operands);
  };
}

/** The arguments (receiver first) come as one array, before anything else. */
function guardCall(node: CelNode, handle: Handle): Handle {
  const call = callOf(node);
  const name = call?.name ?? "";
  const pattern = name === "matches" ? literalText(call?.parameters[0]) : undefined;
  const matcher = pattern === undefined ? undefined : RE2JS.compile(pattern);
  const zoned = name.startsWith("get") && (call?.parameters.length ?? 0) > 0;
  return (...parameters) => {
    const given: readonly unknown[] = Array.isArray(parameters[0]) ? parameters[0] : [];
    const [first] = given;
    let work = zoned ? ZONE_WORK : 0;
    for (const value of given) work += name === "join" ? textIn(value) : size(value);
    charge(work);
    if (matcher !== undefined && typeof first === "string") return match(matcher, first);
    if (name === "lowerAscii" && typeof first === "string") return first.replace(/[A-Z]+/g, lower);
    if (name === "upperAscii" && typeof first === "string") return first.replace(/[a-z]+/g, upper);
    if (name === "duration" || zoned) refuseLongText(given);
    const result = handle(...parameters);
    if (Array.isArray(result)) charge(result.length);
    return result;
  };
}

/** RE2: time is linear in the text, with no pattern that is not. */
function match(matcher: RE2JS, text: string): boolean {
  const steps = matcher.programSize() * text.length;
  if (steps > MATCH_WORK) throw OUT_OF_WORK;
  charge(steps >> 12);
  return matcher.test(text);
}

function refuseLongText(values: readonly unknown[]): void {
  if (values.some((value) => typeof value === "string" && value.length > SHORT_TEXT)) throw OUT_OF_WORK;
}

/** Work to go over a value once. */
function size(value: unknown): number {
  if (typeof value === "string") return value.length >> 6;
  if (Array.isArray(value)) return value.length >> 2;
  if (value instanceof Map) return value.size >> 2;
  return 0;
}

function textIn(value: unknown): number {
  if (!Array.isArray(value)) return size(value);
  return value.reduce((sum: number, text: unknown) => sum + 1 + size(text), 0);
}

function lower(text: string): string {
  return text.toLowerCase();
}
function upper(text: string): string {
  return text.toUpperCase();
}
