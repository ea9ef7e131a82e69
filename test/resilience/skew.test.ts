import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TcpRelay } from "../support/index.ts";
import { waitFor } from "../support/index.ts";
import { askEnvoy, faultOf, type SkewAnswer, startSkewLoad } from "./skew-answers.ts";
import { type SkewFleet, startSkewFleet, WAIT_MS } from "./skew-fixture.ts";
import { type Change, CORE_ROUTE, changeArbitrary, changed } from "./skew-tree.ts";

/** The same run each time; another seed is another one. */
const SEED = Number(process.env.SKEW_SEED ?? 19_191_426);
const ROUNDS = 5;
const CHANGES = 6;
/** Share of answers that may be refused because no decision came in time. */
const MAX_UNAVAILABLE = 0.01;
/** More than a decision service keeps of revisions that nobody uses. */
const HELD_CHANGES = 12;

let fleet: SkewFleet;
beforeAll(async () => {
  fleet = await startSkewFleet();
}, 90_000);
afterAll(() => fleet?.close(), 30_000);

/** @throws Error that names the first answers that are wrong */
async function demandRight(answers: readonly SkewAnswer[]): Promise<string> {
  const records = await fleet.records();
  const faults = answers.flatMap((answer) => {
    const fault = faultOf(fleet, answer, records.get(answer.path) ?? []);
    return fault === undefined ? [] : [`${fault}\n  ${JSON.stringify(answer)}`];
  });
  if (faults.length > 0) {
    throw new Error(`seed ${SEED}: ${faults.length} of ${answers.length} are wrong:\n${faults.slice(0, 5).join("\n")}`);
  }
  // However long acknowledgements are stuck: routes come after the clusters that they need, and go before them.
  const without = await Promise.all(fleet.envoys.map((envoy) => envoy.withoutCluster()));
  expect(without, "requests that were routed to a cluster that the Envoy does not have").toEqual([0, 0]);
  // A machine that is busy with other things may let a decision wait until nobody waits for it.
  const unavailable = answers.filter(({ status }) => status === 503 || status === 0).length;
  expect(unavailable / answers.length).toBeLessThan(MAX_UNAVAILABLE);
  const counts = new Map<string, number>();
  for (const { status, code } of answers) {
    const kind = `${status}${code === "" ? "" : ` ${code}`}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const decided = answers.flatMap(({ path }) => records.get(path) ?? []);
  const layouts = new Set(decided.map(({ layout }) => layout));
  const kinds = [...counts].map(([kind, count]) => `${kind}: ${count}`).join(", ");
  return `${answers.length} answers (${kinds}), decided for ${layouts.size} layouts`;
}

test("an Envoy that is held on an old layout is decided for by the newest policy, with what it has", async () => {
  const [held, free] = fleet.envoys;
  if (held === undefined || free === undefined) throw new Error("two Envoys are needed");
  held.link.stall("down");
  const load = startSkewLoad(fleet, held);
  const { number: before } = fleet.newest();
  let route = "";
  for (let index = 0; index < HELD_CHANGES; index += 1) {
    const kind = (["route", "policy", "move"] as const)[index % 3] ?? "route";
    const known = fleet.newest().tree.routes;
    await fleet.write(changed(fleet.newest().tree, { kind, pick: 17 * index }));
    route = [...fleet.newest().tree.routes.keys()].find((name) => !known.has(name)) ?? route;
  }
  await waitFor(async () => (await askEnvoy(fleet, free, `/${route}/open/`)).status === 200, WAIT_MS, `/${route}`);
  expect(await askEnvoy(fleet, held, `/${route}/open/`)).toMatchObject({ status: 404 });
  expect(await askEnvoy(fleet, held, `/${CORE_ROUTE}/open/`)).toMatchObject({ status: 200 });
  const denied = [...fleet.newest().tree.denied].find((prefix) => prefix.startsWith(`/${CORE_ROUTE}/`));
  if (denied === undefined) throw new Error("no change denied a part of the first route");
  expect(await askEnvoy(fleet, held, denied)).toMatchObject({ status: 403, code: "denied" });
  await load.stop();
  console.info(`held over ${fleet.newest().number - before} revisions: ${await demandRight(load.answers)}`);
  held.link.heal();
  await fleet.converge();
  expect(await askEnvoy(fleet, held, `/${route}/open/`)).toMatchObject({ status: 200 });
}, 90_000);

type Weather = "fair" | "slow" | "down" | "up" | "both" | "reset";

function apply(weather: Weather, link: TcpRelay): void {
  if (weather === "slow") link.delay(150);
  else if (weather === "reset") link.reset();
  else if (weather === "both") link.stall();
  else if (weather !== "fair") link.stall(weather);
}

const weatherArbitrary = fc.constantFrom<Weather>("fair", "slow", "down", "up", "both", "reset");

interface Step {
  readonly change: Change;
  readonly weather: readonly [Weather, Weather];
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  change: changeArbitrary,
  weather: fc.tuple(weatherArbitrary, weatherArbitrary),
});

test("whatever changes while links stall, a decision names only what its Envoy has", async () => {
  console.info(`SKEW_SEED=${SEED}`);
  const [rounds = []] = fc.sample(
    fc.array(fc.array(stepArbitrary, { minLength: CHANGES, maxLength: CHANGES }), {
      minLength: ROUNDS,
      maxLength: ROUNDS,
    }),
    { seed: SEED, numRuns: 1 },
  );
  const loads = fleet.envoys.map((envoy) => startSkewLoad(fleet, envoy));
  try {
    for (const steps of rounds) {
      for (const { change, weather } of steps) {
        // One fault on top of the other, until the end of the round.
        for (const [index, { link }] of fleet.envoys.entries()) apply(weather[index] ?? "fair", link);
        await fleet.write(changed(fleet.newest().tree, change));
      }
      for (const { link } of fleet.envoys) {
        link.delay(0);
        link.heal();
      }
      await fleet.converge();
    }
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
  console.info(`${ROUNDS * CHANGES} changes: ${await demandRight(loads.flatMap(({ answers }) => answers))}`);
  for (const envoy of fleet.envoys) {
    for (const route of fleet.newest().tree.routes.keys()) {
      const answer = await askEnvoy(fleet, envoy, `/${route}/open/`);
      expect(answer, JSON.stringify(answer)).toMatchObject({ status: 200 });
    }
  }
}, 120_000);
