import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished, test } from "vitest";
import { createInProcessBus, startOperationalLog } from "../distribution/index.ts";
import { type ModelVersion, parseResources } from "../resources/index.ts";
import { initKeys, loadSigningKey, loadTrust } from "../revision/index.ts";
import { grantApproval, listApprovals, requestApproval, revokeApproval } from "./approval-client.ts";
import { giveRestriction } from "./client.ts";
import { compactLog } from "./log-service.ts";
import { createRegistry } from "./metrics.ts";
import { parsePrincipals } from "./principals-file.ts";
import { startAdminServer } from "./server.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const HOUR = 3_600_000;
const hashOf = (token: string): string => createHash("sha256").update(token).digest("hex");
const PEOPLE = parsePrincipals(
  JSON.stringify([
    { name: "ann", roles: ["requester", "approver"], tokenSha256: hashOf("token-of-ann") },
    { name: "bob", roles: ["approver"], tokenSha256: hashOf("token-of-bob") },
    { name: "ann-2", person: "Ann", roles: ["requester", "approver"], tokenSha256: hashOf("token-of-ann-2") },
    { name: "sid", person: "operator", roles: ["approver"], tokenSha256: hashOf("token-of-sid") },
    { name: "dan", scopes: ["other", "te"], roles: ["requester", "approver"], tokenSha256: hashOf("token-of-dan") },
    { name: "tea", scopes: ["team"], roles: ["approver"], tokenSha256: hashOf("token-of-tea") },
    { name: "eve", roles: [], tokenSha256: hashOf("token-of-eve") },
  ]),
  "people",
);

async function serve(options: { readonly token?: string; readonly alone?: boolean } = {}) {
  const directory = await mkdtemp(join(tmpdir(), "chancery-approvals-"));
  const keys = await initKeys(join(directory, "keys"), { now: NOW });
  const log = await startOperationalLog({
    ...{ bus: createInProcessBus().log, directory: join(directory, "log"), trust: await loadTrust(keys.trust) },
    ...{ signers: [await loadSigningKey(keys.signing[0]?.file ?? "")], onAlarm: () => undefined, now: () => NOW },
  });
  let ids = 0;
  const names = {
    ModelVersion: new Set(["team/atlas-v1", "team/atlas-v2"]),
    Application: new Set(["team/assistant"]),
  };
  const versions = new Map<string, ModelVersion>();
  const others = ["team/by-hand", "auto:team/atlas-v2:team/assistant"];
  const newId = (): string => {
    ids += 1;
    return `a-${String(ids).padStart(16, "0")}`;
  };
  const server = await startAdminServer({
    ...{ host: "127.0.0.1", port: 0, notReady: () => [], metrics: createRegistry() },
    log: { log, now: () => NOW },
    approvals: {
      log,
      names: (kind) => names[kind],
      version: (key) => versions.get(key),
      others: () => others,
      now: () => NOW,
      newId,
    },
    restrictions: {
      restrictions: { give: async () => ({ spread: true }), states: () => [], refused: () => 0 },
      now: () => NOW,
      newId,
    },
    ...(options.alone === true ? {} : { principals: () => PEOPLE }),
    ...(options.token === undefined ? {} : { token: options.token }),
  });
  onTestFinished(async () => {
    await server.close();
    await log.close();
    await rm(directory, { recursive: true, force: true });
  });
  const as = (name: string) => ({ control: server.address, token: `token-of-${name}` });
  return { as, control: server.address, versions };
}

const request = {
  ...{
    version: "team/atlas-v2",
    application: "team/assistant",
    jurisdictions: ["EU"],
    conditions: ['subject.kind == "jwt"'],
  },
  ...{ reason: "reviewed", until: timestampFromMs(NOW + HOUR) },
};

test("one requests, another grants, and every step is told", async () => {
  const { as } = await serve();
  const id = await requestApproval(as("ann"), request);
  expect((await listApprovals(as("eve"))).approvals).toMatchObject([
    { id, state: "requested", conditions: ['subject.kind == "jwt"'] },
  ]);
  await expect(grantApproval(as("ann"), id, "fine")).rejects.toMatchObject({ code: "self-approval" });
  expect(await grantApproval(as("bob"), id, "fine")).toMatchObject({
    state: "granted",
    granted: { by: "bob", reason: "fine" },
  });
  await expect(grantApproval(as("bob"), id, "again")).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("granted by bob"),
  });
  await expect(requestApproval(as("ann"), request)).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining(id),
  });
  expect(await revokeApproval(as("ann"), id, "wrong")).toMatchObject({
    ...{ state: "revoked", requested: { by: "ann" } },
    stillApprovedBy: ["team/by-hand", "auto:team/atlas-v2:team/assistant"],
  });
  await requestApproval(as("ann"), request);
  // On other conditions it is another approval.
  await requestApproval(as("ann"), { ...request, conditions: [] });
});

