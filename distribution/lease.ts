import { MAX_EPOCH } from "./bus-limits.ts";

/** What says on the bus who leads. */
export interface LeaseEntry {
  /** Whoever took the lease: unique, and kept over restarts. */
  readonly holder: string;
  /** Its name for people. */
  readonly name: string;
  /** Grows each time that the lease is taken; never used twice. */
  readonly epoch: number;
  /** Milliseconds that the lease is good for, from the moment at which its holder sent it. */
  readonly ttlMs: number;
  /** Its holder has stopped: nobody needs to wait. */
  readonly released: boolean;
}

export interface LeaseRecord extends LeaseEntry {
  /** Of the cell; each write has a greater one. */
  readonly sequence: number;
}

export interface LeaseConfig {
  readonly holder: string;
  readonly name: string;
  readonly ttlMs: number;
}

/** Begin with `noLease`. `at`, `since`, `until`: milliseconds of this process's monotonic clock. */
export interface LeaseState {
  /** The newest record that was seen, and since when it has not changed; undefined record: there is none. */
  readonly seen?: {
    readonly record: LeaseRecord | undefined;
    readonly since: number;
    /** Nobody else can hold it: it was never there, or it was ours. */
    readonly free: boolean;
    /** Sequence of the cell, as it was last told. */
    readonly sequence: number;
  };
  readonly held?: { readonly epoch: number; readonly sequence: number; readonly sentAt: number };
  /** Sent and not answered yet. */
  readonly writing?: { readonly entry: LeaseEntry; readonly sentAt: number; readonly renews: boolean };
  /** Greatest epoch that was heard of. */
  readonly knownEpoch: number;
}

export type LeaseInput =
  /** `clock`: milliseconds since the epoch, by which epochs go on where a bus has forgotten everything. */
  | { readonly type: "looked"; readonly record: LeaseRecord | undefined; readonly at: number; readonly clock: number }
  | { readonly type: "tick"; readonly at: number; readonly clock: number }
  | { readonly type: "written"; readonly sequence: number; readonly at: number }
  /** Somebody wrote first, or the bus gave no answer: what holds is to be looked at. */
  | { readonly type: "notWritten"; readonly at: number }
  /** An epoch was seen elsewhere, on a head. */
  | { readonly type: "heard"; readonly epoch: number; readonly at: number };

export type LeaseEffect =
  | { readonly type: "write"; readonly entry: LeaseEntry; readonly expected: number }
  | { readonly type: "look" }
  /** `waitedMs`: how long the record of the one before had not changed. */
  | { readonly type: "elected"; readonly epoch: number; readonly waitedMs: number }
  | { readonly type: "lost"; readonly epoch: number; readonly reason: string };

export interface LeaseStep {
  readonly state: LeaseState;
  readonly effects: readonly LeaseEffect[];
}

export const noLease: LeaseState = { knownEpoch: 0 };

/** The epoch under which this process leads at a moment; undefined: it does not. */
export function leads(state: LeaseState, config: LeaseConfig, at: number): number | undefined {
  const { held } = state;
  return held !== undefined && at < held.sentAt + config.ttlMs ? held.epoch : undefined;
}

/**
 * One leader by a lease in a cell that is written with an expected sequence. Pure. The holder counts its time from before it
 * sent a record, the others from when they saw it, so that (with clocks that run alike) its time is over before theirs. A
 * process that slept through its time finds a newer epoch; what it publishes late fails on the sequence of heads that the new
 * leader has moved on.
 */
export function lease(state: LeaseState, input: LeaseInput, config: LeaseConfig): LeaseStep {
  const { at } = input;
  switch (input.type) {
    case "looked": {
      const looked = look(expire(state, config, at), input.record, config, at);
      const next = decide(looked.state, config, at, input.clock);
      return { state: next.state, effects: [...looked.effects, ...next.effects] };
    }
    case "tick": {
      const expired = expire(state, config, at);
      const next = decide(expired.state, config, at, input.clock);
      return { state: next.state, effects: [...expired.effects, ...next.effects] };
    }
    case "heard": {
      const knownEpoch = Math.max(state.knownEpoch, input.epoch);
      const { held } = state;
      if (held === undefined || input.epoch <= held.epoch) return { state: { ...state, knownEpoch }, effects: [] };
      return lose({ ...state, knownEpoch }, "another process leads");
    }
    case "notWritten": {
      const { writing: _, ...rest } = state;
      return { state: rest, effects: [{ type: "look" }] };
    }
    case "written":
      return written(state, input.sequence, config, at);
  }
}

