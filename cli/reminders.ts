import type { Logger } from "./logging.ts";

const DAY_MS = 86_400_000;
const LOOK_MS = 60_000;

/** What somebody has to see to before it is too late. */
export interface Reminder {
  /** The same as long as it is the same matter. */
  readonly id: string;
  readonly level: "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface RemindersOptions {
  /** What there is to remind of now. */
  readonly check: () => readonly Reminder[];
  readonly log: Pick<Logger, "warn" | "error">;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds between two looks. */
  readonly lookMs?: number;
}

/** Logs each reminder when it comes up, when it becomes an error, and once a day for as long as it stands. */
export function startReminders(options: RemindersOptions): { readonly close: () => void } {
  const { check, log, now, lookMs = LOOK_MS } = options;
  let told = new Map<string, number>();
  const look = (): void => {
    const next = new Map<string, number>();
    for (const { id, level, message, fields } of check()) {
      const key = `${level} ${id}`;
      const before = told.get(key);
      const isDue = before === undefined || now() - before >= DAY_MS;
      if (isDue) log[level](fields, message);
      next.set(key, isDue ? now() : before);
    }
    told = next;
  };
  look();
  const timer = setInterval(look, lookMs);
  timer.unref();
  return { close: () => clearInterval(timer) };
}
