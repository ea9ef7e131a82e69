import { setTimeout as delay } from "node:timers/promises";
import { waitFor } from "../support/wait-for.ts";
import { type Restartable, WAIT_MS } from "./region-processes.ts";
import type { Regions } from "./regions-fixture.ts";
import { startLoad } from "./regions-load.ts";

/** One line of the table. */
export interface FaultResult {
  readonly fault: string;
  readonly answered: number;
  readonly wrong: number;
  readonly unavailable: number;
  /** Answered requests without a record on disk. */
  readonly lost: number;
  /** Milliseconds from the end of the fault until what was written meanwhile is in force everywhere. */
  readonly recoveredMs: number;
}

export interface Fault {
  readonly name: string;
  readonly begin: () => Promise<void> | void;
  readonly end: () => Promise<void> | void;
  /** Milliseconds between the two. */
  readonly lastsMs: number;
}

let edits = 0;

/** Denies a path that nobody denied before, and waits until every region refuses it. @returns milliseconds from the save */
export async function enforcedEverywhere(fleet: Regions): Promise<number> {
  const path = await edit(fleet);
  const saved = performance.now();
  await refusedEverywhere(fleet, path);
  return Math.round(performance.now() - saved);
}

async function edit(fleet: Regions): Promise<string> {
  edits += 1;
  const path = `path-${edits}`;
  await fleet.deny(path);
  return path;
}

async function refusedEverywhere(fleet: Regions, path: string): Promise<void> {
  await Promise.all(
    fleet.regions.map(({ name, ask, relay }) =>
      waitFor(
        async () => (await ask(path)) === 403,
        WAIT_MS,
        () =>
          [`/${path} refused in ${name}`, relay, ...fleet.controls]
            .map((each) =>
              typeof each === "string"
                ? each
                : `${each.name}\n${each.process.stdout().slice(-500)}\n${each.process.stderr().slice(-1_500)}`,
            )
            .join("\n"),
      ),
    ),
  );
}

/** Breaks something under load, changes the policy meanwhile, mends it, and waits until the change is in force. */
export async function runFault(fleet: Regions, fault: Fault): Promise<FaultResult> {
  const recordsBefore = await fleet.recordCount();
  const load = startLoad(fleet);
  await fault.begin();
  const path = await edit(fleet);
  await delay(fault.lastsMs);
  await fault.end();
  const ended = performance.now();
  await refusedEverywhere(fleet, path);
  const recoveredMs = Math.round(performance.now() - ended);
  const { answered, wrong, unavailable } = await load.stop();
  const records = (await fleet.recordCount()) - recordsBefore;
  return { fault: fault.name, answered, wrong, unavailable, lost: Math.max(0, answered - records), recoveredMs };
}

/** Killed at once, and started again after a while. */
export function killed(thing: Restartable, lastsMs: number): Fault {
  return { name: `${thing.name} killed`, begin: () => thing.kill(), end: () => thing.start(), lastsMs };
}

/** Everything that breaks in this table. @param cutMs  how long a region is cut off */
export async function faultsOf(fleet: Regions, cutMs: number, lastsMs: number): Promise<readonly Fault[]> {
  const [first, second] = fleet.regions;
  const { hub } = fleet;
  if (first === undefined || second === undefined) throw new Error("two regions are needed");
  const wiped = async (): Promise<void> => {
    await hub.kill();
    await hub.wipe();
  };
  const natsOf = (name: string, nats: typeof hub): Restartable => ({
    name: `NATS ${name}`,
    kill: () => nats.kill(),
    start: () => nats.start(),
  });
  const leader: { killed?: Restartable } = {};
  return [
    {
      name: `region ${first.name} cut off`,
      begin: () => first.link.cut(),
      end: () => first.link.heal(),
      lastsMs: cutMs,
    },
    {
      name: `link of ${second.name} stalled`,
      begin: () => second.link.stall(),
      end: () => second.link.heal(),
      lastsMs,
    },
    {
      name: `link of ${second.name} half open`,
      begin: () => second.link.lose(),
      end: () => second.link.heal(),
      lastsMs,
    },
    killed(natsOf("hub", hub), lastsMs),
    { name: "NATS hub wiped", begin: wiped, end: () => hub.start(), lastsMs },
    {
      name: "leader killed",
      begin: async () => {
        leader.killed = await fleet.leader();
        await leader.killed.kill();
      },
      // Nobody brings it back: the other one takes over.
      end: () => undefined,
      lastsMs: 0,
    },
    {
      name: "  and started again",
      begin: () => undefined,
      end: () => leader.killed?.start(),
      lastsMs: 0,
    },
    killed(natsOf(first.name, first.nats), lastsMs),
    killed(first.relay, lastsMs),
    killed(first.xds, lastsMs),
    ...first.authz.map((authz) => killed(authz, lastsMs)),
  ];
}

export function faultTable(results: readonly FaultResult[]): string {
  const head = ["fault", "answers", "wrong", "503 or none", "records lost", "in force after"];
  const rows = results.map((row) => [
    row.fault,
    ...[row.answered, row.wrong, row.unavailable, row.lost].map(String),
    `${row.recoveredMs} ms`,
  ]);
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string => {
    return cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ");
  };
  return [line(head), ...rows.map(line)].join("\n");
}
