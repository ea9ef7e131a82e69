import { afterAll, beforeAll, expect, test } from "vitest";
import { policy } from "../support/resources.ts";
import { enforcedEverywhere, faultsOf, faultTable, runFault } from "./regions-faults.ts";
import { type Regions, startRegions } from "./regions-fixture.ts";

const EDITS = 10;

let fleet: Regions;
beforeAll(async () => {
  fleet = await startRegions();
}, 240_000);
afterAll(() => fleet?.close(), 60_000);

function summary(times: readonly number[]): string {
  const sorted = [...times].sort((one, other) => one - other);
  return `p50 ${sorted[Math.floor(sorted.length / 2)]} ms, max ${sorted.at(-1)} ms of ${sorted.length} edits`;
}

async function measure(what: string): Promise<void> {
  const times: number[] = [];
  for (let edit = 0; edit < EDITS; edit++) times.push(await enforcedEverywhere(fleet));
  const { convergence } = await fleet.status();
  const { p50Ms = 0, maxMs = 0, count = 0 } = convergence?.saveToAcknowledged ?? {};
  console.info(`${what}: from save to refused in both regions ${summary(times)}`);
  console.info(
    `${what}: from save to acknowledged p50 ${Math.round(p50Ms)} ms, max ${Math.round(maxMs)} ms of ${count}`,
  );
}

test("a change is in force in both regions, each 100 ms away", async () => {
  await measure("few files");
  const { nodes, regions, xdsServers, decisionServices, leadership } = await fleet.status();
  expect(nodes.map(({ id, region, connected }) => [id, region, connected])).toEqual([
    ["envoy-eu", "eu", true],
    ["envoy-us", "us", true],
  ]);
  expect(regions.map(({ name, stale }) => [name, stale]).sort()).toEqual([
    ["eu", false],
    ["us", false],
  ]);
  expect(xdsServers.map(({ id }) => id)).toEqual(["eu/xds", "us/xds"]);
  expect(decisionServices.map(({ id }) => id)).toEqual(["eu/authz-1", "eu/authz-2", "us/authz-1", "us/authz-2"]);
  expect(leadership?.leading).toBe(true);
}, 120_000);

test("whatever breaks, no answer is wrong, no record is lost, and changes come through", async () => {
  const results = [];
  for (const fault of await faultsOf(fleet, 10_000, 1_000)) results.push(await runFault(fleet, fault));
  console.info(faultTable(results));
  for (const result of results) expect(result).toMatchObject({ wrong: 0, lost: 0 });
}, 300_000);

test("one of a thousand policy files is changed", async () => {
  const files = Array.from({ length: 1_000 }, (_, index) => {
    const when = `request.url_path == "/never-${index}"`;
    const rule = `{ id: never, effect: deny, when: '${when}', reason: Closed }`;
    return [`policy-${index}.yaml`, policy(`many-${index}`, rule)] as const;
  });
  await fleet.add("many", Object.fromEntries(files));
  await enforcedEverywhere(fleet);
  await measure("1,000 more files");
}, 180_000);
