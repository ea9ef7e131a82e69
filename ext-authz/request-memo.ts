import type { Basis, Requested, Restriction, Verdict } from "../policy/index.ts";
import type { WireCheck } from "./check-request.ts";
import type { Caller, IdentityCache, KnownIdentity } from "./identity-cache.ts";
import { KeyWords } from "./key-words.ts";
import { KeyedTable } from "./keyed-table.ts";
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
  /** Another one of the same key. */
  next: Outcome | undefined;
}

/** Of a generation: keys, and words of all of them, which are 4 MiB. */
const KEYS = 16_384;
const WORDS = 1024 * 1024;
/** Words of a key. */
const KEY_WORDS = 64;
/** Outcomes of draws that a key has at most. */
const OUTCOMES = 8;
/** Lines of all explanations that are kept alive by a generation. */
const LINES = 131_072;

/**
 * Verdicts by the bytes of requests that they depend on, so that a request like one before is neither decoded nor
 * evaluated. What they depend on is learnt from how verdicts are made (`RequestReads`); a request is recognised by all of
 * those bytes, never by a hash alone. Belongs to one set of tables, and to the restrictions and the time for which its
 * verdicts hold.
 */
export class RequestMemo {
  readonly #callers: IdentityCache;
  readonly #key = new KeyWords(KEY_WORDS);
  readonly #known: KeyedTable<Outcome>;
  /** Whether anything is kept; then the verdicts hold under these restrictions, and from … until. */
  #kept = false;
  #restrictions: readonly Restriction[] | undefined;
  #from = Number.NaN;
  #until = Number.NaN;
  /** Of the last look-up that found nothing: whether it looked at all, who asked, and what was drawn. */
  missed = false;
  caller: Caller | undefined;
  drawn: Drawn | undefined;
  /** Of the last one: where the path of the request ends. */
  pathTo = -1;

  /** @param seed  as of `KeyedTable` */
  constructor(callers: IdentityCache, seed: number) {
    this.#callers = callers;
    this.#known = new KeyedTable({
      seed,
      words: WORDS,
      entries: KEYS,
      weightOf: linesOf,
      weight: LINES,
    });
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
    const first = this.#known.find(this.#key);
    if (first === undefined) return undefined;
    // In the order in which a decision draws.
    const draw = random();
    const requested = table.route.action === "plain" ? table.drawBackend(random) : undefined;
    for (let outcome: Outcome | undefined = first; outcome !== undefined; outcome = outcome.next) {
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
    const first = this.#known.find(this.#key);
    const draws = basis.draws.length === 0 ? undefined : basis.draws;
    const outcome = {
      request: first?.request ?? (pathTo === -1 ? request : { ...request, path: undefined }),
      verdict,
      requested,
      drawn: draws && { draws, orders: draws.map((each) => each.orderOf(draw)) },
      next: first?.next,
    };
    if (first === undefined) this.#known.add(this.#key, outcome);
    else if (lengthOf(first) < OUTCOMES) {
      first.next = outcome;
      this.#known.grew(linesOfOne(verdict));
    }
  }

  #holdFor({ from, until }: Basis, restrictions: readonly Restriction[] | undefined): void {
    if (this.#kept) {
      this.#from = Math.max(this.#from, from);
      this.#until = Math.min(this.#until, until);
      return;
    }
    this.#kept = true;
    this.#restrictions = restrictions;
    this.#from = from;
    this.#until = until;
  }

  #clear(): void {
    if (!this.#kept) return;
    this.#kept = false;
    this.#known.clear();
    this.#restrictions = undefined;
    this.#from = Number.NaN;
    this.#until = Number.NaN;
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

function linesOf(outcomes: Outcome): number {
  let lines = 0;
  for (let at: Outcome | undefined = outcomes; at !== undefined; at = at.next) lines += linesOfOne(at.verdict);
  return lines;
}

function linesOfOne({ considered, removed, errors, shadow }: Verdict): number {
  return considered.length + removed.length + errors.length + shadow.length;
}
