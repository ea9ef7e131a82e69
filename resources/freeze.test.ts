import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { APPLICATION, APPROVAL, MODEL, UPSTREAM, VERSION, yaml } from "./fixtures.ts";
import { type FreezeOptions, type FreezeResult, freeze } from "./freeze.ts";
import { parseResources } from "./load.ts";
import type { Problem } from "./problem.ts";
import { type ResourceFiles, resourceFiles, scopeOf } from "./resource-files.ts";

const tree = (texts: Readonly<Record<string, string>>, problems: readonly Problem[] = []): ResourceFiles =>
  resourceFiles(new Map(Object.entries(texts)), problems);

type InForce = Extract<FreezeResult, { outcome: "inForce" }>;

function inForce(current: ResourceFiles, lastGood?: ResourceFiles, options?: FreezeOptions): InForce {
  const result = freeze(current, lastGood, options);
  if (result.outcome !== "inForce") throw new Error(JSON.stringify(result.problems));
  return result;
}

const scopes = (result: InForce) => result.frozen.map(({ scope }) => scope);
const upstream = (name: string, port = 80) =>
  yaml("Upstream", name, `endpoints: [{ address: 10.0.0.1, port: ${port} }]`);
const deployment = (upstreamRef: string) =>
  yaml("Deployment", "d", `version: atlas-v2\nupstream: ${upstreamRef}\nregion: eu\ncountry: DE`);
const ports = ({ loaded }: InForce) =>
  Object.fromEntries(loaded.inventory.upstreams.map(({ key, endpoints }) => [key, endpoints[0]?.port]));

