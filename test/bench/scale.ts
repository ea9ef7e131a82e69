import { analysisProblems } from "../../cli/analysis-problems.ts";
import { compile } from "../../compiler/index.ts";
import { compilePolicy, type DecisionInput, type PolicyProgram } from "../../policy/index.ts";
import { type LoadResult, parseResources } from "../../resources/index.ts";
import { collectGarbage, cpuSince, median } from "./measures.ts";

/**
 * What size costs: versions × applications × rules, from YAML to decisions. Check is parsing, cross-references, compiling
 * for Envoy and the analysis of rules; a decision is compared with that of the small tree, interleaved, in CPU time.
 */

interface Size {
  readonly versions: number;
  readonly applications: number;
  readonly rules: number;
}

const SMALL: Size = { versions: 10, applications: 5, rules: 20 };
const LARGE: Size = { versions: 5_000, applications: 500, rules: 2_000 };
const NOW = Date.parse("2026-11-21T12:00:00Z");
const VERSIONS_PER_MODEL = 5;
const ROUNDS = 7;
const DECISIONS = 4_000;

/** A model has five versions, a team one application and the rules that are left for it. */
function treeOf({ versions, applications, rules }: Size): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const models = Math.ceil(versions / VERSIONS_PER_MODEL);
  files.set(
    "gateway.yaml",
    `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: chancery, listeners: [{name: http, port: 10000, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}
---
apiVersion: chancery.dev/v1
kind: Upstream
metadata: {name: servers}
spec: {endpoints: [{address: 127.0.0.1, port: 9000}]}
`,
  );
  for (let model = 0; model < models; model += 1) files.set(`models/m${model}.yaml`, modelText(model, versions));
  for (let team = 0; team < applications; team += 1) {
    const own = Array.from({ length: Math.ceil((rules - team) / applications) }, (_, rule) => ruleText(team, rule));
    files.set(`teams/t${team}/application.yaml`, teamText(team, own));
  }
  return files;
}

function modelText(model: number, versions: number): string {
  const count = Math.min(VERSIONS_PER_MODEL, versions - model * VERSIONS_PER_MODEL);
  const numbers = Array.from({ length: count }, (_, number) => number);
  return [
    `apiVersion: chancery.dev/v1
kind: Model
metadata: {name: m${model}}
spec: {source: {type: body, pointer: /model}, approval: notRequired}
`,
    `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: m${model}}
spec:
  parentRefs: [{name: edge, namespace: .}]
  rules:
    - matches: [{path: {type: Exact, value: /m${model}/chat}}]
      backendRefs: [{group: chancery.dev, kind: Model, name: m${model}}]
`,
    ...numbers.map(
      (number) => `apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: {name: m${model}-v${number}}
spec:
  model: m${model}
  version: v${number}
  provider: Acme
  maturity: ${number % 4 === 3 ? "canary" : "production"}
  trainingData: {gdprBasis: "${number % 3 === 0 ? "consent" : ""}"}
  scores: [{metric: accuracy, value: 0.9${number}, n: 1000, evaluatedAt: 2026-11-01T00:00:00Z}]
---
apiVersion: chancery.dev/v1
kind: Deployment
metadata: {name: m${model}-v${number}}
spec: {version: m${model}-v${number}, upstream: {name: servers, namespace: .}, region: eu, country: ${number % 2 === 0 ? "DE" : "US"}}
`,
    ),
  ].join("---\n");
}

function teamText(team: number, rules: readonly string[]): string {
  return `apiVersion: chancery.dev/v1
kind: Application
metadata: {name: app}
spec:
  purpose: use case ${team}
  riskTier: limited
  dataClasses: [${team % 2 === 0 ? "pii" : "public"}]
  jurisdictions: [EU]
  apiKeys: [{id: key, sha256: "${team.toString(16).padStart(64, "0")}"}]
---
apiVersion: chancery.dev/v1
kind: Policy
metadata: {name: rules}
spec:
  rules:
    - {id: own, effect: allow, reason: own callers}
${rules.join("")}`;
}

function ruleText(team: number, rule: number): string {
  const { effect, text } = [
    { effect: "restrict", text: `when: '"pii" in application.dataClasses', require: target.country in countries.EU` },
    {
      effect: "restrict",
      text: `when: 'subject.id == "user-${team}-${rule}"', require: 'target.maturity == "production"'`,
    },
    { effect: "deny", text: `when: 'request.method == "DELETE" && subject.id == "user-${team}-${rule}"'` },
    { effect: "prefer", text: `score: 'target.scores["accuracy"]'` },
  ][rule % 4] ?? { effect: "deny", text: `when: 'false'` };
  return `    - {id: r${rule}, effect: ${effect}, ${text}, reason: rule ${rule} of team ${team}}\n`;
}

interface Measured {
  readonly checkMs: number;
  readonly compileMs: number;
  readonly policyMs: number;
  readonly analysisMs: number;
  readonly heapMiB: number;
  readonly problems: number;
  /** What the analysis left out. */
  readonly notes: readonly string[];
  decide(kept: boolean): number;
}

