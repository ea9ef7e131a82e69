import { randomUUID } from "node:crypto";
import { Command, Option } from "commander";
import { createRegistry } from "../admin/index.ts";
import { createDecisionService, type DecisionRecord, type JournalRecord } from "../ext-authz/index.ts";
import {
  changedInput,
  compilePolicy,
  type DecisionExplanation,
  type DecisionInput,
  explainDecision,
  explainVerdict,
  formatRules,
  type Verdict,
} from "../policy/index.ts";
import { ChanceryError, formatProblem, type Gateway, printableLines } from "../resources/index.ts";
import { type CompiledDirectory, compileDirectory } from "./compile-directory.ts";
import { type DescribedRequest, describeRequest, encodeCheck, type RequestDescription } from "./described-request.ts";
import { EXIT } from "./exit.ts";
import { type FoundRoute, findRoute } from "./find-route.ts";
import { collect } from "./options.ts";

interface ExplainOptions extends RequestDescription {
  readonly resources: string;
  readonly gateway?: string;
  readonly format: "text" | "json";
}

const HELP = `
Says what would be decided about a request, by whom it is taken to come from, what each rule said, which targets were
removed and why, and in which order the rest may answer; then for each rule how it was found (or why not) and what every
part of its expressions came to. Nothing is sent and nothing is recorded.

The port of the URL chooses the listener. Exit code 0 for an allow, 1 for a refusal.

Examples:
  chancery explain --resources examples/quickstart/resources --url http://localhost:10000/shop/
  chancery explain --resources examples/quickstart/resources --url http://localhost:10000/v1/chat/completions \\
      --api-key demo-key-eu-assistant --body '{"model":"orion","messages":[{"role":"user","content":"hi"}]}'
  chancery explain --resources . --url https://api.acme.example/v1/orders --claims '{"iss":"https://id.acme.example"}'
`;

/** `chancery explain --resources DIR --url URL` */
export function explainCommand(): Command {
  return new Command("explain")
    .requiredOption("--resources <dir>", "root of the resource tree")
    .requiredOption("--url <url>", "the request's URL")
    .option("--method <method>", "GET, or POST where there is a body")
    .option("--header <name: value>", "a header (repeatable)", collect, [])
    .option("--body <text>", "the body; @FILE reads it from a file")
    .addOption(new Option("--api-key <key>", "an API key, sent as a bearer token").conflicts("claims"))
    .option("--claims <json>", "claims of a token that Envoy has verified; @FILE reads them from a file")
    .option("--gateway <key>", "the Gateway, where more than one has the port")
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json"]).default("text"))
    .addHelpText("after", HELP)
    .action(async (options: ExplainOptions) => {
      const request = await describeRequest(options);
      const directory = await compileDirectory(options.resources);
      const errors = directory.problems.filter(({ severity }) => severity === "error");
      if (errors.length > 0) {
        throw new ChanceryError("invalid-resources", `the tree has errors:\n${errors.map(formatProblem).join("\n")}`);
      }
      const route = routeOf(request, directory, options.gateway);
      if (typeof route === "string") {
        process.stdout.write(`${route}\n`);
        process.exitCode = EXIT.problem;
        return;
      }
      const explanation = await explain(request, route, directory);
      const { record } = explanation;
      process.stdout.write(
        options.format === "json"
          ? `${JSON.stringify({ route: route.contextExtensions.route, ...explanation }, undefined, 2)}\n`
          : printableLines(formatExplanation(request, route, explanation)),
      );
      process.exitCode = record.effect === "allow" ? EXIT.ok : EXIT.problem;
    });
}

export interface Explanation {
  readonly record: DecisionRecord;
  /** Absent where the request was refused before any rule was asked. */
  readonly verdict?: Verdict;
  /** As `verdict`. */
  readonly decision?: DecisionExplanation;
}

