import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ChanceryError } from "../resources/index.ts";
import {
  decodeRevision,
  digestOf,
  initKeys,
  loadSigningKey,
  loadTrust,
  parseSignedManifest,
  type Revision,
  type SignedManifest,
  verifyManifest,
} from "../revision/index.ts";
import { save } from "../test/support/save.ts";
import type { Bus } from "./bus.ts";
import { delegate } from "./bus-fixture.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import { type Publisher, type PublisherEvent, type PublisherOptions, startPublisher } from "./publisher.ts";
import { readRegistry } from "./registry-file.ts";
import { compileLoaded, policy, upstream } from "./tree-fixture.ts";

const DEADLINE = { timeout: 15_000, interval: 5 };

let root: string;
let tree: string;
let bus: Bus;
let events: PublisherEvent[];
const publishers: Publisher[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-publisher-"));
  tree = join(root, "tree");
  await mkdir(tree);
  await save(tree, "web.yaml", upstream("web", 8001));
  await save(tree, "team/limits.yaml", policy("limits", "false"));
  bus = createInProcessBus();
  events = [];
});
afterEach(async () => {
  for (const publisher of publishers.splice(0)) await publisher.close();
  await bus.close();
  await rm(root, { recursive: true, force: true });
});

async function starting(options: Partial<PublisherOptions> = {}): Promise<Publisher> {
  const publisher = await startPublisher({
    directory: tree,
    stateDirectory: join(root, "state"),
    bus,
    signers: [],
    compile: compileLoaded,
    now: Date.now,
    onEvent: (event) => events.push(event),
    ...options,
  });
  publishers.push(publisher);
  return publisher;
}

function told<Type extends PublisherEvent["type"]>(type: Type): Extract<PublisherEvent, { type: Type }>[] {
  return events.filter((event): event is Extract<PublisherEvent, { type: Type }> => event.type === type);
}

async function newestManifest(): Promise<SignedManifest> {
  const head = await bus.head();
  return parseSignedManifest((await bus.getBlob(head?.manifest ?? "")) ?? new Uint8Array());
}

async function newest(): Promise<Revision> {
  return await decodeRevision(await newestManifest(), (digest) => bus.getBlob(digest), []);
}

async function rules(): Promise<(string | undefined)[]> {
  return (await newest()).program.rules.map((rule) => rule.when);
}

test("publishes the tree at the start, and each change of it", async () => {
  const publisher = await starting();
  expect(publisher.status()).toMatchObject({ number: 1, frozen: [], refused: [] });
  expect(told("published")).toMatchObject([{ number: 1, digest: (await newest()).digest }]);
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(2), DEADLINE);
  expect(await newest()).toMatchObject({ number: 2 });
  expect(await rules()).toEqual(["true"]);
  await save(tree, "new/deep/limits.yaml", policy("limits", "false"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(3), DEADLINE);
  await rm(join(tree, "new"), { recursive: true });
  await vi.waitFor(() => expect(told("published")).toHaveLength(4), DEADLINE);
  expect(await rules()).toEqual(["true"]);
});

