import { CelError, Duration, type Failure, Timestamp } from "./value.ts";

/** Arithmetic and text of timestamps and durations, to the nanosecond (cel-spec langdef.md "Timestamps and Durations"). */

const NANOS = 1_000_000_000;
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z. */
const FIRST_SECOND = -62_135_596_800;
const LAST_SECOND = 253_402_300_799;
/** A duration fits 64 bits of nanoseconds. */
const DURATION_SECONDS = 9_223_372_036;
const DURATION_NANOS = 854_775_807;

const TIMESTAMP_RANGE = new CelError("timestamp out of range: years 1 to 9999");
const DURATION_RANGE = new CelError("duration out of range: 64 bits of nanoseconds");
const NO_TIMESTAMP = new CelError("not an RFC 3339 timestamp");
const NO_DURATION = new CelError("not a duration, like 1h30m or 0.5s");

/** @param nanos  of any size and sign, within 2⁵³ */
export function timestampOf(seconds: number, nanos: number): Timestamp | Failure {
  const carry = Math.floor(nanos / NANOS);
  const whole = seconds + carry;
  return whole < FIRST_SECOND || whole > LAST_SECOND ? TIMESTAMP_RANGE : new Timestamp(whole, nanos - carry * NANOS);
}

export function durationOf(seconds: number, nanos: number): Duration | Failure {
  const carry = Math.floor(nanos / NANOS);
  const whole = seconds + carry;
  const rest = nanos - carry * NANOS;
  const tooLong = whole > DURATION_SECONDS || (whole === DURATION_SECONDS && rest > DURATION_NANOS);
  const least = -DURATION_SECONDS - 1;
  const tooShort = whole < least || (whole === least && rest < NANOS - DURATION_NANOS - 1);
  return tooLong || tooShort ? DURATION_RANGE : new Duration(whole, rest);
}

/** @param milliseconds  since 1970, as `Date.now()` has them */
export function timestampOfMilliseconds(milliseconds: number): Timestamp | Failure {
  if (!Number.isFinite(milliseconds)) return NO_TIMESTAMP;
  const seconds = Math.floor(milliseconds / 1000);
  return timestampOf(seconds, Math.round((milliseconds - seconds * 1000) * 1_000_000));
}

export function addToTimestamp(at: Timestamp, by: Duration): Timestamp | Failure {
  return timestampOf(at.seconds + by.seconds, at.nanos + by.nanos);
}
export function betweenTimestamps(a: Timestamp, b: Timestamp): Duration | Failure {
  return durationOf(a.seconds - b.seconds, a.nanos - b.nanos);
}
export function addDurations(a: Duration, b: Duration): Duration | Failure {
  return durationOf(a.seconds + b.seconds, a.nanos + b.nanos);
}
export function subtractDurations(a: Duration, b: Duration): Duration | Failure {
  return durationOf(a.seconds - b.seconds, a.nanos - b.nanos);
}
/** Only to be added to a timestamp: the least duration has no opposite within the range. */
export function negated({ seconds, nanos }: Duration): Duration {
  return nanos === 0 ? new Duration(-seconds, 0) : new Duration(-seconds - 1, NANOS - nanos);
}

const RFC3339 = /^(\d{4,5})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

export function parseTimestamp(text: string): Timestamp | Failure {
  const parts = RFC3339.exec(text);
  if (parts === null) return NO_TIMESTAMP;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1, 7).map(Number);
  if (year < 1 || year > 9999) return TIMESTAMP_RANGE;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return NO_TIMESTAMP;
  const offsetHours = Number(parts[9] ?? 0);
  const offsetMinutes = Number(parts[10] ?? 0);
  if (hour > 23 || minute > 59 || second > 59 || offsetHours > 23 || offsetMinutes > 59) return NO_TIMESTAMP;
  const offset = (offsetHours * 60 + offsetMinutes) * (parts[8] === "-" ? -60 : 60);
  const seconds = date.getTime() / 1000 + hour * 3600 + minute * 60 + second - offset;
  return timestampOf(seconds, Number((parts[7] ?? "").padEnd(9, "0")));
}

function fraction(nanos: number): string {
  return nanos === 0 ? "" : `.${nanos.toString().padStart(9, "0").replace(/0+$/, "")}`;
}

export function formatTimestamp({ seconds, nanos }: Timestamp): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}${fraction(nanos)}Z`;
}

const UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
/** Longest text of a duration that is looked at; the shortest form of the longest duration has far less. */
const DURATION_TEXT = 64;
const PART = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;

/** Go's time.ParseDuration: "1h45m", "-1.5s", "0". */
export function parseDuration(text: string): Duration | Failure {
  if (text.length > DURATION_TEXT) return NO_DURATION;
  const negative = text.startsWith("-");
  const body = negative || text.startsWith("+") ? text.slice(1) : text;
  if (body === "0") return new Duration(0, 0);
  let nanos = 0n;
  let at = 0;
  while (at < body.length) {
    PART.lastIndex = at;
    const [part, amount = "", unit = ""] = PART.exec(body) ?? [];
    const scale = UNITS[unit];
    if (part === undefined || scale === undefined) return NO_DURATION;
    const [whole = "", decimals = ""] = amount.split(".");
    nanos += BigInt(whole === "" ? 0 : whole) * scale;
    nanos += (BigInt(decimals === "" ? 0 : decimals) * scale) / 10n ** BigInt(decimals.length);
    at += part.length;
  }
  if (body === "") return NO_DURATION;
  return durationOfNanos(negative ? -nanos : nanos);
}

function durationOfNanos(nanos: bigint): Duration | Failure {
  if (BigInt.asIntN(64, nanos) !== nanos) return DURATION_RANGE;
  const rest = nanos % 1_000_000_000n;
  return durationOf(Number(nanos / 1_000_000_000n), Number(rest));
}

export function formatDuration({ seconds, nanos }: Duration): string {
  if (seconds >= 0 || nanos === 0) return `${seconds}${fraction(nanos)}s`;
  return `-${-seconds - 1}${fraction(NANOS - nanos)}s`;
}
