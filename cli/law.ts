import { Command, Option } from "commander";
import { printableLines } from "../resources/index.ts";
import { fileSamples, journalSamples, policyTestSamples, type Sample } from "./diff-samples.ts";
import { EXIT } from "./exit.ts";
import { type LawPreview, previewLaw } from "./law-preview.ts";
import { collect, parseCount, parseTime } from "./options.ts";
import { progressOnStderr } from "./progress.ts";
import { sampleStream, upTo } from "./sample-stream.ts";
import { type ListedPack, listPacks, listShipped, shippedPack, shippedPacks } from "./shipped-packs.ts";
import { compileSound } from "./test.ts";

const HELP = `
Law packs are dated rules of laws (docs/law-packs.md). They are copied into a resource tree and reviewed there:

  chancery law list
  chancery law show gdpr > resources/gdpr.yaml
  chancery law list resources
  chancery law preview --at 2027-12-02T00:00:00Z resources
`;

const PREVIEW_HELP = `
Asks the same requests under the law of now and under that of a date, everything else as it is: those of the tree's
PolicyTests, every application on every route with every model, those of files (--requests, PolicyTest documents) and
recorded ones (--journal, the directory of a decision journal).

Exit codes: 0 no decision changes, 1 some do.

Examples:
  chancery law preview --at 2027-12-02T00:00:00Z resources
  chancery law preview --at 2028-08-02T00:00:00Z --journal /var/lib/chancery/journal --format json resources
`;

interface ListOptions {
  readonly format: "text" | "json";
}

interface PreviewOptions extends ListOptions {
  readonly at: number;
  readonly from?: number;
  readonly requests: readonly string[];
  readonly journal: readonly string[];
  readonly limit: number;
}

/** `chancery law list|show|preview` */
export function lawCommand(): Command {
  const law = new Command("law").addHelpText("after", HELP);
  const format = () => new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text");
  law
    .command("list")
    .description("list the law packs that are shipped, or those of a resource tree")
    .argument("[dir]", "root of a resource tree")
    .addOption(format())
    .action(async (directory: string | undefined, { format }: ListOptions) => {
      const listed =
        directory === undefined
          ? listShipped(await shippedPacks())
          : listPacks((await compileSound(directory)).loaded.inventory.lawPacks, await shippedPacks());
      process.stdout.write(format === "json" ? `${JSON.stringify(listed, undefined, 2)}\n` : formatList(listed));
    });
  law
    .command("show")
    .description("print a shipped law pack, to be copied into a resource tree")
    .argument("<name>", "as listed")
    .action(async (name: string) => {
      process.stdout.write((await shippedPack(name)).text);
    });
  law
    .command("preview")
    .description("say which decisions change when the law of a date is in force")
    .argument("<dir>", "root of the resource tree")
    .requiredOption("--at <time>", "RFC 3339: the law of this time", parseTime)
    .option("--from <time>", "RFC 3339: against the law of this time; now, unless given", parseTime)
    .option("--requests <file>", "PolicyTest documents with requests (repeatable)", collect, [])
    .option("--journal <dir>", "a decision journal with requests (repeatable)", collect, [])
    .option("--limit <count>", "most requests to ask", parseCount, 10_000)
    .addOption(format())
    .addHelpText("after", PREVIEW_HELP)
    .action(async (directory: string, options: PreviewOptions) => {
      const tree = await compileSound(directory);
      const { at, from = Date.now() } = options;
      const given: (readonly Sample[])[] = [policyTestSamples(tree.loaded.inventory)];
      for (const file of options.requests) given.push(await fileSamples(file, tree.loaded.tree));
      for (const journal of options.journal) given.push(await journalSamples(journal, options.limit));
      const { inventory } = tree.loaded;
      const samples = sampleStream({ given: given.flat(), trees: [inventory], now: new Date(from).toISOString() });
      const progress = progressOnStderr("requests asked", Math.min(samples.count, options.limit));
      const preview = previewLaw(tree, upTo(samples, options.limit), { from, at, progress });
      const leftOut = Math.max(0, samples.count - options.limit);
      process.stdout.write(
        options.format === "json"
          ? `${JSON.stringify({ ...preview, leftOut }, undefined, 2)}\n`
          : printableLines(formatPreview(preview, leftOut)),
      );
      process.exitCode = preview.decisions.length > 0 ? EXIT.problem : EXIT.ok;
    });
  return law;
}

function formatList(packs: readonly ListedPack[]): string {
  if (packs.length === 0) return "no law packs\n";
  const width = Math.max(...packs.map(({ pack }) => pack.length));
  return packs
    .map(({ pack, instrument, version, rules, enforced, reviewed, shipped }) => {
      const counts = `${rules} rules, ${enforced} enforced, ${reviewed} reviewed`;
      return `${pack.padEnd(width)}  ${version}  ${instrument}: ${counts}${shipped === undefined ? "" : ` (${shipped})`}\n`;
    })
    .join("");
}

const WORDS = {
  newlyAllowed: "newly allowed",
  newlyDenied: "newly denied",
  reroutedOtherwise: "answered by others",
  deniedOtherwise: "denied otherwise",
} as const;

function formatPreview(
  { from, at, begin, end, decisions, moreDecisions, samples }: LawPreview,
  leftOut: number,
): string {
  const lines = [`The law of ${at}, against that of ${from}`, ""];
  for (const id of begin) lines.push(`begins   ${id}`);
  for (const id of end) lines.push(`ends     ${id}`);
  if (begin.length + end.length > 0) lines.push("");
  for (const { kind, count, application, rule, examples } of decisions) {
    lines.push(`${WORDS[kind]}: ${count} of ${application} by ${rule}`);
    for (const { request, before, after } of examples) {
      lines.push(`    ${request}`, `      - ${before}`, `      + ${after}`);
    }
  }
  if (moreDecisions > 0) lines.push(`and ${moreDecisions} requests of other kinds`);
  if (decisions.length > 0) lines.push("");
  const rest = [
    ...(samples.notAsked === 0 ? [] : [`${samples.notAsked} that the tree has no caller or route for`]),
    ...(leftOut === 0 ? [] : [`${leftOut} left out by --limit`]),
  ];
  const tail = rest.length === 0 ? "" : `; ${rest.join(", ")}`;
  lines.push(`${samples.asked} requests, ${samples.different} decided otherwise${tail}`);
  return `${lines.join("\n")}\n`;
}
