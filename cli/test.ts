import { Command, InvalidArgumentError, Option } from "commander";
import { ChanceryError, formatProblem } from "../resources/index.ts";
import { type CompiledDirectory, compileDirectory } from "./compile-directory.ts";
import { EXIT } from "./exit.ts";
import { parseSeconds } from "./options.ts";
import { formatJunit, formatTable, percent } from "./policy-test-report.ts";
import { type PolicyTestRun, passed, runPolicyTests } from "./policy-test-run.ts";

interface TestOptions {
  readonly format: "table" | "junit" | "json";
  readonly coverageThreshold?: number;
  readonly conditionThreshold?: number;
  readonly mutate?: boolean;
  readonly mutationSeconds: number;
}

const HELP = `
Compiles a resource tree and asks its policy for every case of its PolicyTests. A rule is covered when it did what it is
for in some case: a deny denied, an allow held, a restrict removed a target, a reroute led elsewhere, a preference scored.
A condition is a part of "when" or "require" between &&, ||, ! and ?: that must be seen true and false.

Exit code 1 when a case fails, or when coverage is below a threshold.

Examples:
  chancery test examples/eu-residency/resources
  chancery test --coverage-threshold 100 --format junit . > policy-tests.xml
  chancery test --mutate examples/eu-residency/resources
`;

/** `chancery test DIR` */
export function testCommand(): Command {
  return new Command("test")
    .argument("<dir>", "root of the resource tree")
    .addOption(new Option("--format <format>", "how to print it").choices(["table", "junit", "json"]).default("table"))
    .option("--coverage-threshold <percent>", "least share of rules that must be covered", parsePercent)
    .option("--condition-threshold <percent>", "least share of outcomes of conditions that must be seen", parsePercent)
    .option("--mutate", "change rules one by one and list the changes that no case notices")
    .option("--mutation-seconds <seconds>", "the time that --mutate may take", parseSeconds, 60)
    .addHelpText("after", HELP)
    .action(async (directory: string, options: TestOptions) => {
      const compiled = await compileSound(directory);
      const run = runPolicyTests(compiled, {
        monotonic: () => performance.now(),
        ...(options.mutate === true ? { mutateMs: 1_000 * options.mutationSeconds } : {}),
      });
      if (run.cases.length === 0) {
        throw new ChanceryError(
          "not-found",
          `there is no PolicyTest in ${directory}: write one (chancery schema PolicyTest)`,
        );
      }
      process.stdout.write(FORMATS[options.format](run));
      const short = shortfalls(run, options);
      for (const line of short) process.stderr.write(`${line}\n`);
      process.exitCode = run.cases.every(passed) && short.length === 0 ? EXIT.ok : EXIT.problem;
    });
}

const FORMATS = {
  table: formatTable,
  junit: formatJunit,
  json: (run: PolicyTestRun) => `${JSON.stringify(run, undefined, 2)}\n`,
} as const;

/** Compiles a tree that must be free of errors. @throws ChanceryError "invalid-resources" */
export async function compileSound(directory: string): Promise<CompiledDirectory> {
  const compiled = await compileDirectory(directory);
  const errors = compiled.problems.filter(({ severity }) => severity === "error");
  if (errors.length === 0) return compiled;
  throw new ChanceryError("invalid-resources", `${directory} has errors:\n${errors.map(formatProblem).join("\n")}`);
}

function shortfalls({ coverage }: PolicyTestRun, options: TestOptions): readonly string[] {
  const rules = percent(coverage.coveredRules, coverage.rules.length);
  const conditions = percent(coverage.coveredOutcomes, coverage.outcomes);
  const lines: string[] = [];
  if (rules < (options.coverageThreshold ?? 0)) {
    lines.push(`rule coverage is ${rules} %, and ${options.coverageThreshold} % is asked for`);
  }
  if (conditions < (options.conditionThreshold ?? 0)) {
    lines.push(`condition coverage is ${conditions} %, and ${options.conditionThreshold} % is asked for`);
  }
  return lines;
}

function parsePercent(text: string): number {
  const value = Number(text);
  if (!/^\d{1,3}(\.\d{1,3})?$/.test(text) || value > 100)
    throw new InvalidArgumentError("It must be a number from 0 to 100.");
  return value;
}
