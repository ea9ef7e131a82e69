/** Something to be put in order: first by `keys` (each ascending, left to right), then by a weighted draw. */
export interface Orderable {
  readonly name: string;
  readonly keys: readonly number[];
  /** Share among those with equal keys; 0: only after all others. */
  readonly weight: number;
}

/**
 * Best first. Pure: the same items in whatever order, and the same draw, give the same list.
 *
 * @param draw  in [0, 1)
 * @param onDraw  told of the weights wherever the draw decides
 */
export function inOrder<T extends Orderable>(
  items: readonly T[],
  draw: number,
  onDraw?: (weights: readonly number[]) => void,
): readonly T[] {
  const sorted = items.toSorted((a, b) => compareKeys(a.keys, b.keys) || (a.name < b.name ? -1 : 1));
  const ordered: T[] = [];
  let run: T[] = [];
  for (const item of sorted) {
    const [head] = run;
    if (head !== undefined && compareKeys(head.keys, item.keys) !== 0) {
      ordered.push(...drawn(run, draw, onDraw));
      run = [];
    }
    run.push(item);
  }
  ordered.push(...drawn(run, draw, onDraw));
  return ordered;
}

function compareKeys(a: readonly number[], b: readonly number[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index] ?? 0;
    if (left < right) return -1;
    if (left > right) return 1;
  }
  return 0;
}

/**
 * A weighted shuffle from one number: it picks the first, and where it fell inside that one's share is uniform again and
 * picks the next.
 */
function drawn<T extends Orderable>(
  items: readonly T[],
  draw: number,
  onDraw?: (weights: readonly number[]) => void,
): readonly T[] {
  const left = items.filter((item) => item.weight > 0);
  const last = items.filter((item) => !(item.weight > 0));
  const picked: T[] = [];
  const weights = left.map(({ weight }) => weight);
  if (left.length > 1) onDraw?.(weights);
  const taken = new Uint8Array(left.length);
  let point = withinUnit(draw);
  for (let picks = 0; picks < left.length; picks += 1) {
    const place = nextPlace(weights, taken, point);
    point = shareLeft;
    taken[place] = 1;
    const item = left[place];
    if (item !== undefined) picked.push(item);
  }
  return [...picked, ...last];
}

function withinUnit(point: number): number {
  return Math.min(Math.max(point, 0), 1 - Number.EPSILON);
}

/** Where the point fell inside the share of the place that `nextPlace` found last. */
let shareLeft = 0;

/** The place that a point in [0, 1) falls on, among those that are not taken. */
function nextPlace(weights: readonly number[], taken: Uint8Array, point: number): number {
  let total = 0;
  for (let place = 0; place < weights.length; place += 1) if (taken[place] === 0) total += weights[place] ?? 0;
  let at = point * total;
  let found = -1;
  for (let place = 0; place < weights.length; place += 1) {
    if (taken[place] !== 0) continue;
    const before = found === -1 ? 0 : (weights[found] ?? 0);
    if (found !== -1 && at < before) break;
    at -= before;
    found = place;
  }
  shareLeft = withinUnit(at / (weights[found] ?? 1));
  return found;
}

/** Items in a draw whose order is told by one number. */
export const PERMUTED = 6;
const PERMUTED_TAKEN = new Uint8Array(PERMUTED);

/** The same number wherever `inOrder` puts items of these weights, at most `PERMUTED`, in the same order. */
export function permutationOf(weights: readonly number[], draw: number): number {
  PERMUTED_TAKEN.fill(0);
  let permutation = 0;
  let point = withinUnit(draw);
  for (let picks = 1; picks < weights.length; picks += 1) {
    const place = nextPlace(weights, PERMUTED_TAKEN, point);
    point = shareLeft;
    PERMUTED_TAKEN[place] = 1;
    permutation = permutation * PERMUTED + place;
  }
  return permutation;
}
