import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { FILTERS, JWT_CLAIMS_KEY, JWT_FAILURE_KEY, pack } from "../envoy/index.ts";
import {
  type TypedExtensionConfig,
  TypedExtensionConfigSchema,
} from "../protos/gen/envoy/config/core/v3/extension_pb.ts";
import {
  JwtAuthenticationSchema,
  type JwtRequirementSchema,
} from "../protos/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts";
import type { Inventory, JwtIdentity } from "../resources/index.ts";

/** JWKS documents by their source: `file:<path>` or the URL. */
export type Jwks = ReadonlyMap<string, string>;

/** The name under which a JWKS document is handed to the compiler. */
export function jwksSource(jwks: JwtIdentity["jwks"]): string {
  return "file" in jwks ? `file:${jwks.file}` : jwks.url;
}

/**
 * Verification of tokens, as a discovered filter configuration: Envoy checks signatures and times, and hands payload or
 * failure to the decision service, which alone refuses. An issuer whose keys were never had is left out, so that its
 * tokens are not verified, and a token that is not verified is refused.
 */
export function jwtFilter(inventory: Inventory, jwks: Jwks): TypedExtensionConfig {
  const issuers = new Map<string, string>();
  for (const application of inventory.applications) {
    for (const identity of application.jwt) {
      const keys = jwks.get(jwksSource(identity.jwks));
      if (keys !== undefined) issuers.set(identity.issuer, keys);
    }
  }
  const sorted = [...issuers].sort(([a], [b]) => (a < b ? -1 : 1));
  const requirements: MessageInitShape<typeof JwtRequirementSchema>[] = [
    ...sorted.map(([issuer]) => ({ requiresType: { case: "providerName" as const, value: issuer } })),
    { requiresType: { case: "allowMissingOrFailed", value: create(EmptySchema) } },
  ];
  return create(TypedExtensionConfigSchema, {
    name: FILTERS.jwtAuthn,
    typedConfig: pack(JwtAuthenticationSchema, {
      providers: Object.fromEntries(
        sorted.map(([issuer, keys]) => [
          issuer,
          {
            issuer,
            jwksSourceSpecifier: {
              case: "localJwks" as const,
              value: { specifier: { case: "inlineString" as const, value: keys } },
            },
            fromHeaders: [{ name: "authorization", valuePrefix: "Bearer " }],
            // Kept for the pool, which passes it on or takes it off.
            forward: true,
            requireExpiration: true,
            payloadInMetadata: JWT_CLAIMS_KEY,
            failedStatusInMetadata: JWT_FAILURE_KEY,
          },
        ]),
      ),
      rules:
        sorted.length === 0
          ? []
          : [
              {
                match: { pathSpecifier: { case: "prefix", value: "/" } },
                requirementType: {
                  case: "requires",
                  value: { requiresType: { case: "requiresAny", value: { requirements } } },
                },
              },
            ],
    }),
  });
}
