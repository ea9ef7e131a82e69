import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { closeAtEnd, temporaryDirectory, waitFor } from "../test/support/index.ts";
import { type JournalOptions, openJournal } from "./journal.ts";
import { readJournal, verifyJournal } from "./read.ts";
import { listSegments } from "./segments.ts";

const WRITER = fileURLToPath(new URL("./writer-fixture.ts", import.meta.url));
const text = (value: string) => Buffer.from(value);

async function open(directory: string, options: Partial<JournalOptions> = {}) {
  return closeAtEnd(await openJournal({ directory, ...options }));
}

async function payloads(directory: string, from?: number): Promise<string[]> {
  const found: string[] = [];
  for await (const { payload } of readJournal(directory, from)) found.push(Buffer.from(payload).toString().trim());
  return found;
}

/** Appends all at once, so that they share syncs, and closes. */
async function fill(directory: string, values: readonly string[], options: Partial<JournalOptions> = {}) {
  const journal = await openJournal({ directory, ...options });
  const positions = await Promise.all(values.map((value) => journal.append(text(value))));
  await journal.close();
  return { positions, findings: journal.findings };
}

describe("a journal", () => {
  it("reads back what was acknowledged, in order, also over restarts and segments", async () => {
    const directory = await temporaryDirectory("journal");
    const values = Array.from({ length: 100 }, (_, index) => `record ${index}`);
    const { positions } = await fill(directory, values.slice(0, 60), { segmentBytes: 1 });
    expect(positions.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    const journal = await open(directory, { segmentBytes: 500 });
    for (const value of values.slice(60)) await journal.append(text(value));
    expect(await payloads(directory)).toEqual(values);
    expect(await payloads(directory, 98)).toEqual(values.slice(97));
    expect(await payloads(directory, 101)).toEqual([]);
    expect((await listSegments(directory)).length).toBeGreaterThan(5);
    const { hash } = journal.state();
    expect(await verifyJournal(directory)).toEqual({
      records: 100,
      firstSequence: 1,
      lastSequence: 100,
      lastHash: Buffer.from(hash),
      problems: [],
    });
  });

  it("is empty before the first record, and takes empty records", async () => {
    const directory = await temporaryDirectory("journal");
    const journal = await open(directory);
    expect(await payloads(directory)).toEqual([]);
    expect(await verifyJournal(directory)).toMatchObject({ records: 0, lastSequence: 0, problems: [] });
    await journal.append(new Uint8Array());
    expect(await payloads(directory)).toEqual([""]);
  });

  it("is readable by its owner alone", async () => {
    const directory = join(await temporaryDirectory("journal"), "deep", "journal");
    await fill(directory, ["a"]);
    expect((await stat(directory)).mode & 0o077).toBe(0);
    for (const name of await readdir(directory)) expect((await stat(join(directory, name))).mode & 0o077).toBe(0);
  });

  it("refuses what it cannot hold: records over 1 MiB, a full queue, appends after the end", async () => {
    const journal = await open(await temporaryDirectory("journal"), { queueBytes: 100 });
    await expect(journal.append(Buffer.alloc(1024 * 1024 + 1))).rejects.toMatchObject({ code: "invalid-argument" });
    const first = journal.append(Buffer.alloc(60));
    await expect(journal.append(Buffer.alloc(60))).rejects.toMatchObject({ code: "unavailable" });
    expect(journal.state().waitingBytes).toBe(60);
    await first;
    const last = journal.append(Buffer.alloc(60));
    const closed = journal.close();
    await expect(journal.append(Buffer.alloc(1))).rejects.toMatchObject({ code: "unavailable" });
    expect((await last).sequence).toBe(2);
    await closed;
    await journal.close();
  });

  it("goes on in a segment that was begun and never written to", async () => {
    const directory = await temporaryDirectory("journal");
    await fill(directory, ["a"]);
    await fill(directory, ["b"]);
    await writeFile(join(directory, "0000000000000003.journal"), "CHAN");
    const { findings } = await fill(directory, ["c"]);
    expect(findings).toEqual([
      {
        segment: "0000000000000003.journal",
        offset: 0,
        bytes: 4,
        kind: "torn",
        keptIn: "0000000000000003.journal.torn-0",
      },
    ]);
    expect(await payloads(directory)).toEqual(["a", "b", "c"]);
    expect((await verifyJournal(directory)).problems).toEqual([]);
  });
});

describe("after a crash", () => {
  it("recovers a prefix, wherever the file was cut, and goes on behind it", async () => {
    const directory = await temporaryDirectory("journal");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 40 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 600 }),
        fc.nat(),
        async (values, segmentBytes, where) => {
          await rm(directory, { recursive: true, force: true });
          const journal = await openJournal({ directory, segmentBytes });
          for (const value of values) await journal.append(text(`${value}|`));
          await journal.close();
          const last = join(directory, (await listSegments(directory)).at(-1) ?? "");
          const size = (await stat(last)).size;
          await truncate(last, where % (size + 1));

          const { findings } = await fill(directory, ["new"]);
          const kept = (await payloads(directory)).slice(0, -1);
          expect(kept).toEqual(values.slice(0, kept.length).map((value) => `${value}|`.trim()));
          expect((await payloads(directory)).at(-1)).toBe("new");
          expect((await verifyJournal(directory)).problems).toEqual([]);
          expect(findings.every(({ kind }) => kind === "torn")).toBe(true);
          // A cut between two records is no finding: nothing tells that there was more.
          if (where % (size + 1) === size) expect(kept).toHaveLength(values.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("keeps the bytes that it cuts off", async () => {
    const directory = await temporaryDirectory("journal");
    await fill(directory, ["a", "b"]);
    const segment = join(directory, "0000000000000001.journal");
    const bytes = await readFile(segment);
    await truncate(segment, bytes.length - 1);
    const { findings } = await fill(directory, ["c"]);
    const [finding] = findings;
    expect(finding).toMatchObject({ kind: "torn", offset: bytes.length - 53, bytes: 52 });
    expect(await readFile(join(directory, finding?.keptIn ?? ""))).toEqual(bytes.subarray(bytes.length - 53, -1));
    expect(await payloads(directory)).toEqual(["a", "c"]);
  });

  it.each([0, 1, 2])("has every record that was acknowledged before a kill -9 (run %i)", async () => {
    const directory = await temporaryDirectory("journal");
    const child = spawn(process.execPath, [WRITER, directory]);
    closeAtEnd({ close: () => child.kill("SIGKILL") });
    let printed = "";
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk;
    });
    await waitFor(() => printed.split("\n").length > 500, 20_000, "500 acknowledged records");
    const exit = once(child, "close");
    child.kill("SIGKILL");
    await exit;
    const acknowledged = printed.split("\n").slice(0, -1);
    expect(acknowledged.length).toBeGreaterThanOrEqual(500);
    await fill(directory, ["after"]);
    const found = await payloads(directory);
    expect(found).toEqual(expect.arrayContaining(acknowledged.map((line) => line.slice("ok ".length))));
    expect(found.at(-1)).toBe("after");
    expect((await verifyJournal(directory)).problems).toEqual([]);
  });
});

describe("tampering", () => {
  it("with any byte is found", async () => {
    const directory = await temporaryDirectory("journal");
    await fill(directory, ["first", "second", ""], { segmentBytes: 1 });
    await fill(directory, ["third", "fourth"], { segmentBytes: 1 });
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), async (file, at, change) => {
        const names = await listSegments(directory);
        const segment = join(directory, names[file % names.length] ?? "");
        const bytes = await readFile(segment);
        const changed = Buffer.from(bytes);
        const offset = at % bytes.length;
        changed[offset] = (changed[offset] ?? 0) ^ change;
        await writeFile(segment, changed);
        const { problems } = await verifyJournal(directory);
        await writeFile(segment, bytes);
        expect(problems).not.toEqual([]);
        expect(problems[0]?.segment).toBe(names[file % names.length]);
      }),
      { numRuns: 300 },
    );
    expect((await verifyJournal(directory)).problems).toEqual([]);
  });

  it("by putting another record, with all its sums, in the place of one is found", async () => {
    const directory = await temporaryDirectory("journal");
    const other = await temporaryDirectory("journal");
    await fill(directory, ["one", "two", "six"]);
    await fill(other, ["one", "TWO", "six"]);
    const segment = join(directory, "0000000000000001.journal");
    const bytes = await readFile(segment);
    const forged = await readFile(join(other, "0000000000000001.journal"));
    const [start, end] = [52 + 55, 52 + 110];
    await writeFile(
      segment,
      Buffer.concat([bytes.subarray(0, start), forged.subarray(start, end), bytes.subarray(end)]),
    );
    expect(await payloads(directory)).toEqual(["one", "TWO", "six"]);
    expect((await verifyJournal(directory)).problems).toMatchObject([{ kind: "chain", offset: end }]);
  });

  it("by taking a record or a segment away is found", async () => {
    const directory = await temporaryDirectory("journal");
    for (const value of ["a", "b", "c", "d"]) await fill(directory, [value], { segmentBytes: 1 });
    const [, second = ""] = await listSegments(directory);
    const bytes = await readFile(join(directory, second));
    await truncate(join(directory, second), 52);
    expect((await verifyJournal(directory)).problems).toMatchObject([{ kind: "gap" }]);
    await writeFile(join(directory, second), bytes);
    await rm(join(directory, second));
    expect((await verifyJournal(directory)).problems).toMatchObject([{ kind: "gap" }]);
  });

  it("in the middle of a segment costs no other record, and is left as evidence", async () => {
    const directory = await temporaryDirectory("journal");
    await fill(directory, ["a", "b", "c"]);
    const segment = join(directory, "0000000000000001.journal");
    const bytes = await readFile(segment);
    bytes.write("X", 52 + 53 + 52);
    await writeFile(segment, bytes);
    const { positions, findings } = await fill(directory, ["d"]);
    expect(findings).toEqual([{ segment: "0000000000000001.journal", offset: 105, bytes: 53, kind: "damaged" }]);
    expect(positions[0]?.sequence).toBe(4);
    expect(await readFile(segment)).toEqual(bytes);
    expect(await payloads(directory)).toEqual(["a", "c", "d"]);
    expect((await verifyJournal(directory)).problems.map(({ kind }) => kind)).toEqual(["damaged", "gap"]);
  });
});

