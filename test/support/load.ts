import { setTimeout as delay } from "node:timers/promises";

export interface Load<T> {
  /** Requests begun a second, whether or not earlier ones were answered (open loop). */
  readonly rps: number;
  /** Requests in all; at most 1,000,000. */
  readonly count: number;
  readonly request: (index: number) => Promise<T>;
  readonly onAnswer?: (answer: Answer<T>) => void;
  /** Requests open at the same time; one more is not sent and counts as failed. 2,000 by default. */
  readonly maxOpen?: number;
  readonly signal?: AbortSignal;
}

export type Answer<T> = {
  readonly index: number;
  /** Milliseconds from the start of the load. */
  readonly startedMs: number;
  readonly tookMs: number;
} & ({ readonly value: T; readonly error?: never } | { readonly error: Error; readonly value?: never });

const COUNT_LIMIT = 1_000_000;

/** Runs a bounded open-loop load to its end and returns every answer, in the order in which requests were begun. */
export async function runLoad<T>(load: Load<T>): Promise<Answer<T>[]> {
  const { rps, count } = load;
  if (!(rps > 0) || !(count >= 0) || count > COUNT_LIMIT) throw new Error(`not a load: ${count} at ${rps}/s`);
  const maxOpen = load.maxOpen ?? 2_000;
  const answers: Answer<T>[] = [];
  const open = new Set<Promise<void>>();
  const start = performance.now();

  const send = async (index: number): Promise<void> => {
    const startedMs = performance.now() - start;
    let answer: Answer<T>;
    try {
      if (open.size >= maxOpen) throw new Error(`not sent: ${maxOpen} requests are open`);
      const value = await load.request(index);
      answer = { index, startedMs, tookMs: performance.now() - start - startedMs, value };
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      answer = { index, startedMs, tookMs: performance.now() - start - startedMs, error };
    }
    answers[index] = answer;
    load.onAnswer?.(answer);
  };

  for (let index = 0; index < count && load.signal?.aborted !== true; index += 1) {
    const wait = start + (index * 1_000) / rps - performance.now();
    // Timers have a resolution of a millisecond: below it the loop catches up by itself.
    if (wait > 1) await delay(wait);
    const sending = send(index).finally(() => open.delete(sending));
    open.add(sending);
  }
  await Promise.all(open);
  return answers;
}

/** Gives each item to `work` once, in their order, at most `atOnce` at the same time: as fast as they are answered. */
export async function runInTurns<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items[Symbol.iterator]();
  const next = async (): Promise<void> => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, next));
}