function written(state: LeaseState, sequence: number, config: LeaseConfig, at: number): LeaseStep {
  const { writing, ...rest } = state;
  if (writing === undefined) return { state, effects: [] };
  const { entry, sentAt } = writing;
  const { epoch } = entry;
  // Somebody was heard of meanwhile.
  if (epoch < state.knownEpoch) return { state: rest, effects: [{ type: "look" }] };
  const seen = { record: { ...entry, sequence }, since: at, free: true, sequence };
  const next: LeaseState = { ...rest, seen, knownEpoch: epoch };
  if (entry.released) return lose(next, "it was given back");
  // It took longer than the lease, or renewed one that was lost meanwhile: it is taken anew, under a newer epoch.
  if (at >= sentAt + config.ttlMs || (writing.renews && state.held === undefined)) {
    return { state: next, effects: [{ type: "look" }] };
  }
  const held = { epoch, sequence, sentAt };
  if (state.held !== undefined) return { state: { ...next, held }, effects: [] };
  const waitedMs = state.seen === undefined || state.seen.free ? 0 : at - state.seen.since;
  return { state: { ...next, held }, effects: [{ type: "elected", epoch, waitedMs }] };
}

function expire(state: LeaseState, config: LeaseConfig, at: number): LeaseStep {
  if (state.held === undefined || leads(state, config, at) !== undefined) return { state, effects: [] };
  return lose(state, `it could not be renewed for ${config.ttlMs} ms`);
}

function lose(state: LeaseState, reason: string): LeaseStep {
  const { held, ...rest } = state;
  return { state: rest, effects: held === undefined ? [] : [{ type: "lost", epoch: held.epoch, reason }] };
}

function look(before: LeaseStep, record: LeaseRecord | undefined, config: LeaseConfig, at: number): LeaseStep {
  const { state, effects } = before;
  const { seen, held } = state;
  if (record === undefined) {
    // Where a record was, the bus has lost it, and its holder may think itself leader for the rest of its time.
    const free = seen === undefined || held !== undefined || (seen.record === undefined && seen.free);
    const since = seen !== undefined && seen.record === undefined ? seen.since : at;
    const without = lose(state, "the bus has lost it");
    return {
      state: { ...without.state, seen: { record, since, free, sequence: 0 } },
      effects: [...effects, ...without.effects],
    };
  }
  const newest = seen?.record;
  // An answer from before: epochs never go down, and sequences do not within one.
  const isOld =
    seen !== undefined &&
    newest !== undefined &&
    (record.epoch < newest.epoch || (record.epoch === newest.epoch && record.sequence <= newest.sequence));
  if (isOld) return { state: { ...state, seen: { ...seen, sequence: record.sequence } }, effects };
  const isOwn = record.holder === config.holder;
  const next: LeaseState = {
    ...state,
    seen: { record, since: at, free: isOwn, sequence: record.sequence },
    knownEpoch: Math.max(state.knownEpoch, record.epoch),
  };
  if (held === undefined) return { state: next, effects };
  // A record of ours whose answer was lost.
  if (isOwn && record.epoch === held.epoch) {
    return { state: { ...next, held: { ...held, sequence: record.sequence } }, effects };
  }
  const without = lose(next, `${record.name} leads`);
  return { state: without.state, effects: [...effects, ...without.effects] };
}

function decide(state: LeaseState, config: LeaseConfig, at: number, clock: number): LeaseStep {
  const { seen, held, writing } = state;
  if (seen === undefined || writing !== undefined) return { state, effects: [] };
  const { holder, name, ttlMs } = config;
  if (held !== undefined) {
    if (at - held.sentAt < ttlMs / 3) return { state, effects: [] };
    return write(state, { holder, name, epoch: held.epoch, ttlMs, released: false }, held.sequence, at);
  }
  const { record, since, free } = seen;
  const waitMs = record?.ttlMs ?? ttlMs;
  if (!free && record?.released !== true && at - since < waitMs) return { state, effects: [] };
  const epoch = Math.min(Math.max(state.knownEpoch + 1, clock), MAX_EPOCH);
  return write(state, { holder, name, epoch, ttlMs, released: false }, seen.sequence, at);
}

function write(state: LeaseState, entry: LeaseEntry, expected: number, at: number): LeaseStep {
  const writing = { entry, sentAt: at, renews: state.held !== undefined };
  return { state: { ...state, writing }, effects: [{ type: "write", entry, expected }] };
}

/** Gives the lease back, so that nobody needs to wait for its end; nothing where it is not held. */
export function release(state: LeaseState, config: LeaseConfig, at: number): LeaseStep {
  const epoch = leads(state, config, at);
  if (epoch === undefined || state.held === undefined) return { state, effects: [] };
  const { holder, name, ttlMs } = config;
  return write(state, { holder, name, epoch, ttlMs, released: true }, state.held.sequence, at);
}
