import { charge, type Frame } from "./frame.ts";
import { CelError, Duration, type Failure, noOverload, OUT_OF_WORK, Timestamp } from "./value.ts";

/** Parts of timestamps in a time zone, and of durations. */

/** Work of a look into a named time zone: far more than of any other call. */
const ZONE_WORK = 100;
const OFFSET = /^([+-]?)(\d\d):(\d\d)$/;
const NO_ZONE = new CelError("not a time zone: an IANA name or ±hh:mm");

/** Formatters are costly to make; zones are few, and names that are none are not kept. */
const formatters = new Map<string, Intl.DateTimeFormat>();
const MAX_FORMATTERS = 64;
/** The longest IANA name has 32 characters. */
const MAX_NAME = 64;

function formatterOf(zone: string): Intl.DateTimeFormat | undefined {
  const known = formatters.get(zone);
  if (known !== undefined) return known;
  if (zone.length > MAX_NAME) return undefined;
  try {
    const formatter = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      era: "short",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    if (formatters.size >= MAX_FORMATTERS) formatters.clear();
    formatters.set(zone, formatter);
    return formatter;
  } catch {
    // A RangeError for a zone that does not exist.
    return undefined;
  }
}

/** A date whose UTC parts are the parts of `at` in the zone. */
function shifted(at: Timestamp, zone: string | undefined, frame: Frame): Date | Failure {
  const utc = new Date(at.seconds * 1000);
  if (zone === undefined || zone === "UTC") return utc;
  const offset = OFFSET.exec(zone);
  if (offset !== null) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3]);
    return new Date((at.seconds + (offset[1] === "-" ? -60 : 60) * minutes) * 1000);
  }
  if (!charge(frame, ZONE_WORK)) return OUT_OF_WORK;
  const formatter = formatterOf(zone);
  if (formatter === undefined) return NO_ZONE;
  const parts = new Map(formatter.formatToParts(utc).map(({ type, value }) => [type, value]));
  const part = (name: Intl.DateTimeFormatPartTypes) => Number(parts.get(name) ?? 0);
  const local = new Date(0);
  const year = parts.get("era") === "BC" ? 1 - part("year") : part("year");
  local.setUTCFullYear(year, part("month") - 1, part("day"));
  local.setUTCHours(part("hour"), part("minute"), part("second"));
  return local;
}

type Part = (date: Date) => number;

const DAY = 86_400_000;

const PARTS: Readonly<Record<string, Part>> = {
  getFullYear: (date) => date.getUTCFullYear(),
  getMonth: (date) => date.getUTCMonth(),
  getDate: (date) => date.getUTCDate(),
  getDayOfMonth: (date) => date.getUTCDate() - 1,
  getDayOfWeek: (date) => date.getUTCDay(),
  getDayOfYear: (date) => {
    const start = new Date(0);
    start.setUTCFullYear(date.getUTCFullYear(), 0, 1);
    return Math.floor((date.getTime() - start.getTime()) / DAY);
  },
  getHours: (date) => date.getUTCHours(),
  getMinutes: (date) => date.getUTCMinutes(),
  getSeconds: (date) => date.getUTCSeconds(),
};

/** Whole hours, minutes, seconds of a duration, and the milliseconds beyond its seconds; towards zero. */
function durationPart(name: string, { seconds, nanos }: Duration): bigint | undefined {
  const negative = seconds < 0 && nanos > 0;
  const whole = negative ? seconds + 1 : seconds;
  switch (name) {
    case "getHours":
      return BigInt(Math.trunc(whole / 3600));
    case "getMinutes":
      return BigInt(Math.trunc(whole / 60));
    case "getSeconds":
      return BigInt(whole);
    case "getMilliseconds":
      return BigInt(Math.trunc((negative ? nanos - 1_000_000_000 : nanos) / 1_000_000));
    default:
      return undefined;
  }
}

export const CALENDAR_NAMES: readonly string[] = [...Object.keys(PARTS), "getMilliseconds"];

/** The accessor `name` of timestamps and durations. */
export function calendarPart(name: string): (value: unknown, zone: unknown, frame: Frame) => unknown {
  const part = PARTS[name];
  return (value, zone, frame) => {
    if (value instanceof Timestamp && (zone === undefined || typeof zone === "string")) {
      const date = shifted(value, zone, frame);
      if (!(date instanceof Date)) return date;
      return BigInt(part === undefined ? Math.trunc(value.nanos / 1_000_000) : part(date));
    }
    const found = value instanceof Duration && zone === undefined ? durationPart(name, value) : undefined;
    return found ?? (zone === undefined ? noOverload(name, value) : noOverload(name, value, zone));
  };
}
