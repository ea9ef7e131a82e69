import { expect, onTestFinished, test } from "vitest";
import { type Inventory, parseResources } from "../resources/index.ts";
import type { Bus, SequencedHead } from "./bus.ts";
import { delegate } from "./bus-fixture.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import { publish } from "./publish.ts";
import { RegistryWatch } from "./registry-watch.ts";
import { compileLoaded, upstream } from "./tree-fixture.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");

/** A tree whose one version is deployed. */
const tree = (name: string) =>
  parseResources(
    new Map([
      [
        "models.yaml",
        `${upstream("web", 80)}---
apiVersion: chancery.dev/v1
kind: Model
metadata: { name: chat }
spec: {}
---
apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: { name: ${name} }
spec: { model: chat, version: ${name}, provider: Acme, maturity: production, digest: "sha256:${"a".repeat(64)}" }
---
apiVersion: chancery.dev/v1
kind: Deployment
metadata: { name: ${name}-here }
spec: { version: ${name}, upstream: web, region: here, country: DE, wireName: chat }
`,
      ],
    ]),
  );

async function published(bus: Bus, name: string): Promise<{ head: SequencedHead; inventory: Inventory }> {
  const loaded = tree(name);
  expect(loaded.problems).toEqual([]);
  const options = { bus, signers: [], now: () => NOW, numberFloor: 0 };
  await publish(compileLoaded(loaded).parts, `tree of ${name}`, options);
  const head = await bus.head();
  if (head === undefined) throw new Error("nothing was published");
  return { head, inventory: loaded.inventory };
}

function watching(changes: { bus?: Bus; trust?: string } = {}) {
  const bus = changes.bus ?? createInProcessBus();
  onTestFinished(() => bus.close());
  const learnt: string[][] = [];
  const registered: { number: number; source: string; at: number }[] = [];
  const alarms: string[] = [];
  const watch = new RegistryWatch({
    bus,
    trust: changes.trust,
    state: {
      learn: async (versions) => void learnt.push(versions.map(({ key }) => key)),
      register: async (_, revision) => void registered.push(revision),
    },
    now: () => NOW,
    onEvent: ({ error }) => void alarms.push(error.code),
  });
  onTestFinished(() => watch.close());
  return { bus, watch, learnt, registered, alarms };
}

test("learns the versions of each revision once, and of none that is older", async () => {
  const { bus, watch, learnt } = watching();
  const { head: first } = await published(bus, "v1");
  const { head: second } = await published(bus, "v2");
  expect(await watch.learn(second)).toBe(2);
  expect(await watch.learn(second)).toBe(2);
  expect(await watch.learn(first)).toBe(2);
  expect(learnt).toEqual([["v2"]]);
});

test("a head that claims a greater number than its revision has tells nothing new", async () => {
  const { bus, watch, learnt } = watching();
  const { head } = await published(bus, "v1");
  await watch.learn(head);
  expect(await watch.learn({ ...head, number: 9 })).toBe(1);
  expect(learnt).toHaveLength(1);
});

test("registers the whole of what was compiled from its own tree, whichever comes first", async () => {
  for (const treeFirst of [true, false]) {
    const { bus, watch, registered } = watching();
    const { head, inventory } = await published(bus, "v1");
    const steps = [() => watch.standBy(inventory, "tree of v1"), () => watch.learn(head)];
    for (const step of treeFirst ? steps : steps.reverse()) {
      expect(registered).toEqual([]);
      await step();
    }
    expect(registered).toEqual([{ number: 1, source: "tree of v1", at: NOW }]);
  }
});

test("does not register what was compiled from another tree", async () => {
  const { bus, watch, registered } = watching();
  const { head, inventory } = await published(bus, "v1");
  await watch.standBy(inventory, "another tree");
  await watch.learn(head);
  expect(registered).toEqual([]);
});

test("leaves to the publisher what it has published itself, and the tree of before with it", async () => {
  const { bus, watch, learnt, registered } = watching();
  const { inventory } = await published(bus, "v1");
  await watch.standBy(inventory, "tree of v1");
  const { head } = await published(bus, "v2");
  watch.published(2);
  expect(await watch.learn(head)).toBe(2);
  expect(learnt).toEqual([]);
  const { head: third } = await published(bus, "v1");
  await watch.learn(third);
  await watch.learn({ ...third, number: 4 });
  expect(learnt).toEqual([["v1"]]);
  expect(registered).toEqual([]);
});

test("an alarm tells of a revision that cannot be read or is nobody's, and it counts as not known", async () => {
  const missing = watching();
  const { head } = await published(missing.bus, "v1");
  expect(await missing.watch.learn({ ...head, manifest: `sha256:${"0".repeat(64)}` })).toBe(0);
  expect([missing.alarms, missing.learnt]).toEqual([["not-found"], []]);
  expect(await missing.watch.learn(head)).toBe(1);

  const strangers = watching({ bus: missing.bus, trust: "{}" });
  await strangers.watch.learn(head);
  expect(strangers.learnt).toEqual([]);
});

test("a bus that does not answer is no revision that cannot be read: whoever asked is told, and may ask again", async () => {
  const inner = createInProcessBus();
  const { head } = await published(inner, "v1");
  let away = true;
  const bus = delegate(inner);
  bus.getBlob = (digest) => (away ? Promise.reject(new Error("the bus is away")) : inner.getBlob(digest));
  const { watch, alarms, learnt } = watching({ bus });
  await expect(watch.learn(head)).rejects.toMatchObject({ code: "unavailable" });
  away = false;
  expect(await watch.learn(head)).toBe(1);
  expect([alarms, learnt]).toEqual([[], [["v1"]]]);
});

test("learns nothing after its end", async () => {
  const { bus, watch, learnt } = watching();
  const { head } = await published(bus, "v1");
  await watch.close();
  expect(await watch.learn(head)).toBe(0);
  expect(learnt).toEqual([]);
});
