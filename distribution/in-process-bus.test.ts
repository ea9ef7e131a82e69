import { expect, test } from "vitest";
import { digestOf } from "../revision/index.ts";
import { busContract } from "./bus-contract.ts";
import { createInProcessBus } from "./in-process-bus.ts";

busContract("in process", async () => {
  const bus = createInProcessBus();
  return {
    open: async () => bus,
    damage: async (digest) => {
      (await bus.getBlob(digest))?.fill(0);
    },
    maxReporters: 256,
    dispose: () => bus.close(),
  };
});

test("blobs that nobody put for many heads are dropped", async () => {
  const bus = createInProcessBus();
  for (let number = 1; number <= 20; number++) {
    const bytes = Buffer.from(String(number));
    await bus.putBlob(digestOf(bytes), bytes);
    await bus.publishHead({ manifest: digestOf(bytes), number }, number - 1);
  }
  expect(await bus.getBlob(digestOf("1"))).toBeUndefined();
  expect(await bus.getBlob(digestOf("10"))).toBeDefined();
  await bus.close();
});
