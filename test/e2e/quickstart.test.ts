import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePorts, runProcess, type SpawnedProcess, spawnProcess, waitFor } from "../support/index.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const RESOURCES = "examples/quickstart/resources";
/** Ports that the resources name; the first is the gateway's. */
const PORTS = [10000, 10101, 10102, 10103, 10111, 10112];
const START_MS = 120_000;
const WAIT_MS = 30_000;

let directory: string;
let resources: string;
let quickstart: SpawnedProcess;
let blocks: readonly Block[];
/** README's words → those of this run: other ports, a copy of the resources. */
let translate: (command: string) => string;
let processes: ReadonlyMap<number, string>;

/** Commands of the README with the words before them. */
interface Block {
  readonly words: string;
  readonly commands: readonly string[];
}

/** What README says of the answers of a block. */
const SAYS: readonly { readonly words: RegExp; readonly check: (answers: readonly string[]) => void }[] = [
  {
    words: /answered by the newest approved version, in the EU/,
    check: ([answer = ""]) => {
      expect(JSON.parse(answer)).toMatchObject({ served_by: { name: "eu", region: "EU", model: "atlas-2-2026-03" } });
    },
  },
  {
    words: /runs in the US only\. A rule sends it to `atlas` instead/,
    check: ([answer = ""]) => {
      expect(JSON.parse(answer)).toMatchObject({ served_by: { name: "eu", region: "EU", model: "atlas-2-2026-03" } });
    },
  },
  {
    words: /no version was approved is refused, with the reason/,
    check: ([answer = ""]) => {
      const { error } = JSON.parse(answer) as { error: { message: string; decision_id: string } };
      expect(error.message).toMatch(/approv/i);
      expect(error.decision_id).not.toBe("");
    },
  },
  {
    words: /newer version starts to fail, and the older approved one answers/,
    check: ([, answer = ""]) => {
      expect(JSON.parse(answer)).toMatchObject({ served_by: { name: "eu-old", model: "atlas-1-2025-06" } });
    },
  },
  {
    words: /plain service with weights 80 and 20/,
    check: ([answer = ""]) => {
      expect((JSON.parse(answer) as { served_by: string }).served_by).toMatch(/^shop-(blue|green)$/);
    },
  },
  {
    words: /Which models may I use\? Why would a request be refused\? What runs where\?/,
    check: ([models = "", why = "", status = ""]) => {
      const { data } = JSON.parse(models) as { data: { id: string }[] };
      expect(data.map(({ id }) => id).sort()).toEqual(["atlas", "orion"]);
      expect(why).toMatch(/deny/);
      expect(why).toMatch(/approv/i);
      expect(status).toMatch(/envoy-1 {2}gateway edge/);
      expect(status).toMatch(/authz-1 {2}revision 1[\s\S]*authz-2 {2}revision 1|authz-2 {2}revision 1[\s\S]*authz-1/);
    },
  },
];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-quickstart-"));
  resources = join(directory, "resources");
  await cp(join(ROOT, RESOURCES), resources, { recursive: true });
  const [xds = 0, one = 0, two = 0, control = 0, admin = 0, ...own] = await freePorts(5 + PORTS.length);
  for (const file of await readdir(resources, { recursive: true })) {
    if (!file.endsWith(".yaml")) continue;
    await edit(file, (text) =>
      PORTS.reduce((now, port, index) => now.replaceAll(`port: ${port}`, `port: ${own[index]}`), text),
    );
  }
  translate = (command) =>
    PORTS.reduce((now, port, index) => now.replaceAll(`localhost:${port}`, `localhost:${own[index]}`), command)
      .replace(RESOURCES, resources)
      .replace("chancery -- status", `chancery -- status --control 127.0.0.1:${control}`);
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  blocks = commandBlocks(/\n## Try it\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? "");

  const args = ["--resources", resources, "--state", join(directory, "state"), "--xds", `${xds}`];
  const ports = ["--authz", `${one},${two}`, "--control", `${control}`, "--envoy-admin", `${admin}`];
  quickstart = await spawnProcess("npm", ["start", "--", ...args, ...ports], {
    cwd: ROOT,
    group: true,
    graceMs: 20_000,
  });
  await quickstart.waitForOutput(/^ready {2}.*$/m, START_MS);
  processes = await descendants(quickstart.pid);
}, START_MS + 10_000);

afterAll(async () => {
  await quickstart?.close();
  await rm(directory, { recursive: true, force: true });
});

function commandBlocks(section: string): Block[] {
  let words = "";
  const found: Block[] = [];
  for (const part of section.split(/```sh\n([\s\S]*?)```/).entries()) {
    const [index, text] = part;
    if (index % 2 === 0) words = text.replace(/\s+/g, " ").trim();
    else found.push({ words, commands: text.trim().split("\n") });
  }
  return found;
}

