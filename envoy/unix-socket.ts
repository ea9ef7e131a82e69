import { chmod, rm, stat } from "node:fs/promises";
import { createConnection } from "node:net";
import { ChanceryError } from "../resources/index.ts";

/**
 * Makes way for a server on a Unix socket: one that nobody answers on is left from a process that died, one that somebody
 * answers on is not ours to take.
 *
 * @throws ChanceryError "unavailable" where another process listens, "invalid-argument" for what is no socket
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const entry = await stat(path).catch(() => undefined);
  if (entry === undefined) return;
  if (!entry.isSocket()) throw new ChanceryError("invalid-argument", `${path} exists and is no socket`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (answered) throw new ChanceryError("unavailable", `another process listens on ${path}`);
  await rm(path, { force: true });
}

/** Lets the owner and the group of a Unix socket connect to it, and nobody else. */
export async function shareSocket(path: string): Promise<void> {
  await chmod(path, 0o660);
}
