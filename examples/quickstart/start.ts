/** `npm start`: the stand-in servers in this process, and `chancery start --envoy` as a child. */
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ChanceryError, formatProblem, type Inventory, loadDirectory } from "../../resources/index.ts";
import { startModelServer } from "./model-server.ts";
import type { StandIn } from "./stand-in.ts";
import { commandsToTry } from "./to-try.ts";
import { startWebServer } from "./web-server.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const GATEWAY = "edge";
const FORWARDED = ["xds", "authz", "control", "envoy-admin"] as const;
const CHILD_GRACE_MS = 15_000;

const USAGE = `Usage: npm start -- [options]

Runs the quick start: three stand-in model servers, a plain web service, the control plane with two decision services,
and an Envoy. Where the servers listen, and where traffic comes in, is written in the resources.

  --resources DIR       resource tree (examples/quickstart/resources)
  --state DIR           what outlives a restart (.chancery/quickstart)
  --xds ADDR            where Envoy gets its configuration (18000)
  --authz ADDR,ADDR     the decision services (9191,9192)
  --control ADDR        admin API (7070)
  --envoy-admin ADDR    Envoy's admin interface (9901)
  --log-level LEVEL     of what runs (warn)
`;

/** The servers behind the gateway: name of the Upstream, and what stands in for it. */
const STAND_INS: Readonly<Record<string, (port: number) => Promise<StandIn>>> = {
  eu: (port) => startModelServer({ name: "eu", region: "EU", port }),
  "eu-old": (port) => startModelServer({ name: "eu-old", region: "EU", port }),
  us: (port) => startModelServer({ name: "us", region: "US", port }),
  "shop-blue": (port) => startWebServer({ name: "shop-blue", port }),
  "shop-green": (port) => startWebServer({ name: "shop-green", port }),
};

function readArguments() {
  const text = { type: "string" } as const;
  return parseArgs({
    options: {
      resources: { ...text, default: join(ROOT, "examples/quickstart/resources") },
      state: { ...text, default: join(ROOT, ".chancery/quickstart") },
      xds: text,
      authz: text,
      control: text,
      "envoy-admin": text,
      "log-level": { ...text, default: "warn" },
      help: { type: "boolean", short: "h", default: false },
    },
  }).values;
}

type Arguments = ReturnType<typeof readArguments>;

async function main(): Promise<number> {
  let args: Arguments;
  try {
    args = readArguments();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (args.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const standIns: StandIn[] = [];
  try {
    const { inventory, problems } = await loadDirectory(args.resources);
    const errors = problems.filter(({ severity }) => severity === "error");
    if (errors.length > 0) {
      throw new ChanceryError(
        "invalid-resources",
        `the resources have errors:\n${errors.map(formatProblem).join("\n")}`,
      );
    }
    const gatewayPort = portOfGateway(inventory);
    await demandFree(
      gatewayPort,
      `write another one as listener port of Gateway ${GATEWAY} in ${shown(args.resources)}`,
    );
    for (const [name, start] of Object.entries(STAND_INS)) {
      const port = portOfUpstream(inventory, name);
      await demandFree(port, `write another one as endpoint of Upstream ${name} in ${shown(args.resources)}`);
      standIns.push(await start(port));
    }
    return await runChancery(args, gatewayPort, standIns);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof ChanceryError && error.code === "unavailable" ? 3 : 1;
  } finally {
    await Promise.all(standIns.map((standIn) => standIn.close()));
  }
}

function portOfGateway(inventory: Inventory): number {
  const port = inventory.gateways.find(({ key }) => key === GATEWAY)?.listeners[0]?.port;
  if (port === undefined) throw new ChanceryError("not-found", `the resources have no Gateway "${GATEWAY}"`);
  return port;
}

function portOfUpstream(inventory: Inventory, key: string): number {
  const port = inventory.upstreams.find((upstream) => upstream.key === key)?.endpoints[0]?.port;
  if (port === undefined) throw new ChanceryError("not-found", `the resources have no Upstream "${key}"`);
  return port;
}

async function demandFree(port: number, remedy: string): Promise<void> {
  const probe = createServer();
  const free = await new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
  if (!free) throw new ChanceryError("unavailable", `port ${port} is in use by another process: end it, or ${remedy}`);
}

function shown(path: string): string {
  return relative(process.cwd(), path) || ".";
}

/** Runs until a signal, or until the child ends by itself. @returns the exit code */
async function runChancery(args: Arguments, gatewayPort: number, standIns: readonly StandIn[]): Promise<number> {
  const forwarded = FORWARDED.flatMap((name) => {
    const value = args[name];
    return value === undefined ? [] : [`--${name}`, value];
  });
  const main = join(ROOT, "cli/main.ts");
  const child = spawn(
    process.execPath,
    [
      ...[main, "start", "--resources", args.resources, "--state", args.state, "--envoy", "--log-level"],
      ...[args["log-level"], ...forwarded],
    ],
    // A group of its own, so that Ctrl-C reaches this process alone, which passes it on once; and a channel, which
    // closes when this process is killed, so that nothing is left behind then either.
    { stdio: ["ignore", "pipe", "inherit", "ipc"], detached: true },
  );
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    process.stdout.write("stopping …\n");
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), CHILD_GRACE_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop);

  const { stdout } = child;
  if (stdout === null) throw new ChanceryError("internal", "the child has no output");
  for await (const line of createInterface({ input: stdout })) {
    if (!line.startsWith("ready ")) {
      process.stdout.write(`${line}\n`);
      continue;
    }
    const addresses = standIns.map(({ name, port }) => `${name} http://127.0.0.1:${port}`);
    process.stdout.write(`${line}  ${addresses.join("  ")}\n${instructions(args, gatewayPort, standIns)}`);
  }
  const { code, signal } = await ended;
  if (stopping) return 0;
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  process.stderr.write(`the control plane ended by itself (${how}); what it said stands above\n`);
  return code === null || code === 0 ? 1 : code;
}

function instructions(args: Arguments, gatewayPort: number, standIns: readonly StandIn[]): string {
  const newest = standIns.find(({ name }) => name === "eu")?.port ?? 0;
  const lines = commandsToTry(gatewayPort, newest).flatMap(({ what, commands }) => ["", `# ${what}`, ...commands]);
  const edit = `Edit a weight or a rule in ${shown(args.resources)} and save: what comes of it is printed here. Ctrl-C ends all.`;
  return `\nTry in another terminal:\n${lines.join("\n")}\n\n${edit}\n\n`;
}

process.exitCode = await main();
