import { readFile, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type Credential, parsePrincipals } from "../admin/index.ts";
import { ChanceryError } from "../resources/index.ts";
import type { Logger } from "./logging.ts";

const MAX_BYTES = 1024 * 1024;
/** Milliseconds between looks: how long somebody who was struck off may still call. */
const POLL_MS = 2_000;

/** Who is let in with a token of their own, read again when the file changes. */
export interface PrincipalsFile {
  current(): readonly Credential[];
  close(): void;
}

/**
 * Reads a file of principals, and goes on looking. One that cannot be taken is logged, and the last good list stays; an
 * empty list lets nobody in.
 *
 * @returns undefined when none is named
 * @throws ChanceryError "not-found", "invalid-argument"
 */
export async function openPrincipalsFile(
  file: string | undefined,
  log: Pick<Logger, "info" | "error">,
  pollMs = POLL_MS,
): Promise<PrincipalsFile | undefined> {
  if (file === undefined) return undefined;
  const closing = new AbortController();
  let text = await read(file);
  let current = parsePrincipals(text, file);
  let problem: string | undefined;

  const look = async (): Promise<void> => {
    try {
      const next = await read(file);
      if (next !== text) {
        current = parsePrincipals(next, file);
        text = next;
        log.info({ file, principals: current.map(({ principal }) => principal.name) }, "the principals have changed");
      }
      problem = undefined;
    } catch (error) {
      const { message } = ChanceryError.from(error);
      if (message !== problem) {
        log.error({ problem: message }, "the principals cannot be read again; the last good ones stay");
      }
      problem = message;
    }
  };
  void (async () => {
    while (!closing.signal.aborted) {
      await delay(pollMs, undefined, { signal: closing.signal, ref: false }).catch(() => undefined);
      if (!closing.signal.aborted) await look();
    }
  })();
  return { current: () => current, close: () => closing.abort() };
}

async function read(file: string): Promise<string> {
  try {
    if ((await stat(file)).size > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`);
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new ChanceryError("not-found", `the principals file ${file} cannot be read`, { cause });
  }
}
