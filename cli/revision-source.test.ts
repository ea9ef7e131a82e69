import { expect, test } from "vitest";
import { demandOneSource } from "./revision-source.ts";

test.each([
  [{}, "say where revisions come from"],
  [{ resources: "a", bus: "b", trust: "c" }, "say where revisions come from"],
  [{ bus: "b", nats: ["nats://127.0.0.1"], trust: "c" }, "say where revisions come from"],
  [{ bus: "b" }, "--bus or --nats and --trust belong together"],
  [{ nats: ["nats://127.0.0.1"] }, "--bus or --nats and --trust belong together"],
  [{ resources: "a", trust: "c" }, "--bus or --nats and --trust belong together"],
  [{ resources: "a", natsCreds: "c", natsPrefix: "eu" }, "--nats-creds, --nats-prefix say how a NATS is used"],
  [{ nats: ["nats://127.0.0.1"], trust: "c", natsKey: "k" }, "--nats-certificate and --nats-key belong together"],
])("refuses %j", (options, message) => {
  expect(() => demandOneSource(options)).toThrow(message);
});

test.each([[{ resources: "a" }], [{ bus: "b", trust: "c" }], [{ nats: ["nats://127.0.0.1"], trust: "c" }]])(
  "takes %j",
  (options) => {
    expect(() => demandOneSource(options)).not.toThrow();
  },
);
