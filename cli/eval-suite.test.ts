import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { TypeSchema } from "@bufbuild/cel-spec/cel/expr/checked_pb.js";
import { type SimpleTest, SimpleTestSchema } from "@bufbuild/cel-spec/cel/expr/conformance/test/simple_pb.js";
import { type Value, ValueSchema } from "@bufbuild/cel-spec/cel/expr/value_pb.js";
import { tests } from "@bufbuild/cel-spec/testdata/conformance.js";
import { getTestRegistry } from "@bufbuild/cel-spec/testdata/registry.js";
import type { SerializedIncrementalTestSuite } from "@bufbuild/cel-spec/testdata/tests.js";
import { equals, fromJson, type JsonWriteOptions, toJson } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";

/**
 * The conformance suite of cel-spec as somebody from outside runs it: each case as proto JSON to the standard input of a
 * process, and its answer read back as proto JSON by a library that is not ours.
 */

const registry = getTestRegistry();

/** Suites about messages of their own, which rules do not have, and about cel-go's optimiser. */
const LEFT_OUT = new Set(["proto2", "proto3", "proto2_ext", "enums", "wrappers", "dynamic", "block_ext"]);

function casesOf(suite: SerializedIncrementalTestSuite): readonly SimpleTest[] {
  const own = (suite.tests ?? [])
    .filter(({ original }) => !/TestAllTypes|Proto2Message/.test(JSON.stringify(original)))
    .map(({ original }) => fromJson(SimpleTestSchema, original, { registry }));
  return [...own, ...(suite.suites ?? []).filter(({ name }) => !LEFT_OUT.has(name)).flatMap(casesOf)];
}

/** Proto JSON may be written in more than one way. */
const FORMS: readonly Partial<JsonWriteOptions>[] = [
  {},
  { alwaysEmitImplicit: true },
  { useProtoFieldName: true, enumAsInteger: true },
];

async function answersTo(lines: readonly string[]): Promise<readonly string[]> {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "eval", "--ndjson"], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill());
  const answers: string[] = [];
  const reading = (async () => {
    for await (const line of createInterface({ input: child.stdout })) answers.push(line);
  })();
  child.stdin.end(lines.map((line) => `${line}\n`).join(""));
  const [code] = await once(child, "exit");
  await reading;
  expect(code).toBe(0);
  return answers;
}

function problemOf(wanted: SimpleTest, answer: unknown): string | undefined {
  if (typeof answer !== "object" || answer === null) return "no object";
  const failing = wanted.resultMatcher.case === "evalError" || wanted.resultMatcher.case === "anyEvalErrors";
  if ("error" in answer) return failing ? undefined : String(answer.error);
  if (failing) return "has a value";
  const matcher = wanted.resultMatcher;
  const typed = matcher.case === "typedResult" ? matcher.value : undefined;
  if ("type" in answer && typed?.deducedType !== undefined) {
    const type = fromJson(TypeSchema, answer.type as never, { registry });
    if (!equals(TypeSchema, type, typed.deducedType)) return `type ${JSON.stringify(answer.type)}`;
  }
  if (wanted.checkOnly) return undefined;
  if (!("value" in answer)) return "no value";
  const value = fromJson(ValueSchema, answer.value as never, { registry });
  const expected = typed?.result ?? (matcher.case === "value" ? matcher.value : undefined);
  return isDeepStrictEqual(plain(value), expected === undefined ? true : plain(expected))
    ? undefined
    : JSON.stringify(answer.value);
}

/** Entries of maps have no order. */
function plain({ kind }: Value): unknown {
  if (kind.case === "listValue") return kind.value.values.map(plain);
  if (kind.case === "mapValue") {
    const entries = kind.value.entries.map(({ key, value }) => [key && plain(key), value && plain(value)]);
    return new Map(entries.map((entry) => [String(entry[0]), entry]));
  }
  if (kind.case === "objectValue") return toJson(ValueSchema, { $typeName: "cel.expr.Value", kind }, { registry });
  return kind.case === "boolValue" ? kind.value : [kind.case, kind.value];
}

test("the conformance suite has its values and types when it is run from outside", async () => {
  const cases = casesOf(tests).flatMap((each) => FORMS.map((form) => ({ each, form })));
  const lines = cases.map(({ each, form }) => JSON.stringify(toJson(SimpleTestSchema, each, { ...form, registry })));
  const answers = await answersTo(lines);
  expect(cases.length / FORMS.length).toBeGreaterThanOrEqual(1626);
  expect(answers).toHaveLength(cases.length);
  const problems = cases.flatMap(({ each }, index) => {
    const problem = problemOf(each, JSON.parse(answers[index] ?? "null"));
    return problem === undefined ? [] : [`${lines[index]}: ${problem}`];
  });
  expect(problems).toEqual([]);
});
