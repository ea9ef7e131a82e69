import { expect, test } from "vitest";
import { samePackages } from "./packages.mjs";

const a = { version: "1.0.0", integrity: "sha512-a" };
const b = { version: "2.0.0", integrity: "sha512-b", optional: true };
const wanted = { "": {}, "node_modules/a": a, "node_modules/b": b };

test("is content with what the lockfile says, without the optional packages of other machines", () => {
  expect(samePackages(wanted, { "node_modules/a": a, "node_modules/b": b })).toBe(true);
  expect(samePackages(wanted, { "node_modules/a": a })).toBe(true);
});

test.each([
  ["a package is missing", { "node_modules/b": b }],
  ["a version differs", { "node_modules/a": { ...a, version: "1.0.1" } }],
  ["a digest differs", { "node_modules/a": { ...a, integrity: "sha512-x" } }],
  ["an optional package differs", { "node_modules/a": a, "node_modules/b": { ...b, version: "2.0.1" } }],
  ["a package is left over", { "node_modules/a": a, "node_modules/c": a }],
])("installs again when %s", (_, present) => {
  expect(samePackages(wanted, present)).toBe(false);
});
