import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { temporaryDirectory } from "../test/support/index.ts";
import { DEFAULT_QUARANTINE_SETTINGS, NO_QUARANTINE, type Quarantine, quarantine, recalled } from "./quarantine.ts";
import { type HeldBack, NOTHING_HELD_BACK, openQuarantineMemory } from "./quarantine-memory.ts";

const log = pino({ level: "silent" });

interface Refused {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  readonly node: string;
  readonly build: string;
  readonly canary: boolean;
}

function quarantineOf(refused: readonly Refused[]): Quarantine {
  return refused.reduce((before, { node, build, canary, ...resource }) => {
    const refusal = { ...resource, revision: 7, message: "no", node: { id: node, build }, at: 5 };
    return quarantine(before, refusal, { connected: 9, canary, acceptedByBuild: false }, DEFAULT_QUARANTINE_SETTINGS);
  }, NO_QUARANTINE);
}

const resource = (typeUrl: string, name: string, content: string) => {
  const value = new Uint8Array(Buffer.from(content));
  return { typeUrl, name, version: createHash("sha256").update(value).digest("hex").slice(0, 16), value };
};
const FORMERS = [
  { resource: resource(TYPE_URLS.cluster, "a", "before"), until: 7 },
  { resource: resource(TYPE_URLS.endpoint, "b", ""), until: 8 },
];
/** A resource whose bytes were changed. */
const OTHER_VERSION = { typeUrl: TYPE_URLS.listener, name: "l", version: "0".repeat(16), until: 1, value: "eA==" };

const refused: fc.Arbitrary<Refused> = fc.record({
  typeUrl: fc.constantFrom(TYPE_URLS.cluster, TYPE_URLS.route),
  name: fc.constantFrom("a", "b", "c/ü"),
  version: fc.constantFrom("1", "2"),
  node: fc.constantFrom("n1", "n2", "n3"),
  build: fc.constantFrom("1.39", "1.40"),
  canary: fc.boolean(),
});

test("what was kept is remembered as it was, and the newest counts", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom("edge", "team/edge#reduced"), fc.array(refused, { maxLength: 6 })), {
        maxLength: 4,
      }),
      async (changes) => {
        const at = await mkdtemp(join(tmpdir(), "chancery-held-back-"));
        try {
          const memory = await openQuarantineMemory(at, log);
          const expected = new Map<string, HeldBack>();
          for (const [group, each] of changes) {
            const held = quarantineOf(each);
            const next: HeldBack = { quarantine: held, formers: FORMERS, added: new Set([...held.keys()].slice(1)) };
            memory.keep(group, next);
            if (held.size === 0) expected.delete(group);
            else expected.set(group, next);
          }
          await memory.close();
          expect((await openQuarantineMemory(at, log)).remembered).toEqual(expected);
        } finally {
          await rm(at, { recursive: true, force: true });
        }
      },
    ),
    { numRuns: 15 },
  );
});

test("secrets are not written, and files that cannot be read are left out", async () => {
  const at = await temporaryDirectory("held-back");
  const memory = await openQuarantineMemory(at, log);
  const of = { name: "key", version: "1", node: "n", build: "b", canary: false };
  const secret = resource(TYPE_URLS.secret, "key", "hush");
  memory.keep("edge", {
    ...NOTHING_HELD_BACK,
    quarantine: quarantineOf([
      { ...of, typeUrl: TYPE_URLS.secret },
      { ...of, typeUrl: TYPE_URLS.listener },
    ]),
    formers: [{ resource: secret, until: 1 }],
  });
  await memory.close();
  const [file = "", ...others] = (await readdir(at)).filter((name) => name.endsWith(".json"));
  expect(others).toEqual([]);
  const text = await readFile(join(at, file), "utf8");
  expect(text).toContain(TYPE_URLS.listener);
  for (const hidden of [TYPE_URLS.secret, secret.version, Buffer.from("hush").toString("base64")])
    expect(text).not.toContain(hidden);
  await writeFile(join(at, file), text.replace('"formers":[]', `"formers":[${JSON.stringify(OTHER_VERSION)}]`));
  await writeFile(join(at, "0.json"), "{");
  await writeFile(join(at, "1.json"), JSON.stringify({ format: 2, group: "edge", entries: [] }));
  expect((await openQuarantineMemory(at, log)).remembered).toEqual(new Map());
});

test("what is remembered counts when the refused version is served again, waits for its revision, and then expires", () => {
  const of = { typeUrl: "t", node: "n", build: "b", canary: false };
  const remembered = quarantineOf([
    { ...of, name: "same", version: "2" },
    { ...of, name: "changed", version: "2" },
  ]);
  const names = (held: Quarantine) => [...held.values()].map(({ name }) => name);
  const known = () => true;
  const older = recalled(NO_QUARANTINE, remembered, 6, () => "1", known);
  expect([names(older.quarantine), names(older.remembered)]).toEqual([[], ["same", "changed"]]);
  const now = recalled(NO_QUARANTINE, older.remembered, 7, (_, name) => (name === "same" ? "2" : "3"), known);
  expect([names(now.quarantine), names(now.remembered)]).toEqual([["same"], []]);
  const unsure = recalled(
    NO_QUARANTINE,
    remembered,
    7,
    () => "2",
    ({ name }) => name === "changed",
  );
  expect([names(unsure.quarantine), names(unsure.remembered)]).toEqual([["changed"], []]);
  expect(recalled(now.quarantine, now.remembered, 8, () => "2", known).quarantine).toBe(now.quarantine);
});
