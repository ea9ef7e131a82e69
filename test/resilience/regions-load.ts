import { setTimeout as delay } from "node:timers/promises";

/** What happened to a steady load while something broke. */
export interface LoadResult {
  /** Requests with an answer. */
  readonly answered: number;
  /** `/open` refused, or `/closed` let through. */
  readonly wrong: number;
  /** Answers that say that nobody could decide (503), and requests without one. */
  readonly unavailable: number;
}

export interface RunningLoad {
  stop(): Promise<LoadResult>;
}

/** Regions, as far as they are asked. */
export interface LoadTarget {
  readonly regions: readonly { ask(path: string): Promise<number> }[];
}

/** Asks each region again and again what must always be let through, and what must never be. */
export function startLoad({ regions }: LoadTarget, pauseMs = 25): RunningLoad {
  let running = true;
  let [answered, wrong, unavailable] = [0, 0, 0];
  const loops = regions.map(async ({ ask }) => {
    for (let index = 0; running; index++) {
      const path = index % 2 === 0 ? "open" : "closed";
      const status = await ask(path);
      if (status === 200 || status === 403) {
        answered += 1;
        if ((status === 200) !== (path === "open")) wrong += 1;
      } else {
        unavailable += 1;
      }
      await delay(pauseMs);
    }
  });
  return {
    stop: async () => {
      running = false;
      await Promise.all(loops);
      return { answered, wrong, unavailable };
    },
  };
}
