import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compile } from "../compiler/index.ts";
import { createInProcessBus, startPublisher } from "../distribution/index.ts";
import { runChancery, temporaryDirectory } from "../test/support/index.ts";

const TREE = `apiVersion: chancery.dev/v1
kind: Model
metadata: { name: atlas }
spec: {}
---
apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: { name: atlas-v1 }
spec: { model: atlas, version: v1, provider: Acme, maturity: canary }
---
apiVersion: chancery.dev/v1
kind: Application
metadata: { name: chat }
spec: { purpose: Answers, riskTier: limited, anonymous: true }
---
apiVersion: chancery.dev/v1
kind: Approval
metadata: { name: chat-v1 }
spec: { version: atlas-v1, application: chat, approvers: [alice, bob], validUntil: 2026-06-01T00:00:00Z }
`;

test("tells what was in force at a time, by whose approval, and since which revision", {
  timeout: 90_000,
}, async () => {
  const root = await temporaryDirectory("registry");
  const [directory, state] = [join(root, "tree"), join(root, "state")];
  await mkdir(directory);
  await writeFile(join(directory, "tree.yaml"), TREE);
  const bus = createInProcessBus();
  const publisher = await startPublisher({
    ...{ directory, bus, stateDirectory: join(state, "publisher"), signers: [], onEvent: () => undefined },
    compile: ({ inventory, positions }) => compile(inventory, { jwks: new Map(), positions }),
    now: () => Date.parse("2026-05-01T00:00:00Z"),
  });
  expect(publisher.status().refused).toEqual([]);
  await publisher.close();
  await bus.close();

  const [then, later, before, history] = await Promise.all([
    runChancery("registry", "at", "2026-05-02T00:00:00Z", "--application", "chat", "--state", state),
    runChancery("registry", "at", "2026-06-01T00:00:00Z", "--state", state, "--format", "json"),
    runChancery("registry", "at", "2026-04-30T00:00:00Z", "--state", state),
    runChancery("registry", "show", "atlas-v1", "--state", state),
  ]);
  expect(then.stdout).toContain("version   atlas-v1  atlas v1 of Acme, canary, no digest");
  expect(then.stdout).toContain("atlas-v1 for chat everywhere until 2026-06-01T00:00:00Z, by alice, bob");
  expect(JSON.parse(later.stdout)).toMatchObject([{ kind: "version", key: "atlas-v1" }]);
  expect(before.stderr).toContain("the registry begins at 2026-05-01T00:00:00.000Z");
  expect(before.code).toBe(3);
  expect(history.stdout).toContain("2026-05-01T00:00:00.000Z  revision 1  sha256:");

  // What is pushed next is held against it.
  const check = (tree: string) =>
    writeFile(join(directory, "tree.yaml"), tree).then(() => runChancery("check", directory, "--state", state));
  const same = await check(TREE);
  expect([same.code, same.stdout]).toEqual([0, expect.stringContaining("0 errors")]);
  const other = await check(TREE.replace("provider: Acme, maturity: canary", "provider: Other, maturity: deprecated"));
  expect(other.code).toBe(1);
  expect(other.stdout).toContain("atlas v1 was published as one of Acme");
  expect(other.stdout).toContain("atlas v1 is canary and cannot become deprecated");
  const nowhere = await runChancery("check", directory, "--state", directory);
  expect([nowhere.code, nowhere.stderr]).toEqual([3, expect.stringContaining("nothing was published from")]);
});
