import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { type ChanceryError, parseResources } from "../resources/index.ts";
import {
  initKeys,
  loadSigningKey,
  loadTrust,
  rotateKeys,
  type SigningKey,
  signStatement,
  type Trust,
} from "../revision/index.ts";
import type { Bus } from "./bus.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import { approvalId, grant, request, revoke } from "./log-fixture.ts";
import type { OperationalLogKeeper } from "./log-keeper.ts";
import { signLogEntry } from "./log-statement.ts";
import { startOperationalLog } from "./operational-log.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const HOUR = 3_600_000;
const DEADLINE = { timeout: 10_000, interval: 5 };

let root: string;
let key: SigningKey;
let trust: Trust;
let alarms: ChanceryError[];
let now: number;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-log-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const keys = await initKeys(join(root, "keys"), { now: NOW });
  key = await loadSigningKey(keys.signing[0]?.file ?? "");
  trust = await loadTrust(keys.trust);
  alarms = [];
  now = NOW;
});

interface Started {
  readonly bus: Bus;
  readonly directory?: string;
  readonly onChange?: () => void;
}

async function starting({ bus, directory = "one", onChange }: Started): Promise<OperationalLogKeeper> {
  const keeper = await startOperationalLog({
    bus: bus.log,
    directory: join(root, directory),
    trust,
    signers: [key],
    onAlarm: (alarm) => alarms.push(alarm),
    ...(onChange === undefined ? {} : { onChange }),
    now: () => now,
    retryMs: 10,
  });
  onTestFinished(() => keeper.close());
  return keeper;
}

const names = (keeper: OperationalLogKeeper): readonly string[] =>
  keeper.entries().map(({ action }) => `${action?.type} ${action?.id}`);

test("an approval is requested by one, granted by another, in force until it ends or is revoked", async () => {
  const keeper = await starting({ bus: createInProcessBus() });
  await keeper.append(request(1, { until: new Date(NOW + HOUR).toISOString(), jurisdictions: ["EU"] }), "ann");
  expect(keeper.replay()).toEqual([]);
  await expect(keeper.append(grant(1), "ann")).rejects.toMatchObject({ code: "self-approval" });
  await keeper.append(grant(1), "bob");
  expect(keeper.replay()).toEqual([
    {
      ...{ sequence: 1, at: new Date(NOW).toISOString(), by: "bob" },
      operation: {
        type: "put",
        object: {
          ...{ apiVersion: "chancery.dev/v1", kind: "Approval" },
          metadata: { name: approvalId(1), namespace: "team" },
          spec: {
            version: { name: "atlas-v1", namespace: "team" },
            application: { name: "assistant", namespace: "team/sub" },
            jurisdictions: ["EU"],
            approvers: ["bob"],
            validUntil: new Date(NOW + HOUR).toISOString(),
          },
        },
      },
    },
  ]);
  now += HOUR;
  expect(keeper.replay()).toEqual([]);
  now = NOW;
  await keeper.append(revoke(1), "ann");
  expect(keeper.replay()).toEqual([]);
  await expect(keeper.append(grant(1), "bob")).rejects.toMatchObject({ code: "conflict" });
  await expect(keeper.append(grant(2), "bob")).rejects.toMatchObject({ code: "not-found" });
  expect(alarms).toEqual([]);
});

