import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createRegistry, startAdminServer } from "../admin/index.ts";
import { createInProcessBus, type LogAction, startOperationalLog } from "../distribution/index.ts";
import { initKeys, loadSigningKey, loadTrust, rotateKeys } from "../revision/index.ts";
import { runChancery } from "../test/support/index.ts";

const NOW = Date.now() - 3_600_000;

const idOf = (index: number): string => `a-${String(index).padStart(16, "0")}`;
const request = (index: number): LogAction => ({
  ...{ type: "approval-request", id: idOf(index), version: "team/atlas-v1", application: "team/assistant" },
  ...{ jurisdictions: [], conditions: [], reason: "needed" },
});

test("the whole log of a control plane is verified and printed with its archive, and a gap or a forgery is told", async () => {
  const root = await mkdtemp(join(tmpdir(), "chancery-log-verb-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const keys = await initKeys(join(root, "keys"), { now: NOW });
  const [signing] = keys.signing;
  let now = NOW;
  const starting = async (file: string) =>
    await startOperationalLog({
      ...{ bus: createInProcessBus().log, directory: join(root, "state", "log"), trust: await loadTrust(keys.trust) },
      ...{ signers: [await loadSigningKey(file)], onAlarm: () => undefined, now: () => now },
    });
  const first = await starting(signing?.file ?? "");
  for (const index of [1, 2]) await first.append(request(index), "ann");
  await first.append({ type: "approval-revoke", id: idOf(1), reason: "wrong" }, "bob");
  now += 1_000;
  await first.compact("ann", now);
  await first.close();
  const before = join(root, "trust-before.json");
  await writeFile(before, await readFile(keys.trust));
  // The archive is as it was signed; the log is signed again.
  const { added } = await rotateKeys(join(root, "keys"), { now });
  await (await starting(added?.file ?? "")).close();
  await rotateKeys(join(root, "keys"), { now, add: "none", retire: [signing?.keyId ?? ""] });

  const audit = ["log", "audit", "--state", join(root, "state"), "--trust", keys.trust];
  const partly = await runChancery(...audit);
  expect([partly.code, partly.stderr]).toEqual([1, expect.stringContaining("is not trusted")]);
  const whole = await runChancery(...audit, "--trust", before);
  expect(whole).toMatchObject({ code: 0, stderr: "" });
  const lines = whole.stdout.trimEnd().split("\n");
  expect(lines).toHaveLength(6);
  expect(lines[2]).toContain(`approval-revoke  by bob  ${idOf(1)}: wrong`);
  expect(lines[3]).toContain("checkpoint  by ann  keeps 1 entries");
  expect(lines[5]).toBe("5 entries, 3 of them in the archive; every signature and link is good");
  const json: unknown = JSON.parse((await runChancery(...audit, "--trust", before, "--format", "json")).stdout);
  expect(json).toMatchObject({
    archived: 3,
    aside: [],
    entries: [{ sequence: 1 }, {}, {}, { kind: "checkpoint" }, {}],
  });

  const archive = join(root, "state", "log", "archive");
  const [file = ""] = await readdir(archive);
  const text = await readFile(join(archive, file), "utf8");
  await writeFile(join(archive, file), text.replace("wrong", "right"));
  const forged = await runChancery(...audit, "--trust", before);
  expect([forged.code, forged.stderr]).toEqual([1, expect.stringContaining("nothing is there of before entry 4")]);
});

test("the verb has control compact, and says what became of the log", async () => {
  const root = await mkdtemp(join(tmpdir(), "chancery-log-compact-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const keys = await initKeys(join(root, "keys"), { now: NOW });
  let now = NOW;
  const log = await startOperationalLog({
    ...{ bus: createInProcessBus().log, directory: join(root, "log"), trust: await loadTrust(keys.trust) },
    ...{ signers: [await loadSigningKey(keys.signing[0]?.file ?? "")], onAlarm: () => undefined, now: () => now },
  });
  onTestFinished(() => log.close());
  await log.append(request(1), "ann");
  await log.append({ type: "approval-revoke", id: idOf(1), reason: "wrong" }, "bob");
  await log.append(request(2), "ann");
  now = Date.now() + 60_000;
  const server = await startAdminServer({
    ...{ host: "127.0.0.1", port: 0, notReady: () => [], metrics: createRegistry(), log: { log, now: () => now } },
  });
  onTestFinished(() => server.close());
  const compact = ["log", "compact", "--server", server.url, "--keep"];
  // It was over an hour ago.
  const kept = await runChancery(...compact, "2h");
  expect(kept).toMatchObject({ code: 1, stderr: expect.stringContaining("all still needed") });
  const done = await runChancery(...compact, "10m");
  expect(done).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("3 entries became 2, from the checkpoint 4 on"),
  });
  expect(log.size().checkpoint).toMatchObject({ by: "local" });
});
