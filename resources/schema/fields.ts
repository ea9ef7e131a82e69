import { z } from "zod";
import { DURATION_PATTERN, formatDuration, parseDuration } from "../durations.ts";
import { isTimestamp } from "../timestamps.ts";
import { complaint, notSupported } from "./complaint.ts";

const invalid = (message: string, hint?: string): { error: string } => ({
  error: complaint("invalid-value", message, hint),
});

const LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
const SUBDOMAIN = new RegExp(`^${LABEL}(\\.${LABEL})*$`);
const WILDCARD = new RegExp(`^(\\*\\.)?${LABEL}(\\.${LABEL})*$`);
const IPV4 = /^[0-9]{1,3}(\.[0-9]{1,3}){3}$/;
const SCOPE_SEGMENT = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
export const SCOPE_PATTERN = new RegExp(`^(\\.|${SCOPE_SEGMENT}(/${SCOPE_SEGMENT})*)$`);

/** Name of an object or of a part of one. */
export const name = z
  .string()
  .max(253, invalid("at most 253 characters"))
  .regex(
    SUBDOMAIN,
    invalid(
      "not a valid name",
      'lower-case letters, digits, "-" and "."; begins and ends with a letter or digit; at most 63 characters between dots',
    ),
  )
  .describe("A DNS-1123 subdomain name.");

/** A scope, as `namespace` of Kubernetes-shaped objects. */
export const scope = z
  .string()
  .max(1024, invalid("at most 1024 characters"))
  .regex(SCOPE_PATTERN, invalid("not a scope", 'a directory below the root, such as "team/app", or "." for the root'))
  .describe('A scope: a directory of the resource tree relative to its root, "." for the root.');

/** A host name without wildcard. */
export const preciseHostname = z
  .string()
  .max(253, invalid("at most 253 characters"))
  .regex(SUBDOMAIN, invalid("not a host name", "lower case, no port, no wildcard"))
  .refine((text) => !IPV4.test(text), invalid("an IP address is not a host name"))
  .describe("A host name in lower case, without port.");

/** A host name, perhaps with "*." in front. */
export const hostname = z
  .string()
  .max(253, invalid("at most 253 characters"))
  .regex(
    WILDCARD,
    invalid("not a host name", 'lower case, no port; a wildcard only as the first label ("*.example.com")'),
  )
  .refine((text) => !IPV4.test(text), invalid("an IP address is not a host name"))
  .describe('A host name in lower case, without port; "*." in front stands for one or more labels.');

export const port = z
  .int()
  .min(1, invalid("a port lies between 1 and 65535"))
  .max(65535, invalid("a port lies between 1 and 65535"))
  .describe("A TCP port, 1 to 65535.");

export function wholeNumber(minimum: number, maximum: number) {
  const range = invalid(`must lie between ${minimum} and ${maximum}`);
  return z.int().min(minimum, range).max(maximum, range);
}

/** Text of at least one character, without control characters. */
export function text(maximum: number) {
  return z
    .string()
    .min(1, invalid("must not be empty"))
    .max(maximum, invalid(`at most ${maximum} characters`))
    .refine((value) => !hasControlCharacter(value), invalid("must not contain control characters"));
}

/** Text that may be long and span lines, or be empty. */
export function prose(maximum: number) {
  return z.string().max(maximum, invalid(`at most ${maximum} characters`));
}

/** Text of a form that `form` describes in words. */
export function formatted(pattern: RegExp, form: string, hint?: string) {
  return z.string().regex(pattern, invalid(`must be ${form}`, hint));
}

function hasControlCharacter(value: string): boolean {
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

/** A GEP-2257 duration, read as milliseconds. */
export function duration(minimumMs: number, maximumMs: number) {
  const range = `must lie between ${formatDuration(minimumMs)} and ${formatDuration(maximumMs)}`;
  return z
    .string()
    .regex(DURATION_PATTERN, invalid("not a duration", 'whole numbers with units h, m, s, ms: "250ms", "20s", "1h30m"'))
    .refine((value) => {
      const milliseconds = parseDuration(value);
      return milliseconds === undefined || (milliseconds >= minimumMs && milliseconds <= maximumMs);
    }, invalid(range))
    .transform((value) => parseDuration(value) ?? 0);
}

/** RFC 3339 date and time. */
export const timestamp = z
  .string()
  .refine(isTimestamp, invalid("not an RFC 3339 date and time", "for example 2026-01-31T00:00:00Z"))
  .describe("An RFC 3339 date and time with offset.");

/** `metadata.labels`. */
export const labels = z
  .record(text(317), prose(1024), invalid("labels map strings to strings"))
  .describe("Labels; rules may read them.");

/** A list without equal entries. */
export function distinct<T extends z.ZodType<string>>(item: T, maximum: number) {
  return z
    .array(item)
    .max(maximum, invalid(`at most ${maximum} entries`))
    .check((context) => {
      const first = new Map<string, number>();
      for (const [index, value] of context.value.entries()) {
        const earlier = first.get(value);
        if (earlier === undefined) first.set(value, index);
        else {
          const message = complaint("invalid-value", `the same value as entry ${earlier + 1}`, "keep one");
          context.issues.push({ code: "custom", input: value, path: [index], message });
        }
      }
    });
}

export function list<T extends z.ZodType>(item: T, minimum: number, maximum: number) {
  return z
    .array(item)
    .min(minimum, invalid(`at least ${minimum} ${minimum === 1 ? "entry" : "entries"}`))
    .max(maximum, invalid(`at most ${maximum} entries`));
}

/** A reference by name, or by name and scope. */
export const reference = z
  .union([
    name,
    z.strictObject({
      name,
      namespace: scope.exactOptional(),
      group: notSupported("group here", "the kind of what is named is known from the field"),
      kind: notSupported("kind here", "the kind of what is named is known from the field"),
    }),
  ])
  .transform((value): Reference => (typeof value === "string" ? { name: value } : value))
  .describe("A name, looked for in this scope and then upwards; or {name, namespace} to say which scope.");

/** What a reference says, before it is resolved. */
export interface Reference {
  readonly name: string;
  readonly namespace?: string;
}

/** A file path relative to the directory of the YAML file. */
export const filePath = text(1024)
  .refine((value) => !value.includes("-----BEGIN"), {
    error: complaint(
      "inline-secret",
      "key material does not belong into the YAML",
      "write the path of a file that holds it",
    ),
  })
  .refine((value) => !value.startsWith("/") && !value.includes("\\"), {
    error: complaint(
      "outside-tree",
      "must be a relative path",
      "relative to the directory of this YAML file, inside the resource tree",
    ),
  })
  .describe("A path relative to the directory of this file; it must stay inside the resource tree.");
