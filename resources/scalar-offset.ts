/**
 * Where each character of a YAML scalar's value stands in its source, so that an error inside a CEL expression can be
 * shown at its own line and column. Whitespace that YAML folds has no exact place: it is mapped to the end of the
 * character before it.
 *
 * @param source  the scalar as written: quotes or block header ("|", ">-") included
 * @param value   what YAML made of it
 * @returns for every index 0..value.length an offset into `source`
 */
export function scalarOffsets(source: string, value: string): readonly number[] {
  const units = sourceUnits(source);
  const offsets: number[] = [];
  let unit = 0;
  let end = units[0]?.at ?? bodyStart(source);
  for (const character of value.split("")) {
    const next = units[unit];
    if (next !== undefined && next.character === character) {
      offsets.push(next.at);
      end = next.end;
      unit++;
    } else {
      // Raw whitespace: on the same line it is still exact, one column after the other.
      offsets.push(end);
      if (source[end] === character) end++;
    }
  }
  offsets.push(end);
  return offsets;
}

/** A code unit of the value with the place of what stands for it. */
interface Unit {
  readonly character: string;
  readonly at: number;
  readonly end: number;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "0": "\0",
  a: "\x07",
  b: "\b",
  e: "\x1b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  N: "\u0085",
  _: "\u00a0",
  L: "\u2028",
  P: "\u2029",
};
const ESCAPE_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** Everything in the source that is not raw whitespace, decoded. */
function sourceUnits(source: string): readonly Unit[] {
  const quote = source[0] === '"' || source[0] === "'" ? source[0] : "";
  const units: Unit[] = [];
  let at = bodyStart(source);
  const stop = quote === "" ? source.length : source.length - 1;
  while (at < stop) {
    const character = source.charAt(at);
    if (/[ \t\r\n]/.test(character)) at++;
    else if (quote === '"' && character === "\\") at = escaped(source, at, units);
    else {
      const end = quote === "'" && character === "'" ? at + 2 : at + 1;
      units.push({ character, at, end });
      at = end;
    }
  }
  return units;
}

/** Decodes the escape at `at` into `units`; returns where it ends. */
function escaped(source: string, at: number, units: Unit[]): number {
  const letter = source.charAt(at + 1);
  if (letter === "\n" || letter === "\r") return at + 1;
  const digits = ESCAPE_DIGITS[letter] ?? 0;
  const end = at + 2 + digits;
  const code = Number.parseInt(source.slice(at + 2, end), 16);
  const decoded =
    digits > 0 && code <= 0x10ffff
      ? String.fromCodePoint(code)
      : Object.hasOwn(ESCAPES, letter)
        ? ESCAPES[letter]
        : letter;
  for (const character of (decoded ?? "").split("")) units.push({ character, at, end });
  return end;
}

/** Past the opening quote, or past the header line of a block scalar. */
function bodyStart(source: string): number {
  const first = source[0];
  if (first === '"' || first === "'") return 1;
  if (first !== "|" && first !== ">") return 0;
  const line = source.indexOf("\n");
  return line < 0 ? source.length : line + 1;
}
