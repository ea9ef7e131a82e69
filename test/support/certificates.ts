import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

/** A certificate and its key, PEM. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface CertificateAuthority extends KeyedCertificate {
  /** Signs a certificate for DNS names, IPv4 addresses and URIs ("spiffe://acme/agent/7"); the first is the CN. */
  issue(names: readonly string[], options?: Validity): KeyedCertificate;
}

export interface Validity {
  /** Days from now; 30 by default, negative for one that has expired. */
  readonly days?: number;
}

/** Makes a root of its own, in memory (ECDSA P-256). */
export function createCertificateAuthority(name = "Test root"): CertificateAuthority {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  // A root made again under the same name is another root: its subject says so.
  const issuer = `${name} ${randomBytes(4).toString("hex")}`;
  const root = build({ issuer, subject: issuer, names: [], ca: true, days: 30, publicKey: keys.publicKey }, keys);
  return {
    certificate: root,
    privateKey: pemKey(keys.privateKey),
    issue: (names, options = {}) => {
      const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const subject = names[0] ?? "nobody";
      const days = options.days ?? 30;
      const certificate = build({ issuer, subject, names, ca: false, days, publicKey: own.publicKey }, keys);
      return { certificate, privateKey: pemKey(own.privateKey) };
    },
  };
}

interface CertificateFields {
  readonly issuer: string;
  readonly subject: string;
  readonly names: readonly string[];
  readonly ca: boolean;
  readonly days: number;
  readonly publicKey: KeyObject;
}

/** RFC 5280, section 4.1. */
function build(fields: CertificateFields, signer: { readonly privateKey: KeyObject }): string {
  const algorithm = sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)); // ecdsa-with-SHA256
  const day = 86_400_000;
  const start = Date.now() - 3_600_000 + Math.min(fields.days, 0) * 2 * day;
  const end = Date.now() + fields.days * day;
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x01;
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    distinguishedName(fields.issuer),
    sequence(time(start), time(end)),
    distinguishedName(fields.subject),
    fields.publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions(fields))),
  );
  const signature = sign("sha256", toBeSigned, signer.privateKey);
  const certificate = sequence(toBeSigned, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function extensions(fields: CertificateFields): Buffer[] {
  const critical = der(0x01, Buffer.from([0xff]));
  const constraints = sequence(...(fields.ca ? [critical] : []));
  const basic = sequence(objectId(0x55, 0x1d, 0x13), critical, der(0x04, constraints));
  if (fields.names.length === 0) return [basic];
  const names = sequence(...fields.names.map(generalName));
  return [basic, sequence(objectId(0x55, 0x1d, 0x11), der(0x04, names))];
}

function generalName(name: string): Buffer {
  if (isIPv4(name)) return der(0x87, Buffer.from(name.split(".").map(Number)));
  return der(name.includes("://") ? 0x86 : 0x82, Buffer.from(name, "latin1"));
}

function distinguishedName(commonName: string): Buffer {
  const attribute = sequence(objectId(0x55, 0x04, 0x03), der(0x0c, Buffer.from(commonName.slice(0, 64))));
  return sequence(der(0x31, attribute));
}

function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, "");
  return der(0x17, Buffer.from(digits.slice(2), "latin1"));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function objectId(...bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const size = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function pemKey(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
