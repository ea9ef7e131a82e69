import { readFileSync } from "node:fs";
import { type Authenticator, credsAuthenticator, nkeyAuthenticator } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";

const MAX_BYTES = 64 * 1024;
/** An nkey seed of a user, alone on its line. */
const SEED = /^SU[A-Z2-7]{56}$/m;
const JWT = /-----BEGIN NATS USER JWT-----/;

/**
 * Who a process is towards NATS: a `.creds` file (JWT and seed), or a file with the nkey seed of a user. It is read at
 * each connection, so that it can be replaced without a restart.
 *
 * @throws ChanceryError "not-found", "invalid-argument" now, if it cannot be used now
 */
export function natsCredentials(file: string): Authenticator {
  load(file);
  return (nonce) => load(file)(nonce);
}

/** Synchronous, because the client asks in the middle of its handshake; the file is small. */
function load(file: string): Authenticator {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new ChanceryError("not-found", `the NATS credentials ${file} cannot be read`, { cause });
  }
  const text = bytes.length > MAX_BYTES ? "" : bytes.toString("utf8");
  if (JWT.test(text)) return credsAuthenticator(bytes);
  const seed = SEED.exec(text)?.[0];
  if (seed !== undefined) return nkeyAuthenticator(Buffer.from(seed));
  throw new ChanceryError("invalid-argument", `${file} is neither a .creds file nor the nkey seed of a user (SU…)`);
}