test("every process comes to the same log, whoever appends, and competing grants are one", async () => {
  const bus = createInProcessBus();
  const changed = vi.fn();
  const [one, two] = [await starting({ bus, onChange: changed }), await starting({ bus, directory: "two" })];
  await Promise.all(
    [1, 2, 3].flatMap((index) => [one.append(request(index), "ann"), two.append(request(index + 3), "ann")]),
  );
  const grants = await Promise.allSettled([one.append(grant(1), "bob"), two.append(grant(1), "carol")]);
  expect(grants.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  await vi.waitFor(() => expect(one.entries()).toHaveLength(7), DEADLINE);
  await vi.waitFor(
    () => expect(two.entries().map(({ digest }) => digest)).toEqual(one.entries().map(({ digest }) => digest)),
    DEADLINE,
  );
  expect(one.entries().map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(changed).toHaveBeenCalled();
  expect(alarms).toEqual([]);
});

test("everything is there after a restart, also without the bus, and a wiped bus is filled again", async () => {
  const first = await starting({ bus: createInProcessBus() });
  await first.append(request(1), "ann");
  await first.append(grant(1), "bob");
  await first.close();
  const dead = createInProcessBus();
  const log = {
    ...dead.log,
    append: dead.log.append,
    after: async () => Promise.reject(new Error("gone")),
    watch: () => ({ close: () => undefined }),
  };
  const alone = await starting({ bus: { ...dead, log } as Bus });
  expect(alone.replay()).toHaveLength(1);
  await expect(alone.append(revoke(1), "ann")).rejects.toThrow("gone");
  await alone.close();
  const empty = createInProcessBus();
  const again = await starting({ bus: empty });
  await vi.waitFor(async () => expect(await empty.log.after(0)).toHaveLength(2), DEADLINE);
  expect(names(again)).toEqual([`approval-request ${approvalId(1)}`, `approval-grant ${approvalId(1)}`]);
  expect(again.entries().map(({ bytes }) => Buffer.from(bytes))).toEqual(
    (await empty.log.after(0)).map(({ entry }) => Buffer.from(entry)),
  );
});

test("what was appended on two sides of a cut is all there, in one order", async () => {
  const [hub, cut] = [createInProcessBus(), createInProcessBus()];
  const one = await starting({ bus: hub });
  await one.append(request(1), "ann");
  await one.close();
  const other = await starting({ bus: cut, directory: "one" });
  await other.append(grant(1), "bob");
  await other.append(revoke(1), "ann");
  await other.close();
  const third = await starting({ bus: hub, directory: "three" });
  await third.append(request(2), "ann");
  await third.append(grant(1), "carol");
  const healed = await starting({ bus: hub });
  await vi.waitFor(() => expect(third.approvals.get(approvalId(1))?.revoked).toMatchObject({ by: "ann" }), DEADLINE);
  await vi.waitFor(() => expect(names(healed)).toEqual(names(third)), DEADLINE);
  expect(names(third)).toEqual([
    `approval-request ${approvalId(1)}`,
    `approval-request ${approvalId(2)}`,
    `approval-grant ${approvalId(1)}`,
    `approval-revoke ${approvalId(1)}`,
  ]);
  expect(third.replay()).toEqual([]);
  await vi.waitFor(
    async () => expect((await readdir(join(root, "one"))).filter((name) => name !== "tmp")).toHaveLength(4),
    DEADLINE,
  );
});

test("entries that are not covered, broken or of an unknown kind are refused, told once, and nothing is done by them", async () => {
  const bus = createInProcessBus();
  const stranger = await initKeys(join(root, "stranger"), { now: NOW });
  const theirs = await loadSigningKey(stranger.signing[0]?.file ?? "");
  const at = new Date(NOW).toISOString();
  const statement = { format: 1, sequence: 1, previous: "", at, by: "eve", action: request(9) } as const;
  await bus.log.append(signLogEntry(statement, [theirs]), 0);
  await bus.log.append(Buffer.from("nonsense"), 1);
  const late = { ...statement, at: new Date(NOW + 30 * HOUR).toISOString() };
  await bus.log.append(signLogEntry(late, [key]), 2);
  const unknown = { ...statement, action: { type: "rollout-step", percent: 5 } };
  const signatures = signStatement("log", unknown, [key]);
  await bus.log.append(Buffer.from(JSON.stringify({ statement: unknown, signatures })), 3);
  // Signed as a restriction, it says nothing here.
  const wrong = { statement, signatures: signStatement("restriction", statement, [key]) };
  await bus.log.append(Buffer.from(JSON.stringify(wrong)), 4);
  const keeper = await starting({ bus });
  await vi.waitFor(() => expect(keeper.refused()).toBe(5), DEADLINE);
  expect(alarms.map(({ code }) => code).sort()).toEqual([
    "corrupt",
    "unsupported-format",
    "untrusted",
    "untrusted",
    "untrusted",
  ]);
  expect([...keeper.approvals]).toEqual([]);
  await keeper.append(request(1), "ann");
  // The unknown entry keeps its place.
  expect(keeper.entries().map(({ kind, sequence }) => [sequence, kind])).toEqual([
    [1, "rollout-step"],
    [2, "approval-request"],
  ]);
});

test("entries outlive the key that signed them, once they were read by a process with another", async () => {
  const bus = createInProcessBus();
  const first = await starting({ bus });
  await first.append(request(1), "ann");
  await first.append(grant(1), "bob");
  await first.close();
  const directory = join(root, "keys");
  const retire = [key.keyId];
  now += 400 * 24 * HOUR;
  const { added, trust: file } = await rotateKeys(directory, { now });
  key = await loadSigningKey(added?.file ?? "");
  trust = await loadTrust(file);
  const second = await starting({ bus });
  expect(second.replay()).toHaveLength(1);
  await second.close();
  await rotateKeys(directory, { now, add: "none", retire });
  trust = await loadTrust(file);
  const third = await starting({ bus });
  expect(third.replay()).toHaveLength(1);
  await vi.waitFor(async () => expect(await bus.log.after(0)).toHaveLength(4), DEADLINE);
  const fresh = await starting({ bus, directory: "fresh" });
  expect(fresh.replay()).toHaveLength(1);
});

test("what is in force is of what was asked for, on its conditions", async () => {
  const keeper = await starting({ bus: createInProcessBus() });
  const identity = { model: "team/atlas", version: "v1", provider: "Acme", digest: `sha256:${"a".repeat(64)}` };
  await keeper.append(request(1, { identity, conditions: ["connection.mtls", "connection.mtls"] }), "ann");
  await keeper.append(grant(1), "bob");
  const { inventory, problems } = parseResources(new Map(), keeper.replay());
  expect(problems.map(({ code }) => code)).toEqual(["dangling-reference", "dangling-reference"]);
  expect(inventory.approvals).toEqual([]);
  expect(keeper.replay()).toMatchObject([
    { operation: { object: { spec: { identity, conditions: ["connection.mtls"] } } } },
  ]);
});

test("a grant that was revoked does not come back, however often its signed entry is shown again", async () => {
  const bus = createInProcessBus();
  const keeper = await starting({ bus });
  for (const action of [request(1), grant(1)])
    await keeper.append(action, action.type.endsWith("grant") ? "bob" : "ann");
  const shown = keeper.entries().map(({ bytes }) => bytes);
  await keeper.append(revoke(1), "ann");
  for (const bytes of shown) await bus.log.append(bytes, keeper.entries().length).catch(() => undefined);
  for (const bytes of shown) {
    const last = (await bus.log.after(0)).at(-1)?.sequence ?? 0;
    await bus.log.append(bytes, last).catch(() => undefined);
  }
  const fresh = await starting({ bus, directory: "fresh" });
  for (const each of [keeper, fresh]) {
    expect(each.replay()).toEqual([]);
    expect(each.approvals.get(approvalId(1))).toMatchObject({ revoked: { by: "ann" } });
    await expect(each.append(grant(1), "bob")).rejects.toMatchObject({ code: "conflict" });
    await expect(each.append(request(1), "ann")).rejects.toMatchObject({ code: "conflict" });
  }
});

test("a damaged file of the disk is told, what follows holds, and the bus mends it", async () => {
  const bus = createInProcessBus();
  const first = await starting({ bus });
  await first.append(request(1), "ann");
  await first.append(grant(1), "bob");
  await first.append(revoke(1), "ann");
  await first.close();
  const [, second = ""] = (await readdir(join(root, "one"))).sort();
  await writeFile(join(root, "one", second), "torn");
  const again = await starting({ bus });
  expect(alarms).toMatchObject([{ code: "corrupt" }]);
  expect(names(again)).toHaveLength(3);
  expect(again.replay()).toEqual([]);
  await again.close();
  alarms = [];
  await starting({ bus: createInProcessBus() });
  expect(alarms).toEqual([]);
});
