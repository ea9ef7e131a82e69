import { expect, test } from "vitest";
import { EDGE } from "./fixtures.ts";
import { LayoutHistory } from "./layout-history.ts";

const layouts = (...hashes: readonly string[]) => hashes.map((hash) => ({ ...EDGE, hash }));
const hashes = (history: LayoutHistory) => history.layouts().map(({ hash }) => hash);

test("keeps the layouts of the newest revisions, whatever the order they come in", () => {
  const history = new LayoutHistory(2);
  history.add(5, layouts("e", "f"));
  history.add(6, layouts("f", "g"));
  history.add(4, layouts("d"));
  expect(hashes(history).toSorted()).toEqual(["e", "f", "g"]);
});

test("keeps a layout that is in use, however many revisions follow", () => {
  const history = new LayoutHistory(2);
  history.add(1, layouts("a", "b"));
  for (let number = 2; number < 100; number += 1) {
    history.use("a");
    history.add(number, layouts(`layout-${number}`));
    history.use(`layout-${number}`);
  }
  expect(hashes(history)).toContain("a");
  expect(hashes(history)).not.toContain("b");
  expect(hashes(history).length).toBeLessThan(25);
});

test("does not keep what it never had", () => {
  const history = new LayoutHistory(1);
  history.use("x");
  history.add(1, layouts("a"));
  history.use("x");
  history.add(2, layouts("b"));
  expect(hashes(history)).toEqual(["b"]);
});
