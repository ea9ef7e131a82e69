import type { Basis, Requested, Restriction, Verdict } from "../policy/index.ts";
import type { WireCheck } from "./check-request.ts";
import type { Caller, IdentityCache, KnownIdentity } from "./identity-cache.ts";
import { KeyWords } from "./key-words.ts";
import type { ModelReading } from "./model-source.ts";
import type { RouteTable } from "./tables.ts";

/** What requests with the same key have in common. */
export interface RecalledRequest {
  readonly identity: KnownIdentity;
  readonly method: string;
  /** In canonical form. */
  readonly host: string;
  /** In canonical form; undefined: as it stands in each request, up to `pathTo`. */
  readonly path: string | undefined;
  /** What a model route was asked for. */
  readonly model: (ModelReading & { readonly ok: true }) | undefined;
}

/** A verdict that was made before, of requests with the same key for which draws come out alike. */
export interface Recalled {
  readonly request: RecalledRequest;
  readonly verdict: Verdict;
}

/** What is drawn for each request. */
export interface Drawn {
  /** As in `DecisionInput`. */
  readonly draw: number;
  /** The backend of a plain route. */
  readonly requested: Requested | undefined;
}

interface Outcome extends Recalled {
  readonly requested: Requested | undefined;
  /** Where draws decided; undefined: nowhere. */
  readonly drawn: { readonly draws: Basis["draws"]; readonly orders: readonly (number | undefined)[] } | undefined;
  /** Of the same key, made before. */
  readonly next: Outcome | undefined;
}

/** Places by hash, each of which takes two entries. */
const PLACES = 16_384;
/** Of a key with its hash and its length: 256 bytes. */
const WORDS = 64;
const HEAD_WORDS = 2;
/** Outcomes of draws that an entry has at most. */
const OUTCOMES = 8;
/** Lines of all explanations that are kept alive by entries. */
const LINES = 262_144;

/**
 * Verdicts by the bytes of requests that they depend on, so that a request like one before is neither decoded nor
 * evaluated. What they depend on is learnt from how verdicts are made (`RequestReads`); a request is recognised by all of
 * those bytes, never by a hash alone. Belongs to one set of tables, and to the restrictions and the time for which its
 * verdicts hold. As large as it gets, whatever clients send: an entry that falls on a place that is taken replaces the
 * older one of two.
 */
export class RequestMemo {
  readonly #callers: IdentityCache;
  readonly #seed: number;
  readonly #key = new KeyWords(WORDS - HEAD_WORDS);
  /** Keys, side by side, so that comparing one reads memory in one place. The system gives it memory as it is filled. */
  #keys = new Int32Array(0);
  /** The last outcome of each key. */
  #outcomes: (Outcome | undefined)[] = [];
  #restrictions: readonly Restriction[] | undefined;
  #from = Number.NaN;
  #until = Number.NaN;
  #lines = 0;
  /** Of the last look-up that found nothing: whether it looked at all, who asked, and what was drawn. */
  missed = false;
  caller: Caller | undefined;
  drawn: Drawn | undefined;
  /** Of the last one: where the path of the request ends. */
  pathTo = -1;

  /** @param seed  of the hash; a random one, so that nobody can choose whose entry theirs replaces */
  constructor(callers: IdentityCache, seed: number) {
    this.#callers = callers;
    this.#seed = seed;
  }

