import { expect, test } from "vitest";
import { spawnProcess } from "../test/support/index.ts";

const MODULE = JSON.stringify(new URL("young-generation.ts", import.meta.url).href);

/** Makes what outlives collections, some in each turn, and says how large its young generation became, MiB. */
const grow = (first: string) => `
  import { setImmediate } from "node:timers/promises";
  import { getHeapSpaceStatistics } from "node:v8";
  ${first}
  const kept = [];
  let most = 0;
  for (let turn = 0; turn < 150; turn++) {
    for (let index = 0; index < 10_000; index++) kept.push({ index });
    const young = getHeapSpaceStatistics().find((space) => space.space_name === "new_space");
    most = Math.max(most, young.space_size / 1024 / 1024);
    await setImmediate();
  }
  console.log(most);
`;

async function youngGeneration(first: string, ...options: readonly string[]): Promise<number> {
  const child = await spawnProcess(process.execPath, [...options, "--input-type=module", "-e", grow(first)]);
  await child.waitForEnd(30_000);
  return Number(child.stdout());
}

test("the young generation grows to its bound and no further, unless the command line says otherwise", async () => {
  const bound = `(await import(${MODULE})).boundYoungGeneration();`;
  const bounded = await youngGeneration(bound);
  expect(bounded).toBeGreaterThan(4);
  // Pages that are being given back count for a while.
  expect(bounded).toBeLessThan(32);
  expect(await youngGeneration("")).toBeGreaterThanOrEqual(32);
  expect(await youngGeneration(bound, "--max-semi-space-size=32")).toBeGreaterThanOrEqual(32);
});
