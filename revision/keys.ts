import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { access, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { ensureDirectory, errorCode, syncDirectory } from "./durable-file.ts";
import { type KeyGrant, keyIdOf, type Purpose, signTrust } from "./trust.ts";

const DAY_MS = 86_400_000;
/** A machine whose clock is a little behind can use a fresh key at once. */
const BACKDATE_MS = 5 * 60_000;

/** Signs revisions; the private key stays in the KeyObject and is never written. */
export interface SigningKey {
  readonly keyId: string;
  readonly privateKey: KeyObject;
}

export interface InitKeysOptions {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Life of the signing keys; 365 unless given. */
  readonly validityDays?: number;
  /** How many signing keys to make (1 to 16); 1 unless given. */
  readonly signingKeys?: number;
  /** How many of them must sign a revision; 1 unless given. */
  readonly threshold?: number;
  /** How many keys to make that sign restrictions alone (0 to 16), for people who may stop traffic; none unless given. */
  readonly restrictionKeys?: number;
}

/** Files that `initKeys` made. The root's private key is only needed to vouch for signing keys: keep it elsewhere. */
export interface KeyFiles {
  readonly root: string;
  readonly rootKeyId: string;
  readonly signing: readonly { readonly file: string; readonly keyId: string }[];
  readonly restriction: readonly { readonly file: string; readonly keyId: string }[];
  readonly trust: string;
}

/**
 * Makes the root key (`root.pem`), signing keys (`signing-1.pem`, …), keys of the kill switch
 * (`restriction-1.pem`, …; all ed25519, PKCS#8, mode 0600) and the trust file
 * (`trust.json`, public keys only) in `directory` (made with mode 0700).
 *
 * @throws ChanceryError "conflict" when one of the files is there, before anything is written
 */
export async function initKeys(directory: string, options: InitKeysOptions): Promise<KeyFiles> {
  const { now, validityDays = 365, signingKeys: count = 1, threshold = 1, restrictionKeys = 0 } = options;
  if (!Number.isInteger(count) || count < 1 || count > 16) {
    throw new ChanceryError("invalid-argument", `the number of signing keys is ${count}; it must be 1 to 16`);
  }
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > count) {
    throw new ChanceryError("invalid-argument", `the threshold is ${threshold}; it must be 1 to ${count}`);
  }
  if (!(validityDays > 0 && validityDays <= 36_500)) {
    throw new ChanceryError("invalid-argument", `the validity is ${validityDays} days; it must be 1 to 36500`);
  }
  if (!Number.isInteger(restrictionKeys) || restrictionKeys < 0 || restrictionKeys > 16) {
    throw new ChanceryError(
      "invalid-argument",
      `the number of restriction keys is ${restrictionKeys}; it must be 0 to 16`,
    );
  }
  const files = {
    root: join(directory, "root.pem"),
    signing: Array.from({ length: count }, (_, index) => join(directory, `signing-${index + 1}.pem`)),
    restriction: Array.from({ length: restrictionKeys }, (_, index) => join(directory, `restriction-${index + 1}.pem`)),
    trust: join(directory, "trust.json"),
  };
  for (const file of [files.root, ...files.signing, ...files.restriction, files.trust]) await refuseExisting(file);

  const root = generateKeyPairSync("ed25519");
  const rootKeyId = keyIdOf(root.publicKey);
  const grants: KeyGrant[] = [];
  const make = (file: string, purposes?: Purpose[]): MadeKey => {
    const made = makeKey(now, validityDays, purposes);
    grants.push(made.grant);
    return { file, keyId: made.grant.keyId, privateKey: made.privateKey };
  };
  const signing = files.signing.map((file) => make(file));
  const restriction = files.restriction.map((file) => make(file, ["restriction"]));
  const statement = {
    format: 2,
    serial: 1,
    threshold,
    root: { keyId: rootKeyId, publicKey: spki(root.publicKey) },
  } as const;
  const trust = signTrust({ ...statement, signingKeys: grants }, root.privateKey);

  await ensureDirectory(directory);
  await writeNew(files.root, pem(root.privateKey), 0o600);
  for (const { file, privateKey } of [...signing, ...restriction]) await writeNew(file, pem(privateKey), 0o600);
  await writeNew(files.trust, trust, 0o644);
  await syncDirectory(directory);
  return {
    root: files.root,
    rootKeyId,
    signing: signing.map(({ file, keyId }) => ({ file, keyId })),
    restriction: restriction.map(({ file, keyId }) => ({ file, keyId })),
    trust: files.trust,
  };
}

interface MadeKey {
  readonly file: string;
  readonly keyId: string;
  readonly privateKey: KeyObject;
}

/** @throws ChanceryError "not-found", or "invalid-argument" when the file holds no ed25519 private key */
export async function loadSigningKey(file: string): Promise<SigningKey> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw ChanceryError.from(error, "invalid-argument");
    throw new ChanceryError("not-found", `there is no signing key ${file}; "chancery keys init" makes one`);
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(text);
  } catch {
    // The parser's own error is left out: nothing of what the file holds may come into a log.
    throw new ChanceryError("invalid-argument", `${file} holds no private key in PEM (PKCS#8)`);
  }
  if (privateKey.asymmetricKeyType !== "ed25519") {
    throw new ChanceryError("invalid-argument", `${file} holds a key that is not ed25519`);
  }
  return { keyId: keyIdOf(createPublicKey(privateKey)), privateKey };
}

/** A fresh key, and what the root is to say of it. */
export function makeKey(
  now: number,
  validityDays: number,
  purposes?: Purpose[],
): { readonly privateKey: KeyObject; readonly grant: KeyGrant } {
  const pair = generateKeyPairSync("ed25519");
  const grant: KeyGrant = {
    keyId: keyIdOf(pair.publicKey),
    publicKey: spki(pair.publicKey),
    notBefore: new Date(now - BACKDATE_MS).toISOString(),
    notAfter: new Date(now + validityDays * DAY_MS).toISOString(),
    ...(purposes === undefined ? {} : { purposes }),
  };
  return { privateKey: pair.privateKey, grant };
}

async function refuseExisting(file: string): Promise<void> {
  try {
    await access(file);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw ChanceryError.from(error, "invalid-argument");
  }
  throw alreadyThere(file);
}

/** @throws ChanceryError "conflict" */
export async function writeNew(file: string, text: string, mode: number): Promise<void> {
  try {
    const handle = await open(file, "wx", mode);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw errorCode(error) === "EEXIST" ? alreadyThere(file) : error;
  }
}

function alreadyThere(file: string): ChanceryError {
  return new ChanceryError(
    "conflict",
    `${file} is there already; keys are never overwritten: choose another directory`,
  );
}

/** PKCS#8. */
export function pem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function spki(key: KeyObject): string {
  return key.export({ type: "spki", format: "der" }).toString("base64");
}
