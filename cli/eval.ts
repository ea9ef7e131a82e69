import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import {
  answerCase,
  displayValue,
  type Evaluated,
  evaluateText,
  formatExpressionProblem,
  formatType,
  readVariables,
  typeToJson,
  valueToJson,
} from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { EXIT } from "./exit.ts";

const HELP = `
Prints the value and the type of an expression of CEL, or what is wrong with it and where. Exit code 1 for an error.

Variables are the members of a JSON object. A number that is written as a whole one is an int, and a double otherwise.

With --ndjson each line of the standard input is a case as the suites of cel-spec have it
(cel.expr.conformance.test.SimpleTest as proto JSON: expr, container, typeEnv, bindings, disableCheck, checkOnly,
disableMacros), answered by one line: {"value": cel.expr.Value, "type": cel.expr.Type} or {"error": text}.

Examples:
  chancery eval '1 + 2'
  chancery eval 'user.name.startsWith("a") && 3 in user.groups' --vars '{"user":{"name":"ada","groups":[3]}}'
  chancery eval --format json 'timestamp(t) + duration("1h")' --vars @variables.json
  echo '{"expr":"x + 1","typeEnv":[{"name":"x","ident":{"type":{"primitive":"INT64"}}}],"bindings":{"x":{"int64Value":"2"}}}' \\
    | chancery eval --ndjson
`;

interface EvalOptions {
  readonly vars: string;
  readonly format: "text" | "json";
  readonly ndjson?: true;
}

/** `chancery eval EXPR`, `chancery eval --ndjson` */
export function evalCommand(): Command {
  return new Command("eval")
    .argument("[expression]", "the expression; not with --ndjson")
    .option("--vars <json>", "variables as a JSON object; @FILE reads them from a file", "{}")
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .option("--ndjson", "answer cases from the standard input, line by line")
    .addHelpText("after", HELP)
    .action(async (expression: string | undefined, options: EvalOptions) => {
      if ((expression === undefined) !== (options.ndjson === true)) {
        throw new ChanceryError("invalid-argument", "give an expression, or --ndjson and no expression");
      }
      if (expression === undefined) {
        for await (const line of linesOf(process.stdin)) await answer(line);
        return;
      }
      const result = evaluateText(expression, await variablesOf(options.vars));
      process.stdout.write(options.format === "json" ? formatJson(result) : formatText(expression, result));
      process.exitCode = result.ok ? EXIT.ok : EXIT.problem;
    });
}

async function variablesOf(text: string): Promise<ReadonlyMap<string, unknown>> {
  try {
    return readVariables(text.startsWith("@") ? await readFile(text.slice(1), "utf8") : text);
  } catch (cause) {
    if (cause instanceof SyntaxError) {
      throw new ChanceryError("invalid-argument", `--vars is not usable: ${cause.message}`, { cause });
    }
    throw new ChanceryError("not-found", `the file ${text.slice(1)} cannot be read`, { cause });
  }
}

function formatText(source: string, result: Evaluated): string {
  if (result.ok) return `${displayValue(result.value)}\n${formatType(result.type)}\n`;
  return result.problems.map((problem) => `${formatExpressionProblem(source, problem)}\n`).join("");
}

function formatJson(result: Evaluated): string {
  if (!result.ok) return `${JSON.stringify({ errors: result.problems }, undefined, 2)}\n`;
  const value = valueToJson(result.value);
  // An optional has no form in cel.expr.Value; as text it has.
  const shown = "message" in value ? { text: displayValue(result.value) } : { value };
  return `${JSON.stringify({ ...shown, type: typeToJson(result.type) }, undefined, 2)}\n`;
}

async function answer(line: string | undefined): Promise<void> {
  const text = `${line === undefined ? JSON.stringify({ error: TOO_LONG }) : answerCase(line)}\n`;
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

/** Longest line that is read, in characters. */
const LINE_LENGTH = 16 * 1024 * 1024;
const TOO_LONG = `the line is longer than ${LINE_LENGTH} characters`;

/** Lines as they come; undefined for one that is too long. */
async function* linesOf(input: NodeJS.ReadStream): AsyncGenerator<string | undefined> {
  input.setEncoding("utf8");
  let held = "";
  let tooLong = false;
  for await (const chunk of input) {
    const parts = String(chunk).split("\n");
    for (const [index, part] of parts.entries()) {
      if (index > 0) {
        yield tooLong ? undefined : held;
        held = "";
        tooLong = false;
      }
      if (tooLong || held.length + part.length > LINE_LENGTH) {
        held = "";
        tooLong = true;
      } else held += part;
    }
  }
  if (held !== "" || tooLong) yield tooLong ? undefined : held;
}
