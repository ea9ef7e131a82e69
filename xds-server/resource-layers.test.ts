import fc from "fast-check";
import { expect, test } from "vitest";
import { ResourceLayers } from "./resource-layers.ts";
import { cluster } from "./session-driver.ts";
import type { ServedResource } from "./snapshot.ts";

const names = Array.from({ length: 150 }, (_, index) => `c${index}`);
const change = fc.uniqueArray(fc.tuple(fc.constantFrom(...names), fc.boolean()), { selector: ([name]) => name });

test("holds what a map would after the same changes, and earlier ones stay as they were", () => {
  const resources = new Map(names.map((name) => [name, cluster(name)]));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 15 }), (changes) => {
      let plain: ReadonlyMap<string, ServedResource> = new Map([...resources].slice(0, 20));
      let layered = plain;
      const kept: [layered: ReadonlyMap<string, ServedResource>, plain: ReadonlyMap<string, ServedResource>][] = [];
      for (const step of changes) {
        const changed = new Map(step.map(([name, there]) => [name, there ? resources.get(name) : undefined]));
        const next = new Map(plain);
        for (const [name, resource] of changed) {
          if (resource === undefined) next.delete(name);
          else next.set(name, resource);
        }
        plain = next;
        layered = ResourceLayers.over(layered, changed);
        kept.push([layered, plain]);
      }
      for (const [mine, theirs] of kept) {
        expect(mine.size).toBe(theirs.size);
        expect([...mine].sort()).toEqual([...theirs].sort());
        expect(names.filter((name) => mine.get(name) !== theirs.get(name))).toEqual([]);
      }
    }),
    { numRuns: 20 },
  );
});
