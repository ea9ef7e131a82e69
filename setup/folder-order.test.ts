import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";

const root = fileURLToPath(new URL("..", import.meta.url));
const cruiser = join(root, "node_modules/dependency-cruiser/bin/dependency-cruiser.mjs");

/** A small tree: what is in each file, and which rules it breaks. */
const tree: Readonly<Record<string, { readonly source: string; readonly breaks?: readonly string[] }>> = {
  "resources/index.ts": { source: `export { scope } from "./scope.ts";` },
  "resources/scope.ts": { source: `export const scope = ".";` },
  "resources/typed.ts": {
    source: `export type X = import("../compiler/index.ts").Y;`,
    breaks: ["one-way-resources"],
  },
  "policy/index.ts": { source: `import { scope } from "../resources/index.ts"; export const rule = scope;` },
  "policy/deep.ts": { source: `import { scope } from "../resources/scope.ts"; void scope;`, breaks: ["through-index"] },
  "policy/later.ts": {
    source: `import type { Y } from "../compiler/index.ts";\nlet y: Y;`,
    breaks: ["one-way-policy"],
  },
  "policy/again.ts": { source: `export type * from "../compiler/index.ts";`, breaks: ["one-way-policy"] },
  "policy/dynamic.ts": { source: `await import("../cli/main.ts");`, breaks: ["one-way-policy", "through-index"] },
  "policy/modern.ts": {
    source: `using held = { [Symbol.dispose]() {} };\nexport * from "../envoy/index.ts";`,
    breaks: ["one-way-policy"],
  },
  "policy/good.test.ts": { source: `import "./deep.ts";\nimport "../test/support/index.ts";` },
  "policy/bad.test.ts": { source: `import "../envoy/index.ts";`, breaks: ["one-way-policy"] },
  "policy/live.ts": { source: `import "../test/support/index.ts";`, breaks: ["no-test-support"] },
  "policy/pure-fixture.ts": { source: `import { rule } from "./index.ts"; export const r = rule;` },
  "policy/leaning.ts": { source: `import "./pure-fixture.ts";`, breaks: ["no-test-support"] },
  "envoy/index.ts": { source: `import tools from "../setup/tools.json" with { type: "json" }; export { tools };` },
  "envoy/generated.ts": { source: `import "../protos/gen/envoy/any_pb.ts";` },
  "envoy/script.ts": { source: `import "../setup/main.mjs";`, breaks: ["no-test-support"] },
  "envoy/gone.ts": { source: `import "./nowhere.ts";`, breaks: ["resolvable"] },
  "compiler/index.ts": { source: `export type Y = number;` },
  "compiler/one.ts": { source: `import { two } from "./two.ts"; export const one = () => two;`, breaks: ["no-cycles"] },
  // A cycle is reported once, at its first file.
  "compiler/two.ts": { source: `import { one } from "./one.ts"; export const two = () => one;` },
  "compiler/left.ts": { source: `import type { Right } from "./right.ts"; export type Left = Right[];` },
  "compiler/right.ts": { source: `import type { Left } from "./left.ts"; export type Right = Left[];` },
  "revision/utils/one.ts": { source: `export const drawer = 1;`, breaks: ["no-orphan-drawers"] },
  "revision/helpers.ts": { source: `export const drawer = 2;` },
  "revision/index.ts": { source: `export * from "./helpers.ts";`, breaks: ["no-drawers"] },
  "surprise/index.ts": { source: `import "../resources/index.ts";`, breaks: ["known-folder"] },
  "cli/start.test.ts": { source: `import "../examples/stand-in.ts";` },
  "cli/start.ts": { source: `import "../examples/stand-in.ts";`, breaks: ["no-test-support"] },
  "examples/stand-in.ts": { source: `export const model = "m";` },
  "cli/main.ts": { source: `import "../policy/index.ts";` },
  "test/support/index.ts": { source: `import "../../policy/deep.ts";` },
  "examples/start.ts": { source: `import "../cli/main.ts"; import "../test/support/index.ts";` },
  "setup/tools.json": { source: "{}" },
  "setup/main.mjs": { source: `export const main = 1;` },
  "protos/gen/envoy/any_pb.ts": { source: `export const any = 1;` },
};

const Cruise = z.object({
  summary: z.object({
    violations: z.array(z.object({ from: z.string(), rule: z.object({ name: z.string() }) })),
  }),
});

let folder: string;
const found = new Map<string, Set<string>>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "chancery-folders-"));
  for (const [path, { source }] of Object.entries(tree)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), source);
  }
  const config = join(root, ".dependency-cruiser.cjs");
  // The JSON reporter leaves the exit status 0 whatever it finds.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [cruiser, "--config", config, "--output-type", "json", "."],
    { cwd: folder, maxBuffer: 16 * 1024 * 1024 },
  );
  for (const { from, rule } of Cruise.parse(JSON.parse(stdout)).summary.violations) {
    found.set(from, (found.get(from) ?? new Set()).add(rule.name));
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

for (const [path, { source, breaks = [] }] of Object.entries(tree)) {
  const verdict = breaks.length === 0 ? "lets pass" : `finds ${breaks.join(", ")} in`;
  test(`${verdict} ${path}: ${source.replaceAll("\n", " ")}`, () => {
    expect([...(found.get(path) ?? [])].sort()).toEqual([...breaks].sort());
  });
}
