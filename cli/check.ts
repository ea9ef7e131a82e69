import { Command, InvalidArgumentError, Option } from "commander";
import { formatProblem, type LoadedDirectory, type Problem, registryProblems } from "../resources/index.ts";
import { analysisProblems } from "./analysis-problems.ts";
import { compileDirectory } from "./compile-directory.ts";
import { EXIT } from "./exit.ts";
import { parseCount, parseTime } from "./options.ts";
import { openRegistry } from "./registry-state.ts";

interface CheckOptions {
  readonly format: "text" | "json";
  readonly within?: number;
  readonly scoreAge?: number;
  readonly minReady?: number;
  readonly at?: number;
  readonly state?: string;
}

const HELP = `
Reads every YAML file below a directory, checks it, compiles the rules and the Envoy configuration, and prints every
problem at once, as FILE:LINE:COLUMN. A tree without errors is then looked at as a whole: rules that do nothing or always
fail, applications that nothing may answer, approvals and certifications that end soon (docs/findings.md). Exit code 1 when there is an error; warnings alone give 0.

Examples:
  chancery check examples/quickstart/resources
  chancery check --format json . | jq '.problems[].code'
  chancery check --state /var/lib/chancery/control .
`;

/** `chancery check DIR` */
export function checkCommand(): Command {
  return new Command("check")
    .argument("<dir>", "root of the resource tree")
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .option("--within <days>", "warn of what ends within so many days (default: 30d)", parseDays)
    .option("--score-age <days>", "for how long a score counts, as 90d; for ever, unless given", parseDays)
    .option("--min-ready <count>", "targets that a model should have in each region where it has any", parseCount)
    .option("--at <time>", "RFC 3339: the time at which to look; now, unless given", parseTime)
    .option("--state <dir>", "state directory of a control plane: what it has published must not change otherwise")
    .addHelpText("after", HELP)
    .action(async (directory: string, options: CheckOptions) => {
      const compiled = await compileDirectory(directory);
      const { loaded } = compiled;
      const published = options.state === undefined ? [] : await publishedProblems(loaded, options.state);
      const checked = { ...compiled, problems: [...compiled.problems, ...published] };
      const sound = checked.problems.every(({ severity }) => severity !== "error");
      const { within: withinMs = 30 * DAY, scoreAge: scoreAgeMs, minReady, at: now = Date.now() } = options;
      const notes: string[] = [];
      const settings = {
        now,
        onNote: (note: string) => notes.push(note),
        withinMs,
        ...(scoreAgeMs === undefined ? {} : { scoreAgeMs }),
        ...(minReady === undefined ? {} : { minReady }),
      };
      const problems = sound ? [...checked.problems, ...analysisProblems(checked, settings)] : checked.problems;
      const errors = problems.filter(({ severity }) => severity === "error").length;
      const warnings = problems.length - errors;
      if (options.format === "json") {
        process.stdout.write(`${JSON.stringify({ errors, warnings, notes, problems }, undefined, 2)}\n`);
      } else {
        for (const problem of problems) process.stdout.write(`${formatProblem(problem)}\n`);
        for (const note of notes) process.stdout.write(`note: not all of this tree was looked at: ${note}\n`);
        const objects = Object.values(loaded.inventory).reduce((sum, list) => sum + list.length, 0);
        process.stdout.write(`${objects} objects, ${count(errors, "error")}, ${count(warnings, "warning")}\n`);
      }
      process.exitCode = errors > 0 ? EXIT.problem : EXIT.ok;
    });
}

/** Versions that are otherwise than they were published. */
async function publishedProblems(loaded: LoadedDirectory, state: string): Promise<readonly Problem[]> {
  const { identities } = await openRegistry(state);
  return registryProblems(loaded, new Map(Object.entries(identities)));
}

const DAY = 86_400_000;

/** @returns milliseconds */
function parseDays(text: string): number {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  if (days === undefined) throw new InvalidArgumentError('It must be a number of days, such as "30d".');
  return Number(days) * DAY;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
