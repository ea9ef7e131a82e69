import { z } from "zod";
import type { ProblemCode } from "./problem-codes.ts";
import { complaint, readComplaint } from "./schema/complaint.ts";
import { suggest } from "./suggest.ts";
import type { Path } from "./yaml-document.ts";

/** One thing that a value has wrong. */
export interface Violation {
  readonly path: Path;
  /** Whether the key or the value at `path` is to be pointed at. */
  readonly on: "key" | "value";
  readonly code: ProblemCode;
  readonly message: string;
  readonly hint?: string;
}

export type Validation<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly violations: readonly Violation[] };

const MOST_VIOLATIONS = 100;

/** Checks plain data against a schema; every violation at once, in the words of people who write YAML. */
export function validate<T>(schema: z.ZodType<T>, value: unknown): Validation<T> {
  const result = schema.safeParse(value, { error: explain });
  if (result.success) return { ok: true, value: result.data };
  const violations = result.error.issues.flatMap((issue) => violationsOf(issue, value, []));
  return { ok: false, violations: violations.slice(0, MOST_VIOLATIONS) };
}

/** Words for issues whose schema has none of its own. Only names that people choose freely are repeated, no values. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "unrecognized_keys":
      // One complaint a key, in the order of `keys`.
      return (issue.keys as readonly string[])
        .map((key) => complaint("unknown-field", `unknown field "${shorten(key)}"`, suggestField(key, issue.inst)))
        .join(KEY_SEPARATOR);
    case "invalid_type":
      return wrongType(String(issue.expected), issue.input);
    case "invalid_value": {
      const options = (issue.values as readonly unknown[]).map(String);
      if (typeof issue.input === "object" || issue.input === undefined) return wrongType(oneOf(options), issue.input);
      const near = typeof issue.input === "string" ? suggest(issue.input, options, "known") : undefined;
      const meant = near?.startsWith("did you mean") ? near : undefined;
      return complaint("invalid-value", `must be ${oneOf(options)}`, meant);
    }
    case "invalid_union": {
      const discriminator = issue.discriminator;
      if (typeof discriminator !== "string") return undefined;
      const options = ((issue.options ?? []) as readonly unknown[]).map(String);
      const given = isRecord(issue.input) ? issue.input[discriminator] : undefined;
      if (given === undefined) return complaint("missing-field", "is missing", `write ${oneOf(options)}`);
      const near = typeof given === "string" ? suggest(given, options, "known") : undefined;
      const meant = near?.startsWith("did you mean") ? near : undefined;
      return complaint("invalid-value", `must be ${oneOf(options)}`, meant);
    }
    default:
      return undefined;
  }
}

const KEY_SEPARATOR = "\u0001";

function wrongType(expected: string, input: unknown): string {
  if (typeof input === "number" && (expected === "int" || expected === "number")) {
    return complaint("invalid-value", `must be a ${expected === "int" ? "whole" : "finite"} number`);
  }
  const found = typeName(input);
  const wanted = TYPE_NAMES[expected] ?? expected;
  let hint: string | undefined;
  if (expected === "string" && (typeof input === "number" || typeof input === "boolean")) hint = "write it in quotes";
  if (
    (expected === "number" || expected === "int") &&
    typeof input === "string" &&
    input.trim() !== "" &&
    Number.isFinite(Number(input))
  ) {
    hint = "write it without quotes";
  }
  if (expected === "array" && input !== null) hint = 'a list: each entry begins with "- "';
  return complaint("invalid-value", `must be ${wanted}, not ${found}`, hint);
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
};

function typeName(input: unknown): string {
  if (input === null) return "empty";
  if (Array.isArray(input)) return "a list";
  if (typeof input === "object") return "a mapping";
  return TYPE_NAMES[typeof input] ?? typeof input;
}

function oneOf(options: readonly string[]): string {
  const quoted = options.map((option) => `"${option}"`);
  return quoted.length === 1 ? (quoted[0] ?? "") : `one of ${quoted.join(", ")}`;
}

function suggestField(key: string, schema: unknown): string | undefined {
  if (!(schema instanceof z.ZodObject)) return undefined;
  const shape: Record<string, unknown> = schema.shape;
  // Fields that exist only to be refused are not worth suggesting.
  const known = Object.entries(shape).flatMap(([name, field]) => (isRefused(field) ? [] : [name]));
  return suggest(key, known, "known here");
}

function isRefused(field: unknown): boolean {
  return field instanceof z.ZodExactOptional && field.unwrap() instanceof z.ZodNever;
}

function violationsOf(issue: z.core.$ZodIssue, root: unknown, base: Path): readonly Violation[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === "symbol" ? String(step) : step))];
  if (issue.code === "unrecognized_keys") {
    const said = issue.message.split(KEY_SEPARATOR);
    return issue.keys.map((key, index) => violation(said[index] ?? issue.message, [...path, key], "key"));
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    return nearestOption(issue.errors, path, root);
  }
  if (issue.code === "invalid_key") {
    const inner = issue.issues[0]?.message ?? "not a valid key";
    return [violation(inner, path, "key")];
  }
  // Whatever a schema says of a wrong value, of a value that is not there there is one thing to say.
  if (TYPE_CODES.has(issue.code) && valueAt(root, path) === undefined) {
    const hint = readComplaint(issue.message)?.hint;
    return [violation(complaint("missing-field", `"${path.at(-1)}" is missing`, hint), path, "value")];
  }
  const never = issue.code === "invalid_type" && issue.expected === "never";
  return [violation(issue.message, path, never ? "key" : "value")];
}

const TYPE_CODES: ReadonlySet<string> = new Set(["invalid_type", "invalid_value", "invalid_union"]);

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, step) => (isRecord(at) && Object.hasOwn(at, step) ? at[step] : undefined), root);
}

/** Of a union, the complaints of the option that fits best: the one whose type is right. */
function nearestOption(errors: readonly z.core.$ZodIssue[][], path: Path, root: unknown): readonly Violation[] {
  const inner = errors.filter((issues) => !issues.some((issue) => issue.path.length === 0 && isTypeIssue(issue)));
  const chosen = inner[0];
  if (chosen !== undefined) return chosen.flatMap((issue) => violationsOf(issue, root, path));
  const expected = errors.flatMap((issues) =>
    issues.map((issue) => (issue.code === "invalid_type" ? issue.expected : "")),
  );
  const wanted = expected.map((type) => TYPE_NAMES[type] ?? type).join(" or ");
  const value = valueAt(root, path);
  if (value === undefined) return [violation(complaint("missing-field", `"${path.at(-1)}" is missing`), path, "value")];
  const hint = typeof value === "number" ? "write it in quotes" : undefined;
  return [violation(complaint("invalid-value", `must be ${wanted}, not ${typeName(value)}`, hint), path, "value")];
}

function isTypeIssue(issue: z.core.$ZodIssue): boolean {
  return issue.code === "invalid_type";
}

function violation(text: string, path: Path, on: "key" | "value"): Violation {
  const said = readComplaint(text) ?? { code: "invalid-value" as const, message: text };
  return { path, on, ...said };
}

function isRecord(value: unknown): value is Record<string | number, unknown> {
  return typeof value === "object" && value !== null;
}

function shorten(text: string): string {
  return text.length > 64 ? `${text.slice(0, 63)}…` : text;
}