describe("freeze", () => {
  it("takes the current tree when it is right", () => {
    const current = tree({ "a.yaml": UPSTREAM });
    const result = inForce(current);
    expect(result.files).toBe(current);
    expect(result.frozen).toEqual([]);
    expect(inForce(current, tree({ "b.yaml": MODEL })).files).toBe(current);
  });

  it("refuses a wrong tree when there is no last good one", () => {
    const result = freeze(tree({ "a.yaml": "kind: [" }), undefined);
    expect(result).toMatchObject({ outcome: "refused", problems: [{ code: "yaml-syntax" }] });
  });

  it("holds the broken scope back, whole, and nothing else", () => {
    const good = tree({
      "a/a.yaml": upstream("x", 1),
      "a/b.yaml": upstream("y", 1),
      "a/sub/a.yaml": upstream("s", 1),
      "b/a.yaml": upstream("z", 1),
    });
    const broken = tree({
      "a/a.yaml": upstream("x", 2),
      "a/b.yaml": "nonsense",
      "a/new.yaml": upstream("n", 2),
      "a/sub/a.yaml": upstream("s", 2),
      "b/a.yaml": upstream("z", 2),
    });
    const result = inForce(broken, good);
    expect(ports(result)).toEqual({ "a/x": 1, "a/y": 1, "a/sub/s": 2, "b/z": 2 });
    expect(result.frozen).toMatchObject([
      { scope: "a", problems: [{ code: "not-an-object", at: { file: "a/b.yaml" } }] },
    ]);
    expect(parseResources(result.files).problems).toEqual([]);
  });

  it("is the last good tree of the next time", () => {
    const good = tree({ "a/a.yaml": upstream("x", 1), "b/a.yaml": upstream("z", 1) });
    const first = inForce(tree({ "a/a.yaml": "nonsense", "b/a.yaml": upstream("z", 2) }), good);
    const second = inForce(tree({ "a/a.yaml": "nonsense", "b/a.yaml": upstream("z", 3) }), first.files);
    expect(ports(second)).toEqual({ "a/x": 1, "b/z": 3 });
    expect(ports(inForce(tree({ "a/a.yaml": upstream("x", 4), "b/a.yaml": upstream("z", 4) }), second.files))).toEqual({
      "a/x": 4,
      "b/z": 4,
    });
  });

  it("keeps what others cannot do without, and takes their own changes all the same", () => {
    const base = { "a.yaml": MODEL + VERSION };
    const good = tree({
      ...base,
      "a/a.yaml": upstream("web", 1),
      "b/b.yaml": deployment("{ name: web, namespace: a }"),
      "c/c.yaml": upstream("c", 1),
    });
    const current = tree({
      ...base,
      "a/a.yaml": upstream("renamed", 2),
      "b/b.yaml": deployment("{ name: web, namespace: a }") + upstream("own", 2),
      "c/c.yaml": upstream("c", 2),
    });
    const result = inForce(current, good);
    expect(ports(result)).toEqual({ "a/web": 1, "b/own": 2, "c/c": 2 });
    expect(result.frozen).toMatchObject([{ scope: "a", problems: [{ scope: "b", code: "dangling-reference" }] }]);
  });

  it("keeps a scope whose directory is gone while another one needs it", () => {
    const good = tree({
      "a.yaml": MODEL + VERSION + deployment("{ name: web, namespace: a }"),
      "a/a.yaml": upstream("web", 1),
    });
    const result = inForce(tree({ "a.yaml": MODEL + VERSION + deployment("{ name: web, namespace: a }") }), good);
    expect(ports(result)).toEqual({ "a/web": 1 });
    expect(scopes(result)).toEqual(["a"]);
  });

  it("holds back who takes another one's key, not its owner", () => {
    const other = APPLICATION.replace("name: assistant", "name: thief");
    for (const [owner, thief] of [
      ["a", "b"],
      ["b", "a"],
    ]) {
      const good = tree({ [`${owner}/x.yaml`]: APPLICATION });
      const current = tree({ [`${owner}/x.yaml`]: APPLICATION + upstream("new", 2), [`${thief}/x.yaml`]: other });
      const result = inForce(current, good);
      expect(scopes(result)).toEqual([thief]);
      expect(result.loaded.inventory.applications.map(({ key }) => key)).toEqual([`${owner}/assistant`]);
      expect(ports(result)).toEqual({ [`${owner}/new`]: 2 });
    }
  });

  it("holds back what was found wrong elsewhere", () => {
    const good = tree({ "a/a.yaml": upstream("x", 1), "b/b.yaml": upstream("y", 1) });
    const current = tree({ "a/a.yaml": upstream("x", 2), "b/b.yaml": upstream("y", 2) });
    const missing: Problem = {
      severity: "error",
      code: "missing-file",
      message: "there is no file",
      scope: "a",
      at: { file: "a/a.yaml", line: 1, column: 1 },
    };
    const result = inForce(current, good, { problems: [missing] });
    expect(ports(result)).toEqual({ "a/x": 1, "b/y": 2 });
    expect(result.frozen).toEqual([{ scope: "a", problems: [missing] }]);
    expect(inForce(current, good, { problems: [{ ...missing, severity: "warning" }] }).frozen).toEqual([]);
  });

  it("runs the checks of others on every tree that it tries", () => {
    const good = tree({ "a/a.yaml": upstream("x", 1), "b/b.yaml": upstream("y", 1) });
    const current = tree({ "a/a.yaml": upstream("x", 2), "b/b.yaml": upstream("y", 3) });
    const check: FreezeOptions["check"] = ({ inventory, positions }) =>
      inventory.upstreams
        .filter(({ endpoints }) => endpoints[0]?.port === 2)
        .map(({ key, scope }) => ({
          severity: "error",
          code: "even",
          message: "ports are odd",
          scope,
          at: positions.locate("Upstream", key, ["spec"]) ?? { file: key, line: 1, column: 1 },
        }));
    expect(ports(inForce(current, good, { check }))).toEqual({ "a/x": 1, "b/y": 3 });
    const never: FreezeOptions["check"] = () => [
      { severity: "error", code: "no", message: "no", scope: "a", at: { file: "a/a.yaml", line: 1, column: 1 } },
    ];
    expect(freeze(current, good, { check: never })).toMatchObject({ outcome: "refused", problems: [{ code: "no" }] });
  });

  it("holds back every scope below a directory that cannot be read", () => {
    const good = tree({ "a/a.yaml": upstream("x", 1), "a/sub/a.yaml": upstream("s", 1), "b/b.yaml": upstream("y", 1) });
    const unreadable: Problem = {
      severity: "error",
      code: "unreadable-directory",
      message: "no",
      scope: "a",
      at: { file: "a", line: 1, column: 1 },
    };
    const result = inForce(tree({ "b/b.yaml": upstream("y", 2) }, [unreadable]), good);
    expect(ports(result)).toEqual({ "a/x": 1, "a/sub/s": 1, "b/y": 2 });
    expect(scopes(result)).toEqual(["a", "a/sub"]);
  });

  it("leaves out entries of the log that do not hold, and says so", () => {
    const put = (sequence: number, name: string, version: string) => ({
      sequence,
      at: "2026-01-01T00:00:00Z",
      by: "alice",
      operation: {
        type: "put" as const,
        object: {
          apiVersion: "chancery.dev/v1",
          kind: "Approval",
          metadata: { name },
          spec: { version, application: "assistant", approvers: ["alice"] },
        },
      },
    });
    const current = tree({ "a.yaml": MODEL + VERSION + APPLICATION + APPROVAL });
    const result = inForce(current, undefined, { log: [put(1, "x", "gone"), put(2, "y", "atlas-v2")] });
    expect(result.loaded.inventory.approvals.map(({ key }) => key)).toEqual(["ok", "y"]);
    expect(result.leftOut.map(({ at, code }) => [at.file, code])).toEqual([["log:1", "dangling-reference"]]);
    expect(result.frozen).toEqual([]);
  });

  it("never has errors, and takes every scope that is right by itself", () => {
    const root = { "r.yaml": MODEL + VERSION };
    const names = ["a", "a/x", "b", "c"] as const;
    // What a scope may hold: nothing, something good, something broken, or a reference to another scope.
    const content = fc.oneof(
      fc.constant(undefined),
      fc.nat(3).map((port) => upstream("web", port + 1)),
      fc.constantFrom("nonsense: [", "a: b", upstream("web", 99_999), APPLICATION),
      fc.constantFrom(...names).map((scope) => deployment(`{ name: web, namespace: ${scope} }`)),
    );
    const anyTree = fc.record({ a: content, "a/x": content, b: content, c: content }).map((contents) => {
      const files = Object.entries(contents).flatMap(([scope, text]) =>
        text === undefined ? [] : [[`${scope}/f.yaml`, text]],
      );
      return tree({ ...root, ...Object.fromEntries(files) });
    });
    const noErrors = (files: ResourceFiles) =>
      parseResources(files).problems.every(({ severity }) => severity !== "error");
    fc.assert(
      fc.property(anyTree, fc.array(anyTree, { minLength: 1, maxLength: 4 }), (first, edits) => {
        let lastGood = noErrors(first) ? first : tree(root);
        for (const current of edits) {
          const result = inForce(current, lastGood);
          expect(noErrors(result.files)).toBe(true);
          expect(result.files.digest === current.digest).toBe(noErrors(current));
          const frozen = new Set(scopes(result));
          for (const path of new Set([
            ...current.files.keys(),
            ...lastGood.files.keys(),
            ...result.files.files.keys(),
          ])) {
            const from = frozen.has(scopeOf(path)) ? lastGood : current;
            expect(result.files.files.get(path)).toBe(from.files.get(path));
          }
          // No frozen scope could have been taken as it is.
          for (const scope of frozen) {
            const thawed = new Map([...result.files.files].filter(([path]) => scopeOf(path) !== scope));
            for (const [path, text] of current.files) if (scopeOf(path) === scope) thawed.set(path, text);
            expect(noErrors(resourceFiles(thawed))).toBe(false);
          }
          lastGood = result.files;
        }
      }),
      { numRuns: 300 },
    );
  });
});
