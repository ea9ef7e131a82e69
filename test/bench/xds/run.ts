import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { buildPrograms, type Cell, type Measured, measure, type Programs, type ServerName } from "./processes.ts";
import { costByPart } from "./profile.ts";
import { pushCost } from "./push-cost.ts";
import { faults, table } from "./report.ts";

/** `npm run bench:xds`: our xDS server against go-control-plane, in turns within one run (README.md beside this file). */

interface Options {
  readonly nodes: readonly number[];
  readonly protocols: readonly Cell["protocol"][];
  readonly servers: readonly ServerName[];
  readonly rounds: number;
  readonly burst?: number;
  readonly profile: boolean;
  readonly pushCost: boolean;
}

/** With as many nodes there is no burst unless it is asked for, which takes minutes, and there are fewer repeats. */
const MANY_NODES = 5_000;
const BURST_S = 10;
const PROFILE_REPEATS = 40;

const command = new Command("bench:xds")
  .description("measure the xDS server against go-control-plane (LinearCache); needs Go and two cores")
  .option("--nodes <numbers>", "how many clients, comma-separated", positives, [100, 1_000])
  .option("--protocols <names>", "delta, sotw", protocols, ["delta", "sotw"])
  .option("--servers <names>", "go-control-plane, chancery", servers, ["go-control-plane", "chancery"])
  .option("--rounds <number>", "each server's turns in each setting", positive, 3)
  .option(
    "--burst <seconds>",
    `length of the burst of 100 changes a second; 0: none (default: ${BURST_S}, from ${MANY_NODES} nodes on none)`,
    seconds,
  )
  .option("--profile", "also say where the CPU time of our server goes", false)
  .option("--push-cost", "instead: what each kind of change costs a node, from resources on", false)
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench:xds\n  npm run bench:xds -- --nodes 5000 --rounds 1 --burst 10\n  npm run bench:xds -- --push-cost",
  )
  .action(async (options: Options) => {
    if (options.pushCost) {
      process.stdout.write(`${await pushCost()}\n`);
      return;
    }
    const programs = await buildPrograms();
    try {
      await compare(programs, options);
    } finally {
      await programs.close();
    }
  });

async function compare(programs: Programs, options: Options): Promise<void> {
  let failed = false;
  for (const nodes of options.nodes) {
    for (const protocol of options.protocols) {
      const rounds: Record<ServerName, Measured>[] = [];
      for (let round = 1; round <= options.rounds; round++) {
        const many = nodes >= MANY_NODES;
        const burstSeconds = options.burst ?? (many ? 0 : BURST_S);
        const setting = { protocol, nodes, burstSeconds, repeats: many ? 3 : 5 };
        const results: Record<ServerName, Measured> = { "go-control-plane": {}, chancery: {} };
        for (const server of options.servers) {
          const measured = await measure(programs, { server, ...setting });
          for (const fault of faults(measured)) {
            failed ||= server === "chancery";
            process.stderr.write(`${server}, ${nodes} nodes, ${protocol}, round ${round}: ${fault}\n`);
          }
          process.stdout.write(`${JSON.stringify({ server, nodes, protocol, round, ...measured })}\n`);
          results[server] = measured;
        }
        rounds.push(results);
      }
      process.stdout.write(`\n${nodes} nodes, ${protocol}, ${options.rounds} rounds\n\n${table(nodes, rounds)}\n\n`);
      if (options.profile) await showProfile(programs, nodes, protocol);
    }
  }
  if (failed) process.exitCode = 1;
}

/** A run of its own: profiling costs time. */
async function showProfile(programs: Programs, nodes: number, protocol: Cell["protocol"]): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), "chancery-bench-profile-"));
  try {
    await measure(programs, {
      server: "chancery",
      protocol,
      nodes,
      burstSeconds: 0,
      repeats: PROFILE_REPEATS,
      profile,
    });
    process.stdout.write(`Where the CPU time of the server goes (${PROFILE_REPEATS} changes of each kind):\n`);
    for (const [part, share] of await costByPart(profile)) {
      process.stdout.write(`  ${(100 * share).toFixed(1).padStart(5)} %  ${part}\n`);
    }
    process.stdout.write("\n");
  } finally {
    await rm(profile, { recursive: true });
  }
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("a whole number of at least 1");
  return number;
}

function seconds(text: string): number {
  return text === "0" ? 0 : positive(text);
}

function positives(text: string): number[] {
  return text.split(",").map(positive);
}

function servers(text: string): ServerName[] {
  return text.split(",").map((name) => {
    if (name !== "go-control-plane" && name !== "chancery") {
      throw new InvalidArgumentError("go-control-plane, chancery, or both");
    }
    return name;
  });
}

function protocols(text: string): Cell["protocol"][] {
  return text.split(",").map((name) => {
    if (name !== "delta" && name !== "sotw") throw new InvalidArgumentError("delta, sotw, or both");
    return name;
  });
}

await command.parseAsync();
