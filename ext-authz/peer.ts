import type { PeerAttributes } from "../policy/index.ts";
import { TEXTS } from "./check-parts.ts";
import { BYTES, NO_BYTES, VARINT, WireReader } from "./wire.ts";

/** One after the other: what they read is read to its end at once. */
const PEER = new WireReader(NO_BYTES, 0, 0);
const ADDRESS = new WireReader(NO_BYTES, 0, 0);
const SOCKET = new WireReader(NO_BYTES, 0, 0);

/** An `AttributeContext.Peer` by the places of what is asked of it; one that cannot be read is nobody. */
export class WirePeer {
  /** Where address and principal stand; empty where there is none. */
  addressFrom = 0;
  addressTo = 0;
  principalFrom = 0;
  principalTo = 0;
  #port = 0;

  read(bytes: Buffer, from: number, to: number): void {
    this.forget();
    if (!this.#readPeer(bytes, from, to)) this.forget();
  }

  /** What was read. */
  attributes(bytes: Buffer): PeerAttributes {
    const address = this.address(bytes);
    const principal = TEXTS.text(bytes, this.principalFrom, this.principalTo);
    return principal === "" ? { address, port: this.#port } : { address, port: this.#port, principal };
  }

  address(bytes: Buffer): string {
    return TEXTS.text(bytes, this.addressFrom, this.addressTo);
  }

  /** Is nobody until the next one is read. */
  forget(): void {
    this.#forgetAddress();
    this.principalFrom = 0;
    this.principalTo = 0;
  }

  #forgetAddress(): void {
    this.addressFrom = 0;
    this.addressTo = 0;
    this.#port = 0;
  }

  #readPeer(bytes: Buffer, from: number, to: number): boolean {
    const reader = PEER;
    reader.reset(bytes, from, to);
    while (reader.next()) {
      if (reader.number !== 1 && reader.number !== 4) continue;
      if (!reader.is(BYTES)) return false;
      if (reader.number === 1) {
        if (!this.#readAddress(bytes, reader.from, reader.to)) this.#forgetAddress();
      } else {
        this.principalFrom = reader.from;
        this.principalTo = reader.to;
      }
    }
    return reader.ok;
  }

  /** envoy.config.core.v3.Address: a socket (1) or a pipe (2). */
  #readAddress(bytes: Buffer, from: number, to: number): boolean {
    const outer = ADDRESS;
    const inner = SOCKET;
    outer.reset(bytes, from, to);
    this.#forgetAddress();
    while (outer.next()) {
      if (outer.number > 3) continue;
      if (!outer.is(BYTES)) return false;
      inner.reset(bytes, outer.from, outer.to);
      const textField = outer.number === 1 ? 2 : outer.number === 2 ? 1 : 0;
      this.#forgetAddress();
      while (inner.next()) {
        if (inner.number === textField && inner.is(BYTES)) {
          this.addressFrom = inner.from;
          this.addressTo = inner.to;
        } else if (outer.number === 1 && inner.number === 3 && inner.is(VARINT)) this.#port = inner.varint;
        else if (outer.number === 1 && inner.number === 4) this.#port = 0;
      }
      if (!inner.ok) return false;
    }
    return outer.ok;
  }
}
