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
 */
export function inOrder<T extends Orderable>(items: readonly T[], draw: number): readonly T[] {
  const sorted = items.toSorted((a, b) => compareKeys(a.keys, b.keys) || (a.name < b.name ? -1 : 1));
  const ordered: T[] = [];
  let run: T[] = [];
  for (const item of sorted) {
    const [head] = run;
    if (head !== undefined && compareKeys(head.keys, item.keys) !== 0) {
      ordered.push(...drawn(run, draw));
      run = [];
    }
    run.push(item);
  }
  ordered.push(...drawn(run, draw));
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
function drawn<T extends Orderable>(items: readonly T[], draw: number): readonly T[] {
  const left = items.filter((item) => item.weight > 0);
  const last = items.filter((item) => !(item.weight > 0));
  const picked: T[] = [];
  let point = Math.min(Math.max(draw, 0), 1 - Number.EPSILON);
  while (left.length > 1) {
    const total = left.reduce((sum, item) => sum + item.weight, 0);
    let at = point * total;
    let index = 0;
    for (const item of left) {
      if (at < item.weight || index === left.length - 1) break;
      at -= item.weight;
      index += 1;
    }
    const [item] = left.splice(index, 1);
    if (item === undefined) break;
    picked.push(item);
    point = Math.min(Math.max(at / item.weight, 0), 1 - Number.EPSILON);
  }
  return [...picked, ...left, ...last];
}
