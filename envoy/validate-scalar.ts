import { isFieldSet } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { RE2JS } from "re2js";
import {
  type BytesRules,
  type DoubleRules,
  type DurationRules,
  DurationRulesSchema,
  type Int64Rules,
  KnownRegex,
  type StringRules,
  StringRulesSchema,
} from "../protos/gen/validate/validate_pb.ts";

/**
 * The rules that Envoy's messages use, no others: a test walks all registered types and names what is missing here.
 * Each function returns what is wrong; nothing wrong: an empty list.
 */

/** The numeric rule messages are alike but for their number type. */
export type NumberRules = DoubleRules | Int64Rules;

export function checkNumber(value: number | bigint, rules: NumberRules): string[] {
  const set = (name: string) => Object.hasOwn(rules, name);
  const high = set("lt") ? value < rules.lt : !set("lte") || value <= rules.lte;
  const low = set("gt") ? value > rules.gt : !set("gte") || value >= rules.gte;
  if (low && high) return [];
  const bounds = [
    ...(set("gt") ? [`greater than ${rules.gt}`] : []),
    ...(set("gte") ? [`at least ${rules.gte}`] : []),
    ...(set("lt") ? [`less than ${rules.lt}`] : []),
    ...(set("lte") ? [`at most ${rules.lte}`] : []),
  ];
  return [`${value} must be ${bounds.join(" and ")}`];
}

const HEADER_NAME_STRICT = /^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the characters that PGV forbids in header values
const HEADER_VALUE_STRICT = /^[^\u0000-\u0008\u000A-\u001F\u007F]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL, LF and CR, as PGV has it
const HEADER_LOOSE = /^[^\u0000\u000A\u000D]*$/;

const patterns = new Map<string, RE2JS>();

function pattern(text: string): RE2JS {
  let compiled = patterns.get(text);
  if (compiled === undefined) {
    compiled = RE2JS.compile(text);
    patterns.set(text, compiled);
  }
  return compiled;
}

export function checkString(value: string, rules: StringRules): string[] {
  if (rules.ignoreEmpty && value === "") return [];
  const problems: string[] = [];
  const set = (name: keyof typeof StringRulesSchema.field) => isFieldSet(rules, StringRulesSchema.field[name]);
  const shown = JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (BigInt([...value].length) < rules.minLen) problems.push(`must have at least ${rules.minLen} characters`);
  if (set("maxBytes") && BigInt(Buffer.byteLength(value)) > rules.maxBytes) {
    problems.push(`must have at most ${rules.maxBytes} bytes`);
  }
  if (set("pattern") && !pattern(rules.pattern).test(value)) problems.push(`${shown} does not match ${rules.pattern}`);
  if (set("prefix") && !value.startsWith(rules.prefix)) {
    problems.push(`must start with ${JSON.stringify(rules.prefix)}`);
  }
  if (set("suffix") && !value.endsWith(rules.suffix)) problems.push(`must end with ${JSON.stringify(rules.suffix)}`);
  if (rules.in.length > 0 && !rules.in.includes(value)) problems.push(`${shown} is not one of ${rules.in.join(", ")}`);
  const known = wellKnown(value, rules);
  if (known !== undefined) problems.push(`${shown} is not ${known}`);
  return problems;
}

/** What the value should have been, where it is not. */
function wellKnown(value: string, { wellKnown: rule, strict }: StringRules): string | undefined {
  if (rule.case !== "wellKnownRegex") return undefined;
  if (rule.value === KnownRegex.HTTP_HEADER_NAME) {
    return (strict ? HEADER_NAME_STRICT : HEADER_LOOSE).test(value) ? undefined : "a header name";
  }
  return (strict ? HEADER_VALUE_STRICT : HEADER_LOOSE).test(value) ? undefined : "a header value";
}

export function checkBytes(value: Uint8Array, rules: BytesRules): string[] {
  const problems: string[] = [];
  const size = BigInt(value.length);
  if (size < rules.minLen) problems.push(`must have at least ${rules.minLen} bytes`);
  if (Object.hasOwn(rules, "maxLen") && size > rules.maxLen) problems.push(`must have at most ${rules.maxLen} bytes`);
  return problems;
}

export function checkDuration(value: Duration, rules: DurationRules): string[] {
  const nanos = (duration: Duration) => duration.seconds * 1_000_000_000n + BigInt(duration.nanos);
  const actual = nanos(value);
  const problems: string[] = [];
  const bound = (name: "lt" | "lte" | "gt" | "gte", holds: (limit: bigint) => boolean, words: string) => {
    const limit = isFieldSet(rules, DurationRulesSchema.field[name]) ? rules[name] : undefined;
    if (limit !== undefined && !holds(nanos(limit))) problems.push(`must be ${words} ${Number(nanos(limit)) / 1e9} s`);
  };
  bound("lt", (limit) => actual < limit, "less than");
  bound("lte", (limit) => actual <= limit, "at most");
  bound("gt", (limit) => actual > limit, "more than");
  bound("gte", (limit) => actual >= limit, "at least");
  return problems;
}
