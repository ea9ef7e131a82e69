import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { ChanceryError, ERROR_CODES, type ErrorCode } from "../resources/index.ts";
import { exitCodeOf, formatError } from "./exit.ts";

test("docs/errors.md has every code with its exit status, meaning and remedy, and no other", async () => {
  const text = await readFile(new URL("../docs/errors.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([^`]+)` \| (\d) \| (.+?) \| (.+?) \|$/gm)];
  expect(rows.map(([, code, exit, meaning]) => ({ code, exit: Number(exit), meaning }))).toEqual(
    Object.entries(ERROR_CODES).map(([code, meaning]) => {
      const exit = exitCodeOf(new ChanceryError(code as ErrorCode, meaning));
      return { code, exit, meaning };
    }),
  );
  for (const [, code, , , remedy] of rows) expect(remedy, code).toMatch(/^\S.{10,}\.$/);
});

test("what the machine refuses is no defect of Chancery, and shows no stack", async () => {
  const thrown = await readFile(new URL("exit.ts/x", import.meta.url)).catch((error: unknown) => error);
  expect(exitCodeOf(thrown)).toBe(3);
  expect(formatError(thrown)).toMatch(/^error: ENOTDIR: [^\n]*exit\.ts\/x' \[unavailable\]$/);
  expect(exitCodeOf(new TypeError("x is not a function"))).toBe(4);
});
