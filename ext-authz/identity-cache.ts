import { PART } from "./check-places.ts";
import type { WireCheck } from "./check-request.ts";
import { KEPT_HEADER, type WireHeaders } from "./headers.ts";
import type { Identity } from "./identity.ts";
import { KeyParts } from "./key-words.ts";
import { KeyedTable } from "./keyed-table.ts";

export type KnownIdentity = Identity & { readonly ok: true };

/** Who brought a request. */
export interface Caller {
  readonly identity: KnownIdentity;
  /** Of this one, and of no other that was found in the same cache. */
  readonly ordinal: number;
}

/** Of a generation: words of all keys, which are 8 MiB, and callers. */
const WORDS = 2 * 1024 * 1024;
const CALLERS = 65_536;
/** Longest credentials with their claims, in words; longer ones are read each time. */
const KEY_WORDS = 2_048;

/** Kinds of parts. */
const TEXT = 0;
const RAW = 1;
const ABSENT = 2;
const PASSED = 3;

/**
 * Who callers are, by exactly the bytes that say so: the credentials that a request brings and what Envoy verified of them
 * for this request, or the certificate where it brings none. The same bytes mean the same caller under one revision,
 * however often they come, so nothing expires here: an expired token comes without verified claims, and those are other
 * bytes. Only callers that were recognised are kept, each by comparing all bytes, in memory and in two generations of at
 * most 8 MiB.
 */
export class IdentityCache {
  readonly #callers: KeyedTable<Caller>;
  /** Three credentials, the metadata, and one more. */
  readonly #key = new KeyParts(5);
  #last = 0;
  /** Whether the request that was located last has a credential. */
  #presented = false;

  /** @param seed  as of `KeyedTable` */
  constructor(seed: number) {
    this.#callers = new KeyedTable({ seed, words: WORDS, entries: CALLERS });
  }

  find(check: WireCheck, passesAuthorization: boolean): Caller | undefined {
    return this.#locate(check, passesAuthorization) ? this.#callers.find(this.#key) : undefined;
  }

  /** Keeps who brought a request; undefined: it is nobody that is kept. */
  keep(check: WireCheck, passesAuthorization: boolean, identity: Identity): Caller | undefined {
    if (!identity.ok || !this.#locate(check, passesAuthorization)) return undefined;
    const { kind } = identity.subject;
    // Of what is addressed to upstreams there is as much as clients send.
    if (this.#presented && (kind === "mtls" || kind === "anonymous")) return undefined;
    if (this.#key.length > KEY_WORDS) return undefined;
    this.#last += 1;
    const caller = { identity, ordinal: this.#last };
    this.#callers.add(this.#key, caller);
    return caller;
  }

  /** Whether no credential stands more than once: then `#key` is where all of them are. */
  #locate(check: WireCheck, passesAuthorization: boolean): boolean {
    const { headers, places } = check;
    const key = this.#key;
    key.clear(check.view);
    this.#presented = false;
    if (
      !this.#locateCredential(headers, KEPT_HEADER.authorization) ||
      !this.#locateCredential(headers, KEPT_HEADER.xApiKey) ||
      !this.#locateCredential(headers, KEPT_HEADER.apiKey)
    ) {
      return false;
    }
    key.add(passesAuthorization ? PASSED : TEXT, places.from(PART.metadata), places.to(PART.metadata));
    if (!this.#presented) key.add(TEXT, check.sourcePlaces.principalFrom, check.sourcePlaces.principalTo);
    return true;
  }

  #locateCredential(headers: WireHeaders, header: number): boolean {
    const index = headers.onlyIndex(header);
    if (index === -2) return false;
    if (index < 0) {
      this.#key.add(ABSENT, 0, 0);
      return true;
    }
    this.#presented = true;
    this.#key.add(headers.isRaw(index) ? RAW : TEXT, headers.startOf(index), headers.endOf(index));
    return true;
  }
}
