import { Command, Option } from "commander";
import { vocabulary, vocabularyPage } from "../policy/index.ts";
import { ChanceryError, jsonSchemas, KIND_NAMES } from "../resources/index.ts";

const HELP = `
Kinds: ${KIND_NAMES.join(", ")}

Examples:
  chancery schema Policy > .schemas/Policy.json
  # and at the top of a YAML file, for editors with a YAML language server:
  # yaml-language-server: $schema=../.schemas/Policy.json

  chancery schema vocabulary   # what the expressions of rules can read
`;

interface SchemaOptions {
  readonly format: "json" | "markdown";
}

/** `chancery schema [KIND]`, `chancery schema vocabulary` */
export function schemaCommand(): Command {
  return new Command("schema")
    .argument("[kind]", 'one kind, or "vocabulary"; absent: a schema that takes each of the kinds')
    .addOption(
      new Option("--format <format>", "markdown is for the vocabulary").choices(["json", "markdown"]).default("json"),
    )
    .addHelpText("after", HELP)
    .action((kind: string | undefined, { format }: SchemaOptions) => {
      if (format === "markdown" && kind !== "vocabulary") {
        throw new ChanceryError("invalid-argument", "only the vocabulary is printed as markdown");
      }
      const shown = kind === "vocabulary" ? vocabulary() : schemaOf(kind);
      process.stdout.write(format === "markdown" ? vocabularyPage() : `${JSON.stringify(shown, undefined, 2)}\n`);
    });
}

function schemaOf(name: string | undefined): unknown {
  const schemas = jsonSchemas();
  if (name === undefined) {
    return {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "Chancery resources",
      type: "object",
      required: ["apiVersion", "kind"],
      oneOf: KIND_NAMES.map((kind) => ({ $ref: `#/$defs/${kind}` })),
      $defs: schemas,
    };
  }
  const kind = KIND_NAMES.find((each) => each.toLowerCase() === name.toLowerCase());
  if (kind === undefined) {
    throw new ChanceryError("invalid-argument", `there is no kind "${name}": ${KIND_NAMES.join(", ")}, or vocabulary`);
  }
  return schemas[kind];
}
