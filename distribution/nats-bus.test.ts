import { jetstream } from "@nats-io/jetstream";
import { headers } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll } from "vitest";
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
