import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { DENIALS, isFailure } from "./denials.ts";

it("documents every code with its statuses, and no other", async () => {
  const text = await readFile(new URL("../docs/denials.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `(\w+)` \| (\d+) \| (\d+) \|/gm)].map(([, code, status, grpc]) => [
    code,
    Number(status),
    Number(grpc),
  ]);
  expect(rows).toEqual(Object.entries(DENIALS).map(([code, { status, grpc }]) => [code, status, grpc]));
});

it("counts as its own failure what is not the caller's", () => {
  expect(isFailure("internal")).toBe(true);
  expect(isFailure("denied")).toBe(false);
});
