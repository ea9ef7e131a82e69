import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Digest, digestOf } from "../revision/index.ts";
import type { Bus, NodeReport, SequencedHead } from "./bus.ts";

/** One bus under test, as several processes would see it. */
export interface BusUnderTest {
  /** Another process's view; where that is not possible, the same bus again. */
  open(): Promise<Bus>;
  /** Changes the bytes of a stored blob behind the bus's back. */
  damage(digest: Digest): Promise<void>;
  dispose(): Promise<void>;
  /** Reporters that it keeps; a reader sees no more. */
  readonly maxReporters: number;
}

const DEADLINE = { timeout: 10_000, interval: 5 };

/** What every `Bus` must do; each implementation's test file calls this. */
export function busContract(name: string, create: () => Promise<BusUnderTest>): void {
  describe(`bus contract: ${name}`, () => {
    let subject: BusUnderTest;
    let bus: Bus;
    beforeEach(async () => {
      subject = await create();
      bus = await subject.open();
    });
    afterEach(() => subject.dispose());

    test("a blob that was put is there for every reader, as often as it is put", async () => {
      const bytes = blob("a");
      await bus.putBlob(digestOf(bytes), bytes);
      await bus.putBlob(digestOf(bytes), bytes);
      const reader = await subject.open();
      expect(Buffer.from((await reader.getBlob(digestOf(bytes))) ?? [])).toEqual(Buffer.from(bytes));
      // What it is said to have may be wrong.
      for (const size of [0, 1, bytes.length, 2_000_000]) {
        expect(Buffer.from((await reader.getBlob(digestOf(bytes), size)) ?? [])).toEqual(Buffer.from(bytes));
      }
      expect(await reader.getBlob(digestOf("another"))).toBeUndefined();
      expect(await reader.getBlob(digestOf("another"), 1_000_000)).toBeUndefined();
    });

    test("the caller may go on using the buffer that it put", async () => {
      const bytes = blob("a");
      const digest = digestOf(bytes);
      await bus.putBlob(digest, bytes);
      bytes.fill(0);
      expect(Buffer.from((await bus.getBlob(digest)) ?? []).toString()).toBe("a");
    });

    test("bytes under a digest that is not theirs are refused", async () => {
      await expect(bus.putBlob(digestOf("a"), blob("b"))).rejects.toMatchObject({ code: "corrupt" });
      expect(await bus.getBlob(digestOf("a"))).toBeUndefined();
    });

    test("a damaged blob is reported, never returned, and mended by putting it again", async () => {
      const bytes = blob("precious");
      await bus.putBlob(digestOf(bytes), bytes);
      await subject.damage(digestOf(bytes));
      const reader = await subject.open();
      await expect(reader.getBlob(digestOf(bytes))).rejects.toMatchObject({ code: "corrupt" });
      await bus.putBlob(digestOf(bytes), bytes);
      expect(Buffer.from((await reader.getBlob(digestOf(bytes))) ?? []).toString()).toBe("precious");
    });

    test("a head is refused before its manifest is there", async () => {
      await expect(bus.publishHead({ manifest: digestOf("m"), number: 1 }, 0)).rejects.toMatchObject({
        code: "not-found",
      });
      expect(await bus.head()).toBeUndefined();
    });

    test("heads are numbered in the order of publishing, and a stale expectation is a conflict", async () => {
      expect(await publish(bus, 7, 0)).toBe(1);
      expect(await publish(bus, 8, 1)).toBe(2);
      for (const expected of [0, 1, 3]) {
        await expect(publish(bus, 9, expected)).rejects.toMatchObject({ code: "conflict" });
      }
      expect(await bus.head()).toEqual({ manifest: digestOf("8"), number: 8, sequence: 2 });
    });

    test("a bus never decides what is newer: a smaller number is published like any other", async () => {
      await publish(bus, 8, 0);
      await publish(bus, 3, 1);
      expect((await bus.head())?.number).toBe(3);
    });

    test("of publishers that compete for a sequence exactly one wins", async () => {
      const publishers = await Promise.all(Array.from({ length: 4 }, () => subject.open()));
      for (let expected = 0; expected < 10; expected++) {
        const results = await Promise.allSettled(
          publishers.map((publisher, index) => publish(publisher, 10 * expected + index + 1, expected)),
        );
        const won = results.flatMap((result, index) => (result.status === "fulfilled" ? [index] : []));
        expect(won).toHaveLength(1);
        expect((await bus.head())?.number).toBe(10 * expected + (won[0] ?? 0) + 1);
        for (const result of results) {
          if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "conflict" });
        }
      }
    });

    test("a reader that starts later sees the newest head and its blobs", async () => {
      await publish(bus, 1, 0);
      await publish(bus, 2, 1);
      const reader = await subject.open();
      const heads = watched(reader);
      await vi.waitFor(() => expect(heads.map((head) => head.number)).toEqual([2]), DEADLINE);
      expect(await reader.getBlob(digestOf("2"))).toBeDefined();
    });

    test("every watcher comes to the newest head, in order, with its blob already there", async () => {
      const readers = await Promise.all([subject.open(), subject.open()]);
      const missing: number[] = [];
      const seen = readers.map((reader) => watched(reader));
      const checks: Promise<void>[] = [];
      readers.forEach((reader) => {
        reader.watchHead((head) => {
          checks.push(
            reader.getBlob(head.manifest).then((bytes) => {
              if (bytes === undefined) missing.push(head.number);
            }),
          );
        });
      });
      for (let number = 1; number <= 20; number++) await publish(bus, number, number - 1);
      for (const heads of seen) {
        await vi.waitFor(() => expect(heads.at(-1)?.number).toBe(20), DEADLINE);
        const sequences = heads.map((head) => head.sequence);
        expect(sequences).toEqual([...new Set(sequences)].sort((a, b) => a - b));
      }
      await vi.waitFor(() => expect(checks.length).toBeGreaterThan(1), DEADLINE);
      await Promise.all(checks);
      expect(missing).toEqual([]);
    });

    test("a subscription that was closed is not called again, and closing it twice is safe", async () => {
      const closed: SequencedHead[] = [];
      const subscription = bus.watchHead((head) => closed.push(head));
      subscription.close();
      subscription.close();
      const heads = watched(bus);
      await publish(bus, 1, 0);
      await vi.waitFor(() => expect(heads).toHaveLength(1), DEADLINE);
      expect(closed).toEqual([]);
    });

    test("a watcher may use the bus from within its call", async () => {
      const reader = await subject.open();
      const found: (number | undefined)[] = [];
      const subscription = reader.watchHead((head) => {
        subscription.close();
        void reader.head().then((newest) => found.push(newest === undefined ? undefined : newest.number - head.number));
      });
      await publish(bus, 1, 0);
      await vi.waitFor(() => expect(found).toEqual([0]), DEADLINE);
    });

    test("blobs that were put for one of the last sixteen heads stay", async () => {
      const kept = blob("put with every head");
      for (let number = 1; number <= 40; number++) {
        await bus.putBlob(digestOf(kept), kept);
        await publish(bus, number, number - 1);
      }
      for (let number = 25; number <= 40; number++) expect(await bus.getBlob(digestOf(String(number)))).toBeDefined();
      expect(await bus.getBlob(digestOf(kept))).toBeDefined();
    });

    test("the newest report of each reporter reaches watchers old and new", async () => {
      const before: NodeReport[] = [];
      bus.watchReports((report) => before.push(report));
      const node = await subject.open();
      await node.report(report("authz-1", 1));
      await node.report(report("authz/2 ..", 1));
      await node.report(report("authz-1", 2));
      const newest = (reports: readonly NodeReport[]) =>
        Object.fromEntries(reports.map((entry) => [entry.reporter, entry.active]));
      await vi.waitFor(() => expect(newest(before)).toEqual({ "authz-1": 2, "authz/2 ..": 1 }), DEADLINE);
      const after: NodeReport[] = [];
      (await subject.open()).watchReports((entry) => after.push(entry));
      await vi.waitFor(() => expect(newest(after)).toEqual({ "authz-1": 2, "authz/2 ..": 1 }), DEADLINE);
      expect(after).toHaveLength(2);
      expect(after.find((entry) => entry.reporter === "authz-1")).toEqual(report("authz-1", 2));
    });

    test("a report that readers would refuse is refused", async () => {
      const huge = { ...report("a", 1), error: "x".repeat(300_000) };
      await expect(bus.report(huge)).rejects.toMatchObject({ code: "invalid-argument" });
      await expect(bus.report(report("", 1))).rejects.toMatchObject({ code: "invalid-argument" });
      await expect(bus.report(report("n".repeat(200), 1))).rejects.toMatchObject({ code: "invalid-argument" });
    });

    test("of very many reporters the newest are kept", async () => {
      for (let index = 0; index < 300; index++) await bus.report(report(`reporter-${index}`, 1));
      const reports: NodeReport[] = [];
      bus.watchReports((entry) => reports.push(entry));
      await vi.waitFor(() => expect(reports.map((entry) => entry.reporter)).toContain("reporter-299"), DEADLINE);
      await vi.waitFor(() => expect(reports).toHaveLength(Math.min(300, subject.maxReporters)), DEADLINE);
    });

    test("a restriction reaches every watcher, old and new, and is listed once however often it is put", async () => {
      const seen = (reader: Bus): Set<string> => {
        const entries = new Set<string>();
        reader.watchRestrictions((entry) => entries.add(Buffer.from(entry).toString()));
        return entries;
      };
      const before = seen(bus);
      const writer = await subject.open();
      const buffer = blob("one");
      await writer.putRestriction(buffer);
      buffer.fill(0);
      await writer.putRestriction(blob("one"));
      await bus.putRestriction(blob("two"));
      const after = seen(await subject.open());
      for (const entries of [before, after]) {
        await vi.waitFor(() => expect([...entries].sort()).toEqual(["one", "two"]), DEADLINE);
      }
      const listed = (await (await subject.open()).restrictions()).map((entry) => Buffer.from(entry).toString());
      expect(listed.sort()).toEqual(["one", "two"]);
    });

    test("of very many restrictions the newest are kept, and one that is too large is refused", async () => {
      await expect(bus.putRestriction(new Uint8Array(100_000))).rejects.toMatchObject({ code: "invalid-argument" });
      await expect(bus.putRestriction(new Uint8Array(0))).rejects.toMatchObject({ code: "invalid-argument" });
      for (let index = 0; index < 550; index += 50) {
        await Promise.all(Array.from({ length: 50 }, (_, more) => bus.putRestriction(blob(`entry ${index + more}`))));
      }
      await bus.putRestriction(blob("last"));
      const kept = (await bus.restrictions()).map((entry) => Buffer.from(entry).toString());
      expect(kept.length).toBeLessThanOrEqual(512);
      expect(kept).toContain("last");
    });

    test("the log is read back in the order of appending, whoever appended", async () => {
      const writer = await subject.open();
      expect(await bus.log.after(0)).toEqual([]);
      const buffer = blob("one");
      const first = await bus.log.append(buffer, 0);
      buffer.fill(0);
      const second = await writer.log.append(blob("two"), first);
      const third = await bus.log.append(blob("one"), second);
      const read = (await (await subject.open()).log.after(0)).map(({ sequence, entry }) => [sequence, text(entry)]);
      expect(read).toEqual([
        [first, "one"],
        [second, "two"],
        [third, "one"],
      ]);
      expect((await writer.log.after(second)).map(({ entry }) => text(entry))).toEqual(["one"]);
      expect(await writer.log.after(third)).toEqual([]);
    });

    test("of writers that compete for an entry of the log exactly one wins, and one that is too large is refused", async () => {
      const writers = await Promise.all(Array.from({ length: 3 }, () => subject.open()));
      for (let expected = 0; expected < 5; expected++) {
        const results = await Promise.allSettled(
          writers.map((writer, index) => writer.log.append(blob(`${index}`), expected)),
        );
        expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const result of results) {
          if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "conflict" });
        }
      }
      expect(await bus.log.after(0)).toHaveLength(5);
      for (const expected of [0, 4, 6]) {
        await expect(bus.log.append(blob("a"), expected)).rejects.toMatchObject({ code: "conflict" });
      }
      for (const size of [0, 100_000]) {
        await expect(bus.log.append(new Uint8Array(size), 5)).rejects.toMatchObject({ code: "invalid-argument" });
      }
    });

    test("the log forgets what came before an entry, never the newest one, and goes on after it", async () => {
      const sequences: number[] = [];
      for (const name of ["one", "two", "three", "four"]) {
        sequences.push(await bus.log.append(blob(name), sequences.at(-1) ?? 0));
      }
      const [, , third = 0, fourth = 0] = sequences;
      await bus.log.dropBefore(third);
      const reader = await subject.open();
      const left = (await reader.log.after(0)).map(({ sequence, entry }) => [sequence, text(entry)]);
      expect(left).toEqual([
        [third, "three"],
        [fourth, "four"],
      ]);
      await bus.log.dropBefore(third);
      await bus.log.dropBefore(fourth + 100);
      expect((await reader.log.after(0)).map(({ entry }) => text(entry))).toEqual(["four"]);
      await expect(reader.log.append(blob("late"), third)).rejects.toMatchObject({ code: "conflict" });
      const fifth = await reader.log.append(blob("five"), fourth);
      expect((await bus.log.after(fourth)).map(({ sequence, entry }) => [sequence, text(entry)])).toEqual([
        [fifth, "five"],
      ]);
    });

    test("a watcher of the log is called at once and when it has grown, until it is closed", async () => {
      const reader = await subject.open();
      const sizes = new Set<number>();
      const subscription = reader.log.watch(() => void reader.log.after(0).then(({ length }) => sizes.add(length)));
      await vi.waitFor(() => expect(sizes).toContain(0), DEADLINE);
      await bus.log.append(blob("one"), 0);
      await vi.waitFor(() => expect(sizes).toContain(1), DEADLINE);
      subscription.close();
      subscription.close();
    });

    test("closing twice is safe, and a closed bus says so", async () => {
      await bus.close();
      await bus.close();
      await expect(bus.head()).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.getBlob(digestOf("a"))).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.report(report("a", 1))).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.putRestriction(blob("a"))).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.restrictions()).rejects.toMatchObject({ code: "unavailable" });
      expect(() => bus.watchRestrictions(() => undefined)).toThrow(expect.objectContaining({ code: "unavailable" }));
      await expect(bus.log.append(blob("a"), 0)).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.log.after(0)).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.log.dropBefore(1)).rejects.toMatchObject({ code: "unavailable" });
      expect(() => bus.log.watch(() => undefined)).toThrow(expect.objectContaining({ code: "unavailable" }));
      expect(() => bus.watchHead(() => undefined)).toThrow(expect.objectContaining({ code: "unavailable" }));
    });
  });
}

/** Publishes a head whose manifest is its own number. */
async function publish(bus: Bus, number: number, expected: number): Promise<number> {
  const bytes = blob(String(number));
  await bus.putBlob(digestOf(bytes), bytes);
  return await bus.publishHead({ manifest: digestOf(bytes), number }, expected);
}

function watched(bus: Bus): readonly SequencedHead[] {
  const heads: SequencedHead[] = [];
  bus.watchHead((head) => heads.push(head));
  return heads;
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function blob(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

function report(reporter: string, active: number): NodeReport {
  return {
    reporter,
    role: "authz",
    at: "2026-05-01T00:00:00.000Z",
    prepared: active,
    active,
    layouts: ["0123"],
    firstDecisions: { "0123": "2026-05-01T00:00:00.000Z" },
    activeSince: { [active]: "2026-05-01T00:00:00.000Z" },
    decisions: 3,
  };
}
