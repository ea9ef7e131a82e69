import { isDeepStrictEqual } from "node:util";
import { tests as checking } from "@bufbuild/cel-spec/testdata/checking.js";
import { tests as comprehension } from "@bufbuild/cel-spec/testdata/comprehension.js";
import { tests as conformance } from "@bufbuild/cel-spec/testdata/conformance.js";
import { tests as parsing } from "@bufbuild/cel-spec/testdata/parsing.js";
import type { SerializedIncrementalTest, SerializedIncrementalTestSuite } from "@bufbuild/cel-spec/testdata/tests.js";
import { KindAdorner, SemanticAdorner, toDebugString } from "@bufbuild/cel-spec/testdata/to-debug-string.js";
import { expect, test } from "vitest";
import { check } from "./check.ts";
import { compile } from "./compile.ts";
import { type Environment, environment } from "./environment.ts";
import { parse } from "./parse.ts";
import { fieldOf, isObject, type Json, typeFromJson } from "./proto-json.ts";
import { overload } from "./signatures.ts";
import { caseEnvironment, runCase } from "./suite-case.ts";
import { protoChecked, protoExpr } from "./tree-fixtures.ts";
import { BOOL, BYTES, DOUBLE, formatType, INT, NULL, STRING, UINT } from "./type.ts";
import { Failure } from "./value.ts";

/**
 * The suites of cel-spec v0.25.1, as @bufbuild/cel-spec carries them. What names a message type of the suites' own is
 * left out: rules have no such messages.
 */

interface Case {
  readonly suite: string;
  readonly each: SerializedIncrementalTest;
}

function casesOf(suite: SerializedIncrementalTestSuite, top?: string): readonly Case[] {
  const own = (suite.tests ?? []).map((each) => ({ suite: top ?? suite.name, each }));
  return [...own, ...(suite.suites ?? []).flatMap((inner) => casesOf(inner, top ?? inner.name))];
}

type Look = (each: Case) => string | undefined;

/** Runs all, prints the score with the reason of each skip, and fails with what failed. */
function score(name: string, cases: readonly Case[], skip: Look, problemOf: Look): number {
  const lines = new Map<string, { passed: number; failed: number; skips: Map<string, number> }>();
  const failures: string[] = [];
  for (const each of cases) {
    const line = lines.get(each.suite) ?? { passed: 0, failed: 0, skips: new Map<string, number>() };
    lines.set(each.suite, line);
    const reason = skip(each);
    const problem = reason === undefined ? problemOf(each) : undefined;
    if (reason !== undefined) line.skips.set(reason, (line.skips.get(reason) ?? 0) + 1);
    else if (problem === undefined) line.passed += 1;
    else {
      line.failed += 1;
      failures.push(`${each.suite}: ${each.each.original.expr}\n  ${problem}`);
    }
  }
  let passed = 0;
  const text = [...lines].map(([suite, line]) => {
    passed += line.passed;
    const skips = [...line.skips].map(([reason, count]) => `; ${count} skipped: ${reason}`);
    return `  ${suite.padEnd(16)} ${line.passed} of ${line.passed + line.failed} pass${skips.join("")}`;
  });
  process.stdout.write(`${name}: ${passed} of ${passed + failures.length} pass\n${text.join("\n")}\n`);
  expect(failures).toEqual([]);
  return passed;
}

const OWN_MESSAGES = new Set(["proto2", "proto3", "proto2_ext", "enums", "wrappers", "dynamic", "block_ext"]);

function namesOwnMessage({ suite, each }: Case): string | undefined {
  if (OWN_MESSAGES.has(suite)) return "the suite is about messages of its own, or about cel-go's optimiser";
  return /TestAllTypes|Proto2Message/.test(JSON.stringify(each.original)) ? "names a message of the suite" : undefined;
}

/** Without the order of entries, and with one zero. */
function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal);
  if (!isObject(value)) return value === 0 ? 0 : value;
  const entries = Object.entries(value).map(([name, held]) => [name, normal(held)] as const);
  if (isObject(value.mapValue) && Array.isArray(value.mapValue.entries)) {
    const members = value.mapValue.entries.map(normal);
    return { map: members.map((each) => JSON.stringify(each)).sort() };
  }
  // An empty list or map is written with and without its field.
  return Object.fromEntries(entries.filter(([name, held]) => !(name === "values" && isDeepStrictEqual(held, []))));
}

function emptied(value: unknown): unknown {
  return isDeepStrictEqual(value, { mapValue: {} }) ? { mapValue: { entries: [] } } : value;
}

function conformanceProblem({ each }: Case): string | undefined {
  const { original } = each;
  const outcome = runCase(original);
  const failing = fieldOf(original, "evalError") !== undefined || fieldOf(original, "anyEvalErrors") !== undefined;
  if ("error" in outcome) return failing && !outcome.error.startsWith("not a case") ? undefined : outcome.error;
  if (failing) return `has a value: ${JSON.stringify(outcome.value)}`;
  const typed = fieldOf(original, "typedResult");
  const { result, deducedType }: { readonly [name: string]: Json } = isObject(typed) ? typed : {};
  const wanted = result ?? fieldOf(original, "value") ?? { boolValue: true };
  const checkOnly = fieldOf(original, "checkOnly") === true;
  if (!checkOnly && !isDeepStrictEqual(normal(emptied(outcome.value)), normal(emptied(wanted)))) {
    return `is ${JSON.stringify(outcome.value)} and not ${JSON.stringify(wanted)}`;
  }
  const type = outcome.type === undefined ? undefined : formatType(typeFromJson(outcome.type));
  // Where the two differ, the type in the case itself counts (README of the package).
  const wantedType = deducedType === undefined ? each.type : formatType(typeFromJson(deducedType));
  return type === undefined || wantedType === undefined || type === wantedType
    ? undefined
    : `${type}, not ${wantedType}`;
}