  /**
   * The verdict for a request, where one was kept.
   *
   * @param restrictions  the same array until the set changes
   */
  recall(
    check: WireCheck,
    table: RouteTable,
    now: number,
    restrictions: readonly Restriction[] | undefined,
    random: () => number,
  ): Recalled | undefined {
    const { reads } = table;
    this.missed = false;
    this.caller = undefined;
    this.drawn = undefined;
    if (!reads.worthwhile()) return undefined;
    this.missed = true;
    const caller = this.#callers.find(check, table.passesAuthorization);
    this.caller = caller;
    if (caller === undefined) return undefined;
    if (!(now >= this.#from && now < this.#until) || restrictions !== this.#restrictions) {
      this.#clear();
      return undefined;
    }
    const pathTo = reads.keyOf(check, caller, this.#key);
    if (pathTo === undefined) return undefined;
    const place = this.#placeOf(this.#hash());
    if (place === -1) return undefined;
    // In the order in which a decision draws.
    const draw = random();
    const requested = table.route.action === "plain" ? table.drawBackend(random) : undefined;
    for (let outcome = this.#outcomes[place]; outcome !== undefined; outcome = outcome.next) {
      if (outcome.requested !== requested || !isDrawn(outcome, draw)) continue;
      this.pathTo = pathTo;
      reads.found();
      return outcome;
    }
    // Drawing again would favour what is kept.
    this.drawn = { draw, requested };
    return undefined;
  }

  /**
   * Keeps the verdict for the request that `recall` was asked about last.
   *
   * @param basis  what it was made from
   */
  keep(
    check: WireCheck,
    table: RouteTable,
    restrictions: readonly Restriction[] | undefined,
    basis: Basis,
    request: RecalledRequest,
    verdict: Verdict,
    { draw, requested }: Drawn,
  ): void {
    const { reads } = table;
    if (this.caller === undefined || !reads.learn(basis)) return;
    const pathTo = reads.keyOf(check, this.caller, this.#key);
    if (pathTo === undefined) return;
    this.#holdFor(basis, restrictions);
    const hash = this.#hash();
    const place = this.#placeOf(hash);
    const next = place === -1 ? undefined : this.#outcomes[place];
    const draws = basis.draws.length === 0 ? undefined : basis.draws;
    const outcome = {
      request: next?.request ?? (pathTo === -1 ? request : { ...request, path: undefined }),
      verdict,
      requested,
      drawn: draws && { draws, orders: draws.map((each) => each.orderOf(draw)) },
      next,
    };
    if (next === undefined) this.#add(hash, outcome);
    else if (lengthOf(next) < OUTCOMES) this.#outcomes[place] = outcome;
    else return;
    this.#lines += linesOf(verdict);
    if (this.#lines > LINES) this.#clear();
  }

  #holdFor({ from, until }: Basis, restrictions: readonly Restriction[] | undefined): void {
    if (this.#outcomes.length > 0) {
      this.#from = Math.max(this.#from, from);
      this.#until = Math.min(this.#until, until);
      return;
    }
    this.#keys = new Int32Array(PLACES * 2 * WORDS);
    this.#outcomes = new Array(PLACES * 2).fill(undefined);
    this.#restrictions = restrictions;
    this.#from = from;
    this.#until = until;
  }

  #clear(): void {
    if (this.#outcomes.length === 0) return;
    this.#keys = new Int32Array(0);
    this.#outcomes = [];
    this.#restrictions = undefined;
    this.#from = Number.NaN;
    this.#until = Number.NaN;
    this.#lines = 0;
  }

  /** Where the key that was made last stands; -1: nowhere. */
  #placeOf(hash: number): number {
    const place = (hash & (PLACES - 1)) * 2;
    if (this.#isAt(place, hash)) return place;
    return this.#isAt(place + 1, hash) ? place + 1 : -1;
  }

  #isAt(place: number, hash: number): boolean {
    const keys = this.#keys;
    const { words, length } = this.#key;
    const start = place * WORDS;
    if (keys[start] !== hash || keys[start + 1] !== length) return false;
    for (let at = 0; at < length; at += 1) if (keys[start + HEAD_WORDS + at] !== words[at]) return false;
    return true;
  }

  #add(hash: number, outcome: Outcome): void {
    const place = (hash & (PLACES - 1)) * 2;
    const start = place * WORDS;
    for (let old = this.#outcomes[place + 1]; old !== undefined; old = old.next) this.#lines -= linesOf(old.verdict);
    this.#outcomes[place + 1] = this.#outcomes[place];
    this.#outcomes[place] = outcome;
    this.#keys.copyWithin(start + WORDS, start, start + WORDS);
    this.#keys[start] = hash;
    this.#keys[start + 1] = this.#key.length;
    this.#keys.set(this.#key.words.subarray(0, this.#key.length), start + HEAD_WORDS);
  }

  #hash(): number {
    const { words, length } = this.#key;
    let hash = this.#seed;
    for (let at = 0; at < length; at += 1) {
      hash = Math.imul(hash ^ (words[at] ?? 0), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash;
  }
}

function isDrawn({ drawn }: Outcome, draw: number): boolean {
  if (drawn === undefined) return true;
  return drawn.draws.every((each, at) => each.orderOf(draw) === drawn.orders[at]);
}

function lengthOf(outcomes: Outcome): number {
  let length = 0;
  for (let at: Outcome | undefined = outcomes; at !== undefined; at = at.next) length += 1;
  return length;
}

function linesOf({ considered, removed, errors, shadow }: Verdict): number {
  return considered.length + removed.length + errors.length + shadow.length;
}
