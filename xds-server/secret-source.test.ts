import { chmod, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { EncodedResource, SecretReference } from "../compiler/index.ts";
import { SecretSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { closeAtEnd, createCertificateAuthority, waitFor } from "../test/support/index.ts";
import { systemClock } from "./clock.ts";
import { createSecretSource, type SecretSource } from "./secret-source.ts";

const authority = createCertificateAuthority();

interface Opened {
  readonly source: SecretSource;
  readonly root: string;
  readonly logged: string[];
  readonly changes: ReadonlyMap<string, EncodedResource>[];
}

async function directory(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "chancery-secrets-"));
  closeAtEnd({ close: () => rm(root, { recursive: true, force: true }) });
  return root;
}

async function openSource(root: string, references: readonly SecretReference[]): Promise<Opened> {
  const logged: string[] = [];
  const changes: ReadonlyMap<string, EncodedResource>[] = [];
  const source = await createSecretSource({
    root,
    references,
    log: pino({ level: "debug" }, { write: (line: string) => void logged.push(line) }),
    clock: systemClock,
    pollMs: 50,
    onChange: (secrets) => void changes.push(secrets),
  });
  closeAtEnd(source);
  return { source, root, logged, changes };
}

const TLS: SecretReference = {
  name: "cert",
  type: "tls",
  certificateFile: "tls/crt.pem",
  privateKeyFile: "tls/key.pem",
};

async function writeTls(root: string, names: readonly string[] = ["a.example"], days = 30) {
  const pair = authority.issue(names, { days });
  await mkdir(join(root, "tls"), { recursive: true });
  await writeFile(join(root, "tls/crt.pem"), pair.certificate);
  await writeFile(join(root, "tls/key.pem"), pair.privateKey, { mode: 0o600 });
  return pair;
}

function decode(resource: EncodedResource | undefined) {
  if (resource === undefined) throw new Error("no such secret");
  const secret = fromBinary(SecretSchema, resource.value);
  return { name: secret.name, type: secret.type };
}

const text = (source: { specifier: { case?: string | undefined; value?: unknown } } | undefined) =>
  source?.specifier.value instanceof Uint8Array ? Buffer.from(source.specifier.value).toString() : undefined;

test("makes Envoy's secrets of a key pair, a CA and an opaque value", async () => {
  const root = await directory();
  const pair = await writeTls(root);
  await writeFile(join(root, "ca.pem"), authority.certificate);
  await writeFile(join(root, "token"), "sk-123\n", { mode: 0o600 });
  const { source } = await openSource(root, [
    TLS,
    { name: "ca", type: "ca", certificateFile: "ca.pem" },
    { name: "token", type: "opaque", valueFile: "token" },
  ]);
  const tls = decode(source.secrets().get("cert"));
  expect(tls.name).toBe("cert");
  if (tls.type.case !== "tlsCertificate") throw new Error(tls.type.case);
  expect(text(tls.type.value.certificateChain)).toBe(pair.certificate);
  expect(text(tls.type.value.privateKey)).toBe(pair.privateKey);
  const ca = decode(source.secrets().get("ca"));
  if (ca.type.case !== "validationContext") throw new Error(ca.type.case);
  expect(text(ca.type.value.trustedCa)).toBe(authority.certificate);
  const token = decode(source.secrets().get("token"));
  if (token.type.case !== "genericSecret") throw new Error(token.type.case);
  expect(text(token.type.value.secret)).toBe("sk-123");
  expect(source.problems().size).toBe(0);
});

test("the same files make the same version on every replica", async () => {
  const root = await directory();
  await writeTls(root);
  const [one, two] = [await openSource(root, [TLS]), await openSource(root, [TLS])];
  expect(one.source.secrets().get("cert")?.version).toBe(two.source.secrets().get("cert")?.version);
});

test("a changed pair is noticed, whether written in place, renamed over, or swapped by a symlink", async () => {
  const root = await directory();
  await writeTls(root);
  const { source, changes } = await openSource(root, [TLS]);
  const seen = new Set([source.secrets().get("cert")?.version]);
  const changed = async () => {
    await waitFor(() => !seen.has(changes.at(-1)?.get("cert")?.version), 5_000, "the change");
    seen.add(source.secrets().get("cert")?.version);
  };
  await writeTls(root, ["b.example"]);
  await changed();

  const staged = join(root, "staged");
  await mkdir(staged);
  await writeTls(staged, ["c.example"]);
  await rename(join(root, "tls"), join(root, "old"));
  await rename(join(staged, "tls"), join(root, "tls"));
  await changed();

  for (const name of ["v1", "v2"]) await writeTls(join(root, name), [`${name}.example`]);
  await rm(join(root, "tls"), { recursive: true });
  await symlink(join(root, "v1/tls"), join(root, "tls"));
  await changed();
  await symlink(join(root, "v2/tls"), join(root, "next"));
  await rename(join(root, "next"), join(root, "tls"));
  await changed();
  expect(seen.size).toBe(5);
});

