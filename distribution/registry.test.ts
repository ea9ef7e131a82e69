import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Maturity, parseResources } from "../resources/index.ts";
import { durableFiles, ensureDirectory } from "../revision/index.ts";
import { temporaryDirectory } from "../test/support/index.ts";
import { type Registry, recordIdentities, recordRevision, registryAt } from "./registry.ts";
import { openRegistryFile, readRegistry } from "./registry-file.ts";

function tree(versions: Readonly<Record<string, Maturity>>, approvers?: readonly string[]) {
  const object = (kind: string, name: string, spec: object) =>
    `${JSON.stringify({ apiVersion: "chancery.dev/v1", kind, metadata: { name }, spec })}\n---\n`;
  const identity = { apiKeys: [{ id: "k", sha256: "a".repeat(64) }] };
  const texts = [
    object("Model", "m", {}),
    object("Application", "chat", { purpose: "x", riskTier: "limited", ...identity }),
    ...Object.entries(versions).map(([name, maturity]) =>
      object("ModelVersion", name, { model: "m", version: name, provider: "Acme", maturity }),
    ),
    ...(approvers === undefined ? [] : [object("Approval", "ok", { version: "v1", application: "chat", approvers })]),
  ];
  const { inventory, problems } = parseResources(new Map([["a.yaml", texts.join("")]]));
  expect(problems).toEqual([]);
  return inventory;
}

const revision = (number: number) => ({ number, source: `sha256:${number}`, at: 1_000 * number });
const said = (registry: Registry | undefined, at: number) =>
  registry === undefined
    ? undefined
    : registryAt(registry, at)?.map((entry) =>
        entry.kind === "version" ? `${entry.key} ${entry.maturity}` : entry.approvers.join(" "),
      );