/** Decides the request with the decision service itself, and listens in on the policy. */
async function explain(
  request: DescribedRequest,
  route: FoundRoute,
  { compiled }: CompiledDirectory,
): Promise<Explanation> {
  const { program, layouts } = compiled.parts;
  const records: JournalRecord[] = [];
  let asked: { readonly input: DecisionInput; readonly verdict: Verdict } | undefined;
  const quiet = (): void => undefined;
  const service = createDecisionService({
    serviceName: "explain",
    compilePolicy: (each) => {
      const policy = compilePolicy(each);
      const decide = (input: DecisionInput): Verdict => {
        const verdict = policy.decide(changedInput(input, { explain: true }));
        asked = { input, verdict };
        return verdict;
      };
      return { ...policy, decide, decideAgain: decide };
    },
    appendRecord: async (record) => void records.push(record),
    clock: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
    newId: randomUUID,
    log: { info: quiet, warn: quiet, error: quiet },
    metrics: createRegistry(),
  });
  try {
    const createdAt = new Date().toISOString();
    service.activate({ number: 1, digest: "", createdAt, signedBy: [], program, layouts });
    const layoutRoute = layouts
      .find(({ hash }) => hash === route.contextExtensions.layout)
      ?.routes.find(({ id }) => id === route.contextExtensions.route);
    await service.check(encodeCheck(request, route, layoutRoute?.body === true, Date.now()));
  } finally {
    await service.close();
  }
  const record = records.find((each) => !("kind" in each));
  if (record === undefined || "kind" in record) throw new ChanceryError("internal", "the decision left no record");
  if (asked === undefined) return { record };
  return { record, verdict: asked.verdict, decision: explainDecision(program, asked.input) };
}

/** @returns in words, why no decision is asked for */
function routeOf(
  request: DescribedRequest,
  directory: CompiledDirectory,
  gatewayKey: string | undefined,
): FoundRoute | string {
  const { url, method, headers } = request;
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const { gateways } = directory.loaded.inventory;
  const candidates = gateways.filter(
    (gateway) =>
      (gatewayKey === undefined || gateway.key === gatewayKey) && gateway.listeners.some((each) => each.port === port),
  );
  const [gateway, another] = candidates;
  if (gateway === undefined) {
    const ports = gateways.flatMap((each) => each.listeners.map((listener) => `${each.key}:${listener.port}`));
    const known = ports.length === 0 ? "there are none" : `there are ${ports.join(", ")}`;
    throw new ChanceryError("invalid-argument", `no listener has the port ${port}; ${known}`);
  }
  if (another !== undefined) {
    const keys = candidates.map(({ key }) => key).join(", ");
    throw new ChanceryError(
      "invalid-argument",
      `several gateways have the port ${port}: choose by --gateway (${keys})`,
    );
  }
  const group = directory.compiled.parts.nodeGroups.find(({ name }) => name === gateway.key);
  const table = routeTableOf(gateway, port, url);
  const routed = { host: url.hostname, method, path: url.pathname, query: url.search.slice(1), headers };
  const route = group === undefined ? undefined : findRoute(group, table, routed);
  return (
    route ??
    `no route of gateway ${gateway.key} matches ${method} ${url.href}: Envoy answers 404, and nothing is decided`
  );
}

/** With TLS each listener has a table of its own, chosen by the server name. */
export function routeTableOf(gateway: Gateway, port: number, url: URL): string {
  const listeners = gateway.listeners.filter((each) => each.port === port);
  const tls = listeners.some(({ protocol }) => protocol === "HTTPS");
  if (tls !== (url.protocol === "https:")) {
    throw new ChanceryError("invalid-argument", `port ${port} of ${gateway.key} speaks ${tls ? "https" : "http"}`);
  }
  const fits = listeners.filter(
    ({ hostname }) =>
      hostname === undefined ||
      hostname === url.hostname ||
      (hostname.startsWith("*.") && url.hostname.endsWith(hostname.slice(1))),
  );
  const [best] = fits.sort((a, b) => rank(b.hostname) - rank(a.hostname));
  return tls ? `${gateway.key}/${port}/${best?.name ?? ""}` : `${gateway.key}/${port}`;
}

function rank(hostname: string | undefined): number {
  if (hostname === undefined) return 0;
  return hostname.startsWith("*.") ? hostname.length : Number.MAX_SAFE_INTEGER;
}

function formatExplanation(
  request: DescribedRequest,
  route: FoundRoute,
  { record, verdict, decision }: Explanation,
): string {
  const caller =
    record.application === ""
      ? "not known"
      : `application ${record.application}, ${record.subject.kind} ${JSON.stringify(record.subject.id)}`;
  const lines = [
    `request  ${request.method} ${request.url.href}`,
    `route    ${route.contextExtensions.route} of gateway ${route.nodeGroup}`,
    `caller   ${caller}`,
  ];
  if (record.request.model !== undefined) lines.push(`model    ${record.request.model}`);
  lines.push("");
  if (verdict === undefined) {
    lines.push(
      record.effect === "allow" ? `allow by ${record.rule}` : `refused (${record.code}) before any rule was asked`,
      `  ${record.reason}`,
    );
  } else {
    lines.push(...explainVerdict(verdict));
  }
  const answer = record.effect === "allow" ? record.targets.join(", then ") || "answered here" : `${record.status}`;
  lines.push("", `answer   ${answer}`);
  if (decision !== undefined) lines.push("", ...formatRules(decision));
  return `${lines.join("\n")}\n`;
}
