import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nkeys } from "@nats-io/nats-core";
import { type NatsOptions, type RunningNats, startNats } from "../support/index.ts";

const DELIVERED = join(import.meta.dirname, "../../deploy/nats");
const USERS = {
  hub: ["CONTROL", "XDS", "AUTHZ", "EU", "OPERATOR"],
  region: ["RELAY", "XDS", "AUTHZ", "OPERATOR"],
} as const;

/** A nats-server with the users that are delivered. */
export interface Place {
  readonly nats: RunningNats;
  readonly prefix: string;
  /** User → seed. */
  readonly seeds: ReadonlyMap<string, string>;
  /** Writes a file with the seed of a user, as `--nats-creds` takes it. @returns its path */
  credentials(user: string, directory: string): Promise<string>;
}

export async function startPlace(kind: keyof typeof USERS, options: NatsOptions = {}): Promise<Place> {
  const seeds = new Map<string, string>();
  const env: Record<string, string> = {};
  for (const user of USERS[kind]) {
    const pair = nkeys.createUser();
    env[`${user}_NKEY`] = pair.getPublicKey();
    seeds.set(user, new TextDecoder().decode(pair.getSeed()));
  }
  const users = await readFile(join(DELIVERED, `${kind}-users.conf`), "utf8");
  const prefix = kind === "hub" ? "chancery" : "eu";
  return {
    nats: await startNats({ ...options, config: `${options.config ?? ""}\n${users}`, env }),
    prefix,
    seeds,
    credentials: async (user, directory) => {
      const file = join(directory, `${prefix}-${user}.nk`);
      await writeFile(file, `${seeds.get(user)}\n`, { mode: 0o600 });
      return file;
    },
  };
}
