import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  DeltaDiscoveryRequestSchema,
  DiscoveryRequestSchema,
} from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { NameLists } from "./name-lists.ts";
import { fromDelta, fromSotw, RequestReader } from "./requests.ts";

const settings = { trustUnlistedNodes: false, groupBy: "cluster" as const };
const text = fc.string({ unit: "grapheme", maxLength: 12 });
const names = fc.oneof(fc.array(text, { maxLength: 4 }), fc.array(text, { minLength: 16, maxLength: 40 }));
const node = fc.option(fc.record({ id: text, cluster: text }), { nil: undefined });
const errorDetail = fc.option(fc.record({ code: fc.nat(20), message: text }), { nil: undefined, freq: 4 });
const some = (message: object) =>
  Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined));

test("takes no name that is too long to be kept, wherever it stands", () => {
  const long = "n".repeat(5_000);
  const delta = [
    { typeUrl: long },
    { resourceNamesSubscribe: [long] },
    { resourceNamesUnsubscribe: [long] },
    { initialResourceVersions: { [long]: "1" } },
    { initialResourceVersions: { a: long } },
  ];
  for (const init of delta) {
    const reader = new RequestReader("delta", settings, new NameLists());
    const bytes = Buffer.from(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, init)));
    expect(() => reader.read(bytes)).toThrow("at most 4096 characters");
  }
  for (const init of [{ typeUrl: long }, { resourceNames: [...Array(20).keys()].map(String).concat(long) }]) {
    const reader = new RequestReader("sotw", settings, new NameLists());
    const bytes = Buffer.from(toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, init)));
    expect(() => reader.read(bytes)).toThrow("at most 4096 characters");
  }
});

test("reads state-of-the-world requests as a full decoding does, also those that repeat each other", () => {
  const request = fc.record({
    versionInfo: text,
    resourceNames: names,
    typeUrl: text,
    responseNonce: text,
    node,
    errorDetail,
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 6 }), (requests) => {
      const reader = new RequestReader("sotw", settings, new NameLists());
      for (const init of [...requests, ...requests]) {
        const message = create(DiscoveryRequestSchema, some(init) as MessageInitShape<typeof DiscoveryRequestSchema>);
        const bytes = Buffer.from(toBinary(DiscoveryRequestSchema, message));
        expect(reader.read(bytes)).toEqual(fromSotw(message, settings));
      }
    }),
  );
});

test("reads delta requests as a full decoding does", () => {
  const request = fc.record({
    typeUrl: text,
    resourceNamesSubscribe: names,
    resourceNamesUnsubscribe: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: names }),
    initialResourceVersions: fc.oneof(fc.constant({}), fc.dictionary(fc.stringMatching(/^[a-z]{1,9}$/), text)),
    responseNonce: text,
    node,
    errorDetail,
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 6 }), (requests) => {
      const reader = new RequestReader("delta", settings, new NameLists());
      for (const init of requests) {
        const message = create(
          DeltaDiscoveryRequestSchema,
          some(init) as MessageInitShape<typeof DeltaDiscoveryRequestSchema>,
        );
        const bytes = Buffer.from(toBinary(DeltaDiscoveryRequestSchema, message));
        expect(reader.read(bytes)).toEqual(fromDelta(message, settings));
      }
    }),
  );
});

test("long lists of names are shared between streams", () => {
  const lists = new NameLists();
  const resourceNames = Array.from({ length: 100 }, (_, index) => `cluster-${index}`);
  const bytes = Buffer.from(toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, { resourceNames })));
  const read = () => {
    const { names } = new RequestReader("sotw", settings, lists).read(bytes);
    return names.protocol === "sotw" ? names.names : [];
  };
  expect(read()).toEqual(resourceNames);
  expect(read()).toBe(read());
});

test("knows a list that comes again, and one that only begins like it", () => {
  const names = (from: number, to: number) => {
    const resourceNames = Array.from({ length: to - from }, (_, index) => `cluster-${from + index}`);
    return Buffer.from(toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, { resourceNames })));
  };
  const rest = toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, { typeUrl: "t", responseNonce: "1" }));
  const reader = new RequestReader("sotw", settings, new NameLists());
  const read = (...parts: Uint8Array[]) => {
    const { names } = reader.read(Buffer.concat(parts));
    return names.protocol === "sotw" ? names.names : [];
  };
  const first = read(names(0, 20), rest);
  // Some clients write fields in the order of their numbers, some do not.
  expect(read(rest, names(0, 20))).toBe(first);
  expect(read(names(0, 20), rest)).toBe(first);
  expect(read(names(0, 20), names(20, 21), rest)).toHaveLength(21);
  expect(read(rest, names(0, 20), names(0, 20))).toHaveLength(40);
  expect(read(names(0, 20), rest, names(20, 40))).toHaveLength(40);
  expect(read(rest, names(0, 19))).toHaveLength(19);
  expect(read(names(1, 21), rest)).toEqual([...first.slice(1), "cluster-20"]);
});

test("bytes that are no request are refused", () => {
  for (const protocol of ["sotw", "delta"] as const) {
    const reader = new RequestReader(protocol, settings, new NameLists());
    for (const bytes of [[0x0a, 0x05, 0x61], [0x22], [0x0b]]) {
      expect(() => reader.read(Buffer.from(bytes))).toThrow();
    }
  }
});
