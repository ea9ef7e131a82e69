import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { RevisionParts } from "../compiler/index.ts";
import type { ChanceryError } from "../resources/index.ts";
import { blobFile, readBlob } from "./blob-files.ts";
import type { FetchBlob } from "./codec.ts";
import { encodeParts } from "./codec.ts";
import { digestOf } from "./digest.ts";
import { initKeys, loadSigningKey } from "./keys.ts";
import { MAX_BLOB_BYTES } from "./limits.ts";
import { createManifest, encodeSignedManifest, manifestDigest } from "./manifest.ts";
import { exampleParts } from "./parts-fixture.ts";
import { signManifest } from "./signature.ts";
import { openRevisionStore, type RevisionStore, type RevisionStoreOptions } from "./store.ts";
import { diskMedium } from "./store-disk.ts";
import { loadTrust } from "./trust.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");

let directory: string;
let alarms: ChanceryError[];
const opened: RevisionStore[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-store-"));
  alarms = [];
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await rm(directory, { recursive: true, force: true });
});

async function opening(options: Partial<RevisionStoreOptions> = {}, at = directory): Promise<RevisionStore> {
  const store = await openRevisionStore(at, {
    trust: "unsigned-local",
    now: () => NOW,
    onAlarm: (alarm) => alarms.push(alarm),
    ...options,
  });
  opened.push(store);
  return store;
}

interface Offer {
  readonly bytes: Uint8Array;
  readonly fetch: FetchBlob;
  readonly digest: string;
}

function offer(number: number, parts: RevisionParts = exampleParts(`revision ${number}`)): Offer {
  const encoded = encodeParts(parts);
  const manifest = createManifest(number, NOW + number, "tree", encoded.parts);
  return {
    bytes: encodeSignedManifest({ manifest, signatures: [] }),
    fetch: async (digest) => encoded.blobs.get(digest),
    digest: manifestDigest(manifest),
  };
}

