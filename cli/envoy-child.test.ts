import { expect, test } from "vitest";
import { parseEnvoyLine } from "./envoy-child.ts";

test("gives Envoy's lines their level", () => {
  const line = "[2026-11-21 10:00:00.000][12][warning][config] [source/common/config.cc:138] stream closed: 14";
  expect(parseEnvoyLine(line)).toEqual({ level: "warn", message: "config: stream closed: 14" });
  expect(parseEnvoyLine("[2026-11-21 10:00:00.000][12][critical][main] x")).toEqual({
    level: "fatal",
    message: "main: x",
  });
  expect(parseEnvoyLine('{"status":200}')).toEqual({ level: "debug", message: '{"status":200}' });
  expect(parseEnvoyLine("something else")).toEqual({ level: "info", message: "something else" });
});
