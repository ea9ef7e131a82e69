import { z } from "zod";
import type { ProblemCode } from "../problem-codes.ts";

/** What a schema says about a wrong value. zod carries messages as strings, so the three parts travel as one. */
export interface Complaint {
  readonly code: ProblemCode;
  readonly message: string;
  readonly hint?: string;
}

const SEPARATOR = "\u0000";

export function complaint(code: ProblemCode, message: string, hint?: string): string {
  return [code, message, ...(hint === undefined ? [] : [hint])].join(SEPARATOR);
}

/** Undefined when `text` is a message of zod's own. */
export function readComplaint(text: string): Complaint | undefined {
  const [code, message, hint] = text.split(SEPARATOR);
  if (message === undefined) return undefined;
  return { code: code as ProblemCode, message, ...(hint === undefined ? {} : { hint }) };
}

/** A field that people will try and that must not be there: says why instead of "unknown field". */
export function refused(code: ProblemCode, message: string, hint?: string) {
  return z.never({ error: complaint(code, message, hint) }).exactOptional();
}

export function notSupported(what: string, hint?: string) {
  return refused("unsupported", `${what} is not supported`, hint);
}

export function notSupportedYet(what: string, hint?: string) {
  return refused("unsupported", `${what} is not supported yet`, hint);
}
