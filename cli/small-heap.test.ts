import { expect, test } from "vitest";
import { spawnProcess } from "../test/support/index.ts";

const SMALL_HEAP = JSON.stringify(new URL("small-heap.ts", import.meta.url).href);

/** Makes what outlives collections, as loading modules does, and says how large its young generation became, MiB. */
const grow = (first: string) => `
  import { getHeapSpaceStatistics } from "node:v8";
  ${first}
  const kept = [];
  for (let index = 0; index < 1_000_000; index++) kept.push({ index });
  const young = getHeapSpaceStatistics().find((space) => space.space_name === "new_space");
  console.log(young.space_size / 1024 / 1024);
`;

async function youngGeneration(first: string): Promise<number> {
  const child = await spawnProcess(process.execPath, ["--input-type=module", "-e", grow(first)]);
  await child.waitForEnd(30_000);
  return Number(child.stdout());
}

test("the young generation stays as small as it begins", async () => {
  const small = await youngGeneration(`(await import(${SMALL_HEAP})).keepHeapSmall();`);
  expect(small).toBeLessThan(8);
  expect(await youngGeneration("")).toBeGreaterThan(2 * small);
});
