import type { Inventory, PolicyTestRequest } from "../resources/index.ts";
import { canonicalJson } from "../revision/index.ts";
import { generatedRequests, type Sample } from "./diff-samples.ts";

/** Requests to ask trees about, each once, made as they are asked for: large trees have millions. */
export interface SampleStream extends Iterable<Sample> {
  /** Of all of them. */
  readonly count: number;
}

export interface SampleSources {
  /** PolicyTests, files and journals. */
  readonly given: Iterable<Sample>;
  /** Trees of which every application is asked about on every rule of every route, with every model that it offers. */
  readonly trees: readonly [Inventory] | readonly [Inventory, Inventory];
  /** RFC 3339: the time of what is generated. */
  readonly now: string;
}

/**
 * What is given comes first, in its order; then what is generated, the first tree's before what only the second has, and
 * each application once before any comes twice, so that the first ones of a bounded look are about all of them.
 */
export function sampleStream({ given, trees: [first, second], now }: SampleSources): SampleStream {
  const distinct = new Map<string, Sample>();
  for (const sample of given) {
    const { now: at, request, draw } = sample.described;
    const key = canonicalJson([at, request, draw]);
    if (!distinct.has(key)) distinct.set(key, sample);
  }
  const own = matrixOf(first);
  const other = second === undefined ? undefined : matrixOf(second);
  // What is given and would be generated too: seldom any.
  const taken = new Set<string>();
  for (const { described } of distinct.values()) {
    const { application, ...request } = described.request;
    const key = canonicalJson(request);
    if (described.now !== now || described.draw !== 0) continue;
    if (has(own, application, key) || (other !== undefined && has(other, application, key))) {
      taken.add(`${application}\n${key}`);
    }
  }
  const shared = other === undefined ? 0 : sizeOf(common(own, other));
  return {
    count: distinct.size + sizeOf(own) + (other === undefined ? 0 : sizeOf(other)) - shared - taken.size,
    *[Symbol.iterator]() {
      yield* distinct.values();
      for (const matrix of other === undefined ? [own] : [own, other]) {
        for (const [application, key, request] of cellsOf(matrix)) {
          if (matrix === other && has(own, application, key)) continue;
          if (taken.size > 0 && taken.has(`${application}\n${key}`)) continue;
          yield { described: { now, request: { ...request, application }, draw: 0 }, count: 1, from: "generated" };
        }
      }
    },
  };
}

/** The first ones of a stream. */
export function* upTo(stream: SampleStream, most: number): Generator<Sample> {
  let left = most;
  for (const sample of stream) {
    if (left <= 0) return;
    left -= 1;
    yield sample;
  }
}

type Request = Omit<PolicyTestRequest, "application">;

/** Every application with every request. */
interface Matrix {
  readonly applications: ReadonlySet<string>;
  /** By content. */
  readonly requests: ReadonlyMap<string, Request>;
}

function matrixOf(inventory: Inventory): Matrix {
  return {
    applications: new Set(inventory.applications.map(({ key }) => key)),
    requests: new Map(generatedRequests(inventory).map((request) => [canonicalJson(request), request])),
  };
}

function has({ applications, requests }: Matrix, application: string, request: string): boolean {
  return applications.has(application) && requests.has(request);
}

function common(one: Matrix, other: Matrix): Matrix {
  return {
    applications: one.applications.intersection(other.applications),
    requests: new Map([...one.requests].filter(([key]) => other.requests.has(key))),
  };
}

function sizeOf({ applications, requests }: Matrix): number {
  return applications.size * requests.size;
}

/** Along the diagonals. */
function* cellsOf(matrix: Matrix): Generator<readonly [string, string, Request]> {
  const applications = [...matrix.applications];
  const requests = [...matrix.requests];
  for (let shift = 0; shift < requests.length; shift += 1) {
    for (const [row, application] of applications.entries()) {
      const cell = requests[(row + shift) % requests.length];
      if (cell !== undefined) yield [application, ...cell];
    }
  }
}
