import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EXT_AUTHZ_CLUSTER, findEnvoy, type RoutePlan, TYPE_URLS } from "../envoy/index.ts";
import { olderEnvoy } from "../test/support/index.ts";
import { wholeGroups } from "./index.ts";
import { caseText, compileText, decode } from "./testdata/golden.ts";

let directory: string;
let envoy: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "compiler-"));
  envoy = (await findEnvoy(process.env)).path;
});
afterAll(() => rm(directory, { recursive: true }));

/** Rewrites objects from the inside out; `change` may return the same object. */
function map(value: JsonValue, change: (object: JsonObject) => JsonObject): JsonValue {
  if (Array.isArray(value)) return value.map((item) => map(item, change));
  if (value === null || typeof value !== "object") return value;
  return change(Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, map(inner, change)])));
}

/** What Envoys of a plan run as one static configuration: what is discovered is put in place. */
function staticConfiguration(text: string, plan: RoutePlan): JsonValue {
  const whole = wholeGroups(compileText(text).parts.nodeGroups);
  const resources = whole.find((group) => group.name.endsWith("#reduced") === (plan === "reduced"))?.resources ?? [];
  const bodies = (typeUrl: string) =>
    new Map(resources.filter((r) => r.typeUrl === typeUrl).map((r) => [r.name, decode(r)]));
  const endpoints = bodies(TYPE_URLS.endpoint);
  const routes = bodies(TYPE_URLS.route);
  const filters = bodies(TYPE_URLS.extensionConfig);
  const inPlace = (object: JsonObject): JsonObject => {
    const { rds, config_discovery: discovered, eds_cluster_config: eds, sds_config: _, ...rest } = object;
    if (rds !== undefined) {
      const { route_config_name: table } = rds as { route_config_name: string };
      return { ...rest, route_config: routes.get(table) ?? null };
    }
    if (discovered !== undefined)
      return { ...rest, typed_config: filters.get(String(rest.name))?.typed_config ?? null };
    if (eds !== undefined)
      return { ...rest, type: "STATIC", load_assignment: endpoints.get(String(rest.name)) ?? null };
    return rest;
  };
  return map(
    {
      static_resources: {
        clusters: [...bodies(TYPE_URLS.cluster).values(), { name: EXT_AUTHZ_CLUSTER, type: "STATIC" }],
        listeners: [...bodies(TYPE_URLS.listener).values()],
        secrets: [{ name: "secret/provider-key", generic_secret: { secret: { inline_string: "key" } } }],
      },
    },
    inPlace,
  );
}

const CASES = ["model-chain", "plain-services", "tokens"];

async function validated(binary: string, text: string, plan: RoutePlan): Promise<string> {
  const file = join(directory, "envoy.json");
  await writeFile(file, JSON.stringify(staticConfiguration(text, plan)));
  const { stdout, stderr } = await promisify(execFile)(binary, ["--mode", "validate", "-l", "warning", "-c", file]);
  expect(`${stdout}${stderr}`).toMatch(/OK$/m);
  return stderr;
}

test.each(CASES)("Envoy accepts what %s compiles to, without a deprecated field", async (name) => {
  for (const plan of ["full", "reduced"] as const) {
    expect(await validated(envoy, caseText(name), plan)).not.toMatch(/[Dd]eprecated/);
  }
});

test("Envoy 1.39 knows every field that the reduced plan has", { timeout: 120_000 }, async ({ skip }) => {
  const older = await olderEnvoy("1.39.3").catch((error: unknown) => skip(`no Envoy 1.39.3: ${error}`));
  const mirrored = caseText("plain-services").replace(
    "      filters:\n",
    "$&        - { type: RequestMirror, requestMirror: { backendRef: { group: chancery.dev, kind: Upstream, name: shop-a } } }\n",
  );
  for (const text of [...CASES.map(caseText), mirrored]) await validated(older, text, "reduced");
});