test("a bad file keeps the last good secret, says so once, and never shows what is in it", async () => {
  const root = await directory();
  await writeTls(root);
  const { source, logged } = await openSource(root, [TLS]);
  const good = source.secrets().get("cert");
  const trials: readonly (readonly [string, string, RegExp])[] = [
    ["tls/crt.pem", "SESAME", /no PEM certificate/],
    ["tls/crt.pem", "-----BEGIN CERTIFICATE-----\nSESAME\n-----END CERTIFICATE-----\n", /cannot be read/],
    ["tls/key.pem", "-----BEGIN PRIVATE KEY-----\nSESAME\n-----END PRIVATE KEY-----\n", /private key cannot be read/],
    ["tls/key.pem", authority.issue(["x"]).privateKey, /does not belong/],
  ];
  for (const [file, content, problem] of trials) {
    const pair = await writeTls(root);
    await writeFile(join(root, file), content);
    await waitFor(() => problem.test(source.problems().get("cert") ?? ""), 5_000, String(problem));
    expect(source.secrets().get("cert")).toBeDefined();
    await writeFile(join(root, "tls/crt.pem"), pair.certificate);
    await writeFile(join(root, "tls/key.pem"), pair.privateKey);
    await waitFor(() => source.problems().size === 0, 5_000, "good files");
  }
  await rm(join(root, "tls"), { recursive: true });
  await waitFor(() => /ENOENT/.test(source.problems().get("cert") ?? ""), 5_000, "the missing file");
  expect(source.secrets().get("cert")).toBeDefined();
  expect(good).toBeDefined();
  const all = logged.join("");
  expect(all).toContain("the last good one stays");
  expect(all).not.toMatch(/SESAME|BEGIN/);
});

test("what never was there is missing, and comes when its file comes", async () => {
  const root = await directory();
  const reference: SecretReference = { name: "token", type: "opaque", valueFile: "late/token" };
  const { source, changes } = await openSource(root, [reference]);
  expect(source.secrets().size).toBe(0);
  expect(source.problems().get("token")).toBe("late/token cannot be opened (ENOENT)");
  await mkdir(join(root, "late"));
  await writeFile(join(root, "late/token"), "value");
  await waitFor(() => changes.at(-1)?.has("token"), 5_000, "the secret");
});

test("an opaque value is one line of text", async () => {
  const root = await directory();
  await writeFile(join(root, "two"), "one\r\nx-admin: true\n");
  await writeFile(join(root, "empty"), "\n");
  await writeFile(join(root, "binary"), Buffer.from([0xff, 0xfe]));
  const { source } = await openSource(
    root,
    ["two", "empty", "binary"].map((name) => ({ name, type: "opaque", valueFile: name })),
  );
  expect([...source.problems()]).toEqual([
    ["two", "the value is not one line of text"],
    ["empty", "the file is empty"],
    ["binary", "the value is not one line of text"],
  ]);
});

test("no reference reaches a file outside of the root", async () => {
  const root = await directory();
  const outside = await directory();
  await writeFile(join(outside, "passwd"), "value");
  const { source } = await openSource(root, [
    { name: "up", type: "opaque", valueFile: `../${outside.split("/").at(-1)}/passwd` },
    { name: "absolute", type: "opaque", valueFile: join(outside, "passwd") },
  ]);
  expect(source.secrets().size).toBe(0);
  for (const problem of source.problems().values()) expect(problem).toContain("outside of the directory");
});

test("warns of key material that everybody can read, and of a certificate that has expired", async () => {
  const root = await directory();
  await writeTls(root, ["a.example"], -1);
  await chmod(join(root, "tls/key.pem"), 0o644);
  const { logged, source } = await openSource(root, [TLS]);
  expect(logged.join("")).toContain("can be read by every user");
  expect(logged.join("")).toContain("has expired");
  expect(source.secrets().size).toBe(1);
});

test("other references replace the old ones, and a name that stays keeps its last good secret", async () => {
  const root = await directory();
  await writeTls(root);
  await writeFile(join(root, "ca.pem"), authority.certificate);
  const { source, changes } = await openSource(root, [TLS]);
  const before = source.secrets().get("cert");
  await source.setReferences([
    { ...TLS, privateKeyFile: "tls/missing.pem" },
    { name: "ca", type: "ca", certificateFile: "ca.pem" },
  ]);
  expect([...source.secrets().keys()]).toEqual(["cert", "ca"]);
  expect(source.secrets().get("cert")).toBe(before);
  await source.setReferences([]);
  expect(source.secrets().size).toBe(0);
  expect(changes.at(-1)?.size).toBe(0);
});
