import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type RunningNats, startNats } from "../test/support/index.ts";
import type { Bus } from "./bus.ts";
import { busContract } from "./bus-contract.ts";
import { openNatsBus } from "./nats-bus.ts";
import { natsNames } from "./nats-streams.ts";

let nats: RunningNats;
beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats.close());

let prefixes = 0;
busContract("NATS", async () => {
  prefixes += 1;
  const prefix = `contract-${prefixes}`;
  const buses: Bus[] = [];
  return {
    open: async () => {
      const options = { servers: [nats.url], name: "contract", prefix, manageStreams: true, log: true };
      const bus = await openNatsBus({ ...options, maximumBytes: 64 * 1024 * 1024 });
      buses.push(bus);
      return bus;
    },
    damage: async (digest) => {
      const connection = await connect({ servers: nats.url });
      const partHeaders = headers();
      partHeaders.set("Chancery-Parts", "1");
      await jetstream(connection).publish(natsNames(prefix).blobPart(digest, 0), "damaged", { headers: partHeaders });
      await connection.close();
    },
    maxReporters: 4096,
    dispose: async () => {
      for (const bus of buses) await bus.close();
    },
  };
});

test("a log stream that another build made too small is made larger when it is full", async () => {
  const prefix = "small";
  const { log: name } = natsNames(prefix);
  const options = { servers: [nats.url], name: "control", prefix, manageStreams: true, log: true };
  const bus = await openNatsBus({ ...options, maximumBytes: 64 * 1024 * 1024 });
  onTestFinished(() => bus.close());
  let sequence = await bus.log.append(new TextEncoder().encode("one"), 0);
  const connection = await connect({ servers: nats.url });
  onTestFinished(() => connection.close());
  const manager = await jetstreamManager(connection);
  await manager.streams.update(name, { max_msgs: 2 });
  for (const text of ["two", "three"]) sequence = await bus.log.append(new TextEncoder().encode(text), sequence);
  expect(await bus.log.after(0)).toHaveLength(3);
  expect((await manager.streams.info(name)).config.max_msgs).toBe(49_152);
});