test("conformance: every case without a message of the suites has its value and type", () => {
  const cases = casesOf(conformance);
  expect(cases).toHaveLength(2344);
  const passed = score("conformance", cases, namesOwnMessage, conformanceProblem);
  expect(passed).toBeGreaterThanOrEqual(1626);
});

const NAMES = [
  ["is", STRING],
  ["ii", INT],
  ["iu", UINT],
  ["iz", BOOL],
  ["ib", BYTES],
  ["id", DOUBLE],
  ["ix", NULL],
] as const;

/** The environment of cel-go's checker_test.go. */
function checkingEnvironment({ original, checkedAst }: Case["each"]): Environment {
  const mixedComparisons = checkedAst?.includes("_int64_double") === true;
  const declared = caseEnvironment(original, new Map());
  const variables = [...NAMES.map(([name, type]) => [name, { type }] as const), ...declared.variables];
  const functions = [
    ...(mixedComparisons ? [] : declared.functions),
    ["fg_s", [overload("fg_s_0", false, [], STRING)]] as const,
    ["fi_s_s", [overload("fi_s_s_0", true, [STRING], STRING)]] as const,
  ];
  // cel-go's tests turn mixed comparisons on one by one.
  return environment({ container: declared.container, variables, functions, mixedComparisons });
}

function syntaxOff({ each }: Case): string | undefined {
  const off = each.ast === undefined && /unsupported syntax/.test(each.error ?? "");
  return off ? "cel-go was run with the syntax turned off" : undefined;
}

function checkingProblem({ each }: Case): string | undefined {
  const parsed = parse(each.original.expr, { accumulator: accumulatorOf(each) });
  if (!parsed.ok) return parsed.problems[0]?.message;
  const checked = check(parsed.expr, parsed.source, checkingEnvironment(each));
  if (!checked.ok) return each.type === undefined ? undefined : checked.problems[0]?.message;
  if (each.type === undefined) {
    return /unsupported syntax/.test(each.error ?? "") ? undefined : `passes as ${formatType(checked.tree.type)}`;
  }
  const type = formatType(checked.tree.type);
  if (type !== each.type) return `${type}, not ${each.type}`;
  const proto = protoChecked(checked.tree);
  const text = toDebugString(proto.expr ?? protoExpr(parsed.expr), new SemanticAdorner(proto));
  const wanted = each.checkedAst;
  return wanted === undefined || text === wanted ? undefined : `${text}\n  and not ${wanted}`;
}

test("checking: every node has the type that cel-go gives it", () => {
  const cases = casesOf(checking);
  expect(cases).toHaveLength(135);
  score("checking", cases, namesOwnMessage, checkingProblem);
});

function accumulatorOf({ ast }: SerializedIncrementalTest): string {
  return ast?.includes("__result__") === true ? "__result__" : "@result";
}

function parsingProblem({ each }: Case): string | undefined {
  // cel-go's parser_test.go bounds recursion by 32.
  const limits = each.ast === undefined ? { depth: 32 } : {};
  const parsed = parse(each.original.expr, { accumulator: accumulatorOf(each), limits });
  if (!parsed.ok) return each.ast === undefined ? undefined : parsed.problems[0]?.message;
  const text = toDebugString(protoExpr(parsed.expr), KindAdorner.singleton);
  if (each.ast === undefined) return `parses as ${text}`;
  return text === each.ast ? undefined : `${text}\n  and not ${each.ast}`;
}

test("parsing: every text has the tree that cel-go gives it", () => {
  const cases = casesOf(parsing);
  expect(cases).toHaveLength(194);
  const skip = (each: Case) => syntaxOff(each);
  score("parsing", cases, skip, parsingProblem);
});

/** What cel-go's test wants to be refused, by the check or when it runs. */
const REFUSED = [
  "1.all(j, k, j < k)",
  "''.exists(j, k, j < k)",
  "''.existsOne(j, k, j < k)",
  "{}.transformMapEntry(j, k, 'bad filter', {k: j})",
  "[1, 2].transformList(i, v, v % 2 == 0 ? [v] : v)",
  "{'hello': 'world', 'greetings': 'tacocat'}.transformMapEntry(k, v, []) == {}",
  "[1, 1].transformMapEntry(i, v, {v: i})",
  "[0, 0u].transformMapEntry(i, v, {v: i})",
  "[1.0, 2.0, 2.0].transformList(i, v, i / 2.0 == 1.0)",
];

/** These are cel-go's own: what is not refused is true, or a value where it is no bool. */
function comprehensionProblem({ each }: Case): string | undefined {
  const source = each.original.expr;
  const refused = REFUSED.includes(source.trim());
  const parsed = parse(source);
  // The rest of the refusals are macros with variables that are no names.
  if (!parsed.ok) return parsed.problems.find(({ message }) => !/variable/.test(message))?.message;
  const checked = check(parsed.expr, source, environment());
  if (!checked.ok) return refused ? undefined : checked.problems[0]?.message;
  const value = compile(checked.tree, environment()).evaluate(new Map());
  if (value instanceof Failure) return refused ? undefined : value.message;
  return refused || value === false ? `is ${String(value)}` : undefined;
}

test("comprehension: what has a value is true", () => {
  const skip = ({ each: { original } }: Case) => {
    if (/TestAllTypes/.test(original.expr)) return "names a message of the suite";
    return /^\s*[mnxy]\.|[( ][mxy][.[]/.test(original.expr)
      ? "reads a variable that the data does not carry"
      : undefined;
  };
  score("comprehension", casesOf(comprehension), skip, comprehensionProblem);
});
