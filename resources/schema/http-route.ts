import { z } from "zod";
import { complaint, notSupported, notSupportedYet } from "./complaint.ts";
import { duration, hostname, list, name, port, scope, text, wholeNumber } from "./fields.ts";
import { headerName, routeFilter } from "./route-filter.ts";

const parentRef = z.strictObject({
  group: z.literal("gateway.networking.k8s.io").default("gateway.networking.k8s.io"),
  kind: z
    .literal("Gateway", {
      error: complaint("unsupported", "a route attaches to a Gateway only", "write kind: Gateway"),
    })
    .default("Gateway"),
  namespace: scope.exactOptional(),
  name,
  sectionName: name.exactOptional().describe("Name of one listener; all listeners that fit unless given."),
  port: port.exactOptional().describe("Only listeners on this port."),
});

const pathMatch = z.strictObject({
  type: z.enum(["Exact", "PathPrefix", "RegularExpression"]).default("PathPrefix"),
  value: text(1024).default("/").describe("The path; for RegularExpression an RE2 expression for the whole path."),
});

const valueMatch = (value: number) =>
  z.strictObject({
    type: z.enum(["Exact", "RegularExpression"]).default("Exact"),
    name: headerName,
    value: text(value),
  });

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] as const;

const match = z.strictObject({
  path: pathMatch.default({ type: "PathPrefix", value: "/" }),
  headers: list(valueMatch(4096), 0, 16).default([]),
  queryParams: list(valueMatch(1024), 0, 16).default([]),
  method: z
    .enum(METHODS, {
      error: (issue) =>
        issue.input === "CONNECT" ? complaint("unsupported", "method CONNECT is not supported") : undefined,
    })
    .exactOptional(),
});

/** Group and kind are checked with the reference, where a hint can say what is meant. */
const backendRef = z.strictObject({
  group: z.string().default(""),
  kind: z.string().default("Service"),
  name,
  namespace: scope.exactOptional(),
  port: z.unknown().exactOptional(),
  weight: wholeNumber(0, 1_000_000).default(1),
  filters: notSupportedYet("filters of one backendRef", "write the filters on the rule"),
});

const timeouts = z.strictObject({
  request: duration(0, 86_400_000).exactOptional(),
  backendRequest: duration(0, 86_400_000).exactOptional(),
});

const retry = z.strictObject({
  codes: list(wholeNumber(400, 599), 0, 64).default([]),
  attempts: wholeNumber(0, 10).exactOptional(),
  backoff: duration(1, 3_600_000).exactOptional(),
});

const DEFAULT_MATCH = { path: { type: "PathPrefix" as const, value: "/" }, headers: [], queryParams: [] };

const rule = z.strictObject({
  name: name.exactOptional(),
  matches: list(match, 0, 8)
    .default([])
    .transform((matches): typeof matches => (matches.length === 0 ? [DEFAULT_MATCH] : matches))
    .describe('At most 8; a rule without matches matches the path prefix "/".'),
  filters: list(routeFilter, 0, 16).default([]),
  backendRefs: list(backendRef, 0, 16).default([]),
  timeouts: timeouts.default({}),
  retry: retry.exactOptional(),
  sessionPersistence: notSupported("sessionPersistence"),
});

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec */
export const httpRouteSpec = z.strictObject({
  parentRefs: list(parentRef, 1, 32),
  hostnames: list(hostname, 0, 16).default([]),
  rules: list(rule, 1, 16),
  useDefaultGateways: notSupportedYet("useDefaultGateways", "name the Gateway in parentRefs"),
});
