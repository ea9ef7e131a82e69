import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { addKeyMetrics, createRegistry } from "../admin/index.ts";
import { initKeys, loadSigningKey, loadTrust, rotateKeys, type SigningKey, type Trust } from "../revision/index.ts";
import { keyFacts, keyReminders } from "./key-expiry.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const DAY = 86_400_000;

let directory: string;
let trust: Trust;
let key: SigningKey;
let onCall: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-expiry-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const keys = await initKeys(join(directory, "keys"), { now: NOW, validityDays: 30, restrictionKeys: 1 });
  trust = await loadTrust(keys.trust);
  key = await loadSigningKey(keys.signing[0]?.file ?? "");
  onCall = keys.restriction[0]?.keyId ?? "";
});

const brief = (own: readonly SigningKey[], days: number) =>
  keyReminders(trust, own, NOW + days * DAY).map(({ id, level }) => `${level} ${id}`);

test("keys are told of from two weeks before their end, and as an error after it", () => {
  const both = (level: string) => [`${level} key ${key.keyId}`, `${level} key ${onCall}`];
  expect(brief([key], 15)).toEqual([]);
  expect(brief([key], 16)).toEqual(both("warn"));
  expect(brief([], 29.9)).toEqual(both("warn"));
  expect(brief([], 30.1)).toEqual(both("error"));
  expect(keyReminders(trust, [key], NOW + 25 * DAY)[0]).toMatchObject({
    message: "a signing key is to be rotated: chancery keys rotate",
    fields: { key: key.keyId, days: 5, until: new Date(NOW + 30 * DAY).toISOString() },
  });
});

test("a key that another one stands for is told of where it signs alone, and one of the kill switch everywhere", async () => {
  await rotateKeys(join(directory, "keys"), { now: NOW + 20 * DAY });
  trust = await loadTrust(join(directory, "keys", "trust.json"));
  expect(brief([], 20)).toEqual([`warn key ${onCall}`]);
  expect(brief([key], 20)).toEqual([`warn key ${key.keyId}`, `warn key ${onCall}`]);
});

test("a key that is trusted no more is told of where it signs", async () => {
  const retire = [key.keyId];
  await rotateKeys(join(directory, "keys"), { now: NOW, retire });
  trust = await loadTrust(join(directory, "keys", "trust.json"));
  expect(brief([key], 1)).toEqual([`error key ${key.keyId}`]);
});

test("the metric counts down for every key, and follows the trust file", async () => {
  const metrics = createRegistry();
  addKeyMetrics(metrics, trust, () => NOW + 29 * DAY);
  const values = async () => (await metrics.getSingleMetric("chancery_key_expires_seconds")?.get())?.values ?? [];
  expect(await values()).toEqual([
    { labels: { key: key.keyId, purposes: "revision,restriction,log" }, value: 86_400 },
    { labels: { key: onCall, purposes: "restriction" }, value: 86_400 },
  ]);
  await rotateKeys(join(directory, "keys"), { now: NOW, add: "none", retire: [onCall] });
  trust.update((await loadTrust(join(directory, "keys", "trust.json"))).text, "newer");
  expect(await values()).toHaveLength(1);
  expect(keyFacts(trust, [key])).toMatchObject([{ id: key.keyId, signsHere: true, notAfter: NOW + 30 * DAY }]);
});
