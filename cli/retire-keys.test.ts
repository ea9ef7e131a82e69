import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import {
  createRegistry,
  GetStatusResponseSchema,
  ListRestrictionsResponseSchema,
  startAdminServer,
} from "../admin/index.ts";
import type { RestrictionState } from "../distribution/index.ts";
import { initKeys, loadTrust, rotateKeys, type Trust } from "../revision/index.ts";
import { runChancery } from "../test/support/index.ts";
import { keyFacts } from "./key-expiry.ts";
import { whatHangs } from "./retire-keys.ts";

const NOW = Date.now();
const UNTIL = new Date(NOW + 3_600_000);

let keys: string;
let trust: Trust;
let old: string;
let fresh: string;
let onCall: string;
beforeEach(async () => {
  const root = await mkdtemp(join(tmpdir(), "chancery-retire-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  keys = join(root, "keys");
  const made = await initKeys(keys, { now: NOW, restrictionKeys: 1 });
  old = made.signing[0]?.keyId ?? "";
  onCall = made.restriction[0]?.keyId ?? "";
  fresh = (await rotateKeys(keys, { now: NOW })).added?.keyId ?? "";
  trust = await loadTrust(made.trust);
});

type Restrictions = MessageInitShape<typeof ListRestrictionsResponseSchema>["restrictions"];

function hangs(retire: readonly string[], signing: readonly string[], restrictions: Restrictions = []) {
  const facts = keyFacts(trust, []).map(({ id }) => ({ id, signsHere: signing.includes(id) }));
  const status = create(GetStatusResponseSchema, { keys: facts });
  return whatHangs(status, create(ListRestrictionsResponseSchema, { restrictions }), trust, retire, NOW);
}

test("what a key alone closed keeps it from being retired, until another key has signed it, too", () => {
  const closed = (signedBy: string[], until = UNTIL) => [
    { id: "q-1", kind: "version", value: "v3", signedBy, until: timestampFromMs(until.getTime()) },
  ];
  expect(hangs([onCall], [fresh], closed([onCall]))).toEqual({
    problems: ["q-1 (version v3) is out of use by what it signed, and would be open again: renew it with another key"],
    notes: [],
  });
  for (const signedBy of [[onCall, fresh], [old]]) {
    expect(hangs([onCall], [fresh], closed(signedBy))).toEqual({ problems: [], notes: [] });
  }
  // Both that signed it go at once.
  expect(hangs([onCall, old], [fresh], closed([onCall, old])).problems).toHaveLength(1);
  expect(hangs([onCall], [fresh], closed([onCall], new Date(NOW - 1))).problems).toEqual([]);
});

test("what a key alone lifted is told, and no reason to keep it", () => {
  const lifted = (signedBy: string[]) => [
    {
      ...{ id: "q-1", kind: "version", value: "v3", signedBy: [fresh] },
      ...{ until: timestampFromMs(UNTIL.getTime()), lifted: { by: "eve", reason: "over", signedBy } },
    },
  ];
  expect(hangs([onCall], [fresh], lifted([onCall]))).toEqual({
    problems: [],
    notes: [
      `q-1 (version v3) was lifted by it alone: out of use again until ${UNTIL.toISOString()}, from the next start of each process`,
    ],
  });
  expect(hangs([onCall], [fresh], lifted([onCall, fresh])).notes).toEqual([]);
});

test("control has to sign with a key that stays, and to know the one that goes", () => {
  expect(hangs([old], [fresh]).problems).toEqual([]);
  expect(hangs([old], [old]).problems).toEqual([
    "control signs restrictions with no key that stays: start it with another one first",
    "control signs approvals with no key that stays: start it with another one first",
  ]);
  const stranger = create(GetStatusResponseSchema, { keys: [{ id: fresh, signsHere: true }] });
  const none = create(ListRestrictionsResponseSchema, {});
  expect(whatHangs(stranger, none, trust, [old], NOW).problems).toEqual([
    `the control plane that was asked knows no key ${old}`,
  ]);
});

test("the command asks control, refuses, and changes nothing until it is said to", async () => {
  const state: RestrictionState = {
    ...{ id: "q-1", kind: "version", value: "v3", reason: "leaks", by: "eve", at: new Date(NOW).toISOString() },
    ...{ until: UNTIL.toISOString(), signedBy: [old] },
  };
  const none = { nodes: [], decisionServices: [], frozenScopes: [], restrictions: [] };
  const facts = keyFacts(trust, []).map((key) => ({ ...key, signsHere: key.id === fresh }));
  const server = await startAdminServer({
    ...{ host: "127.0.0.1", port: 0, notReady: () => [], metrics: createRegistry() },
    status: () => ({ ...none, keys: facts }),
    restrictions: {
      restrictions: { give: async () => ({ spread: true }), states: () => [state], refused: () => 0 },
      now: () => NOW,
      newId: () => "q-2",
    },
  });
  onTestFinished(() => server.close());
  const before = await readFile(join(keys, "trust.json"), "utf8");
  const retire = ["keys", "rotate", keys, "--retire-only", "--retire", old];
  const refused = await runChancery(...retire, "--server", server.url);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("q-1 (version v3) is out of use") });
  await server.close();
  const unasked = await runChancery(...retire, "--server", server.url);
  expect(unasked).toMatchObject({ code: 3, stderr: expect.stringContaining("--drop-signed retires it all the same") });
  expect(await readFile(join(keys, "trust.json"), "utf8")).toBe(before);
  const dropped = await runChancery(...retire, "--drop-signed");
  expect(dropped).toMatchObject({ code: 0, stdout: expect.stringContaining(`retired       ${old}`) });
});
