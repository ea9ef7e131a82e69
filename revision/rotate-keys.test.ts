import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { encodeParts } from "./codec.ts";
import { initKeys, loadSigningKey } from "./keys.ts";
import { createManifest, encodeSignedManifest } from "./manifest.ts";
import { exampleParts } from "./parts-fixture.ts";
import { rotateKeys } from "./rotate-keys.ts";
import { signManifest, verifyManifest } from "./signature.ts";
import { openRevisionStore } from "./store.ts";
import { loadTrust, parseTrust, type Trust } from "./trust.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const MANIFEST = createManifest(3, NOW, "tree", []);

let root: string;
let directory: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-rotate-"));
  directory = join(root, "keys");
  await initKeys(directory, { now: NOW });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const trustFile = (): string => join(directory, "trust.json");
const key = (name: string) => loadSigningKey(join(directory, name));

test("the root vouches for a new key, then no more for the old one", async () => {
  const trust = await loadTrust(trustFile());
  const old = await key("signing-1.pem");
  const added = await rotateKeys(directory, { now: NOW });
  expect(added).toMatchObject({ added: { file: join(directory, "signing-2.pem") }, serial: 2, retired: [] });
  expect((await stat(join(directory, "signing-2.pem"))).mode & 0o777).toBe(0o600);
  expect((await stat(trustFile())).mode & 0o777).toBe(0o644);
  const fresh = await key("signing-2.pem");
  expect(() => verifyManifest(signManifest(MANIFEST, [fresh]), trust, NOW)).toThrow("is not trusted");

  expect(trust.update(await readFile(trustFile(), "utf8"), "t")).toBe(true);
  for (const each of [old, fresh]) verifyManifest(signManifest(MANIFEST, [each]), trust, NOW);
  await rotateKeys(directory, { now: NOW, add: "none", retire: [old.keyId] });
  trust.update(await readFile(trustFile(), "utf8"), "t");
  expect(trust.serial).toBe(3);
  expect(() => verifyManifest(signManifest(MANIFEST, [old]), trust, NOW)).toThrow("is not trusted");
  expect(() => verifyManifest(signManifest(MANIFEST, [old]), trust, NOW, "stored")).toThrow("is not trusted");
  verifyManifest(signManifest(MANIFEST, [fresh]), trust, NOW);
});

test("an older trust file, or one of another root, changes nothing", async () => {
  const first = await readFile(trustFile(), "utf8");
  await rotateKeys(directory, { now: NOW });
  const trust = await loadTrust(trustFile());
  expect(trust.update(first, "t")).toBe(false);
  expect(trust.serial).toBe(2);
  const other = await initKeys(join(root, "other"), { now: NOW });
  const foreign = await readFile(other.trust, "utf8");
  expect(() => trust.update(foreign, "t")).toThrow(expect.objectContaining({ code: "untrusted" }));
  expect(() => trust.update(first.replace('"serial": 1', '"serial": 9'), "t")).toThrow("not what the root signed");
  expect(trust.keys.size).toBe(2);
});

test("of two trust files with one number, the one that was there first stays", async () => {
  const before = await readFile(trustFile());
  await rotateKeys(directory, { now: NOW });
  const first = await readFile(trustFile(), "utf8");
  await writeFile(trustFile(), before);
  await rm(join(directory, "signing-2.pem"));
  await rotateKeys(directory, { now: NOW });
  const second = await readFile(trustFile(), "utf8");
  const trust = parseTrust(first, "t");
  expect(parseTrust(second, "t").serial).toBe(trust.serial);
  expect(trust.update(second, "t")).toBe(false);
  expect(trust.text).toBe(first);
});

test("a trust file is rotated by its own root alone, and keeps enough keys", async () => {
  const other = await initKeys(join(root, "other"), { now: NOW });
  await expect(rotateKeys(directory, { now: NOW, root: other.root })).rejects.toMatchObject({ code: "untrusted" });
  const { keyId } = await key("signing-1.pem");
  const before = await readFile(trustFile());
  await expect(rotateKeys(directory, { now: NOW, add: "none", retire: [keyId] })).rejects.toMatchObject({
    code: "untrusted",
  });
  await expect(rotateKeys(directory, { now: NOW, retire: ["0000000000000000"] })).rejects.toMatchObject({
    code: "invalid-argument",
  });
  await expect(rotateKeys(directory, { now: NOW, add: ["restriction"], retire: [keyId] })).rejects.toMatchObject({
    code: "untrusted",
  });
  expect(await readFile(trustFile())).toEqual(before);
});

test("a revision brings the keys that the root vouches for since, and a restart remembers them", async () => {
  const alarms: string[] = [];
  const onAlarm = (error: Error) => void alarms.push(error.message);
  const machine = join(root, "machine-trust.json");
  await copyFile(trustFile(), machine);
  const old = await key("signing-1.pem");
  await rotateKeys(directory, { now: NOW, retire: [old.keyId] });
  const fresh = await key("signing-2.pem");
  const text = await readFile(trustFile(), "utf8");
  const encoded = encodeParts(exampleParts());
  const manifest = createManifest(3, NOW, "tree", encoded.parts);
  const open = async (trust: Trust) => openRevisionStore(join(root, "store"), { trust, now: () => NOW, onAlarm });
  const trust = await loadTrust(machine);
  const store = await open(trust);
  const accept = (along?: string) => {
    const signed = { ...signManifest(manifest, [fresh]), ...(along === undefined ? {} : { trust: along }) };
    return store.accept(encodeSignedManifest(signed), async (digest) => encoded.blobs.get(digest));
  };
  await expect(accept()).rejects.toMatchObject({ code: "untrusted" });
  await expect(accept(text.replace(fresh.keyId, old.keyId))).rejects.toMatchObject({ code: "untrusted" });
  expect(alarms).toEqual([expect.stringContaining("revision 3")]);
  expect((await accept(text)).revision.signedBy).toEqual([fresh.keyId]);
  expect(trust.serial).toBe(2);
  await store.close();

  const restarted = await loadTrust(machine);
  expect(restarted.serial).toBe(1);
  const again = await open(restarted);
  expect((await again.lastGood())?.revision.signedBy).toEqual([fresh.keyId]);
  expect(restarted.serial).toBe(2);
  await again.close();
});
