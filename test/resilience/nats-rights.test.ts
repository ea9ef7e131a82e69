import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errors, type NatsConnection, nkeyAuthenticator, nkeys } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type NatsBus, type NodeReport, natsCredentials, openNatsBus } from "../../distribution/index.ts";
import { digestOf } from "../../revision/index.ts";
import { waitFor } from "../support/index.ts";
import { type Place, startPlace } from "./nats-users.ts";

const WAIT_MS = 15_000;

let root: string;
let hub: Place;
let region: Place;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-rights-"));
  hub = await startPlace("hub");
  region = await startPlace("region");
});
afterAll(async () => {
  for (const place of [hub, region]) await place?.nats.close();
  await rm(root, { recursive: true, force: true });
});

async function openAs(place: Place, user: string, role: string, manageStreams: boolean): Promise<NatsBus> {
  const file = await place.credentials(user, root);
  const bus = await openNatsBus({
    servers: [place.nats.url],
    name: user,
    prefix: place.prefix,
    inboxPrefix: `_INBOX_${role}`,
    authenticator: natsCredentials(file),
    manageStreams,
    lease: user === "CONTROL",
    log: user === "CONTROL",
    maximumBytes: 128 * 1024 * 1024,
  });
  onTestFinished(() => bus.close());
  return bus;
}

function report(role: NodeReport["role"], reporter: string): NodeReport {
  const at = "2026-05-01T00:00:00.000Z";
  return { role, reporter, at, prepared: 1, active: 1, layouts: [], firstDecisions: {}, activeSince: {}, decisions: 0 };
}

async function connectAs(place: Place, user: string, inboxPrefix: string): Promise<NatsConnection> {
  const seed = place.seeds.get(user) ?? "";
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const connection = await connect({ servers: place.nats.url, authenticator, inboxPrefix, reconnect: false });
  onTestFinished(() => connection.close());
  return connection;
}

/** Whether the server refuses a publish to (or a subscription of) a subject; each refusal is told to the connection. */
async function isDenied(connection: NatsConnection, operation: string, subject: string): Promise<boolean> {
  const refused = Promise.withResolvers<boolean>();
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== "error" || !(status.error instanceof errors.PermissionViolationError)) continue;
      if (status.error.operation === operation && status.error.subject === subject) refused.resolve(true);
    }
  })();
  if (operation === "publish") connection.publish(subject, "x");
  else connection.subscribe(subject, { callback: () => undefined });
  // What was refused is told before the answer to what was sent after it.
  await connection.flush();
  setImmediate(() => refused.resolve(false));
  return await refused.promise;
}

