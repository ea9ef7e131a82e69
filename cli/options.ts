import { InvalidArgumentError } from "commander";
import { ChanceryError, parseDuration } from "../resources/index.ts";
import { type Address, formatAddress, parseAddress } from "./address.ts";

/** Parsers of option values; what is wrong is told with the option's name. */

export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text) || value < 1) throw new InvalidArgumentError("It must be a whole number from 1.");
  return value;
}

export function parseSeconds(text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError("It must be a whole number of seconds.");
  return value;
}

export function addressOption(text: string): Address {
  try {
    return parseAddress(text);
  } catch (error) {
    throw new InvalidArgumentError(ChanceryError.from(error).message);
  }
}

/** HOST:PORT, PORT, or unix:/path; comma-separated. */
export function addressListOption(text: string): string[] {
  return text.split(",").map((each) => (each.startsWith("unix:/") ? each : formatAddress(addressOption(each.trim()))));
}

/** RFC 3339. @returns milliseconds since the epoch */
export function parseTime(text: string): number {
  const time = /^\d{4}-\d{2}-\d{2}T/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new InvalidArgumentError("It must be an RFC 3339 date and time.");
  return time;
}

/** A duration, also in days: 90d, 12h, 1h30m. @returns milliseconds */
export function parseSpan(text: string): number {
  const days = /^([0-9]{1,5})d$/.exec(text)?.[1];
  const milliseconds = days === undefined ? parseDuration(text) : Number(days) * 86_400_000;
  if (milliseconds !== undefined && milliseconds > 0) return milliseconds;
  throw new InvalidArgumentError("It must be a duration: 90s, 2h, 1h30m, 5d.");
}

/** Adds to a repeatable option. */
export function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