describe("the registry", () => {
  const first = recordRevision(undefined, tree({ v1: "canary" }), revision(1));
  const second = recordRevision(first, tree({ v1: "production" }, ["alice", "bob"]), revision(2));
  const third = recordRevision(second, tree({ v2: "shadow" }), revision(3));

  test("tells what was in force at any time, and who had approved it", () => {
    expect(said(third, 999)).toBeUndefined();
    expect(said(third, 1_000)).toEqual(["v1 canary"]);
    expect(said(third, 1_999)).toEqual(["v1 canary"]);
    expect(said(third, 2_000)).toEqual(["alice bob", "v1 production"]);
    expect(said(third, 9_999)).toEqual(["v2 shadow"]);
  });

  test("tells by which rule what was approved", () => {
    const inventory = tree({ v1: "production", v2: "canary" });
    const rule = {
      ...{ key: "board/auto", name: "auto", scope: ".", labels: {}, annotations: {} },
      ...{ model: "m", versions: [], applications: ["chat"], jurisdictions: ["EU"] },
      when: 'target.maturity == "production"',
      conditions: ['subject.kind == "jwt"'],
      ...{ validForMs: 1, validUntil: "2027-01-01T00:00:00Z", reason: "x", owner: "board" },
    };
    const registry = recordRevision(undefined, { ...inventory, approvalRules: [rule] }, revision(1));
    expect(registryAt(registry, 1_000)?.filter(({ kind }) => kind === "approval")).toEqual([
      {
        kind: "approval",
        key: "board/auto:v1:chat",
        version: "v1",
        application: "chat",
        jurisdictions: ["EU"],
        approvers: ["rule board/auto"],
        conditions: ['subject.kind == "jwt"'],
        validUntil: "2027-01-01T00:00:00.000Z",
      },
    ]);
  });

  test("is the same where a revision changes nothing in it, and remembers versions that are gone", () => {
    expect(recordRevision(third, tree({ v2: "shadow" }), revision(4))).toBe(third);
    expect(third.identities["m@v1"]?.maturity).toBe("production");
  });

  test("lets old changes go without forgetting what they led to", () => {
    const maturities = fc.constantFrom<Maturity>("shadow", "canary", "production");
    const trees = fc.array(fc.dictionary(fc.constantFrom("v1", "v2", "v3"), maturities), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(trees, fc.integer({ min: 1, max: 4 }), (states, most) => {
        let whole: Registry | undefined;
        let bounded: Registry | undefined;
        for (const [index, state] of states.entries()) {
          whole = recordRevision(whole, tree(state), revision(index + 1));
          bounded = recordRevision(bounded, tree(state), revision(index + 1), most);
        }
        expect(bounded?.changes.length).toBeLessThanOrEqual(most);
        for (const index of states.keys()) {
          const at = revision(index + 1).at;
          if (at < (bounded?.since ?? 0)) continue;
          expect(said(bounded, at)?.toSorted()).toEqual(said(whole, at)?.toSorted());
        }
      }),
      { numRuns: 60 },
    );
  });

  test("takes in what others have published, without a history of it, and keeps digests", () => {
    const [known] = Object.values(third.identities);
    if (known === undefined) return expect.unreachable();
    expect(recordIdentities(third, Object.values(third.identities))).toBe(third);
    const learnt = recordIdentities(undefined, [{ ...known, digest: "sha256:a", owner: "us" }]);
    if (learnt === undefined) return expect.unreachable();
    expect(said(learnt, 1_000)).toBeUndefined();
    expect(recordIdentities(learnt, [{ ...known, owner: "us" }])).toBe(learnt);
    const other = recordIdentities(learnt, [{ ...known, digest: "sha256:b", maturity: "retired" }]);
    expect(Object.values(other?.identities ?? {})).toMatchObject([{ digest: "sha256:a", maturity: "retired" }]);
    expect(recordRevision(learnt, tree({}), revision(5))).toMatchObject({ since: 5_000, changes: [] });
  });

  describe("on disk", () => {
    const [FILE, COPY] = ["registry.json", "registry.copy.json"];
    async function written() {
      const directory = await temporaryDirectory("registry");
      await ensureDirectory(join(directory, "tmp"));
      const durable = durableFiles(join(directory, "tmp"));
      expect(await readRegistry(directory)).toEqual({ registry: undefined, damage: [] });
      const file = await openRegistryFile(directory, durable, () => expect.unreachable());
      await file.register(tree({ v1: "canary" }), revision(1));
      await file.register(tree({ v1: "production" }), revision(2));
      const alarms: string[] = [];
      return {
        directory,
        alarms,
        open: () => openRegistryFile(directory, durable, ({ message }) => alarms.push(message)),
        read: () => readRegistry(directory),
        text: (name: string) => readFile(join(directory, name), "utf8"),
        damage: (name: string) => writeFile(join(directory, name), '{"format":1}'),
      };
    }

    test("is there again over a restart", async () => {
      const { open, read, alarms } = await written();
      expect((await open()).identities.get("m@v1")?.maturity).toBe("production");
      expect(said((await read()).registry, 1_000)).toEqual(["v1 canary"]);
      expect(alarms).toEqual([]);
    });

    test.each([FILE, COPY])("a damaged %s costs nothing: it is told, put aside, and made again", async (name) => {
      const { directory, open, read, text, damage, alarms } = await written();
      const whole = await text(name);
      await damage(name);
      const { registry, damage: found } = await read();
      expect(registry?.changes).toHaveLength(2);
      expect(found.map(({ code }) => code)).toEqual(["corrupt"]);
      await (await open()).register(tree({ v1: "production" }), revision(3));
      expect(alarms).toEqual([`${join(directory, name)} cannot be read`]);
      expect(await text(name)).toBe(whole);
      expect(await text(name.replace(".json", ".damaged.json"))).toBe('{"format":1}');
      await open();
      expect(alarms).toHaveLength(1);
    });

    test("a bit that has turned is found", async () => {
      const { directory, open, read, text, alarms } = await written();
      await writeFile(join(directory, FILE), (await text(FILE)).replace('"revision":2', '"revision":3'));
      await open();
      expect(alarms).toEqual([`${join(directory, FILE)} does not match its checksum`]);
      expect((await read()).registry?.changes.map((change) => change.revision)).toEqual([1, 2]);
    });

    test("a file that is gone is told and made again, and a copy that there never was is made", async () => {
      const { directory, open, read, alarms } = await written();
      await rm(join(directory, COPY));
      await open();
      expect(alarms).toEqual([]);
      await rm(join(directory, FILE));
      await open();
      expect(alarms).toEqual([`${join(directory, FILE)} is missing beside its copy`]);
      expect(await read()).toMatchObject({ registry: { changes: [{}, {}] }, damage: [] });
    });

    test("with both damaged it begins anew, and nothing is thrown away", async () => {
      const { open, read, text, damage, alarms } = await written();
      for (const name of [FILE, COPY]) await damage(name);
      expect((await open()).isEmpty).toBe(true);
      expect(alarms).toHaveLength(2);
      expect(await read()).toEqual({ registry: undefined, damage: [] });
      for (const name of [FILE, COPY]) await text(name.replace(".json", ".damaged.json"));
    });
  });
});
