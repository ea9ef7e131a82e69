import { z } from "zod";
import { complaint } from "./complaint.ts";
import { formatted, list, name, port, preciseHostname, scope, text, wholeNumber } from "./fields.ts";

export const headerName = formatted(
  /^[A-Za-z0-9!#$%&'*+\-.^_|~\x60]{1,256}$/,
  "the name of an HTTP header",
  "letters, digits and !#$%&'*+-.^_|~`, at most 256 characters",
);

const headerValue = z.strictObject({ name: headerName, value: text(4096) });
const headerModifier = z.strictObject({
  set: list(headerValue, 0, 16).default([]),
  add: list(headerValue, 0, 16).default([]),
  remove: list(headerName, 0, 16).default([]),
});

const pathRewrite = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ReplaceFullPath"), replaceFullPath: text(1024) }),
  z.strictObject({
    type: z.literal("ReplacePrefixMatch"),
    replacePrefixMatch: z.string().max(1024, { error: complaint("invalid-value", "at most 1024 characters") }),
  }),
]);

const REDIRECT_CODES = [301, 302, 303, 307, 308] as const;

const redirect = z.strictObject({
  scheme: z.enum(["http", "https"]).exactOptional(),
  hostname: preciseHostname.exactOptional(),
  path: pathRewrite.exactOptional(),
  port: port.exactOptional(),
  statusCode: z
    .literal(REDIRECT_CODES, { error: complaint("invalid-value", `must be one of ${REDIRECT_CODES.join(", ")}`) })
    .default(302),
});

const rewrite = z.strictObject({ hostname: preciseHostname.exactOptional(), path: pathRewrite.exactOptional() });

/** What copies of requests go to. Group and kind are checked with the reference. */
const mirror = z
  .strictObject({
    backendRef: z.strictObject({
      group: z.string().default(""),
      kind: z.string().default("Service"),
      name,
      namespace: scope.exactOptional(),
      port: z.unknown().exactOptional(),
    }),
    percent: wholeNumber(0, 100).exactOptional(),
    fraction: z
      .strictObject({ numerator: wholeNumber(0, 1_000_000), denominator: wholeNumber(1, 1_000_000).default(100) })
      .exactOptional(),
  })
  .check((context) => {
    const { percent, fraction } = context.value;
    if (percent !== undefined && fraction !== undefined) {
      const message = complaint("conflict", "either percent or fraction says how many requests are copied");
      context.issues.push({ code: "custom", input: fraction, path: ["fraction"], message });
    } else if (fraction !== undefined && fraction.numerator > fraction.denominator) {
      const message = complaint("invalid-value", "must not be more than the denominator");
      context.issues.push({ code: "custom", input: fraction.numerator, path: ["fraction", "numerator"], message });
    }
  });

const SUPPORTED = [
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestRedirect",
  "URLRewrite",
  "RequestMirror",
] as const;
const UNSUPPORTED = ["CORS", "ExtensionRef", "ExternalAuth"];

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter */
export const routeFilter = z.discriminatedUnion(
  "type",
  [
    z.strictObject({ type: z.literal("RequestHeaderModifier"), requestHeaderModifier: headerModifier }),
    z.strictObject({ type: z.literal("ResponseHeaderModifier"), responseHeaderModifier: headerModifier }),
    z.strictObject({ type: z.literal("RequestRedirect"), requestRedirect: redirect }),
    z.strictObject({ type: z.literal("URLRewrite"), urlRewrite: rewrite }),
    z.strictObject({ type: z.literal("RequestMirror"), requestMirror: mirror }),
  ],
  {
    error: (issue) => {
      const type = isRecord(issue.input) ? issue.input.type : undefined;
      if (typeof type !== "string" || !UNSUPPORTED.includes(type)) return undefined;
      return complaint("unsupported", `filter ${type} is not supported yet`, `supported: ${SUPPORTED.join(", ")}`);
    },
  },
);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
