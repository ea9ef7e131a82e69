import { create, type JsonObject, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { SubjectAltNameMatcher_SanType } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import { SecretSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { UpstreamTlsContextSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { DiscoveryResponseSchema } from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { configured, envoyTypes, pack } from "./registry.ts";

/** How a node shows who it is, and knows whom it talks to. */
export interface NodeTls {
  /** Files with an SDS answer each (`nodeCertificateSds`, `serverCaSds`), absolute: Envoy follows them. */
  readonly certificateSds: string;
  readonly caSds: string;
  /** What the servers' certificates must say: a URI ("spiffe://acme/xds") or a DNS name. Of Unix sockets nothing. */
  readonly xdsIdentity?: string;
  readonly authzIdentity?: string;
}

/** Files of a node, absolute, and the directories in which an atomic rename tells Envoy to read them again. */
export interface NodeCertificateFiles {
  readonly certificate: string;
  readonly privateKey: string;
  readonly directory: string;
}

type SecretType = NonNullable<MessageInitShape<typeof SecretSchema>["type"]>;

const CERTIFICATE = "chancery_node_certificate";
const CA = "chancery_server_ca";

/** The SDS answer with the node's certificate; it holds file names only. */
export function nodeCertificateSds({ certificate, privateKey, directory }: NodeCertificateFiles): JsonObject {
  return sdsAnswer(CERTIFICATE, {
    case: "tlsCertificate",
    value: {
      certificateChain: { specifier: { case: "filename", value: certificate } },
      privateKey: { specifier: { case: "filename", value: privateKey } },
      watchedDirectory: { path: directory },
    },
  });
}

/** The SDS answer with the CA of the xDS servers and decision services. */
export function serverCaSds(ca: string, directory: string): JsonObject {
  return sdsAnswer(CA, {
    case: "validationContext",
    value: { trustedCa: { specifier: { case: "filename", value: ca } }, watchedDirectory: { path: directory } },
  });
}

function sdsAnswer(name: string, type: SecretType): JsonObject {
  const answer = create(DiscoveryResponseSchema, { resources: [pack(SecretSchema, { name, type })] });
  return toJson(DiscoveryResponseSchema, answer, { registry: envoyTypes, useProtoFieldName: true }) as JsonObject;
}

/** Mutual TLS towards servers whose certificates name `identity`. Certificates are read by SDS from files: renewals reach
 * new connections, without a restart. */
export function transportSocketTo(identity: string, tls: NodeTls) {
  const fromFile = (path: string) => ({
    configSourceSpecifier: { case: "pathConfigSource" as const, value: { path } },
  });
  return configured(
    "envoy.transport_sockets.tls",
    pack(UpstreamTlsContextSchema, {
      commonTlsContext: {
        alpnProtocols: ["h2"],
        tlsCertificateSdsSecretConfigs: [{ name: CERTIFICATE, sdsConfig: fromFile(tls.certificateSds) }],
        validationContextType: {
          case: "combinedValidationContext",
          value: {
            defaultValidationContext: {
              matchTypedSubjectAltNames: [
                {
                  sanType: identity.includes("://")
                    ? SubjectAltNameMatcher_SanType.URI
                    : SubjectAltNameMatcher_SanType.DNS,
                  matcher: { matchPattern: { case: "exact", value: identity } },
                },
              ],
            },
            validationContextSdsSecretConfig: { name: CA, sdsConfig: fromFile(tls.caSds) },
          },
        },
      },
    }),
  );
}
