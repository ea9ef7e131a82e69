import type { Coverage, Mutant, MutationResult, RuleCoverage } from "../policy/index.ts";
import type { SourcePosition } from "../resources/index.ts";
import { type CaseReport, type PolicyTestRun, passed } from "./policy-test-run.ts";

/** The results of PolicyTests for people: what failed and where, then coverage, then mutants that nobody noticed. */
export function formatTable(run: PolicyTestRun): string {
  const lines: string[] = [];
  for (const report of run.cases) {
    lines.push(`${passed(report) ? "ok  " : "FAIL"}  ${report.test}  ${report.name}`);
    lines.push(...failureLines(report).map((line) => `      ${line}`));
  }
  const failed = run.cases.filter((report) => !passed(report)).length;
  lines.push("", `${run.cases.length} cases, ${failed} failed`, "", ...coverageLines(run.coverage));
  if (run.mutation !== undefined) lines.push("", ...mutationLines(run.mutation));
  return `${lines.join("\n")}\n`;
}

export function failureLines(report: CaseReport): readonly string[] {
  if (report.problem !== undefined) return [`${placeOf(report.at)}: ${report.problem}`];
  const differences = report.failures.flatMap(({ field, expected, actual, at }) => [
    `${placeOf(at)}: ${field}`,
    `  - expected  ${expected}`,
    `  + actual    ${actual}`,
  ]);
  if (differences.length === 0 || report.actual === undefined || report.actual.reason === "") return differences;
  const { rule, reason } = report.actual;
  return [...differences, rule === "" ? `  ${reason}` : `  ${rule}: ${reason}`];
}

function placeOf({ file, line, column }: SourcePosition): string {
  return `${file}:${line}:${column}`;
}

function coverageLines(coverage: Coverage): readonly string[] {
  const { rules, coveredRules, coveredOutcomes, outcomes } = coverage;
  const width = Math.max(4, ...rules.map(({ rule }) => rule.length));
  const row = (name: string, ...cells: readonly string[]) =>
    `${name.padEnd(width)}  ${cells.map((cell) => cell.padStart(11)).join("")}`.trimEnd();
  return [
    row("rule", "effect", "evaluated", "true", "false", "unknown", "covered"),
    ...rules.flatMap((rule) => [
      row(
        rule.rule,
        rule.effect,
        `${rule.evaluated}`,
        `${rule.when.true}`,
        `${rule.when.false}`,
        `${rule.when.unknown}`,
        rule.covered ? "yes" : "NO",
      ),
      ...missingConditions(rule).map((line) => `  ${line}`),
    ]),
    `rules       ${share(coveredRules, rules.length)}`,
    `conditions  ${share(coveredOutcomes, outcomes)} (each true and false once)`,
  ];
}

/** Conditions that no case made true, or false. */
function missingConditions({ conditions }: RuleCoverage): readonly string[] {
  return conditions.flatMap(({ field, text, ...seen }) => {
    const missing = (["true", "false"] as const).filter((outcome) => seen[outcome] === 0);
    return missing.length === 0 ? [] : [`${field}: ${oneLine(text)} is never ${missing.join(" nor ")}`];
  });
}

function mutationLines({ killed, survivors, untried }: MutationResult): readonly string[] {
  return [
    `mutants     ${share(killed, killed + survivors.length)} noticed${untried === 0 ? "" : `; ${untried} not tried: the time was up`}`,
    ...survivors.map((mutant) => `  survived  ${mutantText(mutant)}`),
  ];
}

function mutantText({ rule, change }: Mutant): string {
  return `${rule}: ${oneLine(change)}`;
}

/** 100 for none of none: there is nothing that could be missing. */
export function percent(part: number, whole: number): number {
  return whole === 0 ? 100 : Math.floor((1000 * part) / whole) / 10;
}

function share(part: number, whole: number): string {
  return `${percent(part, whole)} % (${part} of ${whole})`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/** JUnit's XML: a suite for each PolicyTest, as CI systems read it. */
export function formatJunit(run: PolicyTestRun): string {
  const suites = [...Map.groupBy(run.cases, ({ test }) => test)].map(([test, cases]) => {
    const failures = cases.filter((report) => !passed(report)).length;
    const body = cases.map((report) => {
      const { file, line } = report.at;
      const head = `    <testcase classname="${xml(test)}" name="${xml(report.name)}" file="${xml(file)}" line="${line}"`;
      if (passed(report)) return `${head}/>`;
      const message = report.problem ?? report.failures.map(({ field }) => field).join(", ");
      const text = failureLines(report).join("\n");
      return `${head}>\n      <failure message="${xml(message)}">${xml(text)}</failure>\n    </testcase>`;
    });
    const head = `  <testsuite name="${xml(test)}" tests="${cases.length}" failures="${failures}">`;
    return [head, ...body, "  </testsuite>"].join("\n");
  });
  return ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", ...suites, "</testsuites>", ""].join("\n");
}

function xml(text: string): string {
  // Control characters are not allowed in XML 1.0, escaped or not.
  return [...text]
    .map((character) => XML[character] ?? ((character.codePointAt(0) ?? 0) < 0x20 ? " " : character))
    .join("");
}

const XML: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\n": "&#10;",
};
