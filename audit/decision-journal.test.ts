import { expect, it } from "vitest";
import type { DecisionRecord, JournalRecord } from "../ext-authz/index.ts";
import { temporaryDirectory } from "../test/support/index.ts";
import { type AuditRecord, openDecisionJournal, readDecisions } from "./decision-journal.ts";
import { openJournal } from "./journal.ts";

async function read(directory: string, from?: number): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for await (const { record } of readDecisions(directory, from)) records.push(record);
  return records;
}

const DECISION: DecisionRecord = {
  format: 1,
  id: "d1",
  at: "2026-11-21T12:00:00.000Z",
  service: "authz-1",
  revision: { number: 7, digest: "sha256:77", signed: true },
  layout: "l",
  route: "chat/0/0",
  gateway: "edge",
  httpRoute: "chat",
  request: { id: "1", method: "POST", host: "h", path: "/é", source: "192.0.2.7", stream: false },
  application: "acme/chat",
  subject: { kind: "apiKey", id: "chat-1" },
  effect: "allow",
  status: 200,
  code: "ok",
  rule: "r",
  reason: "",
  targets: ["model/chat-2"],
  removed: [],
  rerouted: [],
  shadow: [],
  errors: [],
  decidedInUs: 42,
};

it("gives records back as they were written", async () => {
  const directory = await temporaryDirectory("decisions");
  const journal = await openDecisionJournal({ directory });
  const summary: JournalRecord = {
    format: 1,
    kind: "suppressed",
    at: "2026-11-21T12:00:01.000Z",
    since: "2026-11-21T12:00:00.000Z",
    service: "authz-1",
    counts: { invalid_token: 12 },
  };
  await Promise.all([journal.append(DECISION), journal.append(summary)]);
  expect(journal.state()).toMatchObject({ sequence: 2, waitingBytes: 0 });
  expect(await read(directory)).toEqual([DECISION, summary]);
  expect(await read(directory, 2)).toEqual([summary]);
  await journal.close();
});

it.each([
  ["corrupt", "no json"],
  ["corrupt", "null"],
  ["corrupt", "{}"],
  ["unsupported-format", '{"format":2}'],
])("says %s of a record %s", async (code, payload) => {
  const directory = await temporaryDirectory("decisions");
  const journal = await openJournal({ directory });
  await journal.append(Buffer.from(payload));
  await journal.close();
  await expect(read(directory)).rejects.toMatchObject({ code });
});
