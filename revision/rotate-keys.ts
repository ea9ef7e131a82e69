import { chmod, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { durableFiles, syncDirectory } from "./durable-file.ts";
import { loadSigningKey, makeKey, pem, writeNew } from "./keys.ts";
import { loadTrust, type Purpose, parseTrustFile, signTrust } from "./trust.ts";

export interface RotateKeysOptions {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Private key of the root; `root.pem` in the directory unless given. */
  readonly root?: string;
  /** Life of the new key; 365 unless given. */
  readonly validityDays?: number;
  /** What the new key is for: everything unless given; "none" makes no new key. */
  readonly add?: Purpose[] | "none";
  /** Ids of keys that are believed no more. */
  readonly retire?: readonly string[];
}

export interface RotatedKeys {
  readonly added?: { readonly file: string; readonly keyId: string };
  readonly retired: readonly string[];
  readonly trust: string;
  readonly serial: number;
}

const MAX_KEY_FILES = 1_000;

/**
 * Makes a new signing key and has the root vouch for it, or stop vouching for others: writes the key beside the others and
 * the trust file anew, with the next serial. Processes that have the old trust file take the new one from the next
 * revision that they get.
 *
 * @throws ChanceryError "not-found", "untrusted", "invalid-argument"
 */
export async function rotateKeys(directory: string, options: RotateKeysOptions): Promise<RotatedKeys> {
  const { now, validityDays = 365, add, retire = [] } = options;
  const trustFile = join(directory, "trust.json");
  // Nothing is built upon a trust file that does not hold together.
  const before = await loadTrust(trustFile);
  const { rootSignature: _, ...statement } = parseTrustFile(await readFile(trustFile, "utf8"), trustFile);
  const root = await loadSigningKey(options.root ?? join(directory, "root.pem"));
  if (root.keyId !== before.rootKeyId) {
    throw new ChanceryError("untrusted", `the root of ${trustFile} is ${before.rootKeyId}, not ${root.keyId}`);
  }
  for (const keyId of retire) {
    if (!before.keys.has(keyId)) throw new ChanceryError("invalid-argument", `${trustFile} names no key ${keyId}`);
  }
  const made = add === "none" ? undefined : makeKey(now, validityDays, add);
  const kept = statement.signingKeys.filter(({ keyId }) => !retire.includes(keyId));
  const signingKeys = made === undefined ? kept : [...kept, made.grant];
  const text = signTrust({ ...statement, serial: before.serial + 1, signingKeys }, root.privateKey);
  // The same rules as for whoever reads it: too few keys for the threshold, too many in all.
  before.update(text, "the new trust file");

  const prefix = add !== "none" && add?.every((purpose) => purpose === "restriction") ? "restriction" : "signing";
  const file = made === undefined ? undefined : await writeNext(directory, prefix, pem(made.privateKey));
  const files = durableFiles(directory);
  await files.write(trustFile, Buffer.from(text));
  // Public keys: for every process, whoever it runs as.
  await chmod(trustFile, 0o644);
  await syncDirectory(directory);
  return {
    ...(made === undefined || file === undefined ? {} : { added: { file, keyId: made.grant.keyId } }),
    retired: [...retire],
    trust: trustFile,
    serial: before.serial,
  };
}

/** The first number that is free: a retired key keeps its file, and its number. */
async function writeNext(directory: string, prefix: string, text: string): Promise<string> {
  for (let number = 1; number <= MAX_KEY_FILES; number += 1) {
    const file = join(directory, `${prefix}-${number}.pem`);
    try {
      await writeNew(file, text, 0o600);
      return file;
    } catch (error) {
      if (!(error instanceof ChanceryError) || error.code !== "conflict") throw error;
    }
  }
  throw new ChanceryError("conflict", `${directory} has ${MAX_KEY_FILES} key files; remove what is retired`);
}