describe.each([
  { at: "the hub", place: () => hub, publisher: ["CONTROL", "control"] as const },
  { at: "a region", place: () => region, publisher: ["RELAY", "relay"] as const },
])("at $at", ({ place, publisher: [user, role] }) => {
  test("each role can do its work", async () => {
    const publisher = await openAs(place(), user, role, true);
    const bytes = new Uint8Array(600_000).fill(7);
    for (let number = 1; number <= 18; number++) {
      await publisher.putBlob(digestOf(bytes), bytes);
      await publisher.publishHead({ manifest: digestOf(bytes), number }, number - 1);
    }
    const seen: string[] = [];
    publisher.watchReports(({ reporter }) => seen.push(reporter));
    for (const [name, nodeRole] of [
      ["XDS", "xds"],
      ["AUTHZ", "authz"],
    ] as const) {
      const node = await openAs(place(), name, nodeRole, false);
      expect(await node.head()).toMatchObject({ number: 18 });
      expect(digestOf((await node.getBlob(digestOf(bytes))) ?? "")).toBe(digestOf(bytes));
      await node.report(report(nodeRole, `${nodeRole}-1`));
      await waitFor(() => seen.includes(`${nodeRole}-1`), WAIT_MS, `the report of ${nodeRole}-1`);
    }
  });

  test("who gives restrictions writes them, decision services hear of them, and neither can do more", async () => {
    const entry = (text: string): Uint8Array => new TextEncoder().encode(text);
    const publisher = await openAs(place(), user, role, true);
    await publisher.putRestriction(entry("by the publisher"));
    const operator = await openAs(place(), "OPERATOR", "operator", false);
    await operator.putRestriction(entry("by an operator"));
    expect(await operator.restrictions()).toHaveLength(2);
    const authz = await openAs(place(), "AUTHZ", "authz", false);
    const heard = new Set<string>();
    authz.watchRestrictions((bytes) => heard.add(new TextDecoder().decode(bytes)));
    await waitFor(() => heard.size === 2, WAIT_MS, "both restrictions at a decision service");
    await expect(authz.putRestriction(entry("by a decision service"))).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("does not allow"),
    });
    const { prefix } = place();
    const connection = await connectAs(place(), "OPERATOR", "_INBOX_operator");
    for (const subject of [
      `${prefix}.head`,
      `${prefix}.blob.00.0`,
      `${prefix}.report.authz.one`,
      `${prefix}.bell.restriction.00`,
      `$JS.API.DIRECT.GET.${prefix}_heads`,
      `$JS.API.STREAM.PURGE.${prefix}_restrictions`,
      `$JS.API.STREAM.MSG.DELETE.${prefix}_restrictions`,
      `${prefix}.log`,
      `$JS.API.DIRECT.GET.${prefix}_log`,
    ]) {
      expect([subject, await isDenied(connection, "publish", subject)]).toEqual([subject, true]);
    }
    for (const subject of [">", `${prefix}.>`, "_INBOX_authz.>"]) {
      expect([subject, await isDenied(connection, "subscription", subject)]).toEqual([subject, true]);
    }
  });

  test.each([
    { name: "XDS", role: "xds", other: "authz" },
    { name: "AUTHZ", role: "authz", other: "xds" },
  ])("$name can publish no revision, speak for no other role, and listen to no other", async (own) => {
    const { prefix } = place();
    const connection = await connectAs(place(), own.name, `_INBOX_${own.role}`);
    for (const subject of [
      `${prefix}.head`,
      `${prefix}.blob.00.0`,
      `${prefix}.bell.head`,
      `${prefix}.report.${own.other}.one`,
      `${prefix}.restriction.00`,
      `${prefix}.bell.restriction.00`,
      `$JS.API.STREAM.CREATE.${prefix}_restrictions`,
      `$JS.API.STREAM.PURGE.${prefix}_restrictions`,
      `${prefix}.report.region.eu.${own.role}.one`,
      `${prefix}.lease`,
      `$JS.API.DIRECT.GET.${prefix}_lease`,
      `${prefix}.log`,
      `${prefix}.bell.log`,
      `$JS.API.DIRECT.GET.${prefix}_log`,
      `$JS.API.STREAM.CREATE.${prefix}_heads`,
      `$JS.API.STREAM.DELETE.${prefix}_heads`,
      `$JS.API.STREAM.PURGE.${prefix}_blobs`,
      `$JS.API.STREAM.MSG.DELETE.${prefix}_heads`,
      `$JS.API.CONSUMER.CREATE.${prefix}_heads`,
    ]) {
      expect([subject, await isDenied(connection, "publish", subject)]).toEqual([subject, true]);
    }
    for (const subject of [">", `${prefix}.>`, `_INBOX_${role}.>`, `_INBOX_${own.other}.>`, "_INBOX.>"]) {
      expect([subject, await isDenied(connection, "subscription", subject)]).toEqual([subject, true]);
    }
    // The check itself can tell.
    expect(await isDenied(connection, "publish", `${prefix}.report.${own.role}.one`)).toBe(false);
    expect(await isDenied(connection, "subscription", `${prefix}.bell.head`)).toBe(false);
  });

  test("the publisher can delete nothing but what it puts again itself, report for nobody, and do nothing on another bus", async () => {
    const { prefix } = place();
    const connection = await connectAs(place(), user, `_INBOX_${role}`);
    for (const subject of [
      `${prefix}.report.authz.one`,
      `${prefix}.bell.head`,
      `$JS.API.STREAM.DELETE.${prefix}_heads`,
      `$JS.API.STREAM.PURGE.${prefix}_heads`,
      `$JS.API.STREAM.PURGE.${prefix}_restrictions`,
      `$JS.API.STREAM.MSG.DELETE.${prefix}_restrictions`,
      // Control shortens its own log, which only it reads, after a checkpoint.
      ...(user === "CONTROL" ? [] : [`$JS.API.STREAM.PURGE.${prefix}_log`]),
      `$JS.API.STREAM.MSG.DELETE.${prefix}_log`,
      `${prefix}.bell.log`,
      `${prefix}.bell.restriction.00`,
      "$JS.API.STREAM.CREATE.other_heads",
      "other.head",
    ]) {
      expect([subject, await isDenied(connection, "publish", subject)]).toEqual([subject, true]);
    }
    for (const subject of [">", "_INBOX_authz.>", "$JS.EVENT.>"]) {
      expect([subject, await isDenied(connection, "subscription", subject)]).toEqual([subject, true]);
    }
  });
});

