import { readFile } from "node:fs/promises";
import { create, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { JWT_CLAIMS_KEY, JWT_NAMESPACE } from "../envoy/index.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import type { FoundRoute } from "./find-route.ts";

/** What a person says of a request on the command line. */
export interface RequestDescription {
  /** GET, or POST where there is a body. */
  readonly method?: string;
  readonly url: string;
  /** "name: value" */
  readonly header: readonly string[];
  /** Text, or @file. */
  readonly body?: string;
  readonly apiKey?: string;
  /** Claims of a verified token: JSON, or @file. */
  readonly claims?: string;
}

export interface DescribedRequest {
  readonly method: string;
  readonly url: URL;
  /** Lower-case name → values, in order. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: Uint8Array | undefined;
  readonly claims: JsonObject | undefined;
}

/** @throws ChanceryError "invalid-argument", or "not-found" for a file */
export async function describeRequest(description: RequestDescription): Promise<DescribedRequest> {
  const url = parseUrl(description.url);
  const headers = new Map<string, string[]>();
  const add = (name: string, value: string): void => {
    headers.set(name, [...(headers.get(name) ?? []), value]);
  };
  for (const line of description.header) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)$/s.exec(line);
    if (match?.[1] === undefined) throw new ChanceryError("invalid-argument", `"${line}" is no header: name: value`);
    add(match[1].toLowerCase(), match[2] ?? "");
  }
  const body = description.body === undefined ? undefined : await textOrFile(description.body);
  if (body !== undefined && !headers.has("content-type")) add("content-type", "application/json");
  if (description.apiKey !== undefined) add("authorization", `Bearer ${description.apiKey}`);
  const claims = description.claims === undefined ? undefined : parseClaims(await textOrFile(description.claims));
  if (claims !== undefined) add("authorization", `Bearer ${standInToken(claims)}`);
  const method = description.method ?? (body === undefined ? "GET" : "POST");
  return { method, url, headers, body, claims };
}

/** The Check that an Envoy would send for it. Its token is taken for verified, because only Envoy verifies. */
export function encodeCheck(request: DescribedRequest, route: FoundRoute, withBody: boolean, now: number): Uint8Array {
  const path = `${request.url.pathname}${request.url.search}`;
  const body = withBody ? (request.body ?? new Uint8Array()) : new Uint8Array();
  const headers: [string, string][] = [
    [":method", request.method],
    [":path", path],
    [":scheme", request.url.protocol.slice(0, -1)],
    [":authority", request.url.host],
    ...[...request.headers].flatMap(([name, values]) => values.map((value): [string, string] => [name, value])),
  ];
  const source = { address: { case: "socketAddress" as const, value: { address: "127.0.0.1" } } };
  const message = create(CheckRequestSchema, {
    attributes: {
      source: { address: { address: source.address } },
      request: {
        time: timestampFromMs(now),
        http: {
          id: "explain",
          method: request.method,
          path,
          host: request.url.host,
          scheme: request.url.protocol.slice(0, -1),
          protocol: "HTTP/1.1",
          size: BigInt(request.body?.length ?? 0),
          rawBody: body,
          headerMap: { headers: headers.map(([key, value]) => ({ key, rawValue: Buffer.from(value) })) },
        },
      },
      contextExtensions: { ...route.contextExtensions },
      metadataContext: {
        filterMetadata: request.claims === undefined ? {} : { [JWT_NAMESPACE]: { [JWT_CLAIMS_KEY]: request.claims } },
      },
    },
  });
  return toBinary(CheckRequestSchema, message);
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new ChanceryError("invalid-argument", `"${text}" is no URL: write http://HOST[:PORT]/PATH`);
  }
  return url;
}

async function textOrFile(text: string): Promise<Buffer> {
  if (!text.startsWith("@")) return Buffer.from(text);
  try {
    return await readFile(text.slice(1));
  } catch (cause) {
    throw new ChanceryError("not-found", `the file ${text.slice(1)} cannot be read`, { cause });
  }
}

function parseClaims(bytes: Buffer): JsonObject {
  let claims: unknown;
  try {
    claims = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new ChanceryError("invalid-argument", "the claims are not JSON", { cause });
  }
  if (typeof claims !== "object" || claims === null || Array.isArray(claims)) {
    throw new ChanceryError("invalid-argument", 'the claims must be a JSON object: {"iss":"…","sub":"…"}');
  }
  return claims as JsonObject;
}

/** Nobody verifies it: it only says that these claims came with this request. */
function standInToken(claims: JsonObject): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part(claims)}.`;
}
