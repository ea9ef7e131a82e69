import { z } from "zod";
import { complaint } from "./complaint.ts";
import { formatted, list, name, prose, reference, text, timestamp, wholeNumber } from "./fields.ts";

/** What a decision can be refused with, and `no_route`: nothing matches, so that nothing is decided. */
const codes = [
  "denied",
  "not_allowed",
  "no_legal_target",
  "model_not_found",
  "evaluation_error",
  "ambiguous_path",
  "no_route",
] as const;

const subject = z.strictObject({
  kind: z
    .enum(["jwt", "apiKey", "mtls", "anonymous"])
    .exactOptional()
    .describe("jwt where claims are given, else what the application takes."),
  id: text(1024).exactOptional(),
  fields: z
    .record(text(64), prose(1024))
    .exactOptional()
    .describe("subject.NAME of rules, over those that are mapped."),
  claims: z.record(text(256), z.unknown()).exactOptional().describe("Claims of a verified token."),
});

const headerName = formatted(/^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/, "a header name in lower case");

const request = z.strictObject({
  application: reference.exactOptional().describe("The Application that asks."),
  gateway: reference.exactOptional().describe("Where the tree has more than one Gateway."),
  port: wholeNumber(1, 65_535).exactOptional().describe("The listener's port; the first listener unless given."),
  route: reference.exactOptional().describe("The HTTPRoute; its first match fills in path and method."),
  method: formatted(/^[A-Z]{1,32}$/, "an HTTP method in capital letters").exactOptional(),
  host: text(253).exactOptional(),
  path: formatted(/^\/[\x21-\x7e]{0,8191}$/, "a path that starts with a slash").exactOptional(),
  headers: z.record(headerName, z.union([prose(8_192), list(prose(8_192), 1, 64)])).exactOptional(),
  model: text(256).exactOptional().describe('The name in the request: "atlas", or "atlas@v1" for one version.'),
  stream: z.boolean().exactOptional(),
  subject: subject.exactOptional(),
  source: text(64).exactOptional().describe("IP address of the client."),
});

const expectation = z.strictObject({
  effect: z.enum(["allow", "deny"]),
  code: z.enum(codes).exactOptional().describe("deny: the stable code of the refusal."),
  rule: text(1_400)
    .exactOptional()
    .describe("The rule that spoke: <policy key>/<rule id>, or one of ours (chancery:…)."),
  targets: list(text(1_400), 0, 256)
    .exactOptional()
    .describe("allow: all that may answer, in order: pools, or keys of Deployments or Upstreams."),
  rerouted: list(z.strictObject({ rule: text(1_400).exactOptional(), to: text(1_400) }), 0, 8)
    .exactOptional()
    .describe("What reroute rules made of the request, in order."),
  removed: z
    .record(text(1_400), text(1_400))
    .exactOptional()
    .describe("Target → what removed it; others may be removed too."),
});

const testCase = z.strictObject({
  name: text(256),
  now: timestamp.exactOptional().describe("In place of the document's."),
  fixtures: list(text(64), 1, 64).exactOptional().describe("Fixtures with which the case runs, once with each."),
  request: request.exactOptional().describe("Over the fixture's, which is over the document's."),
  draw: z
    .number()
    .min(0, { error: complaint("invalid-value", "must lie in [0, 1)") })
    .lt(1, { error: complaint("invalid-value", "must lie in [0, 1)") })
    .default(0)
    .describe("Where the draw among shares falls, in [0, 1)."),
  expect: expectation,
});

export const policyTestSpec = z.strictObject({
  now: timestamp.describe("The time of every decision."),
  request: request.exactOptional().describe("What the requests of all cases have in common."),
  fixtures: z.record(name, request).default({}).describe("Parts of requests by name, that cases run with."),
  cases: list(testCase, 1, 1_000),
});
