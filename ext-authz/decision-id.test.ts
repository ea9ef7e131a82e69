import { expect, test } from "vitest";
import { decisionIds } from "./decision-id.ts";

test("gives UUIDs of version 4, of which every digit that may differ does, and none twice", () => {
  const next = decisionIds();
  const ids = Array.from({ length: 2_000 }, () => next());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(ids.length);
  const digits = Array.from({ length: 36 }, (_, at) => new Set(ids.map((id) => id[at])).size);
  const expected = Array.from("xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx", (each) =>
    each === "x" ? 16 : each === "y" ? 4 : 1,
  );
  expect(digits).toEqual(expected);
});
