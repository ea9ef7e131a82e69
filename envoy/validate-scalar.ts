import { isIPv4, isIPv6 } from "node:net";
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

/** The numeric rule messages are alike but for their number type. */
export type NumberRules = DoubleRules | Int64Rules;

/** Each function returns what is wrong; nothing wrong: an empty list. */
export function checkNumber(value: number | bigint, rules: NumberRules): string[] {
  if (rules.ignoreEmpty && Number(value) === 0) return [];
  const problems: string[] = [];
  const set = (name: string) => Object.hasOwn(rules, name);
  if (set("const") && value !== rules.const) problems.push(`must be ${rules.const}`);
  // With gt(e) above lt(e) the range is exclusive: the value must lie outside (PGV README "Numerics").
  const low = set("gt") ? value > rules.gt : set("gte") ? value >= rules.gte : undefined;
  const high = set("lt") ? value < rules.lt : set("lte") ? value <= rules.lte : undefined;
  const lowBound = set("gt") ? rules.gt : rules.gte;
  const highBound = set("lt") ? rules.lt : rules.lte;
  const outside = low !== undefined && high !== undefined && highBound < lowBound;
  if (outside ? !(low || high) : low === false || high === false) {
    const parts = [
      ...(low === undefined ? [] : [`${set("gt") ? "greater than" : "at least"} ${lowBound}`]),
      ...(high === undefined ? [] : [`${set("lt") ? "less than" : "at most"} ${highBound}`]),
    ];
    problems.push(`${value} must be ${parts.join(outside ? " or " : " and ")}`);
  }
  const inList: readonly (number | bigint)[] = rules.in;
  const notIn: readonly (number | bigint)[] = rules.notIn;
  if (inList.length > 0 && !inList.includes(value)) problems.push(`${value} is not one of ${inList.join(", ")}`);
  if (notIn.includes(value)) problems.push(`must not be ${value}`);
  return problems;
}

const HEADER_NAME_STRICT = /^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the characters that PGV forbids in header values
const HEADER_VALUE_STRICT = /^[^\u0000-\u0008\u000A-\u001F\u007F]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL, LF and CR, as PGV has it
const HEADER_LOOSE = /^[^\u0000\u000A\u000D]*$/;
const HOSTNAME =
  /^(?=.{1,253}\.?$)([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$/;
const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
const EMAIL = /^[^\s@]+@[^\s@]+$/;

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
  const characters = BigInt([...value].length);
  const bytes = BigInt(Buffer.byteLength(value));
  if (set("const") && value !== rules.const) problems.push(`must be ${JSON.stringify(rules.const)}`);
  if (set("len") && characters !== rules.len) problems.push(`must have ${rules.len} characters`);
  if (characters < rules.minLen) problems.push(`must have at least ${rules.minLen} characters`);
  if (set("maxLen") && characters > rules.maxLen) problems.push(`must have at most ${rules.maxLen} characters`);
  if (set("lenBytes") && bytes !== rules.lenBytes) problems.push(`must have ${rules.lenBytes} bytes`);
  if (bytes < rules.minBytes) problems.push(`must have at least ${rules.minBytes} bytes`);
  if (set("maxBytes") && bytes > rules.maxBytes) problems.push(`must have at most ${rules.maxBytes} bytes`);
  if (set("pattern") && !pattern(rules.pattern).test(value)) problems.push(`${shown} does not match ${rules.pattern}`);
  if (set("prefix") && !value.startsWith(rules.prefix))
    problems.push(`must start with ${JSON.stringify(rules.prefix)}`);
  if (set("suffix") && !value.endsWith(rules.suffix)) problems.push(`must end with ${JSON.stringify(rules.suffix)}`);
  if (set("contains") && !value.includes(rules.contains))
    problems.push(`must contain ${JSON.stringify(rules.contains)}`);
  if (set("notContains") && value.includes(rules.notContains)) {
    problems.push(`must not contain ${JSON.stringify(rules.notContains)}`);
  }
  if (rules.in.length > 0 && !rules.in.includes(value)) problems.push(`${shown} is not one of ${rules.in.join(", ")}`);
  if (rules.notIn.includes(value)) problems.push(`must not be ${shown}`);
  const known = wellKnown(value, rules);
  if (known !== undefined) problems.push(`${shown} is not ${known}`);
  return problems;
}

/** What the value should have been, where it is not. */
function wellKnown(value: string, rules: StringRules): string | undefined {
  const rule = rules.wellKnown;
  if (rule.case === undefined || rule.value === false) return undefined;
  const ip = isIPv4(value) || isIPv6(value);
  switch (rule.case) {
    case "email":
      return EMAIL.test(value) ? undefined : "an e-mail address";
    case "hostname":
      return HOSTNAME.test(value) ? undefined : "a host name";
    case "ip":
      return ip ? undefined : "an IP address";
    case "ipv4":
      return isIPv4(value) ? undefined : "an IPv4 address";
    case "ipv6":
      return isIPv6(value) ? undefined : "an IPv6 address";
    case "address":
      return ip || HOSTNAME.test(value) ? undefined : "a host name or IP address";
    case "uuid":
      return UUID.test(value) ? undefined : "a UUID";
    case "uri":
      return URL.canParse(value) ? undefined : "an absolute URI";
    case "uriRef":
      return URL.canParse(value, "http://base.invalid") ? undefined : "a URI reference";
    case "wellKnownRegex":
      if (rule.value === KnownRegex.HTTP_HEADER_NAME) {
        const good = (rules.strict ? HEADER_NAME_STRICT : HEADER_LOOSE).test(value);
        return good ? undefined : "a header name";
      }
      if (rule.value === KnownRegex.HTTP_HEADER_VALUE) {
        return (rules.strict ? HEADER_VALUE_STRICT : HEADER_LOOSE).test(value) ? undefined : "a header value";
      }
      return undefined;
  }
}

export function checkBytes(value: Uint8Array, rules: BytesRules): string[] {
  if (rules.ignoreEmpty && value.length === 0) return [];
  const problems: string[] = [];
  const size = BigInt(value.length);
  if (Object.hasOwn(rules, "len") && size !== rules.len) problems.push(`must have ${rules.len} bytes`);
  if (size < rules.minLen) problems.push(`must have at least ${rules.minLen} bytes`);
  if (Object.hasOwn(rules, "maxLen") && size > rules.maxLen) problems.push(`must have at most ${rules.maxLen} bytes`);
  return problems;
}

export function checkDuration(value: Duration, rules: DurationRules): string[] {
  const nanos = (duration: Duration) => duration.seconds * 1_000_000_000n + BigInt(duration.nanos);
  const actual = nanos(value);
  const problems: string[] = [];
  const bound = (name: "lt" | "lte" | "gt" | "gte" | "const", holds: (limit: bigint) => boolean, words: string) => {
    const limit = isFieldSet(rules, DurationRulesSchema.field[name]) ? rules[name] : undefined;
    if (limit !== undefined && !holds(nanos(limit))) problems.push(`must be ${words} ${Number(nanos(limit)) / 1e9} s`);
  };
  bound("const", (limit) => actual === limit, "exactly");
  bound("lt", (limit) => actual < limit, "less than");
  bound("lte", (limit) => actual <= limit, "at most");
  bound("gt", (limit) => actual > limit, "more than");
  bound("gte", (limit) => actual >= limit, "at least");
  return problems;
}
