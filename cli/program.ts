import { Command, CommanderError, type Option } from "commander";
import { EXIT, EXIT_CODES_HELP, exitCodeOf, formatError } from "./exit.ts";
import { keepHeapSmall } from "./small-heap.ts";
import { VERSION } from "./version.ts";
import { boundYoungGeneration } from "./young-generation.ts";

/** Only the verb that is asked for is loaded: most of them bring Envoy's whole API along. */
interface Verb {
  readonly description: string;
  readonly load: () => Promise<Command>;
}

const VERBS: Readonly<Record<string, Verb>> = {
  start: {
    description: "run everything on this machine: control plane, xDS, decision services",
    load: async () => {
      boundYoungGeneration();
      return (await import("./start.ts")).startCommand();
    },
  },
  control: {
    description: "compile, sign and publish a resource tree to a fleet over NATS",
    load: async () => (await import("./control.ts")).controlCommand(),
  },
  relay: {
    description: "serve one region: from the hub's NATS to the region's",
    load: async () => (await import("./relay.ts")).relayCommand(),
  },
  authz: {
    description: "run one decision service (ext_authz)",
    load: async () => {
      boundYoungGeneration();
      return (await import("./authz.ts")).authzCommand();
    },
  },
  xds: {
    description: "run one xDS server",
    load: async () => {
      keepHeapSmall();
      return (await import("./xds.ts")).xdsCommand();
    },
  },
  bootstrap: {
    description: "print the bootstrap with which an Envoy becomes a node of a gateway",
    load: async () => (await import("./bootstrap.ts")).bootstrapCommand(),
  },
  check: {
    description: "check a resource tree and print every problem",
    load: async () => (await import("./check.ts")).checkCommand(),
  },
  eval: {
    description: "evaluate an expression against variables",
    load: async () => (await import("./eval.ts")).evalCommand(),
  },
  test: {
    description: "run the PolicyTests of a resource tree",
    load: async () => (await import("./test.ts")).testCommand(),
  },
  diff: {
    description: "say what a change of a resource tree does to decisions, and whether it loosens",
    load: async () => (await import("./diff.ts")).diffCommand(),
  },
  explain: {
    description: "say what would be decided about a request, and why",
    load: async () => (await import("./explain.ts")).explainCommand(),
  },
  law: {
    description: "list law packs, and say what the law of a date changes",
    load: async () => (await import("./law.ts")).lawCommand(),
  },
  keys: {
    description: "make the keys that sign revisions",
    load: async () => (await import("./keys.ts")).keysCommand(),
  },
  approval: {
    description: "request, grant and revoke that a model version may answer an application",
    load: async () => (await import("./approval.ts")).approvalCommand(),
  },
  log: {
    description: "the operational log of approvals: make room in it, verify it with its archive",
    load: async () => (await import("./log.ts")).logCommand(),
  },
  quarantine: {
    description: "the kill switch: take a version, model, upstream, region, application or rule out of use at once",
    load: async () => (await import("./quarantine.ts")).quarantineCommand(),
  },
  registry: {
    description: "show versions and approvals as they were published, now or at a time",
    load: async () => (await import("./registry.ts")).registryCommand(),
  },
  schema: {
    description: "print the JSON Schema of the resources, for editors",
    load: async () => (await import("./schema.ts")).schemaCommand(),
  },
  status: {
    description: "show which node runs which revision, and what was refused",
    load: async () => (await import("./status.ts")).statusCommand(),
  },
};

/** Runs one verb (a file each) and sets the exit code. */
export async function runProgram(args: readonly string[]): Promise<void> {
  // A reader that has seen enough (`chancery schema | head`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(EXIT.ok);
  });
  try {
    await parse(args);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has written its message: help asked for is no error, everything else is wrong usage.
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    } else {
      process.stderr.write(`${formatError(error)}\n`);
      process.exitCode = exitCodeOf(error);
    }
  }
}

/** The whole command with every verb loaded, for what describes it. */
export async function wholeProgram(): Promise<Command> {
  return createProgram(Object.keys(VERBS));
}

async function parse(args: readonly string[]): Promise<void> {
  const asked = args.find((argument) => !argument.startsWith("-") && argument !== "help");
  const program = await createProgram(asked === undefined ? [] : [asked]);
  await program.parseAsync(args, { from: "user" });
}

async function createProgram(loaded: readonly string[]): Promise<Command> {
  const program = new Command("chancery")
    .description("Gives Envoys their orders, and every request a governance decision.")
    .version(VERSION)
    .addHelpText("after", EXIT_CODES_HELP);
  for (const [name, verb] of Object.entries(VERBS)) {
    const command = loaded.includes(name) ? await verb.load() : new Command(name);
    program.addCommand(command.description(verb.description));
  }
  prepare(program);
  return program;
}

function prepare(command: Command): void {
  command.exitOverride();
  command.showHelpAfterError("(--help shows what there is)");
  for (const option of command.options) describeDefault(option);
  for (const child of command.commands) prepare(child);
}

/** Defaults as people write them. What the option is without being given was set when it was added. */
function describeDefault(option: Option): void {
  const value: unknown = option.defaultValue;
  if (value === false || (Array.isArray(value) && value.length === 0)) option.defaultValue = undefined;
  else if (Array.isArray(value)) option.defaultValueDescription ??= value.join(",");
  else if (typeof value === "object" && value !== null && "host" in value && "port" in value) {
    option.defaultValueDescription ??= `${value.host}:${value.port}`;
  }
}
