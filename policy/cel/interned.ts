/** Names and texts of rules, which repeat. */
const known = new Map<string, string>();
const MAX_KNOWN = 4_096;

/**
 * The same text as a property's name is: engines keep one copy of those and compare it by its place in memory, first of
 * all when a map is asked for it.
 */
export function interned(text: string): string {
  let name = known.get(text);
  if (name === undefined) {
    // Without a prototype it is a table from the start: of objects with one, each new name would make a class.
    const table: Record<string, number> = Object.create(null);
    table[text] = 0;
    name = Object.keys(table)[0] ?? text;
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(name, name);
  }
  return name;
}
