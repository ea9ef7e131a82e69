import { ChanceryError } from "../resources/index.ts";
import type { Bus, Subscription } from "./bus.ts";

const EVERY_MS = 3_000;

export interface RefillOptions {
  readonly bus: Bus;
  /** Number of the newest revision that was put on the bus from here; 0: none. */
  readonly published: () => number;
  /** Puts everything on the bus again. Never called twice at a time. */
  readonly refill: () => Promise<unknown>;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Upper bound of the time (milliseconds) between two looks; 3,000 unless given. */
  readonly everyMs?: number;
}

/**
 * Looks every so often whether a bus still has what was published on it, and has it put there again where it was wiped
 * or went back in time.
 */
export function keepFilled(options: RefillOptions): Subscription {
  const { bus, published, refill, random, onAlarm, everyMs = EVERY_MS } = options;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    const number = published();
    if (number === 0) return;
    const lost = await whatIsLost(bus, number);
    if (lost === undefined || closed) return;
    onAlarm(new ChanceryError("unavailable", `${lost}: everything is put there again`));
    await refill();
  };
  const schedule = (): void => {
    const next = async (): Promise<void> => {
      // A bus that cannot be asked now is asked again; whoever opened it is told that it cannot be reached.
      await look().catch(() => undefined);
      if (!closed) schedule();
    };
    timer = setTimeout(() => void next(), everyMs * (0.5 + random() / 2));
  };
  schedule();
  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}

async function whatIsLost(bus: Bus, published: number): Promise<string | undefined> {
  const head = await bus.head();
  if (head === undefined) return `the bus has lost revision ${published}`;
  if (head.number < published) return `the bus has gone back from revision ${published} to ${head.number}`;
  const manifest = await bus.getBlob(head.manifest).catch((error: unknown) => {
    if (error instanceof ChanceryError && error.code === "corrupt") return undefined;
    throw error;
  });
  return manifest === undefined ? `the bus has lost the content of revision ${head.number}` : undefined;
}
