import { ChanceryError } from "../resources/index.ts";
import type { SignedManifest } from "../revision/index.ts";
import type { Bus, SequencedHead, Subscription } from "./bus.ts";
import { parseHeadManifest, readHeadBytes } from "./head-check.ts";

const EVERY_MS = 3_000;
/** Longer than a change of leaders or the way of a revision to every relay takes. */
const UNPROVEN_MS = 30_000;

export interface RefillOptions {
  readonly bus: Bus;
  /** Number of the newest revision that was put on the bus from here; 0: none. */
  readonly published: () => number;
  /** Puts everything on the bus again. Never called twice at a time. */
  readonly refill: () => Promise<unknown>;
  /** Whether a revision was signed by whom it should; left out: nobody looks. */
  readonly covers?: ((signed: SignedManifest) => boolean) | undefined;
  /** Under which this process leads, where there are leaders. */
  readonly epoch?: () => number | undefined;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Upper bound of the time (milliseconds) between two looks; 3,000 unless given. */
  readonly everyMs?: number;
  /** Milliseconds that a head may stand which nothing vouches for; 30,000 unless given. */
  readonly unprovenMs?: number;
}

/**
 * Looks every so often whether a bus still has what was published on it, and has it put there again where it was wiped,
 * went back in time, or says something else for a while than any revision does.
 */
export function keepFilled(options: RefillOptions): Subscription {
  const { bus, published, refill, random, onAlarm, everyMs = EVERY_MS } = options;
  const { unprovenMs = UNPROVEN_MS } = options;
  let closed = false;
  let doubted: { readonly sequence: number; readonly since: number; readonly told: boolean } | undefined;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    const number = published();
    if (number === 0) return;
    const head = await bus.head();
    const bytes = head === undefined ? undefined : await readHeadBytes(bus, head);
    const lost = whatIsLost(head, bytes, number) ?? whatStands(head, bytes);
    if (lost === undefined || closed) return;
    onAlarm(new ChanceryError("unavailable", `${lost}: everything is put there again`));
    await refill();
  };
  /** What is wrong with a head that has been there for long; told once of each. */
  const whatStands = (head: SequencedHead | undefined, bytes: Uint8Array | undefined): string | undefined => {
    const wrong = head === undefined || bytes === undefined ? undefined : whatIsWrong(head, bytes, options);
    if (head === undefined || wrong === undefined) {
      doubted = undefined;
      return undefined;
    }
    const at = performance.now();
    if (doubted?.sequence !== head.sequence) doubted = { sequence: head.sequence, since: at, told: false };
    if (doubted.told || at - doubted.since < unprovenMs) return undefined;
    doubted = { ...doubted, told: true };
    return wrong;
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

function whatIsLost(
  head: SequencedHead | undefined,
  manifest: Uint8Array | undefined,
  published: number,
): string | undefined {
  if (head === undefined) return `the bus has lost revision ${published}`;
  if (head.number < published) return `the bus has gone back from revision ${published} to ${head.number}`;
  return manifest === undefined ? `the bus has lost the content of revision ${head.number}` : undefined;
}

function whatIsWrong(head: SequencedHead, manifest: Uint8Array, options: RefillOptions): string | undefined {
  const { covers = () => true, epoch = () => undefined } = options;
  if (head.epoch !== undefined && head.epoch < (epoch() ?? 0)) {
    return `revision ${head.number} is announced by a leader that is none any more`;
  }
  const signed = parseHeadManifest(manifest);
  if (signed?.manifest.number !== head.number) return `the head says ${head.number}, and no revision does`;
  return covers(signed) ? undefined : `revision ${head.number} is signed by nobody who may`;
}
