import fc from "fast-check";
import { expect, test } from "vitest";
import { ABSENT, HeldVersions, UNKNOWN } from "./held-versions.ts";

const name = fc.constantFrom("a", "b", "c", "d", "e");
const held = fc.constantFrom("1", "2", UNKNOWN, ABSENT);
const step = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), name, held }),
  fc.record({ kind: fc.constant("delete" as const), name }),
  fc.record({ kind: fc.constant("replace" as const), all: fc.dictionary(name, fc.constantFrom("1", "2")) }),
);

test("is a map, whatever it shares", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const mine = new HeldVersions();
      let plain = new Map<string, string | typeof UNKNOWN | typeof ABSENT>();
      for (const next of steps) {
        if (next.kind === "set") {
          mine.set(next.name, next.held);
          plain.set(next.name, next.held);
        } else if (next.kind === "delete") {
          mine.delete(next.name);
          plain.delete(next.name);
        } else {
          mine.replace(new Map(Object.entries(next.all)));
          plain = new Map(Object.entries(next.all));
        }
        expect(mine.size).toBe(plain.size);
        expect(mine.sure).toBe([...plain.values()].filter((version) => typeof version === "string").length);
        expect(new Map(mine)).toEqual(plain);
        for (const each of ["a", "b", "c", "d", "e"]) {
          expect(mine.get(each)).toBe(plain.get(each));
          expect(mine.has(each)).toBe(plain.has(each));
        }
      }
    }),
  );
});
