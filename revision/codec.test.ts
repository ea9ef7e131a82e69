import fc from "fast-check";
import { expect, test } from "vitest";
import type { NodeGroup, RevisionParts } from "../compiler/index.ts";
import { atOnce } from "../policy/index.ts";
import { decodeRevision, type EncodedParts, encodeParts, type PartCache } from "./codec.ts";
import { digestOf, digestSteps, HASHED_BYTES } from "./digest.ts";
import {
  contentDigest,
  createManifest,
  encodeSignedManifest,
  manifestDigest,
  parseSignedManifest,
} from "./manifest.ts";
import { decodeNodeGroup, encodeNodeGroup, resourceVersion } from "./node-group-frame.ts";
import { arbitraryParts, exampleParts, resource } from "./parts-fixture.ts";
import type { Digest, SignedManifest } from "./revision.ts";

const CREATED = Date.parse("2026-01-02T03:04:05Z");

function unsigned(encoded: EncodedParts, number = 1): SignedManifest {
  return { manifest: createManifest(number, CREATED, "tree", encoded.parts), signatures: [] };
}

function from(encoded: EncodedParts): (digest: Digest) => Promise<Uint8Array | undefined> {
  return async (digest) => encoded.blobs.get(digest);
}

/** In the order in which they are stored. */
function sorted(parts: RevisionParts): RevisionParts {
  const order = (a: string, b: string) => (a < b ? -1 : 1);
  return {
    ...parts,
    nodeGroups: parts.nodeGroups.map((group) => ({
      ...group,
      resources: group.resources.toSorted((a, b) =>
        a.typeUrl === b.typeUrl ? order(a.name, b.name) : order(a.typeUrl, b.typeUrl),
      ),
    })),
  };
}

function plainBytes(parts: RevisionParts): unknown {
  return JSON.parse(JSON.stringify(parts, (_, value) => (value instanceof Uint8Array ? [...value] : value)));
}

test("what was encoded is decoded, through the bytes of the manifest", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryParts(), async (parts) => {
      const encoded = encodeParts(parts);
      const bytes = encodeSignedManifest(unsigned(encoded, 7));
      const revision = await decodeRevision(parseSignedManifest(bytes), from(encoded), ["k"]);
      const { program, layouts, nodeGroups, secrets, ...rest } = revision;
      expect(plainBytes({ program, layouts, nodeGroups, secrets })).toEqual(plainBytes(sorted(parts)));
      expect(rest).toEqual({
        number: 7,
        digest: manifestDigest(unsigned(encoded, 7).manifest),
        createdAt: "2026-01-02T03:04:05.000Z",
        source: "tree",
        signedBy: ["k"],
      });
    }),
    { numRuns: 50 },
  );
});

test("the order of resources, layouts and members does not change the bytes", () => {
  const parts = exampleParts();
  const shuffled: RevisionParts = {
    secrets: parts.secrets,
    nodeGroups: parts.nodeGroups.map((group) => ({ ...group, resources: group.resources.toReversed() })),
    layouts: parts.layouts.toReversed(),
    program: Object.assign(
      {},
      ...Object.entries(parts.program)
        .reverse()
        .map(([name, value]) => ({ [name]: value })),
    ),
  };
  expect(encodeParts(shuffled).parts).toEqual(encodeParts(parts).parts);
});

test("a part that did not change keeps its digest", () => {
  const digests = (parts: RevisionParts) => new Map(encodeParts(parts).parts.map((part) => [part.kind, part.digest]));
  const before = digests(exampleParts("one"));
  const after = digests(exampleParts("two"));
  expect([...before.keys()].filter((kind) => before.get(kind) !== after.get(kind))).toEqual(["program"]);
});

test("number and time do not change what a revision says", () => {
  const { parts } = encodeParts(exampleParts());
  const one = createManifest(1, CREATED, "a", parts);
  const two = createManifest(2, CREATED + 1, "b", parts);
  expect(contentDigest(one.parts)).toBe(contentDigest(two.parts));
  expect(manifestDigest(one)).not.toBe(manifestDigest(two));
  expect(contentDigest(encodeParts(exampleParts("else")).parts)).not.toBe(contentDigest(parts));
});

