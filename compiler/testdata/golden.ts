import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fromBinary, type JsonObject, toJson } from "@bufbuild/protobuf";
import { envoyTypes } from "../../envoy/index.ts";
import { parseResources } from "../../resources/index.ts";
import { type CompileResult, compile, type EncodedResource } from "../index.ts";

/** A key as an issuer would publish it: the example of RFC 7517 appendix A.1. */
const PUBLIC_KEYS = JSON.stringify({
  keys: [
    {
      kty: "EC",
      crv: "P-256",
      x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
      y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
      use: "sig",
      kid: "1",
    },
  ],
});

const JWKS = new Map([
  ["file:login.jwks.json", PUBLIC_KEYS],
  ["https://partner.example.com/jwks", PUBLIC_KEYS],
]);

/** The resources of a case, as text. */
export function caseText(name: string): string {
  return readFileSync(join(import.meta.dirname, name, "resources.yaml"), "utf8");
}

/** Compiles one file of resources; problems of either stage are thrown. */
export function compileText(text: string): CompileResult {
  const loaded = parseResources(new Map([["resources.yaml", text]]));
  const result = compile(loaded.inventory, { jwks: JWKS, positions: loaded.positions });
  const errors = [...loaded.problems, ...result.problems].filter((problem) => problem.severity === "error");
  if (errors.length > 0) throw new Error(errors.map((problem) => problem.message).join("\n"));
  return result;
}

export function decode(resource: EncodedResource): JsonObject {
  const schema = envoyTypes.getMessage(resource.typeUrl.slice("type.googleapis.com/".length));
  if (schema === undefined) throw new Error(`unknown type ${resource.typeUrl}`);
  const json = toJson(schema, fromBinary(schema, resource.value), { registry: envoyTypes, useProtoFieldName: true });
  return json as JsonObject;
}
