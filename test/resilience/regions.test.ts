import { afterAll, beforeAll, expect, test } from "vitest";
import { policy } from "../support/resources.ts";
import { waitFor } from "../support/wait-for.ts";
import { WAIT_MS } from "./region-processes.ts";
import { enforcedEverywhere, faultsOf, faultTable, runFault } from "./regions-faults.ts";
import { LINK_MS, type Regions, startRegions } from "./regions-fixture.ts";
import {
  giveToRelay,
  isAtHub,
  type LastIllegal,
  lastIllegalAnswers,
  putAtHub,
  restriction,
  spareAnswers,
} from "./regions-kill-switch.ts";

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

function killSwitchLine(what: string, results: readonly LastIllegal[]): string {
  const times = results.map(
    ({ region, answeredMs, sentMs, refusedSince }) =>
      `${region} ${answeredMs} ms (sent at ${sentMs} ms; ${refusedSince} refused since)`,
  );
  return `${what}: last illegal answer after ${times.join(", ")}`;
}

test("the kill switch given at the hub stops new answers in both regions, until it is lifted", async () => {
  const statement = restriction("given at the hub");
  const results = await lastIllegalAnswers(fleet.regions, (put) => putAtHub(fleet, statement, put));
  console.info(killSwitchLine(`kill switch at the hub, ${LINK_MS} ms away`, results));
  const { id, at } = statement;
  await putAtHub(fleet, { format: 1, type: "lift", id, reason: "over", by: "test", at });
  for (const region of fleet.regions) await spareAnswers(region, 200);
}, 60_000);

test("the kill switch given inside a region that is cut off works there, and reaches the others after healing", async () => {
  const [inside, outside] = fleet.regions;
  if (inside === undefined || outside === undefined) throw new Error("two regions are needed");
  const statement = restriction("given inside");
  inside.link.cut();
  const results = await lastIllegalAnswers([inside], async (put) => {
    put();
    await giveToRelay(fleet, inside, statement);
  });
  console.info(killSwitchLine(`kill switch inside ${inside.name}, cut off`, results));
  expect(await isAtHub(fleet, statement.id)).toBe(false);
  expect(await outside.ask("spare")).toBe(200);
  inside.link.heal();
  const healed = performance.now();
  await waitFor(() => isAtHub(fleet, statement.id), WAIT_MS, "the restriction at the hub");
  const atHub = Math.round(performance.now() - healed);
  await spareAnswers(outside, 403);
  const inForce = Math.round(performance.now() - healed);
  console.info(`after healing: at the hub after ${atHub} ms, in force in ${outside.name} after ${inForce} ms`);
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