describe("a disk that does not take more", () => {
  it("refuses the append, loses nothing that was acknowledged, and goes on where it can", async () => {
    const directory = await temporaryDirectory("journal");
    // The kernel refuses to let a file grow over the limit (EFBIG), as it refuses on a full disk (ENOSPC).
    const script = `trap '' XFSZ; ulimit -f 32; exec "$@"`;
    const child = spawn("bash", ["-c", script, "bash", process.execPath, WRITER, directory, "400", "400"]);
    closeAtEnd({ close: () => child.kill("SIGKILL") });
    let printed = "";
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk;
    });
    const [code] = await once(child, "close");
    expect(code).toBe(0);
    const lines = printed.split("\n").slice(0, -1);
    const acknowledged = lines.filter((line) => line.startsWith("ok ")).map((line) => line.slice(3));
    const refused = lines.filter((line) => line.startsWith("no ")).map((line) => line.slice(3));
    expect(acknowledged.length + refused.length).toBe(400);
    expect(refused.length).toBeGreaterThan(0);
    const found = await payloads(directory);
    expect(found.toSorted()).toEqual(acknowledged.toSorted());
    expect((await verifyJournal(directory)).problems).toEqual([]);
    expect((await listSegments(directory)).length).toBeGreaterThan(2);
  });
});

