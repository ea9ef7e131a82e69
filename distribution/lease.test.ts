import fc from "fast-check";
import { expect, test } from "vitest";
import { seeded } from "../test/support/index.ts";
import {
  type LeaseConfig,
  type LeaseEffect,
  type LeaseInput,
  type LeaseRecord,
  type LeaseState,
  leads,
  lease,
  noLease,
  release,
} from "./lease.ts";

const TTL = 300;
const config = (holder: string): LeaseConfig => ({ holder, name: holder, ttlMs: TTL });
const A = config("a");

function run(inputs: readonly LeaseInput[], own = A) {
  let state: LeaseState = noLease;
  const effects: LeaseEffect[] = [];
  for (const input of inputs) {
    const step = lease(state, input, own);
    state = step.state;
    effects.push(...step.effects);
  }
  return { state, effects };
}

const record = (more: Partial<LeaseRecord> = {}): LeaseRecord => ({
  holder: "b",
  name: "b",
  epoch: 5,
  ttlMs: TTL,
  released: false,
  sequence: 9,
  ...more,
});
const looked = (at: number, seen: LeaseRecord | undefined): LeaseInput => ({
  type: "looked",
  record: seen,
  at,
  clock: 1_000 + at,
});
const types = (effects: readonly LeaseEffect[]): string[] => effects.map(({ type }) => type);

test("a lease that nobody ever had is taken at once, with an epoch by the clock", () => {
  const { effects } = run([looked(10, undefined)]);
  expect(effects).toEqual([
    { type: "write", expected: 0, entry: { holder: "a", name: "a", epoch: 1_010, ttlMs: TTL, released: false } },
  ]);
});

test("a lease is renewed in time, and its holder leads until its time is over", () => {
  const { state, effects } = run([
    looked(0, undefined),
    { type: "written", sequence: 1, at: 20 },
    { type: "tick", at: 90, clock: 0 },
    { type: "tick", at: 100, clock: 0 },
    { type: "written", sequence: 2, at: 120 },
  ]);
  expect(types(effects)).toEqual(["write", "elected", "write"]);
  expect(effects.at(-1)).toMatchObject({ expected: 1, entry: { epoch: 1_000 } });
  expect([leads(state, A, 399), leads(state, A, 400)]).toEqual([1_000, undefined]);
});

test("another's lease is taken when its record has not changed for its time, with a newer epoch", () => {
  const waiting = run([
    looked(0, record()),
    looked(200, record({ sequence: 10 })),
    looked(499, record({ sequence: 10 })),
  ]);
  expect(waiting.effects).toEqual([]);
  const { effects } = run([
    looked(0, record({ epoch: 9_999 })),
    looked(300, record({ epoch: 9_999 })),
    { type: "written", sequence: 10, at: 310 },
  ]);
  expect(effects).toMatchObject([
    { type: "write", expected: 9, entry: { epoch: 10_000 } },
    { type: "elected", epoch: 10_000, waitedMs: 310 },
  ]);
});

test("a lease that was given back, or is this process's own from before, is taken at once", () => {
  expect(types(run([looked(0, record({ released: true }))]).effects)).toEqual(["write"]);
  expect(types(run([looked(0, record({ holder: "a" }))]).effects)).toEqual(["write"]);
});

test("a lease whose answer was lost is found by looking, and goes on", () => {
  const { effects, state } = run([
    looked(0, undefined),
    { type: "written", sequence: 1, at: 10 },
    { type: "tick", at: 150, clock: 0 },
    { type: "notWritten", at: 200 },
    looked(210, record({ holder: "a", epoch: 1_000, sequence: 2 })),
    { type: "written", sequence: 3, at: 220 },
  ]);
  expect(types(effects)).toEqual(["write", "elected", "write", "look", "write"]);
  expect(effects.at(-1)).toMatchObject({ expected: 2 });
  expect(leads(state, A, 500)).toBe(1_000);
});

test("whoever wakes up after its time leads no more, whatever it finds", () => {
  const { effects } = run([
    looked(0, undefined),
    { type: "written", sequence: 1, at: 10 },
    looked(5_000, record({ epoch: 6_000, sequence: 4 })),
  ]);
  expect(types(effects)).toEqual(["write", "elected", "lost"]);
});

test("an answer that came after the lease's time counts as none", () => {
  const { state, effects } = run([looked(0, undefined), { type: "written", sequence: 1, at: 400 }]);
  expect(types(effects)).toEqual(["write", "look"]);
  expect(leads(state, A, 400)).toBeUndefined();
});

test("a bus that lost the lease is waited for by the others, and taken again by its holder under a newer epoch", () => {
  const other = run([looked(0, record()), looked(100, undefined), looked(399, undefined)]);
  expect(other.effects).toEqual([]);
  expect(types(run([looked(0, record()), looked(100, undefined), looked(400, undefined)]).effects)).toEqual(["write"]);
  const holder = run([looked(0, undefined), { type: "written", sequence: 1, at: 10 }, looked(50, undefined)]);
  expect(types(holder.effects)).toEqual(["write", "elected", "lost", "write"]);
  expect(holder.effects.at(-1)).toMatchObject({ expected: 0, entry: { epoch: 1_050 } });
});

test("an epoch that nobody can go above is not gone above, and its lease is taken when its time is over", () => {
  const { effects } = run([looked(0, record({ epoch: 2 ** 52 })), looked(310, record({ epoch: 2 ** 52 }))]);
  expect(effects).toMatchObject([{ type: "write", entry: { epoch: 2 ** 52 } }]);
});

