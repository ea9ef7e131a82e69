import type { LayoutRoute } from "../compiler/index.ts";
import type { Basis, BasisRead } from "../policy/index.ts";
import { plainPathEnd } from "./canonical-path.ts";
import { PART } from "./check-places.ts";
import type { WireCheck } from "./check-request.ts";
import { FEW_HEADERS, KEPT_HEADER } from "./headers.ts";
import type { Caller } from "./identity-cache.ts";
import type { KeyWords } from "./key-words.ts";

/** Kinds of parts; a path by its classes is told from a part by a word that heads none. */
const TEXT = 0;
const RAW = 1;
const CLASSES = 1;
const END = -1;

const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

/**
 * Where of so many requests fewer are found than this, so many more are not looked for. Long enough that a memo which
 * begins empty is not taken for a useless one.
 */
const WINDOW = 16_384;
const WORTHWHILE = 1_024;
const REST = 131_072;

let lastId = 0;

/**
 * What of the bytes of a route's requests their verdicts depend on, learnt from the verdicts themselves: who asks, host,
 * method, scheme and path always (of the path what rules tell apart), beyond that what evaluation has ever read there. It
 * only grows; keys from before it grew are no keys any more.
 */
export class RequestReads {
  readonly #id: number;
  #version = 0;
  /** Whether what requests ask for is seen without their bodies. */
  readonly #able: boolean;
  readonly #headers: string[] = [];
  readonly #pathTests: BasisRead[] = [];
  readonly #targetTests: BasisRead[] = [];
  #query = false;
  #target = false;
  #protocol = false;
  #address = false;
  #principal = false;
  #nodeGroup = false;
  #asked = 0;
  #found = 0;
  #resting = 0;

  constructor({ action, modelSource }: Pick<LayoutRoute, "action" | "modelSource">) {
    lastId += 1;
    this.#id = lastId;
    this.#able = action === "plain" || action === "redirect" || (action === "model" && this.#canAsk(modelSource));
  }

  /** Whether the model that is asked for is seen without the body. */
  #canAsk(source: LayoutRoute["modelSource"]): boolean {
    if (source === undefined || source.type === "body") return false;
    if (source.type === "header" && !this.#learnHeader(source.header.toLowerCase())) return false;
    if (source.type === "path" || source.type === "query") this.#target = true;
    return this.#learnHeader("accept");
  }

  /** Whether requests are to be looked for; where few are ever found, only now and then. */
  worthwhile(): boolean {
    if (!this.#able) return false;
    if (this.#resting > 0) {
      this.#resting -= 1;
      return false;
    }
    this.#asked += 1;
    if (this.#asked === WINDOW) {
      if (this.#found < WORTHWHILE) this.#resting = REST;
      this.#asked = 0;
      this.#found = 0;
    }
    return true;
  }

  found(): void {
    this.#found += 1;
  }

  /** @returns false: a verdict was made from what is not seen in bytes */
  learn({ reads }: Basis): boolean {
    for (const read of reads) if (!this.#learn(read)) return false;
    return true;
  }

  #learn(read: BasisRead): boolean {
    const [root = "", name = "", member] = read.field.path;
    switch (root) {
      case "subject":
      case "application":
        return true;
      case "request":
        return this.#learnRequest(read, name, member);
      case "xds":
        if (name === "node_group") this.#nodeGroup = this.#grow(this.#nodeGroup);
        return true;
      case "source":
        if (name === "address") this.#address = this.#grow(this.#address);
        else if (name === "principal") this.#principal = this.#grow(this.#principal);
        else return false;
        return true;
      default:
        return false;
    }
  }

  #learnRequest(read: BasisRead, name: string, member: string | undefined): boolean {
    switch (name) {
      case "method":
      case "host":
      case "scheme":
        return true;
      case "headers":
        return member !== undefined && (member.startsWith(":") || this.#learnHeader(member));
      case "protocol":
        this.#protocol = this.#grow(this.#protocol);
        return true;
      case "query":
        this.#query = this.#grow(this.#query);
        return true;
      case "path":
      case "url_path":
        if (read.keyOfAscii === undefined) this.#target = this.#grow(this.#target);
        else this.#learnTests(name === "path" ? this.#targetTests : this.#pathTests, read);
        return true;
      default:
        return false;
    }
  }

  #learnTests(known: BasisRead[], read: BasisRead): void {
    if (known.includes(read)) return;
    known.push(read);
    this.#version += 1;
  }

  #learnHeader(name: string): boolean {
    if (!HEADER_NAME.test(name)) return false;
    if (this.#headers.includes(name)) return true;
    this.#headers.push(name);
    this.#version += 1;
    return true;
  }

  #grow(before: boolean): true {
    if (!before) this.#version += 1;
    return true;
  }

