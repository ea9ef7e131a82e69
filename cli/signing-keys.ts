import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { initKeys, loadSigningKey, loadTrust, type SigningKey } from "../revision/index.ts";
import type { Logger } from "./logging.ts";

export interface SigningKeys {
  readonly signers: readonly SigningKey[];
  readonly trustFile: string;
}

/**
 * The keys in a directory (`chancery keys init`): as many as the trust file asks for. An empty or missing directory is
 * filled with new ones.
 */
export async function openSigningKeys(directory: string, log: Logger): Promise<SigningKeys> {
  const names = await readdir(directory).catch(() => []);
  if (names.length === 0) {
    const made = await initKeys(directory, { now: Date.now() });
    log.info({ directory, root: made.rootKeyId }, "made keys, because there were none");
  }
  const trustFile = join(directory, "trust.json");
  const { threshold, keys } = await loadTrust(trustFile);
  const signers: SigningKey[] = [];
  for (let number = 1; signers.length < threshold && number <= keys.size; number += 1) {
    signers.push(await loadSigningKey(join(directory, `signing-${number}.pem`)));
  }
  return { signers, trustFile };
}
