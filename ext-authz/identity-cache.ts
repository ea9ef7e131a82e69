import type { WireCheck } from "./check-request.ts";
import type { Identity } from "./identity.ts";

type Known = Identity & { readonly ok: true };

interface Entry {
  readonly header: number;
  readonly passesAuthorization: boolean;
  /** The credential, then the filter metadata in which its verified claims stand. */
  readonly bytes: Uint8Array;
  readonly credential: number;
  readonly identity: Known;
}

/** Bytes of all keys of a generation. */
const BYTES = 8 * 1024 * 1024;
/** Longest credential with its claims; longer ones are read each time. */
const KEY_BYTES = 8_192;
/** From the end of a credential, where its signature is. */
const HASHED_BYTES = 32;

const HEADERS = ["authorization", "x-api-key", "api-key"] as const;

/**
 * Who callers are, by exactly the bytes that say so: the one credential that a request brings, and what Envoy verified of
 * it for this request. The same bytes mean the same caller under one revision, however often they come, so nothing
 * expires here: an expired token comes without verified claims, and those are other bytes. Only callers that were
 * recognised are kept, each by comparing all bytes, in memory and in two generations of at most 8 MiB.
 */
export class IdentityCache {
  #young = new Map<number, Entry>();
  #old = new Map<number, Entry>();
  #youngBytes = 0;
  /** Of the credential that `find` looked for last; -1: not one alone. */
  #index = -1;
  #header = -1;

  find(check: WireCheck, passesAuthorization: boolean): Known | undefined {
    if (!this.#locate(check)) return undefined;
    const hash = this.#hashOf(check);
    const young = this.#young.get(hash);
    if (young !== undefined && this.#is(young, check, passesAuthorization)) return young.identity;
    const old = this.#old.get(hash);
    if (old === undefined || !this.#is(old, check, passesAuthorization)) return undefined;
    this.#put(hash, old);
    return old.identity;
  }

  /** Keeps who brought the request that `find` was asked about last. */
  keep(check: WireCheck, passesAuthorization: boolean, identity: Identity): void {
    // Of a certificate the key says nothing.
    if (!identity.ok || identity.subject.kind === "mtls" || identity.subject.kind === "anonymous") return;
    if (!this.#locate(check)) return;
    const { headers, metadataFrom, metadataTo, bytes } = check;
    const from = headers.startOf(this.#index);
    const to = headers.endOf(this.#index);
    const credential = to - from;
    const length = credential + metadataTo - metadataFrom;
    if (length > KEY_BYTES) return;
    const key = new Uint8Array(length);
    key.set(bytes.subarray(from, to));
    key.set(bytes.subarray(metadataFrom, metadataTo), credential);
    this.#put(this.#hashOf(check), { header: this.#header, passesAuthorization, bytes: key, credential, identity });
  }

  #put(hash: number, entry: Entry): void {
    if (this.#youngBytes > BYTES) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(hash, entry);
    this.#youngBytes += entry.bytes.length;
  }

  /** Whether there is exactly one credential. */
  #locate({ headers }: WireCheck): boolean {
    this.#index = -1;
    for (let header = 0; header < HEADERS.length; header += 1) {
      const index = headers.onlyIndex(HEADERS[header] ?? "");
      if (index === -1) continue;
      if (index === -2 || this.#index !== -1) return false;
      this.#index = index;
      this.#header = header;
    }
    return this.#index !== -1;
  }

  #hashOf({ headers, metadataFrom, metadataTo, bytes }: WireCheck): number {
    const from = headers.startOf(this.#index);
    const to = headers.endOf(this.#index);
    // FNV-1a
    let hash = Math.imul(0x811c9dc5 ^ (to - from), 0x01000193) ^ (metadataTo - metadataFrom);
    for (let at = Math.max(from, to - HASHED_BYTES); at < to; at += 1) {
      hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
    }
    return hash;
  }

  #is(entry: Entry, check: WireCheck, passesAuthorization: boolean): boolean {
    const { headers, metadataFrom, metadataTo, bytes } = check;
    const from = headers.startOf(this.#index);
    const { credential } = entry;
    if (entry.header !== this.#header || entry.passesAuthorization !== passesAuthorization) return false;
    if (credential !== headers.endOf(this.#index) - from) return false;
    if (entry.bytes.length !== credential + metadataTo - metadataFrom) return false;
    return (
      bytes.compare(entry.bytes, 0, credential, from, from + credential) === 0 &&
      bytes.compare(entry.bytes, credential, entry.bytes.length, metadataFrom, metadataTo) === 0
    );
  }
}
