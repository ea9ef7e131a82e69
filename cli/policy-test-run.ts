import {
  type AskedDecision,
  type CaseResult,
  type Coverage,
  compilePolicy,
  coverageOf,
  type MutationResult,
  type PolicyCase,
  runCases,
  runMutants,
} from "../policy/index.ts";
import type { Path, PolicyTest, PolicyTestCase, SourcePosition } from "../resources/index.ts";
import type { CompiledDirectory } from "./compile-directory.ts";
import { casePreparer } from "./policy-cases.ts";

export interface PolicyTestRun {
  readonly cases: readonly CaseReport[];
  readonly coverage: Coverage;
  readonly mutation?: MutationResult;
}

export interface CaseReport {
  /** Key of the PolicyTest. */
  readonly test: string;
  /** With its fixture in brackets. */
  readonly name: string;
  readonly at: SourcePosition;
  /** Set where the case could not be asked. */
  readonly problem?: string;
  readonly failures: readonly {
    readonly field: string;
    readonly expected: string;
    readonly actual: string;
    readonly at: SourcePosition;
  }[];
  /** What was decided, for the person who reads a failure. */
  readonly actual?: { readonly rule: string; readonly reason: string };
}

export interface RunOptions {
  /** Milliseconds that mutation may take; absent: no mutation. */
  readonly mutateMs?: number;
  /** Milliseconds, from any start. */
  readonly monotonic: () => number;
}

/** Runs every PolicyTest of a compiled tree against its compiled policy. */
export function runPolicyTests(
  directory: Pick<CompiledDirectory, "loaded" | "compiled">,
  options: RunOptions,
): PolicyTestRun {
  const { loaded, compiled } = directory;
  const { program } = compiled.parts;
  const { prepare } = casePreparer(directory);
  const authored = loaded.inventory.policyTests.flatMap((test) => test.cases.map((each) => ({ test, each })));
  const prepared = authored.map((entry) => ({ ...entry, prepared: prepare(entry.each) }));
  const ready: { readonly index: number; readonly policyCase: PolicyCase }[] = [];
  for (const [index, { each, prepared: state }] of prepared.entries()) {
    if (state.ok) ready.push({ index, policyCase: caseOf(each, state.asked) });
  }
  const cases = ready.map(({ policyCase }) => policyCase);
  const results = runCases(compilePolicy(program), cases);
  const byIndex = new Map(ready.map(({ index }, place) => [index, results[place]]));
  const locate = locatorOf(directory);
  const started = options.monotonic();
  const { mutateMs } = options;
  return {
    cases: prepared.map(({ test, each, prepared: state }, index) =>
      reportOf(test, each, state.ok ? undefined : state.problem, byIndex.get(index), locate),
    ),
    coverage: coverageOf(program, results),
    ...(mutateMs === undefined
      ? {}
      : { mutation: runMutants(program, cases, () => options.monotonic() - started > mutateMs) }),
  };
}

function caseOf({ name, expect }: PolicyTestCase, asked: AskedDecision): PolicyCase {
  return { name, asked, expect };
}

type Locate = (test: PolicyTest, path: Path) => SourcePosition;

function locatorOf({ loaded }: Pick<CompiledDirectory, "loaded">): Locate {
  return (test, path) =>
    loaded.positions.locate("PolicyTest", test.key, path) ?? { file: test.key, line: 1, column: 1 };
}

function reportOf(
  test: PolicyTest,
  each: PolicyTestCase,
  problem: string | undefined,
  result: CaseResult | undefined,
  locate: Locate,
): CaseReport {
  const path: Path = ["spec", "cases", each.index];
  const name = each.fixture === undefined ? each.name : `${each.name} [${each.fixture}]`;
  const head = { test: test.key, name, at: locate(test, path) };
  if (result === undefined) return { ...head, problem: problem ?? "the case was not run", failures: [] };
  const failures = result.differences.map(({ field, key, expected, actual }) => ({
    field: key === undefined ? field : `${field} ${key}`,
    expected,
    actual,
    at: locate(test, [...path, "expect", field, ...(key === undefined ? [] : [key])]),
  }));
  const { rule, reason } = result.actual;
  return { ...head, failures, actual: { rule, reason } };
}

export function passed(report: CaseReport): boolean {
  return report.problem === undefined && report.failures.length === 0;
}
