import fc from "fast-check";
import { expect, test } from "vitest";
import { CompileCache, compile } from "../compiler/index.ts";
import {
  freeze,
  type LoadResult,
  type OperationalLog,
  ParseCache,
  type ResourceFiles,
  resourceFiles,
} from "../resources/index.ts";
import { contentDigest, EncodeCache, encodeParts } from "../revision/index.ts";
import { resolveTree } from "./resolve-tree.ts";
import { arbitraryEdits, BASE_COUNT, history } from "./tree-edits-fixture.ts";

const KEYS = JSON.stringify({ keys: [{ kty: "EC", crv: "P-256", x: "eA", y: "eQ" }] });
const JWKS = new Map([
  ["file:login.jwks.json", KEYS],
  ["https://partner.example.com/jwks", KEYS],
]);

/** Every stage from files to the bytes of a revision, each of which may remember what it did before. */
class Stages {
  readonly #parsed = new ParseCache();
  readonly #compiled = new CompileCache();
  readonly #encoded = new EncodeCache();

  async run(current: ResourceFiles, lastGood: ResourceFiles | undefined, log: OperationalLog) {
    const loads: LoadResult[] = [];
    const resolved = await resolveTree(current, lastGood, {
      freeze: (tree, good, problems) => freeze(tree, good, { log, problems, cache: this.#parsed }),
      inspect: async () => [],
      compile: (loaded) => {
        loads.push(loaded);
        return compile(loaded.inventory, { jwks: JWKS, positions: loaded.positions, cache: this.#compiled });
      },
    });
    // What did not become a revision is compared as well.
    const tried = loads.map(({ inventory, problems, files, dependencies }) => ({
      inventory,
      problems,
      files: files.map(({ scope, path, at }) => ({ scope, path, at })),
      dependencies: [...dependencies].map(([scope, others]) => [scope, [...others]]),
    }));
    if (resolved.outcome === "refused") return { files: undefined, said: { tried, resolved } };
    const { files, parts, ...rest } = resolved;
    const encoded = encodeParts(parts, this.#encoded);
    const said = {
      tried,
      resolved: rest,
      tree: files.digest,
      content: contentDigest(encoded.parts),
      parts: encoded.parts,
      bytes: [...encoded.blobs].map(([digest, bytes]) => [digest, Buffer.from(bytes).toString("base64")]),
    };
    return { files, said };
  }
}

const LOG: OperationalLog = [
  {
    sequence: 1,
    at: "2026-02-03T04:05:06Z",
    by: "board",
    operation: {
      type: "put",
      object: {
        apiVersion: "chancery.dev/v1",
        kind: "Approval",
        metadata: { name: "from-the-log" },
        spec: { version: "atlas-v2", application: "assistant", approvers: ["board@acme.example"] },
      },
    },
  },
];

test("what is made step by step from edits is what is made from each tree alone", async () => {
  let [good, frozen] = [0, 0];
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: BASE_COUNT - 1 }),
      arbitraryEdits(8),
      fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
      async (base, edits, logged) => {
        const remembering = new Stages();
        let lastGood: ResourceFiles | undefined;
        for (const [step, files] of history(base, edits).entries()) {
          const tree = resourceFiles(files);
          const log = logged[step] === true ? LOG : [];
          const [made, fresh] = [
            await remembering.run(tree, lastGood, log),
            await new Stages().run(tree, lastGood, log),
          ];
          // As text: the order of members counts as well.
          expect(JSON.stringify(made.said)).toBe(JSON.stringify(fresh.said));
          if (made.files?.digest === tree.digest) good++;
          else if (made.files !== undefined) frozen++;
          lastGood = made.files ?? lastGood;
        }
      },
    ),
    { numRuns: 25 },
  );
  // A property over trees of which none is right would say nothing.
  expect(good).toBeGreaterThan(15);
  expect(frozen).toBeGreaterThan(5);
}, 180_000);