test("a newer epoch on a head ends the lead", () => {
  const { effects } = run([
    looked(0, undefined),
    { type: "written", sequence: 1, at: 10 },
    { type: "heard", epoch: 999, at: 20 },
    { type: "heard", epoch: 2_000, at: 30 },
  ]);
  expect(effects.at(-1)).toMatchObject({ type: "lost", epoch: 1_000 });
});

test("giving back is one write, and only of a lease that is held", () => {
  const { state } = run([looked(0, undefined), { type: "written", sequence: 1, at: 10 }]);
  expect(release(state, A, 50).effects).toMatchObject([{ type: "write", expected: 1, entry: { released: true } }]);
  expect(release(noLease, A, 50).effects).toEqual([]);
});

/** Several candidates over one cell; requests and answers take their time or are lost, processes sleep. */
class World {
  now = 0;
  readonly random: () => number;
  cell: LeaseRecord | undefined;
  sequence = 0;
  readonly states = new Map<string, LeaseState>();
  readonly clocks = new Map<string, number>();
  readonly asleep = new Map<string, number>();
  readonly epochs: number[] = [];
  queue: { readonly at: number; readonly run: () => void }[] = [];

  constructor(random: () => number, holders: readonly string[]) {
    this.random = random;
    for (const holder of holders) {
      this.states.set(holder, noLease);
      this.clocks.set(holder, Math.floor(random() * 1_000_000));
      this.later(0, () => this.tick(holder));
    }
  }

  later(ms: number, run: () => void): void {
    this.queue.push({ at: this.now + ms, run });
  }

  clock(holder: string): number {
    return this.now + (this.clocks.get(holder) ?? 0);
  }

  /** What a process does waits until it is awake. */
  awake(holder: string, run: () => void): void {
    const until = this.asleep.get(holder) ?? 0;
    if (until > this.now) this.later(until - this.now, () => this.awake(holder, run));
    else run();
  }

  tick(holder: string): void {
    this.awake(holder, () => {
      this.apply(holder, { type: "tick", at: this.clock(holder), clock: this.clock(holder) });
      this.look(holder);
      this.later(30 + this.random() * 30, () => this.tick(holder));
    });
  }

  look(holder: string): void {
    this.later(this.random() * 60, () => {
      const { cell } = this;
      if (this.random() < 0.1) return;
      this.later(this.random() * 60, () =>
        this.awake(holder, () =>
          this.apply(holder, { type: "looked", record: cell, at: this.clock(holder), clock: this.clock(holder) }),
        ),
      );
    });
  }

  apply(holder: string, input: LeaseInput): void {
    const step = lease(this.states.get(holder) ?? noLease, input, config(holder));
    this.states.set(holder, step.state);
    for (const effect of step.effects) {
      if (effect.type === "look") this.look(holder);
      if (effect.type === "elected") this.epochs.push(effect.epoch);
      if (effect.type === "write") this.write(holder, effect);
    }
  }

  write(holder: string, { entry, expected }: Extract<LeaseEffect, { type: "write" }>): void {
    let answered = false;
    const answer = (input: LeaseInput): void =>
      this.awake(holder, () => {
        if (!answered) this.apply(holder, { ...input, at: this.clock(holder) });
        answered = true;
      });
    this.later(100, () => answer({ type: "notWritten", at: 0 }));
    this.later(this.random() * 60, () => {
      if (this.random() < 0.1) return;
      const isExpected = (this.cell?.sequence ?? 0) === expected;
      if (isExpected) {
        this.sequence += 1;
        this.cell = { ...entry, sequence: this.sequence };
      }
      const sequence = this.sequence;
      if (this.random() < 0.1) return;
      this.later(this.random() * 60, () =>
        answer(isExpected ? { type: "written", sequence, at: 0 } : { type: "notWritten", at: 0 }),
      );
    });
  }

  leaders(): readonly string[] {
    return [...this.states].flatMap(([holder, state]) =>
      leads(state, config(holder), this.clock(holder)) === undefined ? [] : [holder],
    );
  }

  /** Until a moment; `check` after each step. */
  until(end: number, check: () => void): void {
    while (this.queue.length > 0) {
      this.queue.sort((one, other) => one.at - other.at);
      const [next] = this.queue;
      if (next === undefined || next.at > end) break;
      this.queue = this.queue.slice(1);
      this.now = next.at;
      next.run();
      check();
    }
    this.now = end;
  }
}

test("never two lead at a time, epochs only grow, and soon one leads", () => {
  let elections = 0;
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 4 }), fc.integer(), (count, seed) => {
      const random = seeded(seed);
      const holders = ["a", "b", "c", "d"].slice(0, count);
      const world = new World(random, holders);
      const check = (): void => {
        if (world.leaders().length > 1) throw new Error(`${world.leaders()} lead at ${world.now}`);
      };
      for (let round = 0; round < 6; round++) {
        const sleeper = holders[Math.floor(random() * count)] ?? "a";
        world.asleep.set(sleeper, world.now + random() * 3 * TTL);
        world.until(world.now + random() * 3 * TTL, check);
      }
      world.asleep.clear();
      // Messages are still lost now and then: some rounds may be needed.
      for (let rounds = 0; world.leaders().length === 0 && rounds < 30; rounds++) world.until(world.now + TTL, check);
      expect(world.leaders()).toHaveLength(1);
      expect(world.epochs).toEqual([...new Set(world.epochs)].sort((one, other) => one - other));
      elections += world.epochs.length;
    }),
    { numRuns: 100 },
  );
  expect(elections).toBeGreaterThan(200);
});
