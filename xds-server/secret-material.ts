import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { EncodedResource } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import { SecretSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { ChanceryError } from "../resources/index.ts";

/** The files of a secret reference, by what they hold. */
export type SecretFiles =
  | { readonly type: "tls"; readonly certificate: Buffer; readonly privateKey: Buffer }
  | { readonly type: "ca"; readonly certificate: Buffer }
  | { readonly type: "opaque"; readonly value: Buffer };

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/**
 * Checks secret material and makes Envoy's `Secret` of it. Errors say what is wrong, and never repeat the material:
 * causes are left out, since crypto libraries quote what they could not read.
 */
export function secretResource(name: string, files: SecretFiles): EncodedResource {
  const value = toBinary(SecretSchema, create(SecretSchema, { name, type: materialOf(files) }));
  const version = createHash("sha256").update(value).digest("hex").slice(0, 16);
  return { typeUrl: TYPE_URLS.secret, name, version, value };
}

type Material = NonNullable<MessageInitShape<typeof SecretSchema>["type"]>;

function materialOf(files: SecretFiles): Material {
  switch (files.type) {
    case "tls": {
      const [leaf] = certificatesOf(files.certificate);
      checkKey(leaf, files.privateKey);
      return {
        case: "tlsCertificate",
        value: { certificateChain: inline(files.certificate), privateKey: inline(files.privateKey) },
      };
    }
    case "ca":
      certificatesOf(files.certificate);
      return { case: "validationContext", value: { trustedCa: inline(files.certificate) } };
    case "opaque":
      return { case: "genericSecret", value: { secret: inline(Buffer.from(opaqueValue(files.value))) } };
  }
}

function inline(bytes: Buffer) {
  return { specifier: { case: "inlineBytes" as const, value: bytes } };
}

function certificatesOf(pem: Buffer): [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.toString("latin1").match(PEM_CERTIFICATE) ?? [];
  const certificates = blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new ChanceryError("corrupt", `certificate ${index + 1} of ${blocks.length} cannot be read`);
    }
  });
  const [first, ...rest] = certificates;
  if (first === undefined) throw new ChanceryError("corrupt", "there is no PEM certificate in the file");
  return [first, ...rest];
}

function checkKey(leaf: X509Certificate, privateKey: Buffer): void {
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(privateKey);
  } catch {
    throw new ChanceryError("corrupt", "the private key cannot be read: it must be PEM, without a passphrase");
  }
  if (!leaf.checkPrivateKey(key)) {
    throw new ChanceryError("corrupt", "the private key does not belong to the (first) certificate");
  }
}

/** The value without the line end that editors add; it goes into a header, so no other control character may be in it. */
function opaqueValue(bytes: Buffer): string {
  const value = bytes.toString("utf8").replace(/\r?\n$/, "");
  if (value === "") throw new ChanceryError("corrupt", "the file is empty");
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20 || code === 0x7f || code === 0xfffd) {
      throw new ChanceryError("corrupt", "the value is not one line of text");
    }
  }
  return value;
}

/** When the first certificate of a tls secret expires, ms since the epoch. */
export function expiryOf(certificate: Buffer): number {
  return Date.parse(certificatesOf(certificate)[0].validTo);
}