async function edit(file: string, change: (text: string) => string): Promise<void> {
  const path = join(resources, file);
  const text = await readFile(path, "utf8");
  const changed = change(text);
  if (changed !== text) await writeFile(path, changed);
}

async function run(command: string): Promise<string> {
  const { code, stdout, stderr } = await runProcess("sh", ["-c", translate(command)], { deadlineMs: WAIT_MS });
  if (stdout === "" && code !== 0) throw new Error(`${command}\nended with ${code}\n${stderr}`);
  return stdout;
}

/** Processes below a process and itself: pid → its command line. */
async function descendants(pid: number): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  const command = await commandLine(pid);
  if (command === undefined) return found;
  found.set(pid, command);
  for (const task of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const children = await readFile(`/proc/${pid}/task/${task}/children`, "utf8").catch(() => "");
    for (const child of children.split(" ").filter(Boolean)) {
      for (const [below, line] of await descendants(Number(child))) found.set(below, line);
    }
  }
  return found;
}

/** Undefined for a process that has ended. */
async function commandLine(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return text === "" ? undefined : text.replaceAll("\0", " ");
}

test("npm start brings up every process, and says where they are", () => {
  const lines = [...processes.values()].join("\n");
  expect(lines).toMatch(/quickstart\/start\.ts/);
  expect(lines).toMatch(/main\.ts start /);
  expect(lines.match(/main\.ts authz /g)).toHaveLength(2);
  expect(lines).toMatch(/envoy.* -c /);
  const [ready = ""] = /^ready {2}.*$/m.exec(quickstart.stdout()) ?? [];
  expect(ready).toContain(translate("gateway http://localhost:10000").replace("localhost", "127.0.0.1"));
});

test("every command that README shows answers as README says", async () => {
  expect(blocks[0]?.commands).toEqual(["npm start"]);
  const shown = blocks.slice(1);
  expect(shown.length).toBe(SAYS.length);
  for (const { words, commands } of shown) {
    const said = SAYS.find((one) => one.words.test(words));
    if (said === undefined) throw new Error(`no check for what README says: ${words}`);
    const answers: string[] = [];
    for (const command of commands) answers.push(await run(command));
    said.check(answers);
  }
});

test("an edit of a weight and one of a rule come into force, and each step is printed", async () => {
  const shop = () => run("curl -s localhost:10000/shop");
  await edit("shop.yaml", (text) => text.replace("weight: 80", "weight: 0"));
  await stepsOf(2);
  const answers = await Promise.all(Array.from({ length: 20 }, shop));
  expect(new Set(answers.map((text) => (JSON.parse(text) as { served_by: string }).served_by))).toEqual(
    new Set(["shop-green"]),
  );

  await edit("policies.yaml", (text) => text.replace(`request.url_path == "/shop"`, `request.url_path == "/store"`));
  await stepsOf(3);
  expect(JSON.parse(await shop())).toMatchObject({ error: { code: "not_allowed" } });
});

test("broken YAML leaves a scope as it was, and the message says where", async () => {
  await edit("teams/eu/eu-assistant.yaml", (text) => text.replace("spec:", "spec: ["));
  await quickstart.waitForOutput(/teams\/eu.*stays as it was.*teams\/eu\/eu-assistant\.yaml:\d+:\d+/, WAIT_MS);
  expect(JSON.parse(await run(blocks[1]?.commands[0] ?? ""))).toMatchObject({ served_by: { name: "eu" } });
});

test("Ctrl-C ends every process that it started", async () => {
  expect(processes.size).toBeGreaterThanOrEqual(5);
  quickstart.signal("SIGINT");
  await quickstart.waitForEnd(WAIT_MS);
  const left = async (): Promise<string[]> => {
    const lines = await Promise.all(
      [...processes].map(async ([pid, line]) => ((await commandLine(pid)) === line ? line : "")),
    );
    return lines.filter(Boolean);
  };
  // npm may be gone a moment before what it ran.
  await waitFor(
    async () => (await left()).length === 0,
    WAIT_MS,
    () => quickstart.stdout().slice(-2_000),
  );
  expect(await left()).toEqual([]);
});

/** Waits until all steps of a revision are printed. */
async function stepsOf(revision: number): Promise<void> {
  for (const step of [
    "published in \\d+ ms",
    "acknowledged by envoy-1 after \\d+ ms",
    "enforced by authz-1, authz-2 after \\d+ ms",
  ]) {
    await quickstart.waitForOutput(new RegExp(`^revision ${revision}: ${step}$`, "m"), WAIT_MS);
  }
}
