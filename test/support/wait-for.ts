import { setTimeout as delay } from "node:timers/promises";

/**
 * Waits until `condition` gives something other than undefined and false, and returns it. An error that it throws
 * counts as "not yet" and is the cause of the failure.
 *
 * @param deadlineMs  milliseconds from now
 * @param description  what is waited for, as the failure names it; a function is asked at the end
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  deadlineMs: number,
  description: string | (() => string),
): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + deadlineMs;
  let cause: unknown;
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= end) {
      const what = typeof description === "string" ? description : description();
      const why = cause instanceof Error ? ` (${cause.message})` : "";
      throw new Error(`not within ${deadlineMs} ms: ${what}${why}`, { cause });
    }
    await delay(pauseMs);
  }
}
