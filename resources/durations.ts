/** A duration as Gateway API writes it: up to four whole numbers with unit. @see GEP-2257 */
export const DURATION_PATTERN = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/;

const UNITS = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
type Unit = keyof typeof UNITS;

/**
 * Milliseconds of a GEP-2257 duration ("10s", "1h30m", "500ms"); units add up and may stand in any order.
 *
 * @returns undefined when `text` is not a duration
 */
export function parseDuration(text: string): number | undefined {
  if (!DURATION_PATTERN.test(text)) return undefined;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]{1,5})(ms|h|m|s)/g)) total += Number(count) * UNITS[unit as Unit];
  return total;
}

/**
 * The shortest GEP-2257 text, greatest unit first: `parseDuration` gives `milliseconds` back.
 *
 * @param milliseconds  a whole number from 0 to 99,999 h
 */
export function formatDuration(milliseconds: number): string {
  let rest = milliseconds;
  let text = "";
  for (const unit of ["h", "m", "s", "ms"] as const) {
    const count = Math.floor(rest / UNITS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * UNITS[unit];
  }
  return text === "" ? "0s" : text;
}
