import type { WireCheck } from "./check-request.ts";
import { KEPT_HEADER, type WireHeaders } from "./headers.ts";
import type { Identity } from "./identity.ts";
import { matchPart, wordsOf, writePart } from "./key-words.ts";
import type { Span } from "./wire.ts";

export type KnownIdentity = Identity & { readonly ok: true };

/** Who brought a request. */
export interface Caller {
  readonly identity: KnownIdentity;
  /** Of this one, and of no other that was found in the same cache. */
  readonly ordinal: number;
}

interface Entry extends Caller {
  readonly passesAuthorization: boolean;
  /** Credentials, the metadata in which their verified claims stand and, where there are none, the principal. */
  readonly words: Int32Array;
}

/** Bytes of all keys of a generation. */
const BYTES = 8 * 1024 * 1024;
/** Longest credentials with their claims; longer ones are read each time. */
const KEY_WORDS = 2_048;
/** From the end of a credential, where its signature is. */
const HASHED_BYTES = 32;

const HEADERS = [KEPT_HEADER.authorization, KEPT_HEADER.xApiKey, KEPT_HEADER.apiKey] as const;
/** Kinds of parts. */
const TEXT = 0;
const RAW = 1;
const ABSENT = 2;

/**
 * Who callers are, by exactly the bytes that say so: the credentials that a request brings and what Envoy verified of them
 * for this request, or the certificate where it brings none. The same bytes mean the same caller under one revision,
 * however often they come, so nothing expires here: an expired token comes without verified claims, and those are other
 * bytes. Only callers that were recognised are kept, each by comparing all bytes, in memory and in two generations of at
 * most 8 MiB.
 */
export class IdentityCache {
  #young = new Map<number, Entry>();
  #old = new Map<number, Entry>();
  #youngBytes = 0;
  #last = 0;
  /** Whether the request that was located last has a credential. */
  #presented = false;

  find(check: WireCheck, passesAuthorization: boolean): Caller | undefined {
    if (!this.#locate(check)) return undefined;
    const hash = this.#hashOf(check);
    const young = this.#young.get(hash);
    if (young !== undefined && this.#is(young, check, passesAuthorization)) return young;
    const old = this.#old.get(hash);
    if (old === undefined || !this.#is(old, check, passesAuthorization)) return undefined;
    this.#put(hash, old);
    return old;
  }

  /** Keeps who brought a request; undefined: it is nobody that is kept. */
  keep(check: WireCheck, passesAuthorization: boolean, identity: Identity): Caller | undefined {
    if (!identity.ok || !this.#locate(check)) return undefined;
    const { kind } = identity.subject;
    // Of what is addressed to upstreams there is as much as clients send.
    if (this.#presented && (kind === "mtls" || kind === "anonymous")) return undefined;
    const words = this.#keyOf(check);
    if (words === undefined) return undefined;
    this.#last += 1;
    const entry = { passesAuthorization, words, identity, ordinal: this.#last };
    this.#put(this.#hashOf(check), entry);
    return entry;
  }

  #put(hash: number, entry: Entry): void {
    if (this.#youngBytes > BYTES) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(hash, entry);
    this.#youngBytes += entry.words.byteLength;
  }

  /** Whether no credential stands more than once. */
  #locate({ headers }: WireCheck): boolean {
    this.#presented = false;
    for (const header of HEADERS) {
      const index = headers.onlyIndex(header);
      if (index === -2) return false;
      if (index >= 0) this.#presented = true;
    }
    return true;
  }

  #hashOf(check: WireCheck): number {
    const { headers, metadataSpan, bytes } = check;
    let hash = Math.imul(0x811c9dc5 ^ lengthOf(metadataSpan), 0x01000193);
    if (!this.#presented) {
      const { principalFrom, principalTo } = check.sourcePlaces;
      return hashed(hash, bytes, principalFrom, principalTo);
    }
    for (const header of HEADERS) {
      const index = headers.onlyIndex(header);
      if (index >= 0) hash = hashed(hash ^ header, bytes, headers.startOf(index), headers.endOf(index));
    }
    return hash;
  }

  #keyOf(check: WireCheck): Int32Array | undefined {
    const { headers, metadataSpan, view } = check;
    const { principalFrom, principalTo } = check.sourcePlaces;
    let length = wordsOf(lengthOf(metadataSpan));
    if (!this.#presented) length += wordsOf(principalTo - principalFrom);
    for (const header of HEADERS) {
      const index = headers.onlyIndex(header);
      length += index < 0 ? 1 : wordsOf(headers.endOf(index) - headers.startOf(index));
    }
    if (length > KEY_WORDS) return undefined;
    const words = new Int32Array(length);
    let at = 0;
    for (const header of HEADERS) {
      const index = headers.onlyIndex(header);
      if (index < 0) at = writePart(words, at, ABSENT, view, 0, 0);
      else at = writePart(words, at, kindOf(headers, index), view, headers.startOf(index), headers.endOf(index));
    }
    at = writePart(words, at, TEXT, view, metadataSpan.from, endOf(metadataSpan));
    if (!this.#presented) writePart(words, at, TEXT, view, principalFrom, principalTo);
    return words;
  }

  #is({ words, passesAuthorization }: Entry, check: WireCheck, passes: boolean): boolean {
    if (passesAuthorization !== passes) return false;
    const { headers, metadataSpan, view } = check;
    let at = 0;
    for (const header of HEADERS) {
      const index = headers.onlyIndex(header);
      if (index < 0) at = matchPart(words, at, ABSENT, view, 0, 0);
      else at = matchPart(words, at, kindOf(headers, index), view, headers.startOf(index), headers.endOf(index));
      if (at === -1) return false;
    }
    at = matchPart(words, at, TEXT, view, metadataSpan.from, endOf(metadataSpan));
    if (at === -1 || this.#presented) return at !== -1;
    const { principalFrom, principalTo } = check.sourcePlaces;
    return matchPart(words, at, TEXT, view, principalFrom, principalTo) !== -1;
  }
}

function kindOf(headers: WireHeaders, index: number): number {
  return headers.isRaw(index) ? RAW : TEXT;
}

function lengthOf({ found, from, to }: Span): number {
  return found ? to - from : 0;
}

function endOf(span: Span): number {
  return span.from + lengthOf(span);
}

/** FNV-1a over the length and the last bytes. */
function hashed(start: number, bytes: Uint8Array, from: number, to: number): number {
  let hash = Math.imul(start ^ (to - from), 0x01000193);
  for (let at = Math.max(from, to - HASHED_BYTES); at < to; at += 1) {
    hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  }
  // A small integer, which maps look up without a box around it.
  return hash & 0x3fffffff;
}