function timed<T>(work: () => T): { readonly value: T; readonly ms: number } {
  const start = process.cpuUsage();
  const value = work();
  return { value, ms: cpuSince(start) / 1_000 };
}

function heapMiB(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}

function measure(size: Size): Measured {
  const files = treeOf(size);
  const before = heapMiB();
  const loaded = timed<LoadResult>(() => parseResources(files));
  const compiled = timed(() => compile(loaded.value.inventory, { jwks: new Map(), positions: loaded.value.positions }));
  const { program } = compiled.value.parts;
  const notes: string[] = [];
  const tree = { loaded: loaded.value, compiled: compiled.value };
  const analysis = timed(() =>
    analysisProblems(tree, { now: NOW, withinMs: 30 * 86_400_000, onNote: (note) => notes.push(note) }),
  );
  const policy = timed(() => compilePolicy(program));
  const heap = heapMiB() - before;
  const inputs = inputsOf(program, size);
  const decide = (kept: boolean) => {
    let denied = 0;
    const start = process.cpuUsage();
    for (let index = 0; index < DECISIONS; index += 1) {
      const input = inputs[index % inputs.length];
      if (input === undefined) continue;
      const verdict = kept ? policy.value.decideAgain(input) : policy.value.decide(input);
      if (verdict.effect === "deny") denied += 1;
    }
    const us = cpuSince(start) / DECISIONS;
    if (denied > 0) throw new Error(`${denied} requests are denied`);
    return us;
  };
  return {
    checkMs: loaded.ms,
    compileMs: compiled.ms,
    analysisMs: analysis.ms,
    policyMs: policy.ms,
    heapMiB: heap,
    notes,
    problems: [...loaded.value.problems, ...compiled.value.problems].filter(({ severity }) => severity === "error")
      .length,
    decide,
  };
}

/** Requests of all applications for all models, each on the model's own route: five candidates each. */
function inputsOf(program: PolicyProgram, { applications, versions }: Size): readonly DecisionInput[] {
  const models = Math.ceil(versions / VERSIONS_PER_MODEL);
  const candidates = Map.groupBy(program.targets, ({ model }) => model?.model ?? "");
  const offered = new Map(program.models.map(({ key }) => [key, [key]]));
  const own = new Map(program.applications.map((application) => [application.key, application]));
  return Array.from({ length: 500 }, (_, index): DecisionInput => {
    const team = index % applications;
    const model = `models/m${(index * 7) % models}`;
    const application = own.get(`teams/t${team}/app`);
    if (application === undefined) throw new Error(`there is no application of team ${team}`);
    return {
      request: {
        method: "POST",
        scheme: "https",
        host: "ai.example",
        path: "/chat",
        url_path: "/chat",
        query: "",
        protocol: "HTTP/2",
        id: "1",
        size: 100,
        time: NOW,
        headers: new Map(),
      },
      source: { address: "10.0.0.1", port: 1 },
      destination: { address: "10.0.0.2", port: 1 },
      connection: { mtls: false },
      metadata: {},
      xds: {},
      subject: { kind: "apiKey", id: "key", claims: {}, fields: {} },
      application,
      gateway: "edge",
      httpRoute: model,
      requested: { modelName: model, model, stream: false },
      candidates: candidates.get(model) ?? [],
      models: offered.get(model) ?? [],
      now: NOW,
      draw: 0,
    };
  });
}

const small = measure(SMALL);
const large = measure(LARGE);
const line = (name: string, ...values: readonly string[]) => {
  process.stdout.write(`${name.padEnd(34)}${values.map((value) => value.padStart(14)).join("")}\n`);
};
const ms = (value: number) => `${value.toFixed(0)} ms`;
line("", "small", "large");
line("versions", `${SMALL.versions}`, `${LARGE.versions}`);
line("applications", `${SMALL.applications}`, `${LARGE.applications}`);
line("rules", `${SMALL.rules}`, `${LARGE.rules}`);
line("errors", `${small.problems}`, `${large.problems}`);
line("parse and link", ms(small.checkMs), ms(large.checkMs));
line("compile for Envoy", ms(small.compileMs), ms(large.compileMs));
line("analyse rules", ms(small.analysisMs), ms(large.analysisMs));
const checkMs = ({ checkMs: parse, compileMs, analysisMs }: Measured) => parse + compileMs + analysisMs;
line("check in all", ms(checkMs(small)), ms(checkMs(large)));
line("resident at most", "", `${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
for (const note of large.notes) line("not all looked at", note);
line("make ready to decide", ms(small.policyMs), ms(large.policyMs));
line("heap", `${small.heapMiB.toFixed(1)} MiB`, `${large.heapMiB.toFixed(1)} MiB`);
for (const [name, kept] of [
  ["decision, evaluated", false],
  ["decision, kept or evaluated", true],
] as const) {
  const rounds = Array.from({ length: ROUNDS }, () => ({ small: small.decide(kept), large: large.decide(kept) }));
  const of = (which: "small" | "large") => median(rounds.map((round) => round[which]));
  const ratio = median(rounds.map((round) => round.large / round.small));
  line(name, `${of("small").toFixed(1)} us`, `${of("large").toFixed(1)} us`, `${ratio.toFixed(2)} x`);
}
