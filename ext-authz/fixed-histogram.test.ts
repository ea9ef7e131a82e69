import fc from "fast-check";
import { Histogram, Registry } from "prom-client";
import { expect, test } from "vitest";
import { FixedHistogram } from "./fixed-histogram.ts";

test("says what a histogram of the library says of the same values", async () => {
  const buckets = [0.001, 0.01, 0.5];
  const value = fc.oneof(fc.constantFrom(0, 0.001, 0.01, 0.5, 7), fc.double({ min: 0, max: 1, noNaN: true }));
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 20 }), async (values) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      const fixed = new FixedHistogram({ name: "seconds", help: "Time.", buckets, registry: ours });
      const known = new Histogram({ name: "seconds", help: "Time.", buckets, registers: [theirs] });
      for (const each of values) {
        fixed.add(each);
        known.observe(each);
      }
      expect(await ours.metrics()).toBe(await theirs.metrics());
      expect((await ours.getMetricsAsJSON())[0]?.values).toEqual((await theirs.getMetricsAsJSON())[0]?.values);
    }),
    { numRuns: 30 },
  );
});
