import { expect, test } from "vitest";
import { culprits } from "./refusal.ts";

test("the only resource of a refused response is at fault, whatever is said", () => {
  expect(culprits("missing ): (", ["routes"])).toEqual(["routes"]);
});

test("Envoy lists clusters and listeners that it cannot take", () => {
  const message = "Error adding/updating cluster(s) b: Didn't find an a, c: malformed IP address: not an ip";
  expect(culprits(message, ["a", "b", "c", "d"])).toEqual(["b", "c"]);
});

test("what Envoy cannot decode it does not name, and names in what it quotes prove nothing", () => {
  const message = 'Invalid duration: Expected positive duration: seconds: -1 cluster_name: "a"';
  expect(culprits(message, ["a", "b"])).toEqual([]);
});

test("other clients quote the resource", () => {
  expect(culprits('xds: resource "b" has no endpoints', ["a", "b"])).toEqual(["b"]);
});
