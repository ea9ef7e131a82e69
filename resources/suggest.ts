/**
 * Optimal string alignment distance (insert, delete, replace, swap of neighbours), case ignored.
 *
 * @returns the distance, or `bound + 1` as soon as it is known to be greater than `bound`
 */
export function editDistance(left: string, right: string, bound: number): number {
  const a = left.toLowerCase();
  const b = right.toLowerCase();
  if (Math.abs(a.length - b.length) > bound) return bound + 1;
  let older: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let best = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + same,
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        best = Math.min(best, (older[column - 2] ?? 0) + 1);
      }
      current.push(best);
    }
    if (Math.min(...current) > bound) return bound + 1;
    older = previous;
    previous = current;
  }
  return previous[b.length] ?? bound + 1;
}

/** The known word that `word` was most likely meant to be, if any is near enough to be worth naming. */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  if (word.length > 100) return undefined;
  const bound = word.length <= 3 ? 1 : word.length <= 8 ? 2 : 3;
  let best: string | undefined;
  let distance = bound + 1;
  for (const candidate of known) {
    const found = editDistance(word, candidate, bound);
    if (found < distance) [best, distance] = [candidate, found];
  }
  return best;
}

/** `did you mean "x"?`, or the known words when none is near; undefined when there are none to name. */
export function suggest(word: string, known: Iterable<string>, what: string): string | undefined {
  const words = [...known];
  const near = nearestWord(word, words);
  if (near !== undefined) return `did you mean "${near}"?`;
  if (words.length === 0) return undefined;
  const shown = words.slice(0, 12);
  return `${what}: ${shown.join(", ")}${words.length > shown.length ? ", …" : ""}`;
}