test("the operator alone compacts the log, and what was over before then leaves it", async () => {
  const { as } = await serve({ token: "token-of-operator" });
  const id = await requestApproval(as("ann"), request);
  await revokeApproval(as("ann"), id, "wrong");
  await expect(compactLog(as("bob"), NOW)).rejects.toMatchObject({ code: "forbidden" });
  await expect(compactLog(as("operator"), NOW + 1)).rejects.toMatchObject({ code: "invalid-argument" });
  // It was revoked at this very moment, not before.
  await expect(compactLog(as("operator"), NOW)).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("all still needed"),
  });
  expect((await listApprovals(as("eve"))).approvals).toHaveLength(1);
});

test("roles bound what a token may do, and without one nobody is let in", async () => {
  const { as, control } = await serve({ token: "token-of-operator" });
  await expect(requestApproval(as("bob"), request)).rejects.toMatchObject({
    code: "forbidden",
    message: expect.stringContaining("requester"),
  });
  const id = await requestApproval(as("operator"), request);
  await expect(grantApproval(as("operator"), id, "x")).rejects.toMatchObject({ code: "self-approval" });
  await expect(grantApproval(as("eve"), id, "x")).rejects.toMatchObject({ code: "forbidden" });
  await expect(revokeApproval(as("eve"), id, "x")).rejects.toMatchObject({ code: "forbidden" });
  await expect(listApprovals({ control })).rejects.toThrow("a bearer token is needed");
  await expect(listApprovals(as("mallory"))).rejects.toThrow("a bearer token is needed");
  const restriction = { kind: "version", value: "x", reason: "x", until: request.until };
  await expect(giveRestriction(as("ann"), restriction)).rejects.toMatchObject({ code: "forbidden" });
});

test("where no token is asked for, everybody is one, and one cannot grant", async () => {
  const { control } = await serve({ alone: true });
  const id = await requestApproval({ control }, request);
  await expect(grantApproval({ control }, id, "x")).rejects.toMatchObject({ code: "self-approval" });
});

test("says what is wrong, with our own code", async () => {
  const { as } = await serve();
  const asked = (more: object) => requestApproval(as("ann"), { ...request, ...more });
  await expect(asked({ version: "team/atlas-v3" })).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining('did you mean "team/atlas-v'),
  });
  await expect(asked({ application: "assistant" })).rejects.toMatchObject({
    message: 'there is no Application "assistant": did you mean "team/assistant"?',
  });
  await expect(asked({ conditions: ["logs kept 30 days"] })).rejects.toMatchObject({
    code: "invalid-argument",
    message: expect.stringMatching(
      /the condition "logs kept 30 days" cannot be evaluated: .*; what is for people alone/,
    ),
  });
  await expect(asked({ conditions: ["target.approved"] })).rejects.toMatchObject({
    code: "invalid-argument",
    message: expect.stringContaining("it is what the condition decides"),
  });
  await expect(asked({ jurisdictions: ["Europe"] })).rejects.toMatchObject({
    code: "invalid-argument",
    message: expect.stringContaining("not a jurisdiction"),
  });
  await expect(asked({ until: timestampFromMs(NOW) })).rejects.toMatchObject({ code: "invalid-argument" });
  await expect(asked({ reason: "" })).rejects.toMatchObject({ code: "invalid-argument" });
  await expect(asked({ reason: "x".repeat(9_000) })).rejects.toMatchObject({ code: "invalid-argument" });
  await expect(grantApproval(as("bob"), "a-00000000000000ff", "x")).rejects.toMatchObject({ code: "not-found" });
});

