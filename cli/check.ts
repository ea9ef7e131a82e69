import { Command, Option } from "commander";
import { formatProblem } from "../resources/index.ts";
import { compileDirectory } from "./compile-directory.ts";
import { EXIT } from "./exit.ts";

const HELP = `
Reads every YAML file below a directory, checks it, compiles the rules and the Envoy configuration, and prints every
problem at once, as FILE:LINE:COLUMN. Exit code 1 when there is an error; warnings alone give 0.

Examples:
  chancery check examples/quickstart/resources
  chancery check --format json . | jq '.problems[].code'
`;

/** `chancery check DIR` */
export function checkCommand(): Command {
  return new Command("check")
    .argument("<dir>", "root of the resource tree")
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .addHelpText("after", HELP)
    .action(async (directory: string, options: { readonly format: "text" | "json" }) => {
      const { loaded, problems } = await compileDirectory(directory);
      const errors = problems.filter(({ severity }) => severity === "error").length;
      const warnings = problems.length - errors;
      if (options.format === "json") {
        process.stdout.write(`${JSON.stringify({ errors, warnings, problems }, undefined, 2)}\n`);
      } else {
        for (const problem of problems) process.stdout.write(`${formatProblem(problem)}\n`);
        const objects = Object.values(loaded.inventory).reduce((sum, list) => sum + list.length, 0);
        process.stdout.write(`${objects} objects, ${count(errors, "error")}, ${count(warnings, "warning")}\n`);
      }
      process.exitCode = errors > 0 ? EXIT.problem : EXIT.ok;
    });
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
