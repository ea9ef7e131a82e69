import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Inventory, parseResources } from "../resources/index.ts";
import { canonicalJson } from "../revision/index.ts";
import type { Sample } from "./diff-samples.ts";
import { progressOf } from "./progress.ts";
import { sampleStream, upTo } from "./sample-stream.ts";

const NOW = "2026-06-01T00:00:00Z";

function inventory(applications: readonly string[], paths: readonly string[]): Inventory {
  const route = (path: string, index: number) => ({
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: `route-${index}` },
    spec: {
      parentRefs: [{ name: "edge" }],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: path } }],
          backendRefs: [{ group: "chancery.dev", kind: "Upstream", name: "web" }],
        },
      ],
    },
  });
  const own = (kind: string, name: string, spec: object) => ({
    apiVersion: "chancery.dev/v1",
    kind,
    metadata: { name },
    spec,
  });
  const gateway = {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "edge" },
    spec: { gatewayClassName: "chancery", listeners: [{ name: "http", port: 80, protocol: "HTTP" }] },
  };
  const objects = [
    gateway,
    own("Upstream", "web", { endpoints: [{ address: "127.0.0.1", port: 1 }] }),
    ...applications.map((name, index) =>
      own("Application", name, {
        purpose: "x",
        riskTier: "minimal",
        apiKeys: [{ id: "k", sha256: index.toString(16).padStart(64, "0") }],
      }),
    ),
    ...paths.map(route),
  ];
  const { inventory: read, problems } = parseResources(
    new Map([["a.yaml", objects.map((each) => JSON.stringify(each)).join("\n---\n")]]),
  );
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return read;
}

/** A sample that a journal could have brought. */
function given(application: string, path: string, at = NOW): Sample {
  const request = {
    ...{ path, application, gateway: "edge", route: "route-0", method: "GET", headers: {}, stream: false },
    ...{ subject: { fields: {} }, source: "127.0.0.1" },
  };
  return { described: { now: at, request, draw: 0 }, count: 7, from: "journal" };
}

function contentOf({ described }: Sample): string {
  return canonicalJson([described.now, described.request, described.draw]);
}

describe("a stream of samples", () => {
  const names = fc.subarray(["a", "b", "c", "d"]);
  const paths = fc.subarray(["/1", "/2", "/3"]);

  test("has what is given and every application on every route of both trees, each once, and knows how many", () => {
    const asked = fc.record({
      trees: fc.tuple(fc.tuple(names, paths), fc.tuple(names, paths)),
      recorded: fc.array(
        fc
          .tuple(fc.constantFrom("a", "z"), fc.constantFrom("/1", "/9"), fc.constantFrom(NOW, "2026-06-02T00:00:00Z"))
          .map((parts) => given(...parts)),
        { maxLength: 6 },
      ),
    });
    fc.assert(
      fc.property(asked, ({ trees: [[a, b], [c, d]], recorded }) => {
        const trees = [inventory(a, b), inventory(c, d)] as const;
        const stream = sampleStream({ given: recorded, trees, now: NOW });
        const found = [...stream].map(contentOf);
        expect(new Set(found).size).toBe(found.length);
        expect(stream.count).toBe(found.length);
        const alone = trees.flatMap((tree) => [...sampleStream({ given: [], trees: [tree], now: NOW })].map(contentOf));
        expect(new Set(found)).toEqual(new Set([...recorded.map(contentOf), ...alone]));
        expect([...stream].map(contentOf)).toEqual(found);
      }),
      { numRuns: 40 },
    );
  });

  test("asks about each application before it asks about any of them twice", () => {
    const stream = sampleStream({ given: [], trees: [inventory(["a", "b", "c"], ["/1", "/2"])], now: NOW });
    const asked = [...upTo(stream, 3)].map(({ described }) => described.request);
    expect(asked.map(({ application }) => application)).toEqual(["a", "b", "c"]);
    expect(new Set(asked.map(({ path }) => path)).size).toBe(2);
    expect([...upTo(stream, 100)]).toHaveLength(6);
  });

  test("makes nothing that nobody asks for", () => {
    const { applications, httpRoutes, ...rest } = inventory(["a"], ["/1"]);
    const [application] = applications;
    const [route] = httpRoutes;
    if (application === undefined || route === undefined) throw new Error("nothing there");
    const many: Inventory = {
      ...rest,
      applications: Array.from({ length: 50_000 }, (_, index) => ({ ...application, key: `a-${index}` })),
      httpRoutes: Array.from({ length: 2_000 }, (_, index) => ({ ...route, key: `r-${index}` })),
    };
    const stream = sampleStream({ given: [], trees: [many], now: NOW });
    expect(stream.count).toBe(100_000_000);
    expect([...upTo(stream, 1_000)]).toHaveLength(1_000);
  });
});

test("progress is told every few seconds, and not of what is short", () => {
  let now = 0;
  const lines: string[] = [];
  const progress = progressOf({
    what: "requests asked",
    total: 100_000,
    monotonic: () => now,
    write: (line) => lines.push(line),
  });
  for (let step = 0; step < 2_000; step += 1) {
    now += 2;
    progress.step();
  }
  expect(lines).toEqual([]);
  for (let step = 0; step < 3_000; step += 1) {
    now += 2;
    progress.step();
  }
  expect(lines).toEqual(["2,560 of 100,000 requests asked\n"]);
});
