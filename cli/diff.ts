import { Command, InvalidArgumentError, Option } from "commander";
import { printableLines } from "../resources/index.ts";
import { fileSamples, journalSamples, policyTestSamples, type Sample } from "./diff-samples.ts";
import { diffTrees, type TreeDifference } from "./diff-trees.ts";
import { EXIT } from "./exit.ts";
import { collect, parseCount } from "./options.ts";
import { progressOnStderr } from "./progress.ts";
import { sampleStream, upTo } from "./sample-stream.ts";
import { compileSound } from "./test.ts";

interface DiffOptions {
  readonly requests: readonly string[];
  readonly journal: readonly string[];
  readonly at?: string;
  readonly limit: number;
  readonly format: "text" | "json";
}

const HELP = `
Compares two resource trees, the second one the newer: rule by rule and fact by fact, and by what they decide about
requests: those of the PolicyTests of both, every application on every route with every model, those of files
(--requests, PolicyTest documents) and recorded ones (--journal, the directory of a decision journal; records hold no
header values, query or claims, so rules that read those see them missing).

A change loosens when it can let through what was refused before, and so does what is not shown to leave alone or to
tighten; samples that are newly allowed, or reach more targets, loosen.

Exit codes: 0 no difference, 1 differences that do not loosen, ${EXIT.loosens} a difference that loosens.

Examples:
  chancery diff main/resources branch/resources
  chancery diff --journal /var/lib/chancery/journal --format json old new | jq '.changes[] | select(.loosens)'
`;

/** `chancery diff A B` */
export function diffCommand(): Command {
  return new Command("diff")
    .argument("<before>", "root of the older resource tree")
    .argument("<after>", "root of the newer resource tree")
    .option("--requests <file>", "PolicyTest documents with requests to compare by (repeatable)", collect, [])
    .option("--journal <dir>", "a decision journal with requests to compare by (repeatable)", collect, [])
    .option("--at <time>", "RFC 3339: the time of requests that have none of their own; now, unless given", parseTime)
    .option("--limit <count>", "most requests to compare by", parseCount, 10_000)
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .addHelpText("after", HELP)
    .action(async (before: string, after: string, options: DiffOptions) => {
      const [old, now] = [await compileSound(before), await compileSound(after)];
      const at = options.at ?? new Date().toISOString();
      const given: (readonly Sample[])[] = [
        policyTestSamples(now.loaded.inventory),
        policyTestSamples(old.loaded.inventory),
      ];
      for (const file of options.requests) given.push(await fileSamples(file, now.loaded.tree));
      for (const journal of options.journal) given.push(await journalSamples(journal, options.limit));
      const samples = sampleStream({
        given: given.flat(),
        trees: [now.loaded.inventory, old.loaded.inventory],
        now: at,
      });
      const progress = progressOnStderr("requests asked of both trees", Math.min(samples.count, options.limit));
      const difference = diffTrees(old, now, upTo(samples, options.limit), progress);
      const left = Math.max(0, samples.count - options.limit);
      process.stdout.write(
        options.format === "json"
          ? `${JSON.stringify({ ...difference, leftOut: left }, undefined, 2)}\n`
          : printableLines(formatDifference(difference, left)),
      );
      process.exitCode = exitOf(difference);
    });
}

function exitOf({ changes, groups, loosens }: TreeDifference): number {
  if (loosens) return EXIT.loosens;
  return changes.length + groups.length > 0 ? EXIT.problem : EXIT.ok;
}

const TITLES = {
  newlyAllowed: "newly allowed",
  newlyDenied: "newly denied",
  reroutedOtherwise: "answered by others",
  deniedOtherwise: "denied otherwise",
} as const;

function formatDifference({ changes, groups, moreGroups, samples, loosens }: TreeDifference, leftOut: number): string {
  const lines = changes.map(({ kind, key, change, loosens: why }) =>
    why === undefined ? `         ${kind} ${key}: ${change}` : `LOOSENS  ${kind} ${key}: ${change}: ${why}`,
  );
  if (lines.length > 0) lines.push("");
  for (const group of groups) {
    const mark = group.loosens ? "LOOSENS" : "       ";
    lines.push(`${mark}  ${TITLES[group.kind]}: ${group.count} of ${group.application} by ${group.rule}`);
    for (const { request, before, after } of group.examples) {
      lines.push(`           ${request}`, `             - ${before}`, `             + ${after}`);
    }
  }
  if (moreGroups > 0) lines.push(`         and ${moreGroups} requests of other kinds`);
  if (groups.length > 0) lines.push("");
  const { asked, different, notAsked } = samples;
  const rest = [
    ...(notAsked === 0 ? [] : [`${notAsked} that neither tree has a caller or route for`]),
    ...(leftOut === 0 ? [] : [`${leftOut} left out by --limit`]),
  ];
  lines.push(`${asked} requests, ${different} decided otherwise${rest.length === 0 ? "" : `; ${rest.join(", ")}`}`);
  lines.push(loosens ? "The change loosens." : "The change does not loosen.");
  return `${lines.join("\n")}\n`;
}

function parseTime(text: string): string {
  if (Number.isNaN(Date.parse(text)) || !/^\d{4}-\d{2}-\d{2}T/.test(text)) {
    throw new InvalidArgumentError("It must be an RFC 3339 date and time.");
  }
  return text;
}
