import { expect, test } from "vitest";
import { demandOneSource } from "./revision-source.ts";

test.each([
  [{}, "say where revisions come from"],
  [{ resources: "a", bus: "b", trust: "c" }, "say where revisions come from"],
  [{ bus: "b" }, "--bus and --trust belong together"],
  [{ resources: "a", trust: "c" }, "--bus and --trust belong together"],
])("refuses %j", (options, message) => {
  expect(() => demandOneSource(options)).toThrow(message);
});

test.each([[{ resources: "a" }], [{ bus: "b", trust: "c" }]])("takes %j", (options) => {
  expect(() => demandOneSource(options)).not.toThrow();
});