  /**
   * The key of a request.
   *
   * @returns where its path ends that is as it stands there, or -1: the path has to be made; undefined: it has no key
   */
  keyOf(check: WireCheck, { ordinal }: Caller, key: KeyWords): number | undefined {
    const { headers, places, view } = check;
    const method = headers.onlyIndex(KEPT_HEADER.method);
    const host = headers.onlyIndex(KEPT_HEADER.authority);
    const path = headers.onlyIndex(KEPT_HEADER.path);
    // Of many headers rules do not see the single ones.
    if (method < 0 || host < 0 || path < 0 || headers.count > FEW_HEADERS) return undefined;
    key.clear();
    key.add(this.#id);
    key.add(this.#version);
    key.add(ordinal | 0);
    key.add(Math.floor(ordinal / 2 ** 32));
    key.addPart(TEXT, view, headers.startOf(method), headers.endOf(method));
    key.addPart(TEXT, view, headers.startOf(host), headers.endOf(host));
    const scheme = headers.onlyIndex(KEPT_HEADER.scheme);
    if (scheme >= 0) key.addPart(TEXT, view, headers.startOf(scheme), headers.endOf(scheme));
    else key.addPart(TEXT, view, places.from(PART.scheme), places.to(PART.scheme));
    const end = this.#addPath(check, headers.startOf(path), headers.endOf(path), key);
    if (this.#protocol) key.addPart(TEXT, view, places.from(PART.protocol), places.to(PART.protocol));
    if (this.#nodeGroup) key.addPart(TEXT, view, places.from(PART.nodeGroup), places.to(PART.nodeGroup));
    if (this.#address) key.addPart(TEXT, view, check.sourcePlaces.addressFrom, check.sourcePlaces.addressTo);
    if (this.#principal) key.addPart(TEXT, view, check.sourcePlaces.principalFrom, check.sourcePlaces.principalTo);
    for (let place = 0; place < this.#headers.length; place += 1) {
      const name = this.#headers[place] ?? "";
      for (let at = headers.nextIndex(name, 0); at >= 0; at = headers.nextIndex(name, at + 1)) {
        key.addPart(headers.isRaw(at) ? RAW : TEXT, view, headers.startOf(at), headers.endOf(at));
      }
      key.add(END);
    }
    return key.full ? undefined : end;
  }

  #addPath({ bytes, view }: WireCheck, from: number, to: number, key: KeyWords): number {
    const end = this.#target ? -1 : plainPathEnd(bytes, from, to);
    if (end === -1 || (end < to && (this.#query || this.#targetTests.length > 0))) {
      key.addPart(TEXT, view, from, to);
      return -1;
    }
    key.add(CLASSES);
    for (let place = 0; place < this.#pathTests.length; place += 1) {
      key.add(this.#pathTests[place]?.keyOfAscii?.(bytes, from, end) ?? 0);
    }
    for (let place = 0; place < this.#targetTests.length; place += 1) {
      key.add(this.#targetTests[place]?.keyOfAscii?.(bytes, from, end) ?? 0);
    }
    return end;
  }
}