async function filesUnder(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

test("an empty store has no revision and the fence 0", async () => {
  const store = await opening();
  expect(await store.lastGood()).toBeUndefined();
  expect(await store.fence()).toBe(0);
});

test("what was accepted is there after a restart", async () => {
  const one = offer(1);
  const accepted = await (await opening()).accept(one.bytes, one.fetch);
  const again = await (await opening()).lastGood();
  expect(again).toEqual(accepted);
  expect(again?.revision).toMatchObject({ number: 1, digest: one.digest, signedBy: [] });
});

test("only parts that are not here are fetched", async () => {
  const store = await opening();
  const one = offer(1);
  await store.accept(one.bytes, one.fetch);
  const two = offer(2);
  const fetched: string[] = [];
  await store.accept(two.bytes, (digest) => {
    fetched.push(digest);
    return two.fetch(digest);
  });
  expect(fetched).toHaveLength(1);
});

test("an older number is stale, the same number with other content is a conflict, with the same it is no error", async () => {
  const store = await opening();
  const five = offer(5);
  await store.accept(five.bytes, five.fetch);
  const four = offer(4);
  const other = offer(5, exampleParts("something else"));
  await expect(store.accept(four.bytes, four.fetch)).rejects.toMatchObject({ code: "stale" });
  await expect(store.accept(other.bytes, other.fetch)).rejects.toMatchObject({ code: "conflict" });
  expect((await store.accept(five.bytes, five.fetch)).revision.digest).toBe(five.digest);
  expect((await store.lastGood())?.revision.digest).toBe(five.digest);
  const restarted = await opening();
  await expect(restarted.accept(four.bytes, four.fetch)).rejects.toMatchObject({ code: "stale" });
});

test("a revision with a part missing or wrong at its source is refused, and the last good one stays", async () => {
  const store = await opening();
  const one = offer(1);
  await store.accept(one.bytes, one.fetch);
  const two = offer(2);
  await expect(store.accept(two.bytes, async () => undefined)).rejects.toMatchObject({ code: "not-found" });
  await expect(store.accept(two.bytes, async () => Buffer.from("x"))).rejects.toMatchObject({ code: "corrupt" });
  await expect(store.accept(two.bytes.subarray(0, 50), two.fetch)).rejects.toMatchObject({ code: "corrupt" });
  expect((await store.lastGood())?.revision.number).toBe(1);
  expect(await store.fence()).toBe(1);
  expect((await store.accept(two.bytes, two.fetch)).revision.number).toBe(2);
});

test("a damaged part makes the previous revision the last good one, loudly, and is mended by the same revision", async () => {
  const store = await opening();
  const one = offer(1);
  const two = offer(2);
  await store.accept(one.bytes, one.fetch);
  const shared = new Set(await filesUnder(join(directory, "blobs")));
  await store.accept(two.bytes, two.fetch);
  const own = (await filesUnder(join(directory, "blobs"))).filter((file) => !shared.has(file));
  expect(own).toHaveLength(2);
  for (const file of own) await flip(join(directory, "blobs", file), 3);

  const restarted = await opening();
  expect((await restarted.lastGood())?.revision.digest).toBe(one.digest);
  expect(alarms.map((alarm) => alarm.code)).toEqual(["corrupt"]);
  expect(alarms[0]?.message).toContain("revision 2 on disk is passed over");
  await expect(restarted.accept(one.bytes, one.fetch)).rejects.toMatchObject({ code: "stale" });
  await restarted.accept(two.bytes, two.fetch);
  alarms = [];
  expect((await (await opening()).lastGood())?.revision.digest).toBe(two.digest);
  expect(alarms).toEqual([]);
});

test("a truncated record keeps the fence, and is mended by its revision", async () => {
  const one = offer(1);
  const two = offer(2);
  const store = await opening();
  await store.accept(one.bytes, one.fetch);
  await store.accept(two.bytes, two.fetch);
  await truncate(join(directory, "revisions", "0000000000000002.json"), 10);
  const restarted = await opening();
  expect((await restarted.lastGood())?.revision.number).toBe(1);
  expect(await restarted.fence()).toBe(2);
  await expect(restarted.accept(one.bytes, one.fetch)).rejects.toMatchObject({ code: "stale" });
  await restarted.accept(two.bytes, two.fetch);
  expect((await restarted.lastGood())?.revision.digest).toBe(two.digest);
});

test("a record under another number than its revision has is passed over", async () => {
  const store = await opening();
  const { bytes, fetch, digest } = offer(3);
  const { manifest } = await store.accept(bytes, fetch);
  const medium = await diskMedium(directory);
  await medium.putRecord({ format: 1, number: 9, manifest, revision: digest });
  expect((await store.lastGood())?.revision.number).toBe(3);
  expect(alarms.map(({ message }) => message)).toEqual([expect.stringContaining("revision 9 on disk is passed over")]);
});

test("a blob that is there is not written again, and one that is damaged is", async () => {
  const medium = await diskMedium(directory);
  const bytes = Buffer.from("a part");
  const digest = digestOf(bytes);
  const file = blobFile(join(directory, "blobs"), digest);
  await medium.putBlob(digest, bytes);
  const { ino } = await stat(file);
  await medium.putBlob(digest, bytes);
  expect((await stat(file)).ino).toBe(ino);
  await writeFile(file, "damaged");
  await medium.putBlob(digest, bytes);
  expect(await medium.getBlob(digest)).toEqual(bytes);
});

test("a blob that is too large is not even read", async () => {
  const large = digestOf(Buffer.from("large"));
  const file = blobFile(directory, large);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, "");
  await truncate(file, MAX_BLOB_BYTES + 1);
  await expect(readBlob(directory, large)).rejects.toMatchObject({
    code: "corrupt",
    message: expect.stringContaining("is larger than"),
  });
});

test("truncating or flipping any bit of any file never yields a wrong revision", { timeout: 120_000 }, async () => {
  const store = await opening();
  const good = new Map<number, unknown>();
  for (let number = 1; number <= 3; number++) {
    const next = offer(number, exampleParts(`revision ${number}`, `10.0.0.${number}`));
    good.set(number, (await store.accept(next.bytes, next.fetch)).revision);
  }
  const files = (await filesUnder(directory)).sort();
  let fellBack = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...files), fc.nat(), fc.nat(7), fc.boolean(), async (file, at, bit, cut) => {
      const copy = await mkdtemp(join(tmpdir(), "chancery-damaged-"));
      try {
        await cp(directory, copy, { recursive: true });
        const size = (await readFile(join(copy, file))).length;
        if (cut) await truncate(join(copy, file), at % size);
        else await flip(join(copy, file), at % size, bit);
        const damaged = await opening({}, copy);
        const found = await damaged.lastGood();
        expect(await damaged.fence()).toBe(3);
        if (found !== undefined) expect(found.revision).toEqual(good.get(found.revision.number));
        if (found?.revision.number !== 3) {
          expect(alarms.length).toBeGreaterThan(0);
          fellBack++;
        }
        alarms = [];
      } finally {
        await rm(copy, { recursive: true, force: true });
      }
    }),
    { numRuns: 150 },
  );
  expect(fellBack).toBeGreaterThan(0);
});

