import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { runChancery, temporaryDirectory } from "../test/support/index.ts";

test("prints the value and the type", async () => {
  const run = await runChancery("eval", "a + b.size()", "--vars", '{"a": 40, "b": ["x", "y"]}');
  expect(run).toMatchObject({ code: 0, stdout: "42\nint\n" });
});

test("reads variables from a file, and prints JSON", async () => {
  const directory = await temporaryDirectory("eval");
  const file = join(directory, "variables.json");
  await writeFile(file, '{"prices": {"input": 1.5, "output": 2.0}, "count": 5}');
  const run = await runChancery("eval", "--format", "json", "prices.output / count > 1.0", "--vars", `@${file}`);
  expect(JSON.parse(run.stdout)).toMatchObject({ errors: [{ line: 1, column: 15 }] });
  expect(run.code).toBe(1);
  const mixed = await runChancery("eval", "--format", "json", "prices.output > 1", "--vars", `@${file}`);
  expect(JSON.parse(mixed.stdout)).toEqual({ value: { boolValue: true }, type: { primitive: "BOOL" } });
});

test("points at what is wrong, when it is checked and when it runs", async () => {
  const unknown = await runChancery("eval", "1 +\n  naem == 2");
  expect(unknown.stdout).toBe('2:3: undeclared reference to "naem"\n    naem == 2\n    ^\n');
  expect(unknown.code).toBe(1);
  const failed = await runChancery("eval", "[1, 2][n]", "--vars", '{"n": 7}');
  expect(failed.stdout).toBe("1:7: index out of range: 7\n  [1, 2][n]\n        ^\n");
  expect(failed.code).toBe(1);
});

test.each([
  [["eval"], "give an expression"],
  [["eval", "1", "--ndjson"], "give an expression"],
  [["eval", "1", "--vars", "[1]"], "not a JSON object"],
  [["eval", "1", "--vars", "{"], "--vars is not usable"],
])("calls %j wrong usage", async (args, message) => {
  const run = await runChancery(...args);
  expect(run.stderr).toContain(message);
  expect(run.code).toBe(2);
});

test("answers each line at once, in order, and goes on after one that is no case", async () => {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "eval", "--ndjson"], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill());
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (line: string): Promise<unknown> => {
    child.stdin.write(`${line}\n`);
    const { value } = await answers.next();
    return JSON.parse(String(value));
  };
  const int = { primitive: "INT64" };
  const declared = { expr: "x + 1", typeEnv: [{ name: "x", ident: { type: int } }] };
  const three = { value: { int64Value: "3" }, type: int };
  expect(await ask(JSON.stringify({ ...declared, bindings: { x: { value: { int64Value: "2" } } } }))).toEqual(three);
  expect(await ask(JSON.stringify({ ...declared, bindings: { x: { int64Value: 2 } } }))).toEqual(three);
  expect(await ask("{")).toMatchObject({ error: expect.stringContaining("not JSON") });
  expect(await ask('{"expr": 1}')).toMatchObject({ error: expect.stringContaining("not a case") });
  expect(await ask('{"expr": "1 / 0"}')).toMatchObject({ error: expect.stringContaining("division by zero") });
  expect(await ask('{"expr": "[1]", "checkOnly": true}')).toEqual({ type: { listType: { elemType: int } } });
  expect(await ask('{"expr": "true ? 1 : \'a\'", "disableCheck": true}')).toEqual({ value: { int64Value: "1" } });
  expect(await ask('{"expr": "[1].all(x, x > 0)", "disableMacros": true}')).toHaveProperty("error");
  // What is nested too deep, or costs too much, is an error like any other, and the next line has its answer.
  expect(await ask(JSON.stringify({ expr: `${"(".repeat(5_000)}1${")".repeat(5_000)}` }))).toHaveProperty("error");
  expect(await ask(JSON.stringify({ expr: `${"[".repeat(5_000)}${"]".repeat(5_000)}` }))).toHaveProperty("error");
  const endless = "lists.range(10000).all(a, lists.range(10000).all(b, a + b >= 0))";
  expect(await ask(JSON.stringify({ expr: endless }))).toHaveProperty("error");
  const opened = '{"listValue":{"values":['.repeat(5_000);
  const deep = `${opened}{"int64Value":"1"}${"]}}".repeat(5_000)}`;
  expect(await ask(`{"expr": "x", "disableCheck": true, "bindings": {"x": {"value": ${deep}}}}`)).toHaveProperty(
    "error",
  );
  expect(
    await ask(
      '{"expr": "y", "container": "a.b", "typeEnv": [{"name": "a.y", "ident": {"type": {"primitive": "INT64"}}}], "bindings": {"a.y": {"value": {"int64Value": "7"}}}}',
    ),
  ).toMatchObject({ value: { int64Value: "7" } });
  // Numbers have more digits, and zeros a sign, where they are written as JSON has them.
  const bound = (value: string) => ask(`{"expr": "x", "disableCheck": true, "bindings": {"x": ${value}}}`);
  expect(await bound('{"int64Value": 9223372036854775807}')).toEqual({ value: { int64Value: "9223372036854775807" } });
  expect(await bound('{"int64Value": "1e2"}')).toEqual({ value: { int64Value: "100" } });
  expect(await bound('{"doubleValue": -0.0}')).toEqual({ value: { doubleValue: -0 } });
  expect(await bound('{"enumValue": {"type": "a.E", "value": 3}}')).toEqual({ value: { int64Value: "3" } });
  expect(await bound('{"error": {"errors": [{"message": "no such thing"}]}}')).toMatchObject({
    error: expect.stringContaining("no such thing"),
  });
  const inner = '{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "a"}';
  const any = `{"objectValue": {"@type": "type.googleapis.com/google.protobuf.Any", "value": ${inner}}}`;
  expect(await bound(any)).toEqual({ value: { stringValue: "a" } });
  const constant = { name: "x", ident: { type: int, value: { int64Value: "3" } } };
  expect(await ask(JSON.stringify({ expr: "x", typeEnv: [constant] }))).toEqual(three);
  expect(await ask('{"expr": "1", "checkOnly": "yes"}')).toEqual({ error: "not a case: checkOnly is no bool" });
  expect(await ask('{"expr": "1 + 1"}')).toMatchObject({ value: { int64Value: "2" } });
  child.stdin.end();
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
});
