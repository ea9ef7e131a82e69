import { readFile } from "node:fs/promises";
import { readDecisions } from "../audit/index.ts";
import type { DecisionRecord } from "../ext-authz/index.ts";
import {
  ChanceryError,
  formatProblem,
  type Inventory,
  type PolicyTestRequest,
  parseResources,
  type ResourceFiles,
} from "../resources/index.ts";
import type { DescribedCase } from "./policy-cases.ts";

/** A request that is asked of both trees. */
export interface Sample {
  readonly described: DescribedCase;
  /** How often it was seen; 1 for what was not recorded. */
  readonly count: number;
  readonly from: "generated" | "policyTest" | "requests" | "journal";
}

/** What any application can ask for on every rule of every route, with every model that the route offers. */
export function generatedRequests(inventory: Inventory): readonly Omit<PolicyTestRequest, "application">[] {
  const names = new Map(inventory.models.map((model) => [model.key, model.names[0] ?? model.name]));
  return inventory.httpRoutes.flatMap((route) =>
    route.rules.flatMap((rule) => {
      const [match] = rule.matches;
      const gateway = route.parents[0]?.gateway;
      if (match === undefined || gateway === undefined || match.path.type === "RegularExpression") return [];
      const models = rule.backends.flatMap((backend) => (backend.kind === "Model" ? [names.get(backend.model)] : []));
      const wanted = models.length === 0 ? [undefined] : models;
      return wanted.map((model) => ({
        gateway,
        route: route.key,
        method: match.method ?? (model === undefined ? "GET" : "POST"),
        path: match.path.value,
        headers: Object.fromEntries(match.headers.map(({ name, value }) => [name.toLowerCase(), [value]])),
        ...(model === undefined ? {} : { model }),
        stream: false,
        subject: { fields: {} },
        source: "127.0.0.1",
      }));
    }),
  );
}

export function policyTestSamples(inventory: Inventory, from: Sample["from"] = "policyTest"): readonly Sample[] {
  return inventory.policyTests.flatMap((test) =>
    test.cases.map((described): Sample => ({ described, count: 1, from })),
  );
}

const REQUESTS_FILE = "chancery-diff-requests.yaml";

/**
 * The cases of PolicyTests in a file of its own, read as if it lay in the root of the tree; what they expect plays no
 * part.
 *
 * @throws ChanceryError "not-found", "invalid-resources"
 */
export async function fileSamples(file: string, tree: ResourceFiles): Promise<readonly Sample[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new ChanceryError("not-found", `the file ${file} cannot be read`, { cause });
  }
  const others = [...tree.files].filter(([path]) => path !== REQUESTS_FILE);
  // Tests of the tree may have names that the file has too.
  const { inventory, problems } = parseResources(new Map([...others, [REQUESTS_FILE, text]]));
  const wrong = problems.filter(({ severity, at }) => severity === "error" && at.file === REQUESTS_FILE);
  if (wrong.length > 0) {
    const lines = wrong.map((problem) => formatProblem({ ...problem, at: { ...problem.at, file } }));
    throw new ChanceryError("invalid-resources", `${file} has errors:\n${lines.join("\n")}`);
  }
  const known = parseResources(tree).inventory.policyTests.map(({ key }) => key);
  const own = inventory.policyTests.filter(({ key }) => !known.includes(key));
  return policyTestSamples({ ...inventory, policyTests: own }, "requests");
}

/**
 * What a journal holds, each kind of request once with how often it came, the newest time of each. Records have no
 * header values, no query and no claims: rules that read those see them missing.
 *
 * @param most  distinct requests that are kept; those that came first
 */
export async function journalSamples(directory: string, most: number): Promise<readonly Sample[]> {
  const samples = new Map<string, { described: DescribedCase; count: number }>();
  for await (const { record } of readDecisions(directory)) {
    if ("kind" in record || record.application === "" || record.gateway === "") continue;
    const request = requestOf(record);
    const key = JSON.stringify(request);
    const described = { now: record.at, request, draw: 0 };
    const known = samples.get(key);
    if (known !== undefined) samples.set(key, { described, count: known.count + 1 });
    else if (samples.size < most) samples.set(key, { described, count: 1 });
  }
  return [...samples.values()].map((sample): Sample => ({ ...sample, from: "journal" }));
}

function requestOf({ request, application, gateway, subject }: DecisionRecord): PolicyTestRequest {
  const { method, host, path, model, stream, source } = request;
  const kind = (["jwt", "apiKey", "mtls", "anonymous"] as const).find((each) => each === subject.kind);
  return {
    application,
    gateway,
    method,
    host: host.replace(/:\d+$/, ""),
    // Recorded as rules compare it: decoded once.
    path: encodeURI(path),
    headers: {},
    ...(model === undefined ? {} : { model }),
    stream,
    subject: { ...(kind === undefined ? {} : { kind }), id: subject.id, fields: {} },
    source,
  };
}
