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
import type { Application, JwtIdentity } from "../resources/index.ts";

/** JWKS documents by their source: `file:<path>` or the URL. */
export type Jwks = ReadonlyMap<string, string>;

/** The name under which a JWKS document is handed to the compiler. */
export function jwksSource(jwks: JwtIdentity["jwks"]): string {
  return "file" in jwks ? `file:${jwks.file}` : jwks.url;
}

/** Whose tokens are verified, and with which keys. */
export interface TokenIssuer {
  readonly issuer: string;
  /** A JWKS document. */
  readonly keys: string;
}

/**
 * The issuers of the tokens of applications, by name. One whose keys were never had is left out, so that its tokens are
 * not verified, and a token that is not verified is refused.
 */
export function tokenIssuers(applications: readonly Application[], jwks: Jwks): readonly TokenIssuer[] {
  const issuers = new Map<string, string>();
  for (const application of applications) {
    for (const identity of application.jwt) {
      const keys = jwks.get(jwksSource(identity.jwks));
      if (keys !== undefined) issuers.set(identity.issuer, keys);
    }
  }
  return [...issuers].map(([issuer, keys]) => ({ issuer, keys })).sort((a, b) => (a.issuer < b.issuer ? -1 : 1));
}

/** All that `jwtFilter` reads. */
export function issuerTexts(issuers: readonly TokenIssuer[]): readonly string[] {
  return issuers.flatMap(({ issuer, keys }) => [issuer, keys]);
}

/**
 * Verification of tokens, as a discovered filter configuration: Envoy checks signatures and times, and hands payload or
 * failure to the decision service, which alone refuses.
 */
export function jwtFilter(issuers: readonly TokenIssuer[]): TypedExtensionConfig {
  const requirements: MessageInitShape<typeof JwtRequirementSchema>[] = [
    ...issuers.map(({ issuer }) => ({ requiresType: { case: "providerName" as const, value: issuer } })),
    { requiresType: { case: "allowMissingOrFailed", value: create(EmptySchema) } },
  ];
  return create(TypedExtensionConfigSchema, {
    name: FILTERS.jwtAuthn,
    typedConfig: pack(JwtAuthenticationSchema, {
      providers: Object.fromEntries(
        issuers.map(({ issuer, keys }) => [
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
        issuers.length === 0
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
