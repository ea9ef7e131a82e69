import { create, fromBinary, type JsonObject, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { compilePolicy } from "../policy/index.ts";
import type { AttributeContext_Peer } from "../protos/gen/envoy/service/auth/v3/attribute_context_pb.ts";
import { type CheckRequest, CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { decodeCheck } from "./check-request.ts";
import { CHAT_KEY, checkBytes, decodeAnswer, revision } from "./fixtures.ts";
import { decodeHeaderValue } from "./headers.ts";
import { readMetadata } from "./request-attributes.ts";
import { createDecisionService } from "./service.ts";

/** Lengths around those that take one byte more. */
const long = fc.constantFrom(126, 127, 128, 129, 16_383, 16_384).map((length) => "l".repeat(length));
const text = fc.oneof(
  { weight: 20, arbitrary: fc.string({ unit: "grapheme", maxLength: 12 }) },
  { weight: 1, arbitrary: long },
);
const bytes = fc.uint8Array({ maxLength: 12 });
const size = fc.oneof(fc.constant(-1n), fc.constant(0n), fc.bigInt({ min: 0n, max: 2n ** 53n }));
const name = fc.constantFrom(
  ":path",
  ":method",
  ":authority",
  "x-role",
  "X-Role",
  "content-type",
  ":Path",
  "Grüße",
  "",
);
const header = fc.record({
  key: name,
  value: fc.oneof(fc.constant(""), text),
  rawValue: fc.oneof(fc.constant(new Uint8Array()), bytes),
});
const json = fc.dictionary(fc.constantFrom("claims", "failed", "a", "__proto__", "é"), fc.jsonValue({ maxDepth: 3 }), {
  maxKeys: 4,
});
const object = json.map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);
const address = fc.oneof(
  fc.record({ address: text, port: fc.nat({ max: 65_535 }) }).map(({ address: at, port }) => ({
    case: "socketAddress" as const,
    value: { address: at, portSpecifier: { case: "portValue" as const, value: port } },
  })),
  text.map((at) => ({
    case: "socketAddress" as const,
    value: { address: at, portSpecifier: { case: "namedPort" as const, value: "http" } },
  })),
  text.map((path) => ({ case: "pipe" as const, value: { path } })),
);
const peer = fc.option(
  fc.record({ address: fc.record({ address }), principal: text, service: text, certificate: text }),
  {
    nil: undefined,
  },
);
const request: fc.Arbitrary<MessageInitShape<typeof CheckRequestSchema>> = fc
  .record({
    source: peer,
    destination: peer,
    tls: fc.option(fc.record({ sni: text }), { nil: undefined }),
    extensions: fc.dictionary(fc.constantFrom("route", "layout", "node_group", "other"), text),
    metadata: fc.option(
      fc.dictionary(fc.constantFrom("envoy.filters.http.jwt_authn", "x", "__proto__"), object, { maxKeys: 2 }),
      { nil: undefined },
    ),
    http: fc.record({
      id: text,
      method: text,
      path: text,
      host: text,
      scheme: text,
      query: text,
      fragment: text,
      size,
      protocol: text,
      body: text,
      rawBody: bytes,
      headers: fc.dictionary(fc.constantFrom("a", "b"), text),
      headerMap: fc.option(fc.record({ headers: fc.array(header, { maxLength: 8 }) }), { nil: undefined, freq: 20 }),
    }),
    time: fc.option(fc.record({ seconds: size, nanos: fc.nat({ max: 999_999_999 }) }), { nil: undefined }),
  })
  .map(({ source, destination, tls, extensions, metadata, http, time }) => {
    const { headerMap, ...rest } = http;
    return {
      attributes: {
        ...(source === undefined ? {} : { source }),
        ...(destination === undefined ? {} : { destination }),
        ...(tls === undefined ? {} : { tlsSession: tls }),
        contextExtensions: extensions,
        ...(metadata === undefined ? {} : { metadataContext: { filterMetadata: metadata } }),
        request: {
          ...(time === undefined ? {} : { time }),
          http: { ...rest, ...(headerMap === undefined ? {} : { headerMap }) },
        },
      },
    };
  });

/** The same, from the message that the general decoder makes. */
function decoded(message: CheckRequest) {
  const { attributes } = message;
  const http = attributes?.request?.http;
  if (attributes === undefined || http?.headerMap === undefined) return undefined;
  const fields = new Map<string, string[]>();
  const pseudo = new Map<string, string[]>();
  for (const { key, value, rawValue } of http.headerMap.headers) {
    const lower = key.toLowerCase();
    const raw = rawValue.length > 0;
    if (lower.startsWith(":")) {
      const latin = Buffer.from(raw ? rawValue : Buffer.from(value)).toString("latin1");
      pseudo.set(lower, [...(pseudo.get(lower) ?? []), latin]);
    } else {
      fields.set(lower, [...(fields.get(lower) ?? []), raw ? decodeHeaderValue(Buffer.from(rawValue)) : value]);
    }
  }
  const { route = "", layout = "", node_group: nodeGroup = "" } = attributes.contextExtensions;
  const { time } = attributes.request ?? {};
  return {
    http: {
      id: http.id,
      scheme: http.scheme,
      protocol: http.protocol,
      size: Number(http.size),
      body: http.body,
      rawBody: [...http.rawBody],
    },
    fields: [...fields],
    pseudo: [...pseudo].filter(([, values]) => values.length === 1).map(([key, values]) => [key, values[0]]),
    context: { route, layout, nodeGroup },
    source: peerOf(attributes.source),
    destination: peerOf(attributes.destination),
    connection: {
      mtls: (attributes.source?.certificate ?? "") !== "",
      ...((attributes.tlsSession?.sni ?? "") === "" ? {} : { requested_server_name: attributes.tlsSession?.sni }),
    },
    metadata: attributes.metadataContext?.filterMetadata ?? {},
    time: time === undefined ? undefined : Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6),
  };
}

