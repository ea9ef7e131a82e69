import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compile, type RevisionParts } from "../../compiler/index.ts";
import { type Bus, type NodeReport, openDirectoryBus, publish } from "../../distribution/index.ts";
import { parseResources } from "../../resources/index.ts";
import { digestOf, initKeys, loadSigningKey, type SigningKey } from "../../revision/index.ts";
import { freePort, type SpawnedProcess, startChancery, waitFor } from "../support/index.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";

const WAIT_MS = 20_000;
const NOW = Date.now();

let root: string;
let bus: Bus;
let authz: SpawnedProcess;
let signer: SigningKey;
let stranger: SigningKey;
let report: NodeReport | undefined;
let firstManifest: Uint8Array;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-refused-"));
  const keys = await initKeys(join(root, "keys"), { now: NOW });
  signer = await loadSigningKey(keys.signing[0]?.file ?? "");
  const others = await initKeys(join(root, "others"), { now: NOW });
  stranger = await loadSigningKey(others.signing[0]?.file ?? "");
  bus = await openDirectoryBus(join(root, "bus"), { onAlarm: () => undefined });
  bus.watchReports((each) => {
    report = each;
  });
  await offer("first", [signer]);
  const head = await bus.head();
  firstManifest = (head === undefined ? undefined : await bus.getBlob(head.manifest)) ?? new Uint8Array();
  const listen = `127.0.0.1:${await freePort()}`;
  const state = join(root, "authz");
  authz = await startChancery([
    ...["authz", "--bus", join(root, "bus"), "--trust", keys.trust, "--listen", listen, "--state", state],
    ...["--log-format", "json"],
  ]);
  await authz.waitForOutput(/^ready /m, WAIT_MS);
  await inForce(1);
}, 60_000);

afterAll(async () => {
  await authz?.close();
  await bus?.close();
  await rm(root, { recursive: true, force: true });
});

function parts(reason: string): RevisionParts {
  const rule = `{ id: no, effect: deny, when: 'request.url_path == "/closed"', reason: ${reason} }`;
  const text = yaml(
    gateway(8080),
    plainRoute("all", "/", { web: 1 }),
    upstream("web", 8000),
    anonymous(),
    policy("rules", ALLOW_ALL, rule),
  );
  const { inventory, positions } = parseResources(new Map([["tree.yaml", text]]));
  return compile(inventory, { jwks: new Map(), positions }).parts;
}

async function offer(reason: string, signers: readonly SigningKey[]): Promise<void> {
  await publish(parts(reason), "test", { bus, signers, now: Date.now, numberFloor: 0 });
}

/** Announces the manifest of a signed revision in another form, under a digest that is right. */
async function offerChanged(change: (manifest: Uint8Array) => Uint8Array): Promise<void> {
  const head = await bus.head();
  const manifest = head === undefined ? undefined : await bus.getBlob(head.manifest);
  if (head === undefined || manifest === undefined) throw new Error("nothing was published");
  const bytes = change(manifest);
  await bus.putBlob(digestOf(bytes), bytes);
  await bus.publishHead({ manifest: digestOf(bytes), number: head.number + 1 }, head.sequence);
}

async function inForce(number: number): Promise<void> {
  const decides = (): boolean => report?.active === number && report.error === undefined;
  await waitFor(decides, WAIT_MS, () => `revision ${number}: ${JSON.stringify(report)}\n${authz.stderr()}`);
}

function replaced(text: string, by: string): (manifest: Uint8Array) => Uint8Array {
  return (manifest) => {
    const before = new TextDecoder().decode(manifest);
    const after = before.replace(text, by);
    if (after === before) throw new Error(`${text} is not in the manifest`);
    return Buffer.from(after);
  };
}

test.each<[string, () => Promise<void>, RegExp]>([
  ["unsigned", () => offer("unsigned", []), /sign/],
  ["signed by a key that nobody trusts", () => offer("stranger", [stranger]), /sign/],
  ["an older one, replayed under a new number", () => offerChanged(() => firstManifest), /revision 1\b/],
  ["truncated", () => offerChanged((manifest) => manifest.subarray(0, manifest.length / 2)), /manifest|JSON/],
  ["changed in what was signed", () => offerChanged(replaced('"source":"test"', '"source":"tesu"')), /sign/],
  ["of a format that is not known", () => offerChanged(replaced('"format":1', '"format":99')), /format/],
])("a revision that is %s is refused and reported, and the last good one stays", async (_, offerBad, words) => {
  // What is offered next is made of a good revision.
  await offer(`good ${(await bus.head())?.number}`, [signer]);
  const { number = 0 } = (await bus.head()) ?? {};
  await inForce(number);
  await offerBad();
  await waitFor(
    () => report?.error !== undefined,
    WAIT_MS,
    () => `a report of what was refused: ${JSON.stringify(report)}\n${authz.stderr()}`,
  );
  expect(report).toMatchObject({ active: number, prepared: number, error: expect.stringMatching(words) });
  expect(authz.ending()).toBeUndefined();
});

test("the next good revision is taken", async () => {
  await offer("good at last", [signer]);
  const { number = 0 } = (await bus.head()) ?? {};
  await inForce(number);
});
