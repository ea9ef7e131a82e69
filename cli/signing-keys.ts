import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { initKeys, loadSigningKey, loadTrust, type SigningKey, type Trust } from "../revision/index.ts";
import type { Logger } from "./logging.ts";

export interface SigningKeys {
  readonly signers: readonly SigningKey[];
  readonly trust: Trust;
  readonly trustFile: string;
}

/**
 * The keys in a directory (`chancery keys init`): as many as the trust file asks for, those that are valid longest first.
 * An empty or missing directory is filled with new ones.
 *
 * @throws ChanceryError "untrusted" when too few of them are trusted with revisions now
 */
export async function openSigningKeys(directory: string, log: Logger): Promise<SigningKeys> {
  const names = await readdir(directory).catch(() => []);
  if (names.length === 0) {
    const made = await initKeys(directory, { now: Date.now() });
    log.info({ directory, root: made.rootKeyId }, "made keys, because there were none");
  }
  const trustFile = join(directory, "trust.json");
  const trust = await loadTrust(trustFile);
  const files = (await readdir(directory)).filter((name) => /^signing-\d+\.pem$/.test(name));
  const keys = await Promise.all(files.map((name) => loadSigningKey(join(directory, name))));
  const now = Date.now();
  const usable = keys
    .filter(({ keyId }) => mayPublish(trust, keyId, now))
    .sort((a, b) => endOf(trust, b) - endOf(trust, a));
  const signers = usable.slice(0, trust.threshold);
  if (signers.length < trust.threshold) {
    throw new ChanceryError(
      "untrusted",
      `${trustFile} asks for ${trust.threshold} signatures, and ${directory} has ${signers.length} keys that it trusts with revisions now; "chancery keys rotate ${directory}" makes one`,
    );
  }
  return { signers, trust, trustFile };
}

function mayPublish(trust: Trust, keyId: string, now: number): boolean {
  const key = trust.keys.get(keyId);
  return key?.purposes.has("revision") === true && key.notBefore <= now && now <= key.notAfter;
}

function endOf(trust: Trust, { keyId }: SigningKey): number {
  return trust.keys.get(keyId)?.notAfter ?? Number.NEGATIVE_INFINITY;
}