function peerOf(from: AttributeContext_Peer | undefined) {
  const at = from?.address?.address;
  const socket = at?.case === "socketAddress" ? at.value : undefined;
  const port = socket?.portSpecifier.case === "portValue" ? socket.portSpecifier.value : 0;
  const shared = { address: socket?.address ?? (at?.case === "pipe" ? at.value.path : ""), port };
  return from === undefined || from.principal === "" ? shared : { ...shared, principal: from.principal };
}

function lazily(encoded: Uint8Array) {
  const check = decodeCheck(encoded);
  if (check === undefined) return undefined;
  const names = [":path", ":method", ":authority"] as const;
  return {
    http: { ...check.http, rawBody: [...check.http.rawBody] },
    fields: [...check.headers.fields],
    pseudo: names.flatMap((each) => {
      const value = check.headers.pseudo(each);
      return value === undefined ? [] : [[each, value]];
    }),
    context: check.context,
    source: check.source,
    destination: check.destination,
    connection: check.connection,
    metadata: check.metadata,
    time: check.time,
  };
}

function sorted<T extends { readonly pseudo: readonly unknown[] } | undefined>(read: T): T {
  return read === undefined ? read : { ...read, pseudo: read.pseudo.toSorted() };
}

describe("a CheckRequest that is decoded as far as needed", () => {
  test("says the same as one that is decoded whole", () => {
    fc.assert(
      fc.property(request, (init) => {
        const encoded = toBinary(CheckRequestSchema, create(CheckRequestSchema, init));
        expect(sorted(lazily(encoded))).toEqual(sorted(decoded(fromBinary(CheckRequestSchema, encoded))));
        const check = decodeCheck(encoded);
        for (const [key, values] of check?.headers.fields ?? []) expect(check?.headers.get(key)).toEqual(values);
      }),
      { numRuns: 500 },
    );
  });

  test("also where it comes in pieces, which protobuf merges", () => {
    fc.assert(
      fc.property(request, request, (first, second) => {
        const pieces = [first, second].map((init) => toBinary(CheckRequestSchema, create(CheckRequestSchema, init)));
        const encoded = Buffer.concat(pieces);
        expect(sorted(lazily(encoded))).toEqual(sorted(decoded(fromBinary(CheckRequestSchema, encoded))));
      }),
    );
  });
});

describe("bytes that are no CheckRequest, or a damaged one", () => {
  const valid = checkBytes({
    body: '{"model":"chat"}',
    claims: { iss: "i", roles: ["a", 1, null, { b: true }] },
    principal: "spiffe://a/b",
    headers: [
      ["content-type", "application/json"],
      ["x-api-key", CHAT_KEY],
    ],
  });
  const damaged = fc
    .array(fc.tuple(fc.nat({ max: valid.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 })
    .map((changes) => {
      const copy = Uint8Array.from(valid);
      for (const [at, byte] of changes) copy[at] = byte;
      return copy;
    });
  const cut = fc.nat({ max: valid.length - 1 }).map((length) => valid.subarray(0, length));

  test("are never thrown at, whatever is read of them", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), damaged, cut), (encoded) => {
        lazily(encoded);
        const check = decodeCheck(encoded);
        if (check !== undefined) readMetadata(check);
      }),
      { numRuns: 2_000 },
    );
  });

  test("are never allowed", async () => {
    const service = createDecisionService({
      serviceName: "fuzz",
      compilePolicy,
      appendRecord: async () => undefined,
      clock: Date.now,
      monotonic: () => performance.now(),
      random: () => 0,
      newId: () => "d",
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
      metrics: new Registry(),
      layoutWaitMs: 0,
    });
    service.activate(revision());
    expect(decodeAnswer(await service.check(valid)).status?.code).not.toBe(0);
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 400 }), cut), async (encoded) => {
        expect(decodeAnswer(await service.check(encoded)).status?.code).not.toBe(0);
      }),
      { numRuns: 500 },
    );
    await service.close();
  });
});
