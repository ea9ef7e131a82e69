import { z } from "zod";
import type { Steps } from "../policy/index.ts";

/** Bytes that are parsed and checked at a time. */
const PIECE_BYTES = 32_768;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export type Fitting<T> =
  | { readonly ok: true; readonly data: T }
  | { readonly ok: false; readonly issues: readonly z.core.$ZodIssue[] };

/**
 * As `JSON.parse` and `schema.safeParse`, in steps: a program of 10,000 rules in one go holds the loop for a tenth of a
 * second. The elements of the outermost list, and of lists that are members of the outermost object, are parsed and
 * checked some at a time.
 *
 * @returns the data, or why it does not fit the schema
 * @throws SyntaxError for what is no JSON in UTF-8
 */
export function* jsonSteps<T>(bytes: Uint8Array, schema: z.ZodType<T>, pieceBytes = PIECE_BYTES): Steps<Fitting<T>> {
  const whole = (json: unknown) => fitting(schema.safeParse(json));
  const shape = shapeOf(schema);
  const outermost = elementOf(schema);
  if (bytes.length <= pieceBytes || (shape === undefined && outermost === undefined)) {
    return whole(JSON.parse(textOf(bytes)));
  }
  const reader = new Reader(bytes, pieceBytes);
  const issues: z.core.$ZodIssue[] = [];
  const lists = new Map<string, readonly unknown[]>();
  const members = new Map<string, unknown>();
  if (outermost !== undefined && reader.take(OPEN_LIST)) {
    const list = yield* reader.elements((value, index) => checked(outermost, value, [index], issues));
    reader.end();
    return filled(whole([]), new Map([["", list]]), issues);
  }
  if (shape === undefined || !reader.take(OPEN_OBJECT)) return whole(JSON.parse(textOf(bytes)));
  if (!reader.take(CLOSE_OBJECT)) {
    do {
      const name = reader.name();
      const element = elementOf(Object.hasOwn(shape, name) ? shape[name] : undefined);
      if (element !== undefined && reader.take(OPEN_LIST)) {
        lists.set(name, yield* reader.elements((value, index) => checked(element, value, [name, index], issues)));
        members.set(name, []);
      } else {
        lists.delete(name);
        members.set(name, reader.value());
        yield;
      }
    } while (reader.take(COMMA));
    reader.need(CLOSE_OBJECT);
  }
  reader.end();
  return filled(whole(Object.fromEntries(members)), lists, issues);
}

function fitting<T>(parsed: z.ZodSafeParseResult<T>): Fitting<T> {
  return parsed.success ? { ok: true, data: parsed.data } : { ok: false, issues: parsed.error.issues };
}

/** The whole, of what was checked with empty lists and the elements that belong there. */
function filled<T>(
  shell: Fitting<T>,
  lists: ReadonlyMap<string, readonly unknown[]>,
  issues: readonly z.core.$ZodIssue[],
): Fitting<T> {
  if (!shell.ok) return { ok: false, issues: [...shell.issues, ...issues] };
  if (issues.length > 0) return { ok: false, issues };
  const { data } = shell;
  for (const [name, elements] of lists) {
    const list: unknown = name === "" ? data : typeof data === "object" && data !== null ? Reflect.get(data, name) : [];
    if (Array.isArray(list)) for (const element of elements) list.push(element);
  }
  return shell;
}

/** Issues of one part that are told. */
const MAX_ISSUES = 20;

function checked(
  schema: z.core.$ZodType,
  value: unknown,
  path: readonly (string | number)[],
  issues: z.core.$ZodIssue[],
): unknown {
  const parsed = z.safeParse(schema, value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    if (issues.length < MAX_ISSUES) issues.push({ ...issue, path: [...path, ...issue.path] });
  }
  return undefined;
}

/** Members of an object of which nothing is demanded as a whole; undefined: it is something else. */
export function shapeOf(schema: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> | undefined {
  return schema instanceof z.ZodObject && (schema.def.checks?.length ?? 0) === 0 ? schema.shape : undefined;
}

/** What each element of a list must be, where nothing is demanded of the list as a whole. */
export function elementOf(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodExactOptional) return elementOf(schema.unwrap());
  if (!(schema instanceof z.ZodArray) || (schema.def.checks?.length ?? 0) > 0) return undefined;
  return schema.element;
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError("it is not UTF-8", { cause });
  }
}

/** Finds where values begin and end, without a look at what they are: that is for `JSON.parse` to say. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #pieceBytes: number;
  #at = 0;

  constructor(bytes: Uint8Array, pieceBytes: number) {
    this.#bytes = bytes;
    this.#pieceBytes = pieceBytes;
  }

  take(byte: number): boolean {
    this.#skipBlank();
    if (this.#bytes[this.#at] !== byte) return false;
    this.#at += 1;
    return true;
  }

  need(byte: number): void {
    if (!this.take(byte)) this.#fail();
  }

  end(): void {
    this.#skipBlank();
    if (this.#at < this.#bytes.length) this.#fail();
  }

  name(): string {
    const name = this.value();
    if (typeof name !== "string") this.#fail();
    this.need(COLON);
    return name;
  }

  value(): unknown {
    const start = this.#at;
    this.#skipValue();
    return JSON.parse(textOf(this.#bytes.subarray(start, this.#at)));
  }

  /** Behind the bracket of a list: its elements, as `check` gives them. */
  *elements(check: (value: unknown, index: number) => unknown): Steps<readonly unknown[]> {
    const elements: unknown[] = [];
    if (this.take(CLOSE_LIST)) return elements;
    do {
      const start = this.#at;
      do this.#skipValue();
      while (this.#at - start < this.#pieceBytes && this.#bytes[this.#at] === COMMA && this.take(COMMA));
      const piece: unknown = JSON.parse(`[${textOf(this.#bytes.subarray(start, this.#at))}]`);
      // Between two commas, or before the bracket, there is nothing.
      if (!Array.isArray(piece) || piece.length === 0) return this.#fail();
      for (const each of piece) elements.push(check(each, elements.length));
      yield;
    } while (this.take(COMMA));
    this.need(CLOSE_LIST);
    return elements;
  }

  /** To the comma or bracket behind it. */
  #skipValue(): void {
    const bytes = this.#bytes;
    let depth = 0;
    for (let at = this.#at; at < bytes.length; at += 1) {
      switch (bytes[at]) {
        case QUOTE:
          at = endOfText(bytes, at);
          break;
        case OPEN_LIST:
        case OPEN_OBJECT:
          depth += 1;
          break;
        case CLOSE_LIST:
        case CLOSE_OBJECT:
          if (depth === 0) {
            this.#at = at;
            return;
          }
          depth -= 1;
          break;
        case COMMA:
        case COLON:
          if (depth === 0) {
            this.#at = at;
            return;
          }
      }
    }
    this.#at = bytes.length;
  }

  #skipBlank(): void {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }

  #fail(): never {
    throw new SyntaxError(`it is not JSON at byte ${this.#at}`);
  }
}

/** The quote that ends the text whose first quote is at `start`. */
function endOfText(bytes: Uint8Array, start: number): number {
  for (let at = start + 1; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) return at;
  }
  return bytes.length;
}
