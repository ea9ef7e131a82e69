import { expect, test } from "vitest";
import { createLogger, levelOf, prettyLine } from "./logging.ts";

test("writes a line for people", () => {
  const line = JSON.stringify({
    level: "warn",
    time: "2026-11-21T10:20:30.456Z",
    pid: 1,
    name: "authz-1",
    revision: 7,
    scope: "team",
    msg: "frozen",
  });
  expect(prettyLine(line)).toBe("10:20:30.456 WARN  authz-1: frozen revision=7 scope=team\n");
  expect(prettyLine("not JSON\n")).toBe("not JSON\n");
});

test("shows on one line what others wrote, whatever it holds", () => {
  const node = "edge\u001b[2J\n10:20:30.456 INFO  control: all is well";
  const line = JSON.stringify({ level: "warn", time: "2026-11-21T10:20:30.456Z", name: "xds", node, msg: "a\nb" });
  expect(prettyLine(line)).toBe(
    "10:20:30.456 WARN  xds: a\n    b node=edge\\u001b[2J\\u000a10:20:30.456 INFO  control: all is well\n",
  );
});

test("refuses a level or format that there is not", () => {
  expect(() => createLogger({ level: "loud", name: "x" })).toThrow('"loud" is not a log level');
  expect(() => createLogger({ level: "info", format: "xml", name: "x" })).toThrow('"xml" is not a log format');
});

test("reads the levels of other programs", () => {
  expect(["warning", "critical", "error", "whatever"].map(levelOf)).toEqual(["warn", "fatal", "error", "info"]);
});