test("unchanged parts keep their identity between revisions that share a cache", async () => {
  const cache: PartCache = new Map();
  const one = encodeParts(exampleParts("one"));
  const two = encodeParts(exampleParts("two"));
  const first = await decodeRevision(unsigned(one), from(one), [], cache);
  const second = await decodeRevision(unsigned(two), from(two), [], cache);
  expect(second.layouts[0]).toBe(first.layouts[0]);
  expect(second.nodeGroups[0]).toBe(first.nodeGroups[0]);
  expect(second.program).not.toEqual(first.program);
});

test("a cached part is not taken when its bytes are gone or wrong", async () => {
  const cache: PartCache = new Map();
  const encoded = encodeParts(exampleParts());
  await decodeRevision(unsigned(encoded), from(encoded), [], cache);
  await expect(decodeRevision(unsigned(encoded), async () => undefined, [], cache)).rejects.toMatchObject({
    code: "not-found",
  });
  const flipped = async (digest: Digest) => encoded.blobs.get(digest)?.map((byte) => byte ^ 1);
  await expect(decodeRevision(unsigned(encoded), flipped, [], cache)).rejects.toMatchObject({ code: "corrupt" });
});

test("the same layout or node group twice is refused when it is encoded", () => {
  const parts = exampleParts();
  expect(() => encodeParts({ ...parts, layouts: [...parts.layouts, ...parts.layouts] })).toThrow("there twice");
});

test("what readers would refuse is refused when it is encoded", () => {
  const parts = exampleParts();
  const program = Object.assign({}, parts.program, { unknown: 1 });
  expect(() => encodeParts({ ...parts, program })).toThrow("does not fit its schema");
});

test.each<[string, string, (signed: SignedManifest) => unknown]>([
  ["a newer manifest", "unsupported-format", (s) => ({ ...s, manifest: { ...s.manifest, format: 2, wave: 1 } })],
  ["a newer part", "unsupported-format", (s) => withPart(s, { format: 2 })],
  ["a part of an unknown kind", "unsupported-format", (s) => withPart(s, { kind: "waves" })],
  ["an unknown member", "corrupt", (s) => ({ ...s, extra: 1 })],
  ["a part that is there twice", "corrupt", (s) => withParts(s, [...s.manifest.parts, ...s.manifest.parts])],
  ["a part over 64 MiB", "corrupt", (s) => withPart(s, { size: 64 * 1024 * 1024 + 1 })],
  ["a digest with a path in it", "corrupt", (s) => withPart(s, { digest: "sha256:../../etc/passwd" })],
  ["number 0", "corrupt", (s) => ({ ...s, manifest: { ...s.manifest, number: 0 } })],
  ["a number that is no safe integer", "corrupt", (s) => ({ ...s, manifest: { ...s.manifest, number: 2 ** 60 } })],
  ["more than 1 MiB", "corrupt", (s) => ({ ...s, filler: "x".repeat(1024 * 1024) })],
  [
    "more than 10,000 parts",
    "corrupt",
    (s) =>
      withParts(
        s,
        Array.from({ length: 10_001 }, () => 1),
      ),
  ],
])("a manifest with %s is refused as %s", (_, code, change) => {
  const bytes = Buffer.from(JSON.stringify(change(unsigned(encodeParts(exampleParts())))));
  expect(() => parseSignedManifest(bytes)).toThrow(expect.objectContaining({ code }));
});

test("bytes that are no UTF-8 or no JSON are refused", () => {
  expect(() => parseSignedManifest(Buffer.from([0xff, 0xfe]))).toThrow("not JSON");
  expect(() => parseSignedManifest(Buffer.from("{"))).toThrow("not JSON");
});

test.each<[string, (parts: RevisionParts) => unknown]>([
  ["a value of the wrong type", (parts) => ({ ...parts.program, rules: [{ id: 1 }] })],
  ["an unknown member", (parts) => ({ ...parts.program, extra: [] })],
  ["no object", () => "program"],
])("a program with %s is refused even when its digest is right", async (_, change) => {
  const encoded = encodeParts(exampleParts());
  const bytes = Buffer.from(JSON.stringify(change(exampleParts())));
  const parts = encoded.parts.map((part) =>
    part.kind === "program" ? { ...part, digest: digestOf(bytes), size: bytes.length } : part,
  );
  const blobs = new Map([...encoded.blobs, [digestOf(bytes), bytes]]);
  await expect(decodeRevision(unsigned({ parts, blobs }), from({ parts, blobs }), [])).rejects.toMatchObject({
    code: "corrupt",
  });
});

