import { isIP } from "node:net";
import { z } from "zod";
import { complaint } from "./complaint.ts";
import { duration, formatted, hostname, list, port, preciseHostname, reference, text, wholeNumber } from "./fields.ts";
import { headerName } from "./route-filter.ts";

const DAY = 86_400_000;

const place = formatted(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "a short name of letters, digits, - . _");

const endpoint = z.strictObject({
  address: text(253).describe("An IP address or a DNS name."),
  port,
  weight: wholeNumber(0, 1_000_000)
    .refine((weight) => weight > 0, {
      error: complaint("invalid-value", "an endpoint of weight 0 would get no traffic", "leave the endpoint out"),
    })
    .default(1)
    .describe("Share within its priority, 1 to 1,000,000."),
  priority: wholeNumber(0, 127).default(0).describe("0 first; the next is used when the one before is unhealthy."),
  region: place.exactOptional(),
  zone: place.exactOptional(),
  hostname: preciseHostname.exactOptional().describe("Host header for this endpoint; its DNS name unless given."),
});

const tls = z.strictObject({
  sni: preciseHostname.exactOptional(),
  subjectAltNames: list(hostname, 1, 64)
    .exactOptional()
    .describe("The certificate must carry one of these; sni, or the endpoints' DNS names, unless given."),
  ca: reference.exactOptional().describe("A Secret of type ca; the system's CA bundle unless given."),
  clientCertificate: reference
    .exactOptional()
    .describe("A Secret of type tls in this scope, or in another one that grants it."),
});

const credential = z.discriminatedUnion("mode", [
  z.strictObject({ mode: z.literal("none") }),
  z.strictObject({ mode: z.literal("passThrough") }),
  z.strictObject({
    mode: z.literal("inject"),
    secret: reference.describe("A Secret of type opaque in this scope, or in another one that grants it."),
    header: headerName.default("authorization"),
    prefix: z
      .string()
      .max(64, { error: complaint("invalid-value", "at most 64 characters") })
      .regex(/^[\x20-\x7e]*$/, { error: complaint("invalid-value", "must be printable ASCII") })
      .exactOptional()
      .describe('Written before the value; "Bearer " for authorization, nothing for other headers, unless given.'),
  }),
]);

const healthCheck = z.strictObject({
  path: formatted(/^\/[\x21-\x7e]{0,1023}$/, 'a path that begins with "/"'),
  interval: duration(100, DAY).prefault("5s"),
  timeout: duration(10, DAY).prefault("1s"),
  unhealthyThreshold: wholeNumber(1, 100).default(3),
  healthyThreshold: wholeNumber(1, 100).default(1),
});

const outlierDetection = z.strictObject({
  consecutiveErrors: wholeNumber(1, 1_000).default(5),
  interval: duration(100, DAY).prefault("10s"),
  baseEjection: duration(100, DAY).prefault("30s"),
  maxEjectionPercent: wholeNumber(0, 100).default(50),
});

const circuitBreakers = z.strictObject({
  maxConnections: wholeNumber(1, 1_000_000).default(1_024),
  maxPendingRequests: wholeNumber(1, 1_000_000).default(1_024),
  maxRequests: wholeNumber(1, 1_000_000).default(1_024),
});

const range = z.string().refine(isRange, {
  error: complaint("invalid-value", "must be an address range such as 10.1.0.0/16 or 2001:db8::/32"),
});

function isRange(text: string): boolean {
  const [, address = "", length = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const version = isIP(address);
  return version !== 0 && Number(length) <= (version === 4 ? 32 : 128);
}

const label = "_?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const dnsName = formatted(
  new RegExp(`^(?=.{1,253}$)${label}([.]${label})*$`),
  "a DNS name in lower case, without a dot behind it",
);

const lookup = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.enum(["A", "AAAA"]),
    name: dnsName,
    port,
    weight: wholeNumber(1, 1_000_000).default(1).describe("Of each address, 1 to 1,000,000."),
    priority: wholeNumber(0, 127).default(0),
    region: place.exactOptional(),
    zone: place.exactOptional(),
  }),
  z.strictObject({
    type: z.literal("SRV"),
    name: dnsName.describe("Such as _http._tcp.shop.internal; ports, priorities and weights are those of the records."),
    region: place.exactOptional(),
    zone: place.exactOptional(),
  }),
]);

export const upstreamSpec = z.strictObject({
  endpoints: list(endpoint, 1, 10_000),
  ranges: list(range, 1, 64)
    .exactOptional()
    .describe("Where a live feed may say that endpoints are; without ranges the endpoints above stay."),
  dns: list(lookup, 1, 16)
    .exactOptional()
    .describe("Names that the xDS server looks up again and again: their addresses are the endpoints."),
  protocol: z.enum(["http1", "http2"]).default("http1").describe("What the endpoints speak; http2 for gRPC."),
  tls: tls.exactOptional(),
  credential: credential
    .default({ mode: "none" })
    .describe(
      "none: the client's Authorization is removed. passThrough: it is passed on. inject: a secret is written instead.",
    ),
  governed: z
    .boolean()
    .default(true)
    .describe(
      "false: also served to clients that cannot ask for decisions, such as proxyless gRPC. Nothing is decided or " +
        "recorded about what they send.",
    ),
  loadBalancer: z.enum(["roundRobin", "leastRequest", "random", "ringHash"]).default("roundRobin"),
  connectTimeout: duration(10, 60_000).prefault("1s"),
  healthCheck: healthCheck.exactOptional(),
  outlierDetection: outlierDetection.exactOptional(),
  circuitBreakers: circuitBreakers.default({ maxConnections: 1_024, maxPendingRequests: 1_024, maxRequests: 1_024 }),
});
