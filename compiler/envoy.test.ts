import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EXT_AUTHZ_CLUSTER, findEnvoy, TYPE_URLS } from "../envoy/index.ts";
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

/** The resources of a case as one static configuration: what is discovered is put in place. */
function staticConfiguration(name: string): JsonValue {
  const resources = compileText(caseText(name)).parts.nodeGroups.flatMap((group) => group.resources);
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

test.each(["model-chain", "plain-services", "tokens"])(
  "Envoy accepts what %s compiles to, without a deprecated field",
  async (name) => {
    const file = join(directory, `${name}.json`);
    await writeFile(file, JSON.stringify(staticConfiguration(name)));
    const { stdout, stderr } = await promisify(execFile)(envoy, ["--mode", "validate", "-l", "warning", "-c", file]);
    expect(`${stdout}${stderr}`).toMatch(/OK$/m);
    expect(stderr).not.toMatch(/[Dd]eprecated/);
  },
);