test("takes a file as empty that stays empty", async () => {
  await starting({ emptiedMs: 200 });
  await truncate(join(tree, "team/limits.yaml"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(2), DEADLINE);
  expect(await rules()).toEqual([]);
});

test("takes no file that is being written, and takes it as soon as it is not", async () => {
  const file = join(tree, "team/limits.yaml");
  // The file system's clock stands still for this publisher: whatever is written now is being written.
  let clock = Date.now() + 60_000;
  const publisher = await starting({ now: () => clock });
  await save(tree, "team/limits.yaml", "");
  const { mtimeMs } = await stat(file);
  clock = mtimeMs + 10;
  await publisher.refresh();
  expect(await rules()).toEqual(["false"]);
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  clock = (await stat(file)).mtimeMs + 10;
  await publisher.refresh();
  expect(await rules()).toEqual(["false"]);
  expect(publisher.status()).toMatchObject({ number: 1, frozen: [] });
  clock += 60_000;
  await vi.waitFor(() => expect(told("published")).toHaveLength(2), DEADLINE);
  expect(await rules()).toEqual(["true"]);
});

test("a change that means nothing makes no revision", async () => {
  await starting();
  await save(tree, "team/limits.yaml", `# as before\n${policy("limits", "false")}`);
  await vi.waitFor(() => expect(told("unchanged")).toEqual([{ type: "unchanged", number: 1 }]), DEADLINE);
  expect((await bus.head())?.sequence).toBe(1);
});

test.each([
  ["broken YAML", "kind: ["],
  ["a rule that does not compile", policy("limits", "nonsense")],
])("%s freezes its own scope, says why, and others are published", async (_, text) => {
  const publisher = await starting();
  await save(tree, "team/limits.yaml", text);
  await vi.waitFor(() => expect(told("frozen")).toHaveLength(1), DEADLINE);
  expect(told("frozen")[0]?.scopes.map((scope) => scope.scope)).toEqual(["team"]);
  expect(publisher.status().frozen[0]?.problems[0]?.at.file).toBe("team/limits.yaml");
  await save(tree, "other/limits.yaml", policy("limits", "true"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(2), DEADLINE);
  expect((await rules()).sort()).toEqual(["false", "true"]);
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(3), DEADLINE);
  expect(told("frozen").at(-1)?.scopes).toEqual([]);
  expect(await rules()).toEqual(["true", "true"]);
});

test("a restart with a broken tree keeps the last good scopes and makes no revision", async () => {
  await (await starting()).close();
  await save(tree, "team/limits.yaml", "kind: [");
  const again = await starting();
  expect(again.status()).toMatchObject({ number: 1, frozen: [{ scope: "team" }] });
  expect((await bus.head())?.sequence).toBe(1);
});

test("a first tree with errors is refused as a whole, and taken once it is right", async () => {
  await save(tree, "team/limits.yaml", "kind: [");
  const publisher = await starting();
  expect(publisher.status()).toMatchObject({ number: 0, refused: [{ scope: "team" }] });
  expect(await bus.head()).toBeUndefined();
  expect(told("refused")).toHaveLength(1);
  await save(tree, "team/limits.yaml", policy("limits", "false"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(1), DEADLINE);
  expect(publisher.status()).toMatchObject({ number: 1, refused: [] });
});

test("numbers go on after a restart, and even when the bus has lost everything", async () => {
  await (await starting()).close();
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  await (await starting()).close();
  expect((await bus.head())?.number).toBe(2);
  bus = createInProcessBus();
  await starting({ bus });
  expect(await bus.head()).toMatchObject({ number: 3, sequence: 1 });
});

test("without its own state it numbers after the newest revision of the bus, and finds it unchanged", async () => {
  await (await starting()).close();
  await rm(join(root, "state"), { recursive: true });
  await starting();
  expect(told("unchanged")).toHaveLength(1);
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  await vi.waitFor(() => expect(told("published").at(-1)?.number).toBe(2), DEADLINE);
});

test("a damaged state file is told, and counts as not there", async () => {
  await (await starting()).close();
  for (const name of ["last-good.json", "published.json"]) await truncate(join(root, "state", name), 9);
  await starting();
  expect(told("alarm").map((event) => event.error.code)).toEqual(["corrupt", "corrupt"]);
  expect(told("unchanged")).toHaveLength(1);
});

test("two publishers of one bus number one after the other", async () => {
  const second = join(root, "second");
  await mkdir(second);
  await save(second, "web.yaml", upstream("web", 9001));
  await Promise.all([starting(), starting({ directory: second, stateDirectory: join(root, "state-2") })]);
  // Which of them is first, and whose event is, is nobody's business.
  const numbers = told("published").map((event) => event.number);
  expect(new Set(numbers)).toEqual(new Set([1, 2]));
  expect((await bus.head())?.number).toBe(2);
});

test("with keys, revisions are signed, also one that was on the bus unsigned", async () => {
  await (await starting()).close();
  const keys = await initKeys(join(root, "keys"), { now: Date.now() });
  await starting({ signers: [await loadSigningKey(keys.signing[0]?.file ?? "")] });
  const manifest = await newestManifest();
  expect(manifest.manifest.number).toBe(2);
  expect(verifyManifest(manifest, await loadTrust(keys.trust), Date.now()).signedBy).toHaveLength(1);
});

test("an old checkout is not published over what came after it, unless it is forced", async () => {
  const git = (...args: readonly string[]): string => {
    const who = ["-c", "user.name=Test", "-c", "user.email=test@acme.example"];
    return execFileSync("git", ["-C", tree, ...who, ...args], { encoding: "utf8" }).trim();
  };
  git("init", "-q");
  git("add", "-A");
  git("commit", "-q", "-m", "first");
  const old = git("rev-parse", "HEAD");
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  git("commit", "-q", "-a", "-m", "second");
  const first = await starting({ history: "follow" });
  await first.close();
  expect((await newestManifest()).manifest.commit).toBe(git("rev-parse", "HEAD"));

  git("checkout", "-q", old);
  const second = await starting({ history: "follow" });
  const refused = () =>
    expect(second.status().error).toMatchObject({ code: "conflict", message: expect.stringContaining(old) });
  await vi.waitFor(refused, DEADLINE);
  await second.close();
  expect((await bus.head())?.number).toBe(1);
  await starting({ history: "force" });
  const published = async () => expect((await newestManifest()).manifest).toMatchObject({ number: 2, commit: old });
  await vi.waitFor(published, DEADLINE);
});

test("blobs that the bus lost are put again", async () => {
  const publisher = await starting();
  const part = (await newestManifest()).manifest.parts[0];
  (await bus.getBlob(part?.digest ?? ""))?.fill(0);
  await expect(bus.getBlob(part?.digest ?? "")).rejects.toMatchObject({ code: "corrupt" });
  await publisher.refresh();
  expect(digestOf((await bus.getBlob(part?.digest ?? "")) ?? "")).toBe(part?.digest);
});

test("a bus that fails is told once and tried again", async () => {
  let failing = true;
  const faulty: Bus = {
    ...delegate(bus),
    head: async () => {
      if (failing) throw new Error("no space left");
      return await bus.head();
    },
  };
  const publisher = await starting({ bus: faulty, pollMs: 10 });
  expect(publisher.status()).toMatchObject({ number: 0, error: { message: "no space left" } });
  failing = false;
  await vi.waitFor(() => expect(told("published")).toHaveLength(1), DEADLINE);
  expect(told("failed")).toHaveLength(1);
  expect(publisher.status().error).toBeUndefined();
});

test("a tree that is not there is told, and published once it is", async () => {
  const publisher = await starting({ directory: join(root, "later"), pollMs: 10 });
  expect(publisher.status()).toMatchObject({ number: 0, error: { code: "not-found" } });
  await save(join(root, "later"), "web.yaml", upstream("web", 1));
  await vi.waitFor(() => expect(told("published")).toHaveLength(1), DEADLINE);
});

test("nothing of the tree's own bookkeeping wakes it, and closing twice is safe", async () => {
  const publisher = await starting({ stateDirectory: join(tree, ".state") });
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(2), DEADLINE);
  await publisher.close();
  await publisher.close();
  await writeFile(join(tree, "team", "limits.yaml"), policy("limits", "false"));
  expect(await publisher.refresh()).toMatchObject({ number: 2 });
  expect((await readdir(join(tree, ".state"))).sort()).toEqual([
    "last-good.changes",
    "last-good.json",
    "published.json",
    "registry.copy.json",
    "registry.json",
    "tmp",
  ]);
  expect(JSON.parse(await readFile(join(tree, ".state", "published.json"), "utf8"))).toMatchObject({ number: 2 });
});

const MODELS = `apiVersion: chancery.dev/v1
kind: Model
metadata: { name: atlas }
spec: {}
---
apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: { name: atlas-v1 }
spec: { model: atlas, version: v1, provider: Acme, maturity: canary, digest: "sha256:${"a".repeat(64)}" }
`;

test("a published version keeps its digest and its maturity goes step by step, also after it was gone", async () => {
  await save(tree, "models/models.yaml", MODELS);
  const publisher = await starting();
  const frozen = (of: Publisher) => of.status().frozen.map(({ scope, problems }) => [scope, problems[0]?.code]);
  await save(tree, "models/models.yaml", MODELS.replace("canary", "deprecated"));
  await vi.waitFor(() => expect(frozen(publisher)).toEqual([["models", "illegal-transition"]]), DEADLINE);

  await rm(join(tree, "models/models.yaml"));
  await vi.waitFor(() => expect(frozen(publisher)).toEqual([]), DEADLINE);
  await publisher.close();

  await save(tree, "models/models.yaml", MODELS.replace("a".repeat(64), "b".repeat(64)));
  const restarted = await starting();
  expect(frozen(restarted)).toEqual([["models", "identity-changed"]]);
});

const DEPLOYED = `${MODELS}---
apiVersion: chancery.dev/v1
kind: Deployment
metadata: { name: atlas-v1-here }
spec: { version: atlas-v1, upstream: web, region: here, country: DE, wireName: atlas }
---
apiVersion: chancery.dev/v1
kind: Application
metadata: { name: chat }
spec: { purpose: Answers, riskTier: limited, apiKeys: [{ id: one, sha256: ${"c".repeat(64)} }] }
---
apiVersion: chancery.dev/v1
kind: Approval
metadata: { name: chat-v1 }
spec: { version: atlas-v1, application: chat, approvers: [alice, bob] }
`;
const OTHER_DIGEST = DEPLOYED.replace("a".repeat(64), "b".repeat(64));

test("whoever takes over refuses another digest of what the one before has published, and knows who approved it", async () => {
  await save(tree, "models/models.yaml", DEPLOYED);
  const first = await starting({ epoch: () => 1 });
  let epoch: number | undefined;
  const second = await starting({ stateDirectory: join(root, "second"), epoch: () => epoch });
  expect(second.status()).toMatchObject({ standby: true });
  await vi.waitFor(async () => {
    const { registry } = await readRegistry(join(root, "second"));
    expect(registry?.changes.map(({ revision, after }) => [revision, after?.key])).toEqual([
      [1, "models/chat-v1"],
      [1, "models/atlas-v1"],
    ]);
    const sides = (of: typeof registry) => of?.changes.map(({ at: _, ...change }) => change);
    expect(sides(registry)).toEqual(sides((await readRegistry(join(root, "state"))).registry));
  }, DEADLINE);

  await first.close();
  epoch = 2;
  await save(tree, "models/models.yaml", OTHER_DIGEST);
  await vi.waitFor(
    () => expect(second.status().frozen.map(({ problems }) => problems[0]?.code)).toEqual(["identity-changed"]),
    DEADLINE,
  );
});

test("a process that was never there before learns from the bus what was published", async () => {
  await save(tree, "models/models.yaml", DEPLOYED);
  await (await starting({ epoch: () => 1 })).close();
  await save(tree, "models/models.yaml", OTHER_DIGEST);
  const taking = await starting({ stateDirectory: join(root, "third"), epoch: () => 2 });
  expect(taking.status().refused.map(({ code }) => code)).toEqual(["identity-changed"]);
  expect(taking.status().number).toBe(0);
  expect((await readRegistry(join(root, "third"))).registry).toMatchObject({
    changes: [],
    identities: { "models/atlas@v1": {} },
  });
});

test("a leader does not read what it has published itself", async () => {
  await save(tree, "models/models.yaml", DEPLOYED);
  const leader = await starting({ epoch: () => 1 });
  const blob = vi.spyOn(bus, "getBlob");
  await save(tree, "team/limits.yaml", policy("limits", "true"));
  await vi.waitFor(() => expect(told("published")).toHaveLength(2), DEADLINE);
  await leader.close();
  // Not even the manifest before the new one, which it has signed.
  expect(blob).not.toHaveBeenCalled();
});

test("nothing is published while it is not known what others have published", async () => {
  await save(tree, "models/models.yaml", DEPLOYED);
  await (await starting({ epoch: () => 1 })).close();
  const blob = vi.spyOn(bus, "getBlob").mockRejectedValue(new ChanceryError("unavailable", "the bus is away"));
  await save(tree, "models/models.yaml", OTHER_DIGEST);
  const taking = await starting({ stateDirectory: join(root, "third"), epoch: () => 2, pollMs: 20 });
  expect(taking.status()).toMatchObject({ number: 0, error: { message: "the bus is away" } });
  blob.mockRestore();
  await vi.waitFor(
    () => expect(taking.status().refused.map(({ code }) => code)).toEqual(["identity-changed"]),
    DEADLINE,
  );
});

test("a registry that is damaged twice over is put aside, and made again from what was published last", async () => {
  await save(tree, "models/models.yaml", DEPLOYED);
  await (await starting()).close();
  const file = join(root, "state/registry.json");
  const copy = join(root, "state/registry.copy.json");
  for (const each of [file, copy]) await truncate(each, 100);
  await bus.close();
  bus = createInProcessBus();
  await save(tree, "models/models.yaml", OTHER_DIGEST);
  const restarted = await starting();
  expect(told("alarm").map(({ error }) => error.message)).toEqual([`${file} cannot be read`, `${copy} cannot be read`]);
  expect(restarted.status().frozen.map(({ problems }) => problems[0]?.code)).toEqual(["identity-changed"]);
  expect((await stat(join(root, "state/registry.damaged.json"))).size).toBe(100);
  const { registry } = await readRegistry(join(root, "state"));
  expect(registry?.changes.map(({ after }) => after?.key)).toEqual(["models/chat-v1", "models/atlas-v1"]);
});
