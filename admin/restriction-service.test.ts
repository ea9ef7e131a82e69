import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished, test } from "vitest";
import {
  createInProcessBus,
  type RestrictionStatement,
  signRestriction,
  startRestrictions,
} from "../distribution/index.ts";
import { initKeys, loadSigningKey, loadTrust } from "../revision/index.ts";
import { giveRestriction, liftRestriction, listRestrictions } from "./client.ts";
import { createRegistry } from "./metrics.ts";
import type { RestrictionApi } from "./restriction-service.ts";
import { startAdminServer } from "./server.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const HOUR = 3_600_000;

async function serve(options: { readonly token?: string; readonly signs?: boolean } = {}) {
  const directory = await mkdtemp(join(tmpdir(), "chancery-admin-"));
  const keys = await initKeys(join(directory, "keys"), { now: NOW });
  const key = await loadSigningKey(keys.signing[0]?.file ?? "");
  const sign = (statement: RestrictionStatement): Uint8Array => signRestriction(statement, [key]);
  const restrictions = await startRestrictions({
    buses: [createInProcessBus()],
    directory,
    trust: await loadTrust(keys.trust),
    spreads: true,
    onAlarm: () => undefined,
    now: () => NOW,
    random: () => 0.5,
  });
  let ids = 0;
  const api: RestrictionApi = {
    restrictions,
    ...(options.signs === false ? {} : { sign }),
    names: (kind) => (kind === "version" ? new Set(["team/atlas-v1", "team/atlas-v2"]) : undefined),
    now: () => NOW,
    newId: () => {
      ids += 1;
      return `q-${String(ids).padStart(16, "0")}`;
    },
  };
  const server = await startAdminServer({
    ...{ host: "127.0.0.1", port: 0, notReady: () => [], metrics: createRegistry(), restrictions: api },
    ...(options.token === undefined ? {} : { token: options.token }),
  });
  onTestFinished(async () => {
    await server.close();
    await restrictions.close();
    await rm(directory, { recursive: true, force: true });
  });
  return { at: { control: server.address }, restrictions, sign };
}

const request = { kind: "version", value: "team/atlas-v2", reason: "incident 7", until: timestampFromMs(NOW + HOUR) };

test("gives, renews, lists and lifts, and names the caller", async () => {
  const { at, restrictions } = await serve();
  const { id, spread } = await giveRestriction(at, request);
  expect([id, spread]).toEqual(["q-0000000000000001", true]);
  await giveRestriction(at, { renews: id, until: timestampFromMs(NOW + 2 * HOUR) });
  expect(restrictions.active()).toMatchObject([{ id, until: new Date(NOW + 2 * HOUR).toISOString() }]);
  expect(await liftRestriction(at, { id, reason: "fixed" })).toBe(true);
  expect(restrictions.active()).toEqual([]);
  const { restrictions: listed, refused } = await listRestrictions(at);
  expect(listed).toMatchObject([{ id, value: "team/atlas-v2", by: "local", lifted: { reason: "fixed" } }]);
  expect(refused).toBe(0);
});

test("says what is wrong, with our own code", async () => {
  const { at } = await serve();
  await expect(giveRestriction(at, { ...request, value: "atlas-v2" })).rejects.toMatchObject({
    code: "not-found",
    message:
      'there is no version "atlas-v2" in force here: there is team/atlas-v2 (--unknown restricts it all the same)',
  });
  await expect(giveRestriction(at, { ...request, kind: "planet" })).rejects.toMatchObject({ code: "invalid-argument" });
  await expect(giveRestriction(at, { ...request, reason: "" })).rejects.toMatchObject({ code: "invalid-argument" });
  const { until: _until, ...endless } = request;
  await expect(giveRestriction(at, endless)).rejects.toMatchObject({ code: "invalid-argument" });
  const long = { ...request, until: timestampFromMs(NOW + 200 * HOUR) };
  await expect(giveRestriction(at, long)).rejects.toMatchObject({ code: "invalid-argument" });
  await expect(liftRestriction(at, { id: "q-00000000000000ff", reason: "x" })).rejects.toMatchObject({
    code: "not-found",
  });
  await expect(giveRestriction(at, { signed: Buffer.from("nonsense") })).rejects.toMatchObject({ code: "corrupt" });
  expect((await giveRestriction(at, { ...request, value: "atlas-v9", allowUnknown: true })).id).toMatch(/^q-/);
});

test("passes by no field that it does not know", async () => {
  const { at, restrictions } = await serve();
  const until = new Date(NOW + HOUR).toISOString();
  const answer = await fetch(`http://${at.control}/chancery.admin.v1.RestrictionService/GiveRestriction`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ kind: "version", value: "team/atlas-v2", reason: "incident 7", until, only: "team/bot" }),
  });
  expect([answer.status, await answer.json()]).toEqual([
    400,
    { code: "invalid_argument", message: expect.stringContaining('"only" is unknown') },
  ]);
  expect(restrictions.active()).toEqual([]);
});

test("without a key takes what is signed elsewhere, and nothing else", async () => {
  const { at, restrictions, sign } = await serve({ signs: false });
  await expect(giveRestriction(at, request)).rejects.toMatchObject({ code: "untrusted" });
  const times = { at: new Date(NOW).toISOString(), until: new Date(NOW + HOUR).toISOString() };
  const statement = { format: 1, type: "restrict", id: "q-00000000000000aa", kind: "region", value: "eu-1" } as const;
  await giveRestriction(at, { signed: sign({ ...statement, ...times, reason: "flood", by: "alice" }) });
  expect(restrictions.active()).toMatchObject([{ kind: "region", value: "eu-1" }]);
});

test("takes nothing without the token", async () => {
  const { at, restrictions } = await serve({ token: "a-token-of-this-test" });
  await expect(giveRestriction(at, request)).rejects.toThrow("a bearer token is needed");
  await giveRestriction({ ...at, token: "a-token-of-this-test" }, request);
  expect(restrictions.states()).toMatchObject([{ by: "operator" }]);
});
