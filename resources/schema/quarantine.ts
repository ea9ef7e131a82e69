import { z } from "zod";
import { formatted, name, scope, text, timestamp } from "./fields.ts";

const targetRef = z.strictObject({
  kind: z.enum(["ModelVersion", "Model", "Upstream", "Application", "Policy"]),
  name,
  namespace: scope.exactOptional(),
  rule: formatted(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "the id of a rule")
    .exactOptional()
    .describe("Policy: which of its rules; what an allow or reroute rule gives is not given."),
});

export const quarantineSpec = z.strictObject({
  targetRef: targetRef.exactOptional().describe("What is out of use; this or region."),
  region: text(256).exactOptional().describe("Every Deployment in this region; in the root scope alone."),
  reason: text(1_024).describe("Told to callers that are refused, and recorded."),
  until: timestamp.exactOptional().describe("When it ends; never, unless given."),
});
