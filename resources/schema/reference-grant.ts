import { z } from "zod";
import { list, name, scope } from "./fields.ts";

const from = z
  .strictObject({
    group: z.enum(["gateway.networking.k8s.io", "chancery.dev"]),
    kind: z.enum(["HTTPRoute", "Gateway", "Upstream"]),
    namespace: scope.describe("The scope that refers."),
  })
  .describe("Who refers: Gateways and HTTPRoutes of gateway.networking.k8s.io, Upstreams of chancery.dev.");

const to = z
  .strictObject({
    group: z.enum(["chancery.dev", ""]),
    kind: z.enum(["Upstream", "Model", "Secret"]),
    name: name.exactOptional().describe("Absent: every object of the kind in this scope."),
  })
  .describe("What may be referred to, in the scope of the grant.");

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#referencegrantspec */
export const referenceGrantSpec = z.strictObject({ from: list(from, 1, 16), to: list(to, 1, 16) });