test("a revision without a program, or with a node group whose layout is missing, is refused", async () => {
  const encoded = encodeParts(exampleParts());
  for (const missing of ["program", "secrets", "layout"]) {
    const parts = encoded.parts.filter((part) => part.kind !== missing);
    await expect(decodeRevision(unsigned({ ...encoded, parts }), from(encoded), [])).rejects.toMatchObject({
      code: "corrupt",
    });
  }
});

test("a part under another part's name is refused", async () => {
  const encoded = encodeParts(exampleParts());
  const parts = encoded.parts.map((part) => (part.kind === "nodeGroup" ? { ...part, name: "other" } : part));
  await expect(decodeRevision(unsigned({ ...encoded, parts }), from(encoded), [])).rejects.toThrow(
    'it says of itself that it is "edge"',
  );
});

test("a node group that is cut off or flipped anywhere is never read as another one", () => {
  const bytes = encodeNodeGroup({
    name: "edge",
    layout: "l",
    resources: [resource("t", "a", "one"), resource("t", "b", "")],
  });
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), (length) => {
      expect(() => decodeNodeGroup(bytes.subarray(0, length))).toThrow(expect.objectContaining({ code: "corrupt" }));
    }),
  );
  expect(() => decodeNodeGroup(Buffer.concat([bytes, Buffer.from("x")]))).toThrow("left over");
});

test("parts are verified and decoded in slices, a large one with a rest for each piece", async () => {
  const large = { ...resource("t", "large", ""), ...versioned(Buffer.alloc(HASHED_BYTES * 3 + 1, "x")) };
  const many = Array.from({ length: 50 }, (_, index) => resource("u", `r${String(index).padStart(2, "0")}`, "one"));
  const example = exampleParts();
  const parts = {
    ...example,
    nodeGroups: example.nodeGroups.map((group) => ({ ...group, resources: [large, ...many] })),
  };
  const encoded = encodeParts(parts);
  const counted = { rests: 0 };
  const rest = async () => {
    counted.rests += 1;
  };
  // A rest after each step.
  const slicing = { sliceMs: 0, monotonic: () => 0, rest };
  const revision = await decodeRevision(unsigned(encoded), from(encoded), [], new Map(), slicing);
  const versions = (all: readonly NodeGroup[]) => all.map(({ resources }) => resources.map(({ version }) => version));
  expect(versions(revision.nodeGroups)).toEqual(versions(sorted(parts).nodeGroups));
  // Three between the pieces of the part, three between those of the resource, one for each resource.
  expect(counted.rests).toBeGreaterThanOrEqual(parts.nodeGroups.length * (3 + 3 + 51));
  const flipped = new Map([...encoded.blobs].map(([digest, bytes]) => [digest, changedAtEnd(bytes)]));
  const decoding = decodeRevision(unsigned(encoded), from({ ...encoded, blobs: flipped }), [], new Map(), slicing);
  await expect(decoding).rejects.toMatchObject({ code: "corrupt" });
});

test("a digest in steps is the digest", () => {
  fc.assert(
    fc.property(fc.nat(3 * HASHED_BYTES), (length) => {
      const bytes = Buffer.alloc(length, `${length} `);
      expect(atOnce(digestSteps(bytes))).toBe(digestOf(bytes));
    }),
    { examples: [[0], [HASHED_BYTES], [2 * HASHED_BYTES + 1]], numRuns: 20 },
  );
});

function versioned(value: Uint8Array) {
  return { version: resourceVersion(value), value };
}

function changedAtEnd(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]);
}

function withParts(signed: SignedManifest, parts: readonly unknown[]): unknown {
  return { ...signed, manifest: { ...signed.manifest, parts } };
}

function withPart(signed: SignedManifest, change: Record<string, unknown>): unknown {
  const [first, ...rest] = signed.manifest.parts;
  return withParts(signed, [{ ...first, ...change }, ...rest]);
}
