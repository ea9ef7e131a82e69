import { ChanceryError } from "../resources/index.ts";
import { ensureDirectory, lockDirectory } from "../revision/index.ts";

/** A state directory belongs to one process at a time. */
export interface StateLock {
  /** Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Takes `<directory>/lock`, which names the process that holds it; one that is gone holds nothing.
 *
 * @throws ChanceryError "unavailable" when another process holds it, or there is no place for it
 */
export async function lockState(directory: string): Promise<StateLock> {
  await ensureDirectory(directory);
  const lock = await lockDirectory(
    directory,
    (pid) =>
      new ChanceryError(
        "unavailable",
        `the state directory ${directory} is in use by process ${pid}: stop it, or choose another by --state`,
      ),
    {
      onWait: (_, milliseconds) => {
        const wait = `waiting ${Math.ceil(milliseconds / 1_000)} s at most`;
        const who = "a process of another container, or of before the last boot, had it a short while ago";
        process.stderr.write(`${wait} for the state directory ${directory}: ${who}\n`);
      },
    },
  );
  return { close: () => lock.release() };
}
