import { z } from "zod";
import { complaint } from "./complaint.ts";
import { distinct, formatted, list, name, prose, reference, scope, text } from "./fields.ts";

/** CEL; compiled in `policy/`. */
export const expression = z
  .string()
  .refine((cel) => cel.trim() !== "", { error: complaint("invalid-value", "an expression must not be empty") })
  .refine((cel) => Buffer.byteLength(cel) <= 8_192, {
    error: complaint("invalid-value", "an expression may have 8 KiB"),
  });

const to = z.strictObject({
  model: reference.exactOptional(),
  version: reference.exactOptional(),
  upstream: reference.exactOptional(),
});

const rule = z.strictObject({
  id: formatted(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "a short name of letters, digits, - . _"),
  effect: z.enum(["deny", "allow", "restrict", "reroute", "prefer"]),
  when: expression.exactOptional().describe("CEL; always, unless given."),
  require: expression.exactOptional().describe("restrict: CEL that a target must satisfy while `when` holds."),
  to: to.exactOptional().describe("reroute: exactly one of model, version, upstream."),
  score: expression.exactOptional().describe("prefer: CEL that gives a number for a target; higher is better."),
  mode: z.enum(["enforce", "shadow", "off"]).default("enforce"),
  reason: prose(2_048).default("").describe("Told to callers that are refused, and recorded."),
  references: distinct(text(512), 64).default([]).describe("What the rule implements: articles, tickets."),
  owner: text(256).exactOptional(),
});

const targetRef = z.strictObject({
  group: z.enum(["gateway.networking.k8s.io", "chancery.dev"]).exactOptional(),
  kind: z.enum(["Gateway", "HTTPRoute", "Model"]),
  name,
  namespace: scope.exactOptional(),
});

export const policySpec = z.strictObject({
  targetRef: targetRef
    .exactOptional()
    .describe("All callers of this Gateway, HTTPRoute or Model; callers of this scope and below unless given."),
  rules: list(rule, 1, 1_000),
});
