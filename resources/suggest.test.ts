import { describe, expect, it } from "vitest";
import { editDistance, nearestWord, suggest } from "./suggest.ts";

describe("editDistance", () => {
  it.each([
    ["weight", "weight", 0],
    ["Weight", "weight", 0],
    ["wieght", "weight", 1],
    ["weigt", "weight", 1],
    ["endpoint", "endpoints", 1],
    ["kitten", "sitting", 3],
    ["abc", "xyz", 3],
  ])("of %s and %s is %i", (left, right, distance) => {
    expect(editDistance(left, right, 5)).toBe(distance);
  });

  it("stops past its bound", () => {
    expect(editDistance("a", "abcdefgh", 2)).toBe(3);
    expect(editDistance("abcdef", "uvwxyz", 2)).toBe(3);
  });
});

describe("suggest", () => {
  it("names the nearest word, and only when it is near", () => {
    expect(nearestWord("upsteam", ["Upstream", "Model"])).toBe("Upstream");
    expect(nearestWord("zebra", ["Upstream", "Model"])).toBeUndefined();
    expect(nearestWord("x".repeat(101), ["x".repeat(100)])).toBeUndefined();
  });

  it("lists what is known when nothing is near", () => {
    expect(suggest("zebra", ["port", "weight"], "known here")).toBe("known here: port, weight");
    expect(suggest("zebra", [], "known here")).toBeUndefined();
    const many = Array.from({ length: 20 }, (_, index) => `field-${index}`);
    expect(suggest("zebra", many, "known here")).toMatch(/field-11, …$/);
  });
});
