import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { APPLICATION, GATEWAY, MODEL, UPSTREAM, VERSION, yaml } from "./fixtures.ts";
import { ParseCache, parseResources } from "./load.ts";
import { loadDirectory } from "./load-directory.ts";
import { formatProblem } from "./problem.ts";
import { PROBLEM_CODES } from "./problem-codes.ts";

const QUICKSTART = fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url));
const GOLDEN = fileURLToPath(new URL("quickstart.golden.json", import.meta.url));

describe("parseResources", () => {
  it("reads the quick start as its golden inventory says", async () => {
    const { inventory, problems } = await loadDirectory(QUICKSTART);
    expect(problems.map(formatProblem)).toEqual([]);
    const text = `${JSON.stringify(inventory, null, 2)}\n`;
    if (process.env.UPDATE_GOLDEN === "1") await writeFile(GOLDEN, text);
    expect(text).toBe(await readFile(GOLDEN, "utf8"));
  });

  it("says where each character of a rule stands", () => {
    const policy = yaml(
      "Policy",
      "p",
      "rules:\n  - id: a\n    effect: allow\n    when: >-\n      request.method == 'GET' &&\n      subject.kind == 'jwt'",
    );
    const { positions } = parseResources(new Map([["team/p.yaml", policy]]));
    const when = ["spec", "rules", 0, "when"];
    expect(positions.within("Policy", "team/p", when, 0)).toEqual({ file: "team/p.yaml", line: 10, column: 9 });
    expect(positions.within("Policy", "team/p", when, 27)).toEqual({ file: "team/p.yaml", line: 11, column: 9 });
    expect(positions.locate("Policy", "team/p", ["spec", "rules", 0, "id"])).toEqual({
      file: "team/p.yaml",
      line: 7,
      column: 11,
    });
    expect(positions.locate("Policy", "nope", when)).toBeUndefined();
  });

  it("gives the same with a cache as without, whatever came before", () => {
    const texts = [GATEWAY, UPSTREAM, MODEL, MODEL + VERSION, APPLICATION, "nonsense: [", ""];
    const files = fc.dictionary(fc.constantFrom("a.yaml", "b.yaml", "c/d.yaml"), fc.constantFrom(...texts));
    fc.assert(
      fc.property(fc.array(files, { minLength: 1, maxLength: 6 }), (trees) => {
        const cache = new ParseCache();
        for (const tree of trees) {
          const map = new Map(Object.entries(tree));
          const cached = parseResources(map, [], cache);
          const fresh = parseResources(map);
          expect(cached.inventory).toEqual(fresh.inventory);
          expect(cached.problems).toEqual(fresh.problems);
        }
      }),
    );
  });

  it("parses in slices, and gives the same", async () => {
    const files = new Map([
      ["a.yaml", GATEWAY],
      ["b.yaml", UPSTREAM],
      ["c.yaml", MODEL],
      ["d.yaml", "nonsense: ["],
    ]);
    const cache = new ParseCache();
    let time = 0;
    let rests = 0;
    const monotonic = (): number => {
      time += 6;
      return time;
    };
    const rest = async (): Promise<void> => {
      rests += 1;
    };
    await cache.prepare(files, { sliceMs: 10, monotonic, rest });
    expect(rests).toBe(2);
    const [cached, fresh] = [parseResources(files, [], cache), parseResources(files)];
    expect(cached.inventory).toEqual(fresh.inventory);
    expect(cached.problems).toEqual(fresh.problems);
  });

  it("keeps what is right beside what is wrong", () => {
    const { inventory, problems } = parseResources(
      new Map([
        ["a.yaml", `${UPSTREAM}nonsense: 1\n---\n${MODEL}`],
        ["b.yaml", "a: [\n"],
      ]),
    );
    expect(inventory.upstreams).toHaveLength(1);
    expect(inventory.models).toHaveLength(1);
    expect(problems.map(({ at }) => at.file)).toEqual(["a.yaml", "b.yaml"]);
  });

  it("never throws, whatever stands in the files, and every problem has a code and a place", () => {
    const value: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(
          "atlas",
          "web",
          "chancery.dev/v1",
          "HTTP",
          "Model",
          "tls",
          "GET",
          "10s",
          "a b",
          "",
          "*.example.com",
          "EU",
        ),
        fc.constantFrom(null, true, 0, 1, -1, 80, 1e9, 0.5),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom(
            "name",
            "type",
            "kind",
            "group",
            "mode",
            "rules",
            "id",
            "effect",
            "to",
            "model",
            "listeners",
            "port",
            "protocol",
            "tls",
            "endpoints",
            "address",
            "namespace",
            "backendRefs",
            "parentRefs",
            "matches",
            "path",
            "value",
            "filters",
            "constructor",
            "toString",
          ),
          tie("value"),
          { maxKeys: 6 },
        ),
      ),
    })).value;
    const kinds = [
      "Gateway",
      "HTTPRoute",
      "ReferenceGrant",
      "Secret",
      "Upstream",
      "Model",
      "ModelVersion",
      "Deployment",
      "Application",
      "Approval",
      "Policy",
    ];
    const object = fc.record(
      {
        apiVersion: fc.constantFrom<unknown>("chancery.dev/v1", "gateway.networking.k8s.io/v1", 7),
        kind: fc.constantFrom<unknown>(...kinds, "List", null),
        metadata: fc.oneof(fc.record({ name: fc.constantFrom("atlas", "web", "x") }), value),
        spec: value,
      },
      { requiredKeys: [] },
    );
    // JSON is YAML.
    const text = fc.oneof(
      object.map((data) => JSON.stringify(data)),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), (texts) => {
        const { problems } = parseResources(new Map([["a/b.yaml", texts.join("\n---\n")]]));
        for (const { code, at, message, scope } of problems) {
          expect(Object.keys(PROBLEM_CODES)).toContain(code);
          expect(message).not.toBe("");
          expect(message).not.toContain("\u0000");
          expect([at.file, scope]).toEqual(["a/b.yaml", "a"]);
          expect(Math.min(at.line, at.column)).toBeGreaterThan(0);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