test("a crash between parts and record leaves the previous revision, and the leftovers go with the next one", async () => {
  const store = await opening();
  const one = offer(1);
  await store.accept(one.bytes, one.fetch);
  await writeFile(join(directory, "tmp", "half"), "half a part");
  await mkdir(join(directory, "blobs", "sha256", "00"), { recursive: true });
  await writeFile(join(directory, "blobs", "sha256", "00", "0".repeat(62)), "part of a revision that never came");
  const restarted = await opening();
  expect((await restarted.lastGood())?.revision.digest).toBe(one.digest);
  const two = offer(2);
  await restarted.accept(two.bytes, two.fetch);
  const files = await filesUnder(directory);
  expect(files.filter((file) => file.startsWith("tmp") || file.includes("0".repeat(62)))).toEqual([]);
});

test("only the newest few revisions stay on disk", async () => {
  const store = await opening({ keep: 3 });
  for (let number = 1; number <= 6; number++) {
    const next = offer(number);
    await store.accept(next.bytes, next.fetch);
  }
  // Whoever is next waits for what is cleared away.
  await store.fence();
  expect(await readdir(join(directory, "revisions"))).toHaveLength(3);
  // Of each revision its manifest and its program; layout, node group and secrets are shared.
  expect(await filesUnder(join(directory, "blobs"))).toHaveLength(3 * 2 + 3);
  expect((await store.lastGood())?.revision.number).toBe(6);
});

test("an older revision can be had by who cannot use the newest", async () => {
  const store = await opening();
  for (const number of [2, 5]) await store.accept(offer(number).bytes, offer(number).fetch);
  expect((await store.lastGood(5))?.revision.number).toBe(2);
  expect(await store.lastGood(2)).toBeUndefined();
});

test("a read-only store reads, accepts in memory, and leaves the disk alone", async () => {
  const one = offer(1);
  await (await opening()).accept(one.bytes, one.fetch);
  const before = await filesUnder(directory);
  const reader = await opening({ readOnly: true });
  expect((await reader.lastGood())?.revision.number).toBe(1);
  const two = offer(2);
  await reader.accept(two.bytes, two.fetch);
  expect((await reader.lastGood())?.revision.digest).toBe(two.digest);
  await expect(reader.accept(one.bytes, one.fetch)).rejects.toMatchObject({ code: "stale" });
  expect(await filesUnder(directory)).toEqual(before);
  expect(await (await opening({ readOnly: true }, join(directory, "nowhere"))).lastGood()).toBeUndefined();
});

test("with a trust file, only what it covers is accepted, and an expired key keeps what is in force", async () => {
  const keys = await initKeys(join(directory, "keys"), { now: NOW, validityDays: 1 });
  const trust = await loadTrust(keys.trust);
  const signing = await loadSigningKey(keys.signing[0]?.file ?? "");
  const signed = (number: number) => {
    const encoded = encodeParts(exampleParts(`revision ${number}`));
    const manifest = createManifest(number, NOW, "tree", encoded.parts);
    return encodeSignedManifest(signManifest(manifest, [signing]));
  };
  let now = NOW;
  const at = join(directory, "store");
  const store = await opening({ trust, now: () => now }, at);
  const unsigned = offer(1);
  await expect(store.accept(unsigned.bytes, unsigned.fetch)).rejects.toMatchObject({ code: "untrusted" });
  const { revision } = await store.accept(signed(1), offer(1).fetch);
  expect(revision.signedBy).toEqual([signing.keyId]);

  now += 2 * 86_400_000;
  const restarted = await opening({ trust, now: () => now }, at);
  expect((await restarted.lastGood())?.revision.signedBy).toEqual([signing.keyId]);
  expect(alarms.map((alarm) => alarm.message)).toEqual([expect.stringContaining("has expired")]);
  await expect(restarted.accept(signed(2), offer(2).fetch)).rejects.toMatchObject({ code: "untrusted" });
});

test("what an unsigned store holds does not load once a trust file is given", async () => {
  const one = offer(1);
  await (await opening()).accept(one.bytes, one.fetch);
  const keys = await initKeys(join(directory, "keys"), { now: NOW });
  const trusting = await opening({ trust: await loadTrust(keys.trust) });
  expect(await trusting.lastGood()).toBeUndefined();
  expect(alarms.map((alarm) => alarm.code)).toEqual(["untrusted"]);
});

test("closing twice is safe, and a closed store says so", async () => {
  const store = await opening();
  await store.close();
  await store.close();
  await expect(store.lastGood()).rejects.toMatchObject({ code: "unavailable" });
});

async function flip(file: string, at: number, bit = 0): Promise<void> {
  const bytes = await readFile(file);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  await writeFile(file, bytes);
}