test("control takes the lease with the rights of its user, and nobody else may read it", async () => {
  const { lease } = await openAs(hub, "CONTROL", "control", true);
  const entry = { holder: "a", name: "a", epoch: 1, ttlMs: 1_000, released: false };
  const sequence = await lease.write(entry, 0);
  expect(await lease.read()).toEqual({ ...entry, sequence });
  await expect(lease.write({ ...entry, epoch: 2 }, 0)).rejects.toMatchObject({ code: "conflict" });
  const { lease: other } = await openAs(hub, "EU", "relay", false);
  await expect(other.read()).rejects.toMatchObject({ message: expect.stringContaining("does not allow") });
});

test("control alone writes and reads the operational log", async () => {
  const { log } = await openAs(hub, "CONTROL", "control", true);
  const entry = new TextEncoder().encode("by control");
  const sequence = await log.append(entry, 0);
  await expect(log.append(entry, 0)).rejects.toMatchObject({ code: "conflict" });
  expect(await log.after(0)).toMatchObject([{ sequence }]);
  const rung = Promise.withResolvers<void>();
  log.watch(() => void log.after(0).then(({ length }) => length > 1 && rung.resolve()));
  const second = await log.append(entry, sequence);
  await rung.promise;
  await log.dropBefore(second);
  expect(await log.after(0)).toMatchObject([{ sequence: second }]);
  for (const [user, role] of [
    ["EU", "relay"],
    ["OPERATOR", "operator"],
  ] as const) {
    const { log: other } = await openAs(hub, user, role, false);
    const denied = { message: expect.stringContaining("does not allow") };
    await expect(other.append(entry, 0)).rejects.toMatchObject(denied);
    await expect(other.after(0)).rejects.toMatchObject(denied);
    await expect(other.dropBefore(1)).rejects.toMatchObject(denied);
  }
});

test("a region at the hub can publish restrictions alone, and report for its own processes alone", async () => {
  const relay = await openAs(hub, "EU", "relay", false);
  await relay.putRestriction(new TextEncoder().encode("by a region"));
  expect((await relay.restrictions()).map((bytes) => new TextDecoder().decode(bytes))).toContain("by a region");
  await relay.report(report("authz", "eu/authz-1"));
  await expect(relay.report(report("authz", "us/authz-1"))).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("does not allow"),
  });
  const connection = await connectAs(hub, "EU", "_INBOX_relay");
  for (const subject of [
    "chancery.head",
    "chancery.lease",
    "chancery.log",
    "chancery.blob.00.0",
    "chancery.report.authz.one",
    "chancery.report.region.us.authz.one",
    "us.head",
  ]) {
    expect([subject, await isDenied(connection, "publish", subject)]).toEqual([subject, true]);
  }
});

test("without an nkey nobody is let in", async () => {
  await expect(connect({ servers: hub.nats.url, reconnect: false })).rejects.toThrow();
  const stranger = nkeyAuthenticator(nkeys.createUser().getSeed());
  await expect(connect({ servers: hub.nats.url, authenticator: stranger, reconnect: false })).rejects.toThrow();
});
