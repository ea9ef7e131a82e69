import { hash } from "node:crypto";

/**
 * Who gets which part of a split. Nothing is remembered: the same unit gets the same arm after restarts, on every replica
 * and in every region, because the arm follows from the unit, the salt and the shares alone.
 *
 * SHA-256, since it is the same in every language and splits of different salts are independent: what a record says can
 * be worked out again by `printf 'SALT\0UNIT' | sha256sum`. Under a microsecond each.
 */

/** What a share is given to. */
export interface Arm {
  readonly name: string;
  /** Relative to the other arms; 0: gets nobody. */
  readonly weight: number;
}

/** Digits of a unit's hash that are kept: enough to tell units apart, in records too. */
const HASH_DIGITS = 16;
/** Hex digits that fill the integers which a double holds exactly. */
const POINT_DIGITS = 13;
const POINTS = 16 ** POINT_DIGITS;

/**
 * A pseudonym of a unit within one split: the first 16 hex digits of SHA-256 over `salt`, a zero byte and `unit`. Units
 * of different splits cannot be joined by it; who knows salt and unit can make it.
 */
export function unitHash(salt: string, unit: string): string {
  return hash("sha256", `${salt}\0${unit}`, "hex").slice(0, HASH_DIGITS);
}

/** Where a unit lies in [0, 1): evenly spread, and fixed for the unit, so that a growing share only adds units. */
export function pointOf(unitHash: string): number {
  return Number.parseInt(unitHash.slice(0, POINT_DIGITS), 16) / POINTS;
}

/**
 * Arms in the order in which a unit takes them: the first is its own, the second what it gets where the first may not
 * answer, and so on. Weighted rendezvous hashing: each arm draws an exponential time of rate `weight` for the unit, and
 * the earliest wins. So taking an arm away, or changing one arm's weight, moves no unit between the others; of two arms
 * exactly the difference moves; in any other change at most twice the difference.
 *
 * @see Schindelhauer, Schomaker: Weighted Distributed Hash Tables (SPAA 2005)
 */
export function armsFor<A extends Arm>(arms: readonly A[], unitHash: string): readonly A[] {
  const [only, second] = arms;
  if (only !== undefined && second === undefined) return only.weight > 0 ? arms : [];
  return arms
    .filter(({ weight }) => weight > 0)
    .map((arm) => ({ arm, time: arrival(arm, unitHash) }))
    .sort((a, b) => a.time - b.time || (a.arm.name < b.arm.name ? -1 : 1))
    .map(({ arm }) => arm);
}

/** Depends on nothing but the arm and the unit: not on the other arms, and not on their order. */
function arrival({ name, weight }: Arm, unit: string): number {
  const digits = hash("sha256", `${unit}\0${name}`, "hex").slice(0, POINT_DIGITS);
  // In (0, 1], so that the logarithm is finite.
  return -Math.log((Number.parseInt(digits, 16) + 1) / POINTS) / weight;
}
