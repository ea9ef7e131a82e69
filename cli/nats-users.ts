import { join } from "node:path";
import { nkeys } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";
import { ensureDirectory, writeNew } from "../revision/index.ts";

/** A NATS user: the seed stays with the process (`--nats-creds`), the public key is named in the server's configuration. */
export interface NatsUser {
  readonly name: string;
  readonly file: string;
  readonly publicKey: string;
}

/**
 * Makes NATS users (nkeys, ed25519), each with its seed in `<name>.nk` (mode 0600).
 *
 * @throws ChanceryError "conflict" for a file that is there, "invalid-argument" for a name that no file should have
 */
export async function makeNatsUsers(directory: string, names: readonly string[]): Promise<NatsUser[]> {
  for (const name of names) {
    if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) continue;
    throw new ChanceryError("invalid-argument", `"${name}" is no name for a user: lower-case letters, digits and -`);
  }
  await ensureDirectory(directory);
  const users: NatsUser[] = [];
  for (const name of names) {
    const pair = nkeys.createUser();
    const file = join(directory, `${name}.nk`);
    await writeNew(file, `${new TextDecoder().decode(pair.getSeed())}\n`, 0o600);
    users.push({ name, file, publicKey: pair.getPublicKey() });
    pair.clear();
  }
  return users;
}
