import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { wholeProgram } from "./program.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const INTRODUCTION = `# Commands

What \`chancery --help\` and \`chancery VERB --help\` print. From the sources: \`npm run --silent chancery -- VERB …\`.
`;

/** Columns. */
const WIDTH = 100;

test("docs/commands.md says what the commands say of themselves (UPDATE_GOLDEN=1 writes it)", async () => {
  const file = `${root}docs/commands.md`;
  const page = commandsPage(await wholeProgram());
  if (process.env.UPDATE_GOLDEN === "1") await writeFile(file, page);
  expect(await readFile(file, "utf8")).toBe(page);
});

/** Options that documents name beside ours: of npm, docker compose, Node and the benchmarks. */
const OTHERS = [
  ...["--build", "--detach", "--env-file", "--help", "--max-semi-space-size", "--prefix", "--push-cost", "--silent"],
];
const OPTION = /(?<![\w-])--[a-z][a-z0-9-]*/g;

const documents = await Promise.all(
  [
    ...["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md", "examples/README.md"],
    ...(await readdir(`${root}docs`)).map((name) => `docs/${name}`),
  ].map(async (name) => ({ name, text: await readFile(`${root}${name}`, "utf8") })),
);

test.each(documents)("$name names only options that there are", async ({ text }) => {
  const known = new Set([...OTHERS, ...optionsOf(await wholeProgram())]);
  const named = [...text.matchAll(OPTION)].map(([option]) => option);
  expect(named.filter((option) => !known.has(option))).toEqual([]);
});

test.each(documents)("$name gives commands only options that they have", async ({ text }) => {
  const program = await wholeProgram();
  const wrong: string[] = [];
  for (const [, line = ""] of text
    .replaceAll("\\\n", " ")
    .matchAll(/^ *(?:npm run (?:--silent )?)?chancery (?:-- )?(.*)$/gm)) {
    const words = line.split(/ +#/)[0]?.split(" ") ?? [];
    const command = commandOf(program, words);
    const known = new Set(["--help", ...command.options.map(({ long }) => long)]);
    const unknown = words.filter((word) => /^--[a-z]/.test(word) && !known.has(word));
    if (command === program || unknown.length > 0) wrong.push(`${line}: ${unknown.join(" ")}`);
  }
  expect(wrong).toEqual([]);
});

function optionsOf(command: Command): (string | undefined)[] {
  return [...command.options.map(({ long }) => long), ...command.commands.flatMap(optionsOf)];
}

/** The verb, and what stands below it, that the first words name. */
function commandOf(command: Command, [word, ...rest]: readonly string[]): Command {
  const child = command.commands.find((each) => each.name() === word);
  return child === undefined ? command : commandOf(child, rest);
}

function commandsPage(program: Command): string {
  const sections = [program, ...program.commands.flatMap(verbs)].map((command) => {
    return `## ${nameOf(command)}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`;
  });
  return [INTRODUCTION, ...sections].join("\n");
}

/** A verb, or what stands below it; not the help that commander adds. */
function verbs(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : [command, ...command.commands.flatMap(verbs)];
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trim();
}
