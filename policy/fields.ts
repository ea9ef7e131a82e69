import type { DecisionInput } from "./decision.ts";
import { VALUE_LIMITS } from "./values.ts";

/** The key is not there, and what it would be in is. */
export const ABSENT: unique symbol = Symbol("absent");
/** Not a text or list that evaluation would see as it is: what it comes to is for evaluation to say. */
export const UNREAD: unique symbol = Symbol("unread");

export type FieldValue = string | readonly unknown[] | typeof ABSENT | typeof UNREAD;

/** A word of the rule vocabulary that rules are found by, read from the input without making views of it. */
export interface Field {
  /** Unique: "subject.claims.roles". */
  readonly key: string;
  /** As it is written: subject, claims, roles. */
  readonly path: readonly string[];
  /** Depends on the model that is asked for, which reroutes change. */
  readonly ofModel: boolean;
  /**
   * What an expression would read there; `UNREAD` wherever that is not certain.
   *
   * @param model  the model that is asked for
   */
  read(source: FieldSource, model: string | undefined): FieldValue;
}

/** What fields of one request are read from. */
export class FieldSource {
  input: DecisionInput;

  constructor(input: DecisionInput) {
    this.input = input;
  }

  /** Whether evaluation reads all of the claims: what passes a bound of `VALUE_LIMITS` is cut there. */
  get claimsWithin(): boolean {
    const { claims } = this.input.subject;
    let within = claimsWithin.get(claims);
    if (within === undefined) {
      within = nodesIn(claims, 0, 0) <= VALUE_LIMITS.nodes;
      claimsWithin.set(claims, within);
    }
    return within;
  }
}

/** Claims are read from a token once, and asked for by every request that brings it. */
const claimsWithin = new WeakMap<object, boolean>();

type Read = Field["read"];

/** Names below `subject.claims` that are followed. */
const CLAIM_DEPTH = 8;

/** Rules read the same few words over and over: one copy of each does for all. */
const known = new Map<string, Field>();
const MAX_KNOWN = 4_096;

/** @returns undefined for a word that rules are not found by */
export function fieldOf(path: readonly string[]): Field | undefined {
  const key = path.join("\n");
  let field = known.get(key);
  if (field === undefined) {
    const read = readerOf(path);
    if (read === undefined) return undefined;
    field = { key, path, ofModel: path[0] === "model", read };
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(key, field);
  }
  return field;
}

const REQUEST_TEXTS = ["method", "scheme", "host", "path", "url_path", "query", "protocol"] as const;
const APPLICATION_TEXTS = {
  name: "key",
  scope: "scope",
  purpose: "purpose",
  riskTier: "riskTier",
  minimumMaturity: "minimumMaturity",
} as const;
const APPLICATION_LISTS = ["dataClasses", "jurisdictions"] as const;

function readerOf([root, name, ...rest]: readonly string[]): Read | undefined {
  if (name === undefined) return undefined;
  const [last, ...deeper] = rest;
  switch (root) {
    case "request":
      if (name === "headers" && last !== undefined && deeper.length === 0) return ({ input }) => headerOf(input, last);
      return rest.length > 0 ? undefined : requestText(name);
    case "subject":
      if (name === "claims") return rest.length === 0 || rest.length > CLAIM_DEPTH ? undefined : claim(rest);
      return rest.length > 0 ? undefined : subjectText(name);
    case "application":
      if (name === "labels" && last !== undefined && deeper.length === 0) {
        return ({ input }) => textMember(input.application.labels, last);
      }
      return rest.length > 0 ? undefined : applicationField(name);
    case "xds":
      return rest.length > 0 ? undefined : ({ input }) => textMember(input.xds, name);
    case "source":
      if (rest.length > 0) return undefined;
      if (name === "address") return ({ input }) => textOf(input.source.address);
      return name === "principal" ? ({ input }) => textOf(input.source.principal) : undefined;
    case "model":
      return name === "name" && rest.length === 0 ? (_, model) => textOf(model) : undefined;
    default:
      return undefined;
  }
}

function requestText(name: string): Read | undefined {
  const field = REQUEST_TEXTS.find((each) => each === name);
  return field === undefined ? undefined : ({ input }) => textOf(input.request[field]);
}

function subjectText(name: string): Read {
  if (name === "kind") return ({ input }) => input.subject.kind;
  if (name === "id") return ({ input }) => textOf(input.subject.id);
  return ({ input: { subject } }) => (Object.hasOwn(subject.fields, name) ? textOf(subject.fields[name]) : ABSENT);
}

function applicationField(name: string): Read | undefined {
  const list = APPLICATION_LISTS.find((each) => each === name);
  if (list !== undefined) return ({ input }) => input.application[list];
  if (!isTextOfApplication(name)) return undefined;
  const field = APPLICATION_TEXTS[name];
  return ({ input }) => textOf(input.application[field]);
}

function isTextOfApplication(name: string): name is keyof typeof APPLICATION_TEXTS {
  return Object.hasOwn(APPLICATION_TEXTS, name);
}

function textOf(value: string | undefined): FieldValue {
  if (value === undefined) return ABSENT;
  return value.length <= VALUE_LIMITS.text ? value : UNREAD;
}

function textMember(record: Readonly<Record<string, string>>, name: string): FieldValue {
  if (countMembers(record) > VALUE_LIMITS.members) return UNREAD;
  return Object.hasOwn(record, name) ? textOf(record[name]) : ABSENT;
}

/** One value is a text; of several it is not known which the upstream takes. */
function headerOf({ request, header }: DecisionInput, name: string): FieldValue {
  const values = header === undefined ? request.headers.get(name) : header(name);
  if (header === undefined && request.headers.size > VALUE_LIMITS.members) return UNREAD;
  if (values === undefined || values.length === 0) return ABSENT;
  return values.length === 1 ? textOf(values[0]) : UNREAD;
}

function claim(path: readonly string[]): Read {
  const last = path.length - 1;
  return (source) => {
    if (!source.claimsWithin) return UNREAD;
    let at: unknown = source.input.subject.claims;
    for (let index = 0; ; index += 1) {
      const name = path[index];
      if (name === undefined || !isPlain(at)) return UNREAD;
      if (!Object.hasOwn(at, name) || at[name] === undefined) return index === last ? ABSENT : UNREAD;
      at = at[name];
      if (index === last) break;
    }
    if (typeof at === "string") return textOf(at);
    return Array.isArray(at) && at.length <= VALUE_LIMITS.members ? at : UNREAD;
  };
}

/** Counts nodes; more than the limit where any bound is passed. */
function nodesIn(value: unknown, count: number, depth: number): number {
  const over = VALUE_LIMITS.nodes + 1;
  let nodes = count + 1;
  if (typeof value === "string" && value.length > VALUE_LIMITS.text) return over;
  if (typeof value !== "object" || value === null) return nodes;
  if (depth >= VALUE_LIMITS.depth) return over;
  let members = 0;
  if (Array.isArray(value)) {
    if (value.length > VALUE_LIMITS.members) return over;
    for (const element of value) nodes = nodesIn(element, nodes, depth + 1);
  } else {
    if (!isPlain(value)) return over;
    for (const key in value) {
      if (!Object.hasOwn(value, key)) continue;
      members += 1;
      if (members > VALUE_LIMITS.members || nodes > VALUE_LIMITS.nodes) return over;
      nodes = nodesIn(value[key], nodes, depth + 1);
    }
  }
  return nodes;
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function countMembers(record: object): number {
  let count = 0;
  for (const _ in record) count += 1;
  return count;
}