test.each([
  ["a reserved name", [{ name: "operator", roles: [], tokenSha256: hashOf("a") }], "reserved"],
  ["a name twice", ["a", "b"].map((token) => ({ name: "ann", roles: [], tokenSha256: hashOf(token) })), "twice"],
  ["a token twice", ["ann", "bob"].map((name) => ({ name, roles: [], tokenSha256: hashOf("a") })), "token of another"],
  ["an unknown role", [{ name: "ann", roles: ["king"], tokenSha256: hashOf("a") }], "roles"],
  ["a token in clear", [{ name: "ann", roles: [], tokenSha256: "secret-of-ann" }], "64 hex digits"],
])("principals with %s are refused, and no token is shown", (_, principals, message) => {
  const parse = () => parsePrincipals(JSON.stringify(principals), "people.json");
  expect(parse).toThrow(message);
  expect(parse).not.toThrow("secret-of-ann");
});

test("two names of one person are one pair of eyes", async () => {
  const { as } = await serve({ token: "token-of-operator" });
  const id = await requestApproval(as("ann"), request);
  await expect(grantApproval(as("ann-2"), id, "x")).rejects.toMatchObject({
    code: "self-approval",
    message: expect.stringContaining("ann-2, who is ann, requested"),
  });
  await revokeApproval(as("ann"), id, "again");
  const other = await requestApproval(as("ann-2"), request);
  await expect(grantApproval(as("ann"), other, "x")).rejects.toMatchObject({ code: "self-approval" });
  await revokeApproval(as("ann"), other, "again");
  const own = await requestApproval(as("operator"), request);
  await expect(grantApproval(as("sid"), own, "x")).rejects.toMatchObject({ code: "self-approval" });
  expect(await grantApproval(as("bob"), own, "x")).toMatchObject({ state: "granted" });
});

test("whoever has scopes works on approvals of what is in one of them, and on no other", async () => {
  const { as } = await serve();
  await expect(requestApproval(as("dan"), request)).rejects.toMatchObject({
    code: "forbidden",
    message: expect.stringContaining("dan, who has other, te"),
  });
  const id = await requestApproval(as("ann"), request);
  await expect(grantApproval(as("dan"), id, "x")).rejects.toMatchObject({ code: "forbidden" });
  await expect(revokeApproval(as("dan"), id, "x")).rejects.toMatchObject({ code: "forbidden" });
  expect(await grantApproval(as("tea"), id, "x")).toMatchObject({ state: "granted" });
});

test("what is granted is what was looked at: a version that is another one since is not", async () => {
  const { as, versions } = await serve();
  const { inventory } = parseResources(new Map([["team/models.yaml", ATLAS]]));
  const [found] = inventory.modelVersions;
  if (found === undefined) throw new Error("no version");
  const identity = { model: "team/atlas", version: "v2", provider: "Acme", digest: `sha256:${"a".repeat(64)}` };
  versions.set(found.key, found);
  const id = await requestApproval(as("ann"), request);
  expect((await listApprovals(as("eve"))).approvals).toMatchObject([{ id, identity }]);
  for (const change of [{ digest: `sha256:${"b".repeat(64)}` }, { version: "v3" }, { provider: "Other" }]) {
    versions.set(found.key, { ...found, ...change });
    await expect(grantApproval(as("bob"), id, "x")).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("is not of what team/atlas-v2 is now: approved was"),
    });
  }
  versions.set(found.key, { ...found, maturity: "production" });
  expect(await grantApproval(as("bob"), id, "x")).toMatchObject({ state: "granted", identity });
});

const ATLAS = `
apiVersion: chancery.dev/v1
kind: Model
metadata: { name: atlas }
spec: {}
---
apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: { name: atlas-v2 }
spec: { model: atlas, version: v2, provider: Acme, maturity: canary, digest: "sha256:${"a".repeat(64)}" }
`;

test.each([
  [[{ name: "ann" }, { name: "Ann" }], 'the name "Ann" is there twice'],
  [[{ name: "Operator" }], 'the name "Operator" is reserved'],
  [
    [
      { name: "a", person: "b" },
      { name: "b", person: "c" },
    ],
    'the person of "a" is "b", who is said to be somebody else',
  ],
  [[{ name: "a", scopes: ["/etc"] }], "is not a scope"],
])("a list of principals that hides who is who is refused: %j", (people, message) => {
  const list = people.map((each, index) => ({ roles: [], tokenSha256: hashOf(`${index}`), ...each }));
  expect(() => parsePrincipals(JSON.stringify(list), "people")).toThrow(message);
});
