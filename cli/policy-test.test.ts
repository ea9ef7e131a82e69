import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openDecisionJournal } from "../audit/index.ts";
import type { DecisionRecord } from "../ext-authz/index.ts";
import { runChancery, temporaryDirectory } from "../test/support/index.ts";

const EXAMPLE = fileURLToPath(new URL("../examples/eu-residency/resources", import.meta.url));

/** The example with one more file. */
async function changed(file: string, text: string): Promise<string> {
  const tree = join(await temporaryDirectory("test"), "tree");
  await cp(EXAMPLE, tree, { recursive: true });
  await writeFile(join(tree, file), text);
  return tree;
}

const FAILING = `apiVersion: chancery.dev/v1
kind: PolicyTest
metadata: { name: wrong }
spec:
  now: 2026-06-01T00:00:00Z
  request: { application: support-chat, subject: { id: berlin } }
  cases:
    - name: answered in <Virginia>
      request: { route: models, model: atlas }
      expect:
        effect: allow
        targets: [atlas-v2-virginia]
    - name: asks nothing
      expect: { effect: allow }
`;

const OPEN = `apiVersion: chancery.dev/v1
kind: Policy
metadata: { name: open }
spec:
  rules:
    - { id: all, effect: allow, reason: Everyone may }
`;

const TIGHT = OPEN.replace("allow, reason", "deny, when: 'request.method == \"POST\"', reason");

test("test passes an example whose rules are all covered", async () => {
  const run = await runChancery("test", "--coverage-threshold", "100", EXAMPLE);
  expect(run.stderr).toBe("");
  expect(run.stdout).toMatch(/\d+ cases, 0 failed/);
  expect(run.stdout).toMatch(/rules {7}100 %/);
  expect(run.code).toBe(0);
});

test("test says where what was expected stands, and what came instead", async () => {
  const tree = await changed("wrong.yaml", FAILING);
  const run = await runChancery("test", tree);
  expect(run.stdout).toContain(
    "wrong.yaml:12:18: targets\n        - expected  atlas-v2-virginia\n        + actual    model/atlas-v2-dublin",
  );
  expect(run.stdout).toContain("wrong.yaml:13:7: name a route or a path");
  expect(run.code).toBe(1);

  const junit = await runChancery("test", "--format", "junit", tree);
  expect(junit.stdout).toContain('<testsuite name="wrong" tests="2" failures="2">');
  expect(junit.stdout).toContain('name="answered in &lt;Virginia&gt;" file="wrong.yaml" line="8"');
  expect(junit.code).toBe(1);
});

test("test fails below a threshold, and lists mutants that survive", async () => {
  const tree = await changed("open.yaml", OPEN);
  const run = await runChancery("test", "--coverage-threshold", "100", "--mutate", "--format", "json", tree);
  expect(run.stderr).toContain("rule coverage is 75 %, and 100 % is asked for");
  expect(run.code).toBe(1);
  const { coverage, mutation } = JSON.parse(run.stdout);
  expect(coverage.rules).toContainEqual(expect.objectContaining({ rule: "open/all", covered: false }));
  expect(mutation.survivors).toContainEqual(expect.objectContaining({ rule: "open/all", change: "dropped" }));
});

test("test wants a PolicyTest", async () => {
  const run = await runChancery("test", fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url)));
  expect(run.stderr).toContain("there is no PolicyTest");
  expect(run.code).toBe(3);
});

test("diff exits by what it finds: nothing, a tightening, a loosening", async () => {
  const same = await runChancery("diff", EXAMPLE, EXAMPLE);
  expect(same.stdout).toContain("0 decided otherwise\nThe change does not loosen.");
  expect(same.code).toBe(0);

  const tight = await runChancery("diff", EXAMPLE, await changed("tight.yaml", TIGHT));
  expect(tight.stdout).toContain("rule open/all: deny rule added");
  expect(tight.stdout).toMatch(/newly denied: \d+ of support-chat by open\/all/);
  expect(tight.code).toBe(1);

  const open = await runChancery("diff", EXAMPLE, await changed("open.yaml", OPEN));
  expect(open.stdout).toContain("LOOSENS  rule open/all: allow rule added: a permission more");
  expect(open.code).toBe(5);
});

test("diff asks for what a journal recorded, as often as it came", async () => {
  const journal = join(await temporaryDirectory("test"), "journal");
  const writer = await openDecisionJournal({ directory: journal });
  for (const id of ["1", "2", "3"]) await writer.append(record(id));
  await writer.close();
  const run = await runChancery(
    ...["diff", "--journal", journal, "--format", "json", EXAMPLE, await changed("tight.yaml", TIGHT)],
  );
  const { groups } = JSON.parse(run.stdout);
  const denied = groups.filter(({ application }: { application: string }) => application === "support-chat");
  expect(denied).toContainEqual(expect.objectContaining({ kind: "newlyDenied", rule: "open/all", loosens: false }));
  const alone = await runChancery("diff", "--format", "json", EXAMPLE, await changed("tight.yaml", TIGHT));
  const counted = (list: { count: number }[]) => list.reduce((sum, { count }) => sum + count, 0);
  expect(counted(groups)).toBe(counted(JSON.parse(alone.stdout).groups) + 3);
});

function record(id: string): DecisionRecord {
  return {
    format: 1,
    id,
    at: "2026-06-02T00:00:00.000Z",
    service: "authz-1",
    revision: { number: 1, digest: "", signed: true },
    layout: "x",
    route: "models/0/0",
    gateway: "edge",
    httpRoute: "models",
    request: {
      id: "r",
      method: "POST",
      host: "localhost:10000",
      path: "/v1/chat/completions",
      source: "10.0.0.1",
      model: "atlas",
      stream: false,
    },
    application: "support-chat",
    subject: { kind: "apiKey", id: "boston" },
    effect: "allow",
    status: 200,
    code: "ok",
    rule: "access/known-applications",
    reason: "",
    targets: [],
    removed: [],
    rerouted: [],
    shadow: [],
    errors: [],
    decidedInUs: 100,
  };
}

test("check warns of what is doubtful in the whole, unless it is accepted", async () => {
  const doubled = OPEN.replace(/ {4}- .*/, ["first", "second"].map(trace).join("\n"));
  const run = await runChancery("check", "--at", "2026-06-01T00:00:00Z", await changed("open.yaml", doubled));
  expect(run.stdout).toMatch(
    /^open\.yaml:7:13: warning: rule "open\/second": open\/first does all .* \[rule-shadowed\]$/m,
  );
  expect(run.code).toBe(0);
  const accepted = doubled.replace(
    "name: open }",
    "name: open, annotations: { chancery.dev/accepted-findings: rule-shadowed } }",
  );
  const quiet = await runChancery("check", "--at", "2026-06-01T00:00:00Z", await changed("open.yaml", accepted));
  expect(quiet.stdout).toMatch(/0 errors, 0 warnings\n$/);
});

function trace(id: string): string {
  return `    - { id: ${id}, effect: deny, when: 'request.method == "TRACE"', reason: Nobody traces }`;
}
