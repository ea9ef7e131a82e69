import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";
import { initKeys, loadSigningKey, type SigningKey } from "./keys.ts";
import { createManifest } from "./manifest.ts";
import { signManifest, signStatement, verifyManifest, verifyStatement } from "./signature.ts";
import { keyIdOf, loadTrust, parseTrust, parseTrustFile, signTrust } from "./trust.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const DAY = 86_400_000;
const MANIFEST = createManifest(3, NOW, "tree", []);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-trust-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function made(options: { signingKeys?: number; threshold?: number; validityDays?: number } = {}, name = "keys") {
  const files = await initKeys(join(directory, name), { now: NOW, ...options });
  const keys: SigningKey[] = [];
  for (const { file } of files.signing) keys.push(await loadSigningKey(file));
  return { files, keys, trust: await loadTrust(files.trust) };
}

test("keys are readable by their owner alone, and the trust file holds none of them", async () => {
  const { files } = await made();
  expect((await stat(join(directory, "keys"))).mode & 0o777).toBe(0o700);
  for (const file of [files.root, ...files.signing.map((key) => key.file)]) {
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  }
  expect(await readFile(files.trust, "utf8")).not.toContain("PRIVATE");
});

test("keys are never overwritten", async () => {
  const { files } = await made();
  const before = await readFile(files.root);
  await expect(made()).rejects.toMatchObject({ code: "conflict" });
  await rm(files.root);
  await rm(files.trust);
  await expect(made()).rejects.toMatchObject({ code: "conflict" });
  expect(await readdir(join(directory, "keys"))).toEqual(["signing-1.pem"]);
  expect(before.length).toBeGreaterThan(0);
});

test.each([
  { signingKeys: 0 },
  { signingKeys: 17 },
  { threshold: 2 },
  { threshold: 0 },
  { validityDays: 0 },
  { validityDays: Number.NaN },
])("refuses %j", async (options) => {
  await expect(made(options)).rejects.toMatchObject({ code: "invalid-argument" });
});

test("a signed manifest is verified, and says by whom it was signed", async () => {
  const { files, keys, trust } = await made();
  const { signedBy, expired } = verifyManifest(signManifest(MANIFEST, keys), trust, NOW);
  expect(signedBy).toEqual(files.signing.map((key) => key.keyId));
  expect(expired).toEqual([]);
});

test("a manifest that was changed anywhere after it was signed is refused", async () => {
  const { keys, trust } = await made();
  const { signatures } = signManifest(MANIFEST, keys);
  for (const manifest of [
    { ...MANIFEST, number: 4 },
    { ...MANIFEST, createdAt: "2026-05-01T00:00:00.001Z" },
    { ...MANIFEST, source: "Tree" },
  ]) {
    expect(() => verifyManifest({ manifest, signatures }, trust, NOW)).toThrow(
      expect.objectContaining({ code: "untrusted" }),
    );
  }
});

test("any changed signature is refused", async () => {
  const { keys, trust } = await made();
  const signed = signManifest(MANIFEST, keys);
  fc.assert(
    fc.property(fc.nat(63), fc.integer({ min: 1, max: 255 }), (index, mask) => {
      const signatures = signed.signatures.map(({ keyId, signature }) => {
        const bytes = Buffer.from(signature, "base64");
        bytes[index] = (bytes[index] ?? 0) ^ mask;
        return { keyId, signature: bytes.toString("base64") };
      });
      expect(() => verifyManifest({ ...signed, signatures }, trust, NOW)).toThrow("is wrong");
    }),
  );
});

test("unsigned, signed by a stranger, or signed under a trusted name with a stranger's key is refused", async () => {
  const { keys, trust } = await made();
  const stranger = await made({}, "stranger");
  expect(() => verifyManifest({ manifest: MANIFEST, signatures: [] }, trust, NOW)).toThrow("nobody else signed it");
  expect(() => verifyManifest(signManifest(MANIFEST, stranger.keys), trust, NOW)).toThrow("is not trusted");
  const disguised = stranger.keys.map((key, index) => ({ ...key, keyId: keys[index]?.keyId ?? "" }));
  expect(() => verifyManifest(signManifest(MANIFEST, disguised), trust, NOW)).toThrow("is wrong");
});

test("a signature over the bare manifest, without its domain, is none", async () => {
  const { keys, trust } = await made();
  const signatures = keys.map(({ keyId, privateKey }) => ({
    keyId,
    signature: sign(null, Buffer.from(canonicalJson(MANIFEST)), privateKey).toString("base64"),
  }));
  expect(() => verifyManifest({ manifest: MANIFEST, signatures }, trust, NOW)).toThrow("is wrong");
});

test("two of three keys must sign, and one that signs twice counts once", async () => {
  const { keys, trust } = await made({ signingKeys: 3, threshold: 2 });
  const [first, second] = keys;
  if (first === undefined || second === undefined) throw new Error("three keys were asked for");
  expect(() => verifyManifest(signManifest(MANIFEST, [first]), trust, NOW)).toThrow("1 of 2");
  expect(() => verifyManifest(signManifest(MANIFEST, [first, first]), trust, NOW)).toThrow("1 of 2");
  expect(verifyManifest(signManifest(MANIFEST, [second, first]), trust, NOW).signedBy).toHaveLength(2);
});

