import { ChanceryError } from "../resources/index.ts";
import type { Subscription } from "./bus.ts";
import type { NatsLink } from "./nats-connection.ts";

export interface WatchOptions {
  readonly link: NatsLink;
  /** Upper bound of the time between two looks (milliseconds). */
  readonly pollMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/** A subscription that can also be told to look now. */
export interface Watch extends Subscription {
  readonly open: boolean;
  look(): void;
}

/**
 * Looks now, at each new connection, when told, and every so often (the time is drawn from the upper half of `pollMs`),
 * because a doorbell that is lost rings silently. Never twice at a time; a call during a look makes one more.
 */
export function watching(look: () => Promise<void>, options: WatchOptions): Watch {
  const { link, pollMs, random, onAlarm } = options;
  let open = true;
  let running = false;
  let again = false;
  let told: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  const run = async (): Promise<void> => {
    if (running) again = true;
    // Without a connection there is nothing to see; that it is gone has been told.
    if (running || !open || !link.connected) return;
    running = true;
    do {
      again = false;
      try {
        await look();
        told = undefined;
      } catch (thrown) {
        const error = ChanceryError.from(thrown, "unavailable");
        // What stays wrong from one look to the next is told once.
        if (open && link.connected && error.message !== told) onAlarm(error);
        told = error.message;
      }
    } while (again && open);
    running = false;
  };
  const schedule = (): void => {
    timer = setTimeout(
      () => {
        schedule();
        void run();
      },
      pollMs * (0.5 + random() / 2),
    );
  };
  schedule();
  const connections = link.onConnected(() => void run());
  return {
    get open() {
      return open;
    },
    look: () => void run(),
    close: () => {
      open = false;
      clearTimeout(timer);
      connections.close();
    },
  };
}
