import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attachedHostnames, intersectHostnames } from "./hostnames.ts";

describe("intersectHostnames", () => {
  it.each([
    ["a.example.com", "a.example.com", "a.example.com"],
    ["*", "a.example.com", "a.example.com"],
    ["*.example.com", "a.example.com", "a.example.com"],
    ["*.example.com", "a.b.example.com", "a.b.example.com"],
    ["*.example.com", "*.b.example.com", "*.b.example.com"],
    ["*.example.com", "example.com", undefined],
    ["*.example.com", "a.example.org", undefined],
    ["*.example.com", "xexample.com", undefined],
    ["a.example.com", "b.example.com", undefined],
  ])("of %s and %s is %s, either way round", (left, right, common) => {
    expect(intersectHostnames(left, right)).toBe(common);
    expect(intersectHostnames(right, left)).toBe(common);
  });

  it("is commutative, idempotent and associative", () => {
    const label = fc.constantFrom("a", "b", "com");
    const name = fc
      .tuple(fc.boolean(), fc.array(label, { minLength: 1, maxLength: 3 }))
      .map(([wildcard, labels]) => (wildcard ? `*.${labels.join(".")}` : labels.join(".")));
    const host = fc.oneof(name, fc.constant("*"));
    const both = (a: string | undefined, b: string | undefined): string | undefined =>
      a === undefined || b === undefined ? undefined : intersectHostnames(a, b);
    fc.assert(
      fc.property(host, host, host, (a, b, c) => {
        expect(both(a, b)).toBe(both(b, a));
        expect(both(a, a)).toBe(a);
        expect(both(both(a, b), c)).toBe(both(a, both(b, c)));
      }),
    );
  });
});

describe("attachedHostnames", () => {
  it("takes the listener's when the route names none, and the other way round", () => {
    expect(attachedHostnames([], undefined)).toEqual(["*"]);
    expect(attachedHostnames([], "*.example.com")).toEqual(["*.example.com"]);
    expect(attachedHostnames(["a.example.com"], undefined)).toEqual(["a.example.com"]);
  });

  it("leaves out what the listener does not serve, and duplicates", () => {
    const route = ["a.example.com", "a.example.org", "*.example.com", "a.example.com"];
    expect(attachedHostnames(route, "*.example.com")).toEqual(["a.example.com", "*.example.com"]);
    expect(attachedHostnames(["a.example.org"], "*.example.com")).toEqual([]);
  });
});
