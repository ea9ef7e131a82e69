import { setTimeout as delay } from "node:timers/promises";
import { giveRestriction } from "../../admin/index.ts";
import { openNatsBus, type RestrictionStatement, signRestriction } from "../../distribution/index.ts";
import { waitFor } from "../support/wait-for.ts";
import { WAIT_MS } from "./region-processes.ts";
import type { Region, Regions } from "./regions-fixture.ts";

/** What `/spare` needs, and nothing else. */
const UPSTREAM = "spare";
const FOR_MS = 3_600_000;
/** A region has heard of a restriction when this many requests in a row are refused: both decision services are asked. */
const IN_A_ROW = 20;
/** Milliseconds between requests of one region's load. */
const PAUSE_MS = 5;

/** When a region answered for the last time what it must not, in milliseconds since the restriction was put somewhere. */
export interface LastIllegal {
  readonly region: string;
  /** The answer came. */
  readonly answeredMs: number;
  /** Its request was sent. */
  readonly sentMs: number;
  /** Answers under load from then on, all of them refused. */
  readonly refusedSince: number;
}

let given = 0;

/** A restriction of the upstream that `/spare` needs. */
export function restriction(reason: string): RestrictionStatement & { readonly type: "restrict" } {
  given += 1;
  const [at, until] = [Date.now(), Date.now() + FOR_MS].map((each) => new Date(each).toISOString());
  return {
    ...{ format: 1, type: "restrict", id: `q-${String(given).padStart(16, "0")}`, kind: "upstream", value: UPSTREAM },
    ...{ reason, by: "test", at: at ?? "", until: until ?? "" },
  };
}

/** Puts a statement on the hub's bus, as `chancery quarantine --nats` does. @param onPut  just before it is sent */
export async function putAtHub(fleet: Regions, statement: RestrictionStatement, onPut?: () => void): Promise<void> {
  const bus = await openNatsBus({ servers: [fleet.hub.url], name: "quarantine", onAlarm: () => undefined });
  try {
    const entry = signRestriction(statement, [fleet.signer]);
    onPut?.();
    await bus.putRestriction(entry);
  } finally {
    await bus.close();
  }
}

/** Whether an entry of this id is on the hub's bus. */
export async function isAtHub(fleet: Regions, id: string): Promise<boolean> {
  const bus = await openNatsBus({ servers: [fleet.hub.url], name: "reader", onAlarm: () => undefined });
  try {
    const entries = await bus.restrictions();
    return entries.some((entry) => new TextDecoder().decode(entry).includes(id));
  } finally {
    await bus.close();
  }
}

/** Gives a statement to the relay of a region, as `chancery quarantine --server RELAY --key FILE` does. */
export async function giveToRelay(fleet: Regions, region: Region, statement: RestrictionStatement): Promise<void> {
  await giveRestriction({ control: region.relay.address }, { signed: signRestriction(statement, [fleet.signer]) });
}

/**
 * Keeps regions under load while a restriction is given, until each of them refuses.
 *
 * @param give  calls `put` when the statement leaves
 * @throws Error where a region lets a request through after `IN_A_ROW` were refused, or refuses `/open`
 */
export async function lastIllegalAnswers(
  regions: readonly Region[],
  give: (put: () => void) => Promise<void>,
): Promise<readonly LastIllegal[]> {
  const loads = regions.map((region) => startSpareLoad(region));
  await waitFor(() => loads.every(({ answers }) => answers.length >= IN_A_ROW), WAIT_MS, "load on every region");
  let put = Number.POSITIVE_INFINITY;
  await give(() => {
    put = performance.now();
  });
  try {
    return await Promise.all(
      loads.map(async ({ region, answers }) => {
        await waitFor(() => refusedAtEnd(answers) >= IN_A_ROW, WAIT_MS, `/${UPSTREAM} refused in ${region.name}`);
        const decided = answers.length;
        await waitFor(() => answers.length >= decided + IN_A_ROW, WAIT_MS, `more answers in ${region.name}`);
        if (answers.slice(decided).some(({ status }) => status === 200)) {
          throw new Error(`${region.name} let a request through after it had refused ${IN_A_ROW} in a row`);
        }
        if ((await region.ask("open")) !== 200) throw new Error(`${region.name} refuses what is not restricted`);
        const illegal = answers.filter(({ status, answeredAt }) => status === 200 && answeredAt > put);
        const sinceMs = (times: readonly number[]): number => Math.max(0, Math.round(Math.max(put, ...times) - put));
        return {
          region: region.name,
          answeredMs: sinceMs(illegal.map(({ answeredAt }) => answeredAt)),
          sentMs: sinceMs(illegal.map(({ sentAt }) => sentAt)),
          refusedSince: refusedAtEnd(answers),
        };
      }),
    );
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
}

/** Waits until `/spare` is answered so, in a region. */
export async function spareAnswers(region: Region, status: number): Promise<void> {
  let inRow = 0;
  await waitFor(
    async () => {
      inRow = (await region.ask(UPSTREAM)) === status ? inRow + 1 : 0;
      return inRow >= 4;
    },
    WAIT_MS,
    `/${UPSTREAM} answered with ${status} in ${region.name}`,
  );
}

interface SpareAnswer {
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly status: number;
}

function startSpareLoad(region: Region): {
  readonly region: Region;
  readonly answers: readonly SpareAnswer[];
  stop(): Promise<void>;
} {
  const answers: SpareAnswer[] = [];
  let running = true;
  const loop = (async () => {
    while (running) {
      const sentAt = performance.now();
      const status = await region.ask(UPSTREAM);
      answers.push({ sentAt, answeredAt: performance.now(), status });
      await delay(PAUSE_MS);
    }
  })();
  return {
    region,
    answers,
    stop: async () => {
      running = false;
      await loop;
    },
  };
}

function refusedAtEnd(answers: readonly SpareAnswer[]): number {
  return answers.length - 1 - answers.findLastIndex(({ status }) => status !== 403);
}
