import { Command } from "commander";
import { ChanceryError, jsonSchemas, KIND_NAMES } from "../resources/index.ts";

const HELP = `
Kinds: ${KIND_NAMES.join(", ")}

Examples:
  chancery schema Policy > .schemas/Policy.json
  # and at the top of a YAML file, for editors with a YAML language server:
  # yaml-language-server: $schema=../.schemas/Policy.json
`;

/** `chancery schema [KIND]` */
export function schemaCommand(): Command {
  return new Command("schema")
    .argument("[kind]", "one kind; absent: a schema that takes each of them")
    .addHelpText("after", HELP)
    .action((kind: string | undefined) => {
      process.stdout.write(`${JSON.stringify(schemaOf(kind), undefined, 2)}\n`);
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
    throw new ChanceryError("invalid-argument", `there is no kind "${name}": ${KIND_NAMES.join(", ")}`);
  }
  return schemas[kind];
}