test("a key for restrictions alone signs no revision, and not in anybody's place", async () => {
  const files = await initKeys(join(directory, "keys"), { now: NOW, restrictionKeys: 1 });
  const trust = await loadTrust(files.trust);
  const restricting = await loadSigningKey(files.restriction[0]?.file ?? "");
  const refused = { code: "untrusted", message: expect.stringContaining("is not trusted with a revision") };
  expect(() => verifyManifest(signManifest(MANIFEST, [restricting]), trust, NOW)).toThrow(
    expect.objectContaining(refused),
  );
  const statement = { any: "thing" };
  const signatures = signStatement("restriction", statement, [restricting]);
  const by = { trust, now: NOW, age: "new" } as const;
  expect(verifyStatement("it", "restriction", statement, signatures, by).signedBy).toEqual([restricting.keyId]);
  expect(() => verifyStatement("it", "log", statement, signatures, by)).toThrow("is not trusted with a log");
});

test("nothing is signed that the trust file that travels along does not cover", async () => {
  const { keys, files } = await made({ signingKeys: 2, threshold: 2, validityDays: 10 });
  const trust = await readFile(files.trust, "utf8");
  const at = (time: number): typeof MANIFEST => ({ ...MANIFEST, createdAt: new Date(time).toISOString() });
  expect(signManifest(at(NOW + DAY), keys, trust).trust).toBe(trust);
  expect(() => signManifest(at(NOW + 11 * DAY), keys, trust)).toThrow("has expired");
  expect(() => signManifest(at(NOW + DAY), keys.slice(1), trust)).toThrow("1 of 2");
  expect(() => signManifest(at(NOW + DAY), keys, trust.replaceAll('"threshold": 2', '"threshold": 1'))).toThrow("root");
});

test("a key out of its time signs no new revision, and what it signed before stays good", async () => {
  const { keys, trust } = await made({ validityDays: 10 });
  const signed = signManifest(MANIFEST, keys);
  const late = NOW + 11 * DAY;
  const early = NOW - DAY;
  expect(() => verifyManifest(signed, trust, late)).toThrow("has expired");
  expect(() => verifyManifest(signed, trust, early)).toThrow("is not valid yet");
  expect(verifyManifest(signed, trust, late, "stored").expired).toEqual([keys[0]?.keyId]);
  expect(verifyManifest(signed, trust, early, "stored")).toMatchObject({ expired: [] });
});

test("a trust file with anything changed that matters does not hold together", async () => {
  const { files } = await made();
  const other = await made({}, "other");
  const text = await readFile(files.trust, "utf8");
  const json: unknown = JSON.parse(text);
  const foreign: unknown = JSON.parse(await readFile(other.files.trust, "utf8"));
  const grant = get(json, "signingKeys", 0);
  const changes = [
    { ...entries(json), root: get(foreign, "root") },
    { ...entries(json), threshold: 2 },
    { ...entries(json), threshold: 0 },
    { ...entries(json), format: 3 },
    { ...entries(json), serial: 2 },
    { ...entries(json), signingKeys: [] },
    { ...entries(json), signingKeys: [grant, grant] },
    { ...entries(json), signingKeys: [get(foreign, "signingKeys", 0)] },
    { ...entries(json), signingKeys: [{ ...entries(grant), notAfter: "2099-01-01T00:00:00Z" }] },
    { ...entries(json), signingKeys: [{ ...entries(grant), keyId: "0000000000000000" }] },
  ];
  expect(() => parseTrust(text, "t")).not.toThrow();
  for (const changed of [...changes.map((value) => JSON.stringify(value)), text.slice(0, 100)]) {
    expect(() => parseTrust(changed, "t")).toThrow(expect.objectContaining({ code: "untrusted" }));
  }
});

test("what the root signed must make sense, too: a key stands there once, and there are as many as must sign", async () => {
  const { files, trust } = await made();
  const root = createPrivateKey(await readFile(files.root));
  const { rootSignature: _, ...statement } = parseTrustFile(trust.text, "t");
  expect(parseTrust(signTrust(statement, root), "t").rootKeyId).toBe(trust.rootKeyId);
  const twice = { ...statement, signingKeys: [...statement.signingKeys, ...statement.signingKeys] };
  expect(() => parseTrust(signTrust(twice, root), "t")).toThrow("twice");
  const [grant] = statement.signingKeys;
  if (grant === undefined) return expect.unreachable();
  const none = { ...statement, signingKeys: [{ ...grant, purposes: ["restriction" as const] }] };
  expect(() => parseTrust(signTrust(none, root), "t")).toThrow("asks for 1 of 0 keys");
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const other = { ...statement, signingKeys: [{ ...grant, keyId: keyIdOf(publicKey), publicKey: spki }] };
  expect(() => parseTrust(signTrust(other, root), "t")).toThrow("is not ed25519");
});

test("missing and unusable files are named, and their content is not shown", async () => {
  const file = join(directory, "key.pem");
  await expect(loadTrust(file)).rejects.toMatchObject({ code: "not-found" });
  await expect(loadSigningKey(file)).rejects.toMatchObject({ code: "not-found" });
  await writeFile(file, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
  await chmod(file, 0o600);
  const error: unknown = await loadSigningKey(file).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "invalid-argument" });
  expect(inspect(error)).not.toContain("c2VjcmV0");
});

function entries(value: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value ?? {}));
}

function get(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>((current, name) => entries(current)[name], value);
}
