import { Command, Option } from "commander";
import { type Registry, type RegistryChange, type RegistryEntry, registryAt } from "../distribution/index.ts";
import { ChanceryError, printableLines } from "../resources/index.ts";
import { parseTime } from "./options.ts";
import { openRegistry } from "./registry-state.ts";

const HELP = `
Model versions and approvals as they were published by a control plane, from its state directory (--state of chancery
control or start): what is in force, what was in force at a time and who had approved it, and what changed when and by
which revision. Deployments and scores are in the resource tree.

Examples:
  chancery registry list --state /var/lib/chancery/control
  chancery registry show atlas-v2 --state .chancery
  chancery registry history atlas-v2 --state .chancery
  chancery registry at 2026-11-01T00:00:00Z --application team/chat --state .chancery
`;

interface StateOptions {
  readonly state: string;
  readonly format: "text" | "json";
}

interface FilterOptions extends StateOptions {
  readonly version?: string;
  readonly application?: string;
}

/** `chancery registry list|show|history|at` */
export function registryCommand(): Command {
  const registry = new Command("registry").addHelpText("after", HELP);
  const verb = (name: string, description: string) =>
    registry
      .command(name)
      .description(description)
      .requiredOption("--state <dir>", "state directory of the control plane")
      .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"));
  const filtered = (command: Command) =>
    command
      .option("--version <key>", "only what is about this ModelVersion")
      .option("--application <key>", "only approvals for this Application, and the versions that they name");

  filtered(verb("list", "list what is in force")).action(async (options: FilterOptions) => {
    print(inForce(await openRegistry(options.state), Date.now(), options), options, formatEntries);
  });
  verb("show", "show a version, who approved it, and what changed of it")
    .argument("<version>", "key of the ModelVersion")
    .action(async (version: string, options: StateOptions) => {
      const known = await openRegistry(options.state);
      const found = { entries: inForce(known, Date.now(), { version }), history: changesOf(known, version) };
      if (found.entries.length + found.history.length === 0) throw notPublished(version);
      print(found, options, ({ entries, history }) => `${formatEntries(entries)}\n${formatChanges(history)}`);
    });
  verb("history", "list what changed, when, and by which revision")
    .argument("[version]", "key of the ModelVersion; all, unless given")
    .action(async (version: string | undefined, options: StateOptions) => {
      print(changesOf(await openRegistry(options.state), version), options, formatChanges);
    });
  filtered(verb("at", "list what was in force at a time, and who had approved it"))
    .argument("<time>", "RFC 3339", parseTime)
    .action(async (time: number, options: FilterOptions) => {
      print(inForce(await openRegistry(options.state), time, options), options, formatEntries);
    });
  return registry;
}

function notPublished(version: string): ChanceryError {
  return new ChanceryError("not-found", `no version ${version.slice(0, 256)} was published`);
}

/** Approvals count within their own time only. */
function inForce(
  registry: Registry,
  at: number,
  options: Omit<FilterOptions, keyof StateOptions>,
): readonly RegistryEntry[] {
  const entries = registryAt(registry, at);
  if (entries === undefined) {
    const why =
      registry.since === undefined
        ? "what this process stood by for was published from other trees"
        : `the registry begins at ${new Date(registry.since).toISOString()}`;
    throw new ChanceryError("not-found", `what was in force then is not known: ${why}`);
  }
  const current = entries.filter((entry) => entry.kind === "version" || isValid(entry, at));
  const { version, application } = options;
  const approved = new Set(
    current.flatMap((entry) => (entry.kind === "approval" && entry.application === application ? [entry.version] : [])),
  );
  return current.filter((entry) => {
    const about = entry.kind === "version" ? entry.key : entry.version;
    if (version !== undefined && about !== version) return false;
    if (application === undefined) return true;
    return entry.kind === "version" ? approved.has(entry.key) : entry.application === application;
  });
}

function isValid({ validFrom, validUntil }: Extract<RegistryEntry, { kind: "approval" }>, at: number): boolean {
  return (
    (validFrom === undefined || Date.parse(validFrom) <= at) &&
    (validUntil === undefined || at < Date.parse(validUntil))
  );
}

function changesOf({ changes }: Registry, version: string | undefined): readonly RegistryChange[] {
  if (version === undefined) return changes;
  const isAbout = (entry: RegistryEntry | undefined) =>
    entry !== undefined && (entry.kind === "version" ? entry.key : entry.version) === version;
  return changes.filter(({ before, after }) => isAbout(before) || isAbout(after));
}

function print<T>(value: T, { format }: StateOptions, asText: (value: T) => string): void {
  process.stdout.write(format === "json" ? `${JSON.stringify(value, undefined, 2)}\n` : printableLines(asText(value)));
}

function formatEntries(entries: readonly RegistryEntry[]): string {
  return entries.length === 0 ? "nothing\n" : entries.map((entry) => `${describe(entry)}\n`).join("");
}

function describe(entry: RegistryEntry): string {
  if (entry.kind === "version") {
    const { key, model, version, provider, maturity, digest = "no digest", owner } = entry;
    return `version   ${key}  ${model} ${version} of ${provider}, ${maturity}, ${digest}${owner === undefined ? "" : `, ${owner}`}`;
  }
  const { key, version, application, jurisdictions, approvers, conditions = [], validFrom, validUntil } = entry;
  const where = jurisdictions.length === 0 ? "everywhere" : `in ${jurisdictions.join(", ")}`;
  const from = validFrom === undefined ? "" : ` from ${validFrom}`;
  const until = validUntil === undefined ? "" : ` until ${validUntil}`;
  const on = conditions.length === 0 ? "" : `, on condition that ${conditions.join(" and ")}`;
  return `approval  ${key}  ${version} for ${application} ${where}${from}${until}, by ${approvers.join(", ")}${on}`;
}

function formatChanges(changes: readonly RegistryChange[]): string {
  if (changes.length === 0) return "no changes\n";
  return changes
    .map(({ revision, source, at, before, after }) => {
      const sides = [
        before === undefined ? [] : [`  - ${describe(before)}`],
        after === undefined ? [] : [`  + ${describe(after)}`],
      ];
      return `${new Date(at).toISOString()}  revision ${revision}  ${source}\n${sides.flat().join("\n")}\n`;
    })
    .join("");
}
