import { z } from "zod";
import { complaint, notSupported, notSupportedYet } from "./complaint.ts";
import { hostname, list, name, port, scope, text } from "./fields.ts";

const certificateRef = z.strictObject({
  group: z
    .enum(["", "chancery.dev"], {
      error: complaint("unsupported", "only Secrets of group chancery.dev hold certificates"),
    })
    .default("chancery.dev"),
  kind: z.literal("Secret").default("Secret"),
  name,
  namespace: scope.exactOptional(),
});

const listenerTls = z.strictObject({
  mode: z
    .literal("Terminate", {
      error: complaint(
        "unsupported",
        "only tls.mode Terminate is supported",
        "a passed-through stream cannot be decided upon",
      ),
    })
    .default("Terminate"),
  certificateRefs: list(certificateRef, 1, 64).describe("Secrets of type tls; Envoy picks by server name."),
  options: notSupported("tls.options"),
  frontendValidation: notSupportedYet("tls.frontendValidation"),
});

const routeKind = z.strictObject({
  group: z.literal("gateway.networking.k8s.io").default("gateway.networking.k8s.io"),
  kind: z.string(),
});

const allowedRoutes = z.strictObject({
  namespaces: z
    .strictObject({
      from: z
        .enum(["Same", "All"], {
          error: complaint(
            "unsupported",
            "namespaces.from may be Same or All",
            "directories carry no labels to select by",
          ),
        })
        .default("Same"),
      selector: notSupported("namespaces.selector", "directories carry no labels to select by; write from: All"),
    })
    .default({ from: "Same" })
    .describe("Which scopes may attach routes: Same (the Gateway's own) or All."),
  kinds: list(routeKind, 0, 8).exactOptional().describe("Kinds of routes that may attach; HTTPRoute is the only one."),
});

const listener = z.strictObject({
  name,
  hostname: hostname.exactOptional(),
  port,
  protocol: z.enum(["HTTP", "HTTPS"], {
    error: complaint("unsupported", "only listeners of protocol HTTP and HTTPS are supported", "write HTTP or HTTPS"),
  }),
  tls: listenerTls.exactOptional(),
  allowedRoutes: allowedRoutes.default({ namespaces: { from: "Same" } }),
});

const address = z.strictObject({
  type: z
    .literal("IPAddress", { error: complaint("unsupported", "only addresses of type IPAddress are supported") })
    .default("IPAddress"),
  value: text(253),
});

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspec */
export const gatewaySpec = z.strictObject({
  gatewayClassName: name.default("chancery").describe("Any class: a Gateway in the tree is always ours."),
  listeners: list(listener, 1, 64),
  addresses: list(address, 0, 16).default([]).describe("IP addresses to bind; 127.0.0.1 if none is given."),
  infrastructure: notSupported("infrastructure"),
  backendTLS: notSupportedYet("backendTLS", "write tls on the Upstream"),
  tls: notSupportedYet("tls of a whole Gateway", "write tls on the listener"),
  allowedListeners: notSupportedYet("allowedListeners"),
  defaultScope: notSupportedYet("defaultScope"),
});
