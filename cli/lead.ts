import { randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  claimHead,
  type LeaseKeeper,
  type LeaseStatus,
  type NatsBus,
  startLeaseKeeper,
} from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { ensureDirectory } from "../revision/index.ts";

/** Milliseconds between attempts to claim the head. */
const CLAIM_AGAIN_MS = 250;

export interface LeadOptions {
  readonly bus: NatsBus;
  readonly name: string;
  /** As `holderOf` gives it. */
  readonly holder: string;
  readonly ttlMs: number;
  /** This process leads from now on: publish. `head`: number of the newest revision on the bus; undefined: it has none. */
  readonly onLead: (head: number | undefined) => unknown;
  /** One line for people each time that the lead changes hands. */
  readonly onLine: (line: string) => void;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/** Whether this control plane leads. */
export interface Lead {
  /** undefined: it does not. */
  epoch(): number | undefined;
  status(): LeaseStatus;
  /** Gives the lead to whoever stands by. */
  close(): Promise<void>;
}

/** Takes part in who leads. A new leader first announces the head under its own epoch, so that one before it is too late. */
export async function startLead(options: LeadOptions): Promise<Lead> {
  const { bus, name, holder, ttlMs, onLead, onLine, onAlarm } = options;
  const keeping = Promise.withResolvers<LeaseKeeper>();
  let claiming: Promise<void> = Promise.resolve();
  const claim = async (epoch: number): Promise<void> => {
    const keeper = await keeping.promise;
    let head: number | undefined;
    while (keeper.epoch() === epoch) {
      try {
        head = await claimHead(bus, () => keeper.epoch());
        break;
      } catch (error) {
        // That another one leads ends the loop; where the bus gives no answer, publishing waits for it as well.
        onAlarm(ChanceryError.from(error, "unavailable"));
        await delay(CLAIM_AGAIN_MS);
      }
    }
    if (keeper.epoch() === epoch) onLead(head);
  };
  const keeper = await startLeaseKeeper({
    cell: bus.lease,
    name,
    holder,
    ttlMs,
    onElected: (epoch, waitedMs) => {
      const after = waitedMs > 0 ? `, ${Math.round(waitedMs)} ms after the last sign of the one before` : "";
      onLine(`${name} leads under epoch ${epoch}${after}`);
      claiming = claim(epoch);
    },
    onLost: (epoch, reason) => onLine(`${name} leads no more under epoch ${epoch}: ${reason}`),
    onAlarm,
    now: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
  });
  keeping.resolve(keeper);
  await claiming;
  const heads = bus.watchHead(({ epoch }) => {
    if (epoch !== undefined) keeper.heard(epoch);
  });
  return {
    epoch: () => keeper.epoch(),
    status: () => keeper.status(),
    close: async () => {
      heads.close();
      await keeper.close();
    },
  };
}

/** A name for whoever has this state directory, which is one process at a time. */
export async function holderOf(stateDirectory: string): Promise<string> {
  const file = join(stateDirectory, "holder");
  const kept = (await readFile(file, "utf8").catch(() => "")).trim();
  if (/^[0-9a-f-]{36}$/.test(kept)) return kept;
  const holder = randomUUID();
  await ensureDirectory(stateDirectory);
  await writeFile(`${file}.new`, `${holder}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return holder;
}
