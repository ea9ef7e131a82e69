/** A path that means one thing, or why it does not. */
export type CanonicalPath =
  | { readonly ok: true; readonly path: string; readonly query: string }
  | { readonly ok: false; readonly problem: string };

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const refuse = (problem: string): CanonicalPath => ({ ok: false, problem });

/**
 * The path that rules compare: percent-decoded exactly once, as servers decode it before they route. Envoy has already
 * normalised it (`normalize_path`, `merge_slashes`, escaped slashes rejected); what could still be read in two ways is
 * refused, because a server behind us may read it the other way:
 *
 * - no leading slash (CONNECT, `OPTIONS *`, absolute forms), a fragment;
 * - `//`, `/./`, `/../`, and dots that were escaped (`%2e`): Envoy removes the plain ones, a second proxy would remove
 *   the rest;
 * - `;` and `%3b` anywhere: servlet containers cut path parameters (`/admin;x` is `/admin`, `/..;/` is `/../`), others
 *   do not;
 * - backslash, `%2f`, `%5c`: separators for some, letters for others;
 * - control bytes, space, NUL, raw or escaped (an escaped space is fine);
 * - bad escapes (`%zz`), and bytes that are not UTF-8 (overlong forms of `.` and `/` among them).
 *
 * Double encoding stays what it is: `/%252e%252e` is the literal name `%2e%2e`, since one decoding gives that and a
 * server that decodes twice is broken towards every proxy. Case and trailing slashes are kept: they differ for servers.
 *
 * @param target  `:path` of the request, one char per byte (latin-1)
 * @returns path without query, decoded; query as it was sent, without "?"
 * @see RFC 3986 section 6.2.2, CVE-2021-29492, CVE-2026-26205
 */
export function canonicalPath(target: string): CanonicalPath {
  if (isPlain(target)) return { ok: true, path: target, query: "" };
  const question = target.indexOf("?");
  const raw = question === -1 ? target : target.slice(0, question);
  const query = question === -1 ? "" : target.slice(question + 1);
  if (!raw.startsWith("/")) return refuse("the path does not start with a slash");
  if (target.includes("#")) return refuse("the path has a fragment");

  const bytes = new Uint8Array(raw.length);
  let length = 0;
  for (let at = 0; at < raw.length; at++) {
    const code = raw.charCodeAt(at);
    if (code !== PERCENT) {
      if (code <= 0x20 || code === 0x7f) return refuse("the path holds a control character or a space");
      if (code === BACKSLASH) return refuse("the path holds a backslash");
      if (code === SEMICOLON) return refuse("the path has path parameters (;)");
      bytes[length++] = code;
      continue;
    }
    const decoded = hexByte(raw, at + 1);
    if (decoded === undefined) return refuse("the path has a bad percent escape");
    if (decoded < 0x20 || decoded === 0x7f) return refuse("the path hides a control character in an escape");
    if (decoded === SLASH || decoded === BACKSLASH) return refuse("the path hides a separator in an escape");
    if (decoded === SEMICOLON) return refuse("the path hides path parameters in an escape");
    if (decoded === DOT) return refuse("the path hides a dot in an escape");
    bytes[length++] = decoded;
    at += 2;
  }
  let path: string;
  try {
    path = UTF8.decode(bytes.subarray(0, length));
  } catch {
    return refuse("the path is not UTF-8");
  }
  if (path.includes("//")) return refuse("the path has an empty segment");
  if (/\/\.{1,2}(\/|$)/.test(path)) return refuse("the path has a dot segment");
  return { ok: true, path, query };
}

/** Whether nothing of a path needs a closer look: most have no query, no escapes, and no dot behind a slash. */
function isPlain(target: string): boolean {
  let before = 0;
  for (let at = 0; at < target.length; at++) {
    const code = target.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f || SPECIAL[code] === 1) return false;
    if (before === SLASH && (code === SLASH || code === DOT)) return false;
    before = code;
  }
  return target.charCodeAt(0) === SLASH;
}

/**
 * Where the path of a target ends whose canonical form is itself: at its query, or at its end.
 *
 * @param bytes  in which the target stands
 * @returns -1 where `canonicalPath` has to look closer
 */
export function plainPathEnd(bytes: Uint8Array, from: number, to: number): number {
  if (bytes[from] !== SLASH || from === to) return -1;
  let before = 0;
  for (let at = from; at < to; at += 1) {
    const code = bytes[at] ?? 0;
    if (code === QUESTION) return hasFragment(bytes, at, to) ? -1 : at;
    if (code <= 0x20 || code >= 0x7f || SPECIAL[code] === 1) return -1;
    if (before === SLASH && (code === SLASH || code === DOT)) return -1;
    before = code;
  }
  return to;
}

function hasFragment(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) if (bytes[at] === HASH) return true;
  return false;
}

/** Characters that a path needs a closer look for. */
const SPECIAL = new Uint8Array(0x80);
for (const char of "%;\\?#") SPECIAL[char.charCodeAt(0)] = 1;

/**
 * Every value of one query parameter, decoded (`+` is a space), names decoded too, so that `%6dodel` is `model`.
 *
 * @returns undefined when the query can be read in two ways: `;` (a separator for some), bad escapes, not UTF-8
 */
export function queryValues(query: string, name: string): readonly string[] | undefined {
  if (query.includes(";")) return undefined;
  const values: string[] = [];
  for (const pair of query.split("&")) {
    const equals = pair.indexOf("=");
    const key = decodeComponent(equals === -1 ? pair : pair.slice(0, equals));
    const value = decodeComponent(equals === -1 ? "" : pair.slice(equals + 1));
    if (key === undefined || value === undefined) return undefined;
    if (key === name) values.push(value);
  }
  return values;
}

function decodeComponent(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

const PERCENT = 0x25;
const DOT = 0x2e;
const SLASH = 0x2f;
const HASH = 0x23;
const QUESTION = 0x3f;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;

function hexByte(text: string, at: number): number | undefined {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high === -1 || low === -1 ? undefined : high * 16 + low;
}

/** -1: not a hex digit (NaN past the end of the text included). */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  if (code >= 0x41 && code <= 0x46) return code - 0x37;
  if (code >= 0x61 && code <= 0x66) return code - 0x57;
  return -1;
}