describe("two writers", () => {
  it("cannot write to one directory, in one process or in two", async () => {
    const directory = await temporaryDirectory("journal");
    const journal = await open(directory);
    await expect(openJournal({ directory })).rejects.toMatchObject({ code: "conflict" });
    await journal.close();
    const child = spawn(process.execPath, [WRITER, directory]);
    closeAtEnd({ close: () => child.kill("SIGKILL") });
    await once(child.stdout, "data");
    await expect(openJournal({ directory })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining(String(child.pid)),
    });
    const exit = once(child, "close");
    child.kill("SIGKILL");
    await exit;
    await (await openJournal({ directory })).close();
    expect((await readdir(directory)).filter((name) => name.startsWith("lock"))).toEqual([]);
  });

  it("are told apart from a dead process whose number was used again, or that ran elsewhere", async () => {
    const directory = await temporaryDirectory("journal");
    await fill(directory, ["a"]);
    const lock = join(directory, "lock");
    const dead = { pid: process.pid, started: "1", machine: "another boot", nonce: "n" };
    await writeFile(lock, JSON.stringify(dead));
    const before = new Date(Date.now() - 1_000);
    await utimes(lock, before, before);
    // A sign of life while it is waited for.
    let beat: Promise<void> | undefined;
    const onWait = (): void => {
      beat = utimes(lock, new Date(), new Date());
    };
    await expect(openJournal({ directory, onWait })).rejects.toMatchObject({ code: "conflict" });
    await beat;
    const old = new Date(Date.now() - 60_000);
    await utimes(lock, old, old);
    await fill(directory, ["b"]);
    await writeFile(lock, "not a lock");
    await fill(directory, ["c"]);
    expect(await payloads(directory)).toEqual(["a", "b", "c"]);
  });
});
