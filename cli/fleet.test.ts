import { expect, test } from "vitest";
import type { NodeReport } from "../distribution/index.ts";
import { Fleet } from "./fleet.ts";

const START = Date.parse("2026-11-21T10:00:00.000Z");
const at = (ms: number): string => new Date(START + ms).toISOString();

function fleet() {
  const lines: string[] = [];
  const watched = new Fleet({
    signedBy: ["key-1"],
    startedAt: START,
    services: 2,
    now: () => START + 150,
    onProgress: (line) => lines.push(line),
  });
  const report = (reporter: string, active: number, ms: number): void =>
    watched.onReport({
      reporter,
      role: "authz",
      at: at(ms),
      prepared: active,
      active,
      layouts: ["abc"],
      firstDecisions: {},
      activeSince: { [active]: at(ms) },
      decisions: 3,
    } satisfies NodeReport);
  const published = (number: number, ms: number): void =>
    watched.onPublisher({
      type: "published",
      number,
      digest: "sha256:a",
      at: START + ms,
      durationMs: 40,
      warnings: [],
    });
  return { watched, lines, report, published };
}

test("tells how far a revision has come, and enforced only when every service decides by it", () => {
  const { watched, lines, report, published } = fleet();
  published(1, 100);
  report("authz-1", 1, 110);
  const node = {
    id: "edge-1",
    group: "edge",
    version: "1.40.0",
    build: "",
    isEnvoy: true,
    plan: "full",
    missingExtensions: [],
  } as const;
  watched.onXds({ kind: "acknowledged", node, revision: 1, layout: "abc", milliseconds: 5 });
  expect(lines).toEqual(["revision 1: published in 40 ms", "revision 1: acknowledged by edge-1 after 50 ms"]);
  report("authz-2", 1, 130);
  expect(lines.at(-1)).toBe("revision 1: enforced by authz-1, authz-2 after 30 ms");
  expect(watched.deciding(1)).toEqual(["authz-1", "authz-2"]);
  expect(watched.deciding(2)).toEqual([]);
});

test("does not count what a service reported before the start", () => {
  const { watched, report } = fleet();
  report("authz-1", 1, -5);
  expect(watched.deciding(0)).toEqual([]);
});

test("makes a status of it", () => {
  const { watched, report, published } = fleet();
  published(1, 100);
  report("authz-1", 1, 110);
  const problem = {
    severity: "error",
    code: "unknown-field",
    message: "no",
    scope: "team",
    at: { file: "team/a.yaml", line: 1, column: 2 },
  } as const;
  const publisher = { number: 1, frozen: [{ scope: "team", problems: [problem] }], refused: [] };
  expect(watched.status({ publisher, nodes: [], restrictions: [] })).toMatchObject({
    revision: { number: 1, signedBy: ["key-1"], createdAt: START + 100 },
    decisionServices: [{ id: "authz-1", activeRevision: 1, decisions: 3, lastReportAt: START + 110 }],
    frozenScopes: [{ scope: "team", problems: ["team/a.yaml:1:2: error: no [unknown-field]"] }],
  });
});

test("shows restrictions in force, and who has not told that it has them", () => {
  const { watched } = fleet();
  const told = (reporter: string, role: NodeReport["role"], restrictions?: readonly string[]): void =>
    watched.onReport({
      ...{ reporter, role, at: at(0), prepared: 1, active: 1, layouts: [], decisions: 0 },
      ...{ firstDecisions: {}, activeSince: {} },
      ...(restrictions === undefined ? {} : { restrictions }),
    });
  told("us/relay", "relay", []);
  told("eu/relay", "relay", ["q-1"]);
  told("us/authz-1", "authz", ["q-2"]);
  // It takes none.
  told("us/xds", "xds");
  const given = {
    kind: "version",
    value: "team/m@1",
    reason: "it leaks",
    by: "alice",
    at: at(0),
    until: at(60),
  } as const;
  const lifted = { at: at(1), by: "bob", reason: "over", signedBy: [] };
  const restrictions = [
    { id: "q-1", ...given, signedBy: [] },
    { id: "q-3", ...given, signedBy: [], lifted },
  ];
  const publisher = { number: 1, frozen: [], refused: [] };
  expect(watched.status({ publisher, nodes: [], restrictions }).restrictions).toEqual([
    {
      ...{ id: "q-1", kind: "version", value: "team/m@1", reason: "it leaks", by: "alice", until: START + 60 },
      missingIn: ["us/authz-1", "us/relay"],
    },
  ]);
});

test("names the place of errors for which a scope or the tree is held back", () => {
  const { watched, lines } = fleet();
  const problem = {
    severity: "error",
    code: "x",
    message: "no",
    scope: "team",
    at: { file: "team/a.yaml", line: 1, column: 2 },
  } as const;
  watched.onPublisher({ type: "frozen", scopes: [{ scope: "team", problems: [problem] }] });
  watched.onPublisher({ type: "frozen", scopes: [] });
  watched.onPublisher({ type: "refused", problems: [problem] });
  expect(lines).toEqual([
    'scope "team" stays as it was last good, for the errors at team/a.yaml:1:2',
    "every scope is in force as it is written again",
    "the tree is not taken, for the errors at team/a.yaml:1:2",
  ]);
});
