import { expect, test } from "vitest";
import {
  checkFiles,
  freeze,
  type LoadResult,
  type Problem,
  type ResourceFiles,
  resourceFiles,
} from "../resources/index.ts";
import { resolveTree, type TreeStages } from "./resolve-tree.ts";
import { compileLoaded, policy, upstream } from "./tree-fixture.ts";

function tree(files: Record<string, string>): ResourceFiles {
  return resourceFiles(new Map(Object.entries(files)));
}

/** The real stages, without a disk. */
function stages(change: Partial<TreeStages> = {}): TreeStages & { readonly compiled: LoadResult[] } {
  const compiled: LoadResult[] = [];
  return {
    compiled,
    freeze: (current, lastGood, problems) => freeze(current, lastGood, { problems }),
    inspect: async () => [],
    compile: (loaded) => {
      compiled.push(loaded);
      return compileLoaded(loaded);
    },
    ...change,
  };
}

const GOOD = {
  "web.yaml": upstream("web", 8001),
  "team/limits.yaml": policy("limits", "false"),
  "other/limits.yaml": policy("limits", "false"),
};

test("a good tree is taken as it is", async () => {
  const current = tree(GOOD);
  const resolved = await resolveTree(current, undefined, stages());
  expect(resolved).toMatchObject({ outcome: "good", frozen: [] });
  if (resolved.outcome === "good") expect(resolved.files.digest).toBe(current.digest);
});

test.each([
  ["does not parse", "kind: [", "broken YAML"],
  ["does not compile", policy("limits", "nonsense"), "broken rule"],
  ["reads what can be missing", policy("limits", "request.size > 1"), "unguarded read"],
])("a scope that %s stays as it was last good, and the others go on", async (_, text) => {
  const current = tree({
    ...GOOD,
    "team/limits.yaml": text,
    "team/more.yaml": upstream("more", 8002),
    "other/limits.yaml": policy("limits", "true"),
  });
  const resolved = await resolveTree(current, tree(GOOD), stages());
  if (resolved.outcome !== "good") throw new Error("the tree was refused");
  expect(resolved.frozen.map((scope) => scope.scope)).toEqual(["team"]);
  expect(resolved.frozen[0]?.problems[0]?.at.file).toBe("team/limits.yaml");
  expect(Object.fromEntries(resolved.files.files)).toEqual({ ...GOOD, "other/limits.yaml": policy("limits", "true") });
  const rules = resolved.parts.program.rules.map((rule) => [rule.id, rule.when]);
  expect(new Map(rules.map(([id, when]) => [id, when]))).toEqual(
    new Map([
      ["team/limits/no", "false"],
      ["other/limits/no", "true"],
    ]),
  );
});

test("scopes that break one after the other are all frozen", async () => {
  const current = tree({
    ...GOOD,
    "team/limits.yaml": policy("limits", "nonsense"),
    "other/limits.yaml": "kind: [",
    "third/limits.yaml": policy("limits", "nonsense"),
  });
  const resolved = await resolveTree(current, tree(GOOD), stages());
  if (resolved.outcome !== "good") throw new Error("the tree was refused");
  expect(resolved.frozen.map((scope) => scope.scope).sort()).toEqual(["other", "team", "third"]);
  expect(resolved.files.digest).toBe(tree(GOOD).digest);
});

test("before the first good tree an error refuses the whole, so that no denial is left out", async () => {
  for (const text of ["kind: [", policy("limits", "nonsense")]) {
    const resolved = await resolveTree(tree({ ...GOOD, "team/limits.yaml": text }), undefined, stages());
    expect(resolved).toMatchObject({ outcome: "refused", problems: [{ scope: "team" }] });
  }
});

test("errors that stay although their scopes are frozen refuse the whole", async () => {
  const at = { file: "web.yaml", line: 1, column: 1 };
  const problem: Problem = { severity: "error", code: "x", message: "always", scope: ".", at };
  const always = stages({ compile: (loaded) => ({ ...compileLoaded(loaded), problems: [problem] }) });
  const resolved = await resolveTree(tree({ ...GOOD, "web.yaml": upstream("web", 1) }), tree(GOOD), always);
  expect(resolved).toEqual({ outcome: "refused", problems: [problem] });
});

test("a file that is missing freezes the scope that names it, also when the last good state names it too", async () => {
  const at = { file: "team/limits.yaml", line: 1, column: 1 };
  const problem: Problem = { severity: "error", code: "missing-file", message: "gone", scope: "team", at };
  const current = tree({ ...GOOD, "other/limits.yaml": policy("limits", "true") });
  const missing = stages({ inspect: async () => [problem] });
  const resolved = await resolveTree(current, tree(GOOD), missing);
  if (resolved.outcome !== "good") throw new Error("the tree was refused");
  expect(resolved.frozen).toMatchObject([{ scope: "team", problems: [problem] }]);
  expect(resolved.files.files.get("other/limits.yaml")).toBe(policy("limits", "true"));
  expect((await resolveTree(current, undefined, missing)).outcome).toBe("refused");
});

test("warnings do not hold anything back", async () => {
  const at = { file: "web.yaml", line: 1, column: 1 };
  const warning: Problem = { severity: "warning", code: "x", message: "doubtful", scope: ".", at };
  const warned = stages({ compile: (loaded) => ({ ...compileLoaded(loaded), problems: [warning] }) });
  expect(await resolveTree(tree(GOOD), undefined, warned)).toMatchObject({ outcome: "good", warnings: [warning] });
});

test("the fixture's files are looked for where they are", async () => {
  const result = freeze(tree(GOOD), undefined);
  if (result.outcome !== "inForce") throw new Error("the fixture has errors");
  expect(await checkFiles(result.loaded, import.meta.dirname)).toEqual([]);
});
