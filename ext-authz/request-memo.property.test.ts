import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Layout } from "../compiler/index.ts";
import { compilePolicy, type Policy, type PolicyProgram, type ProgramRule, type Restriction } from "../policy/index.ts";
import { CheckReader } from "./check-request.ts";
import { decide, reachVerdict } from "./decide.ts";
import type { DecisionContext } from "./decision-context.ts";
import {
  BATCH_KEY,
  CHAT_KEY,
  type CheckParts,
  checkBytes,
  EDGE,
  modelTarget,
  NOW,
  PROGRAM,
  revision,
  route,
  rule,
  single,
  token,
} from "./fixtures.ts";
import type { Outcome } from "./outcome.ts";
import { buildTables, type DecisionTables } from "./tables.ts";
import { VARINT, WireReader } from "./wire.ts";

const at = (minutes: number) => new Date(NOW + minutes * 60_000).toISOString();

const LAYOUT: Layout = {
  ...EDGE,
  routes: [
    ...EDGE.routes,
    route("named/0/0", {
      action: "model",
      groups: [single("model/chat-1"), single("model/chat-2"), single("model/embed-1")],
      models: ["chat", "embed"],
      modelSource: { type: "header", header: "X-Model" },
    }),
    route("pathed/0/0", {
      action: "model",
      groups: [single("model/chat-1")],
      models: ["chat"],
      modelSource: { type: "path", template: "/models/{model}" },
    }),
  ],
};

const CONDITIONS = [
  `request.url_path.startsWith("/api/")`,
  `request.url_path == "/api/users"`,
  `request.path.startsWith("/api/users/")`,
  `request.url_path.endsWith("/secret")`,
  `request.query == "a=1" || request.query.startsWith("b")`,
  `request.query.contains("x")`,
  `request.method == "GET"`,
  `request.host == "ai.example.com"`,
  `request.scheme == "https"`,
  `request.protocol == "HTTP/2"`,
  `"x-role" in request.headers && request.headers["x-role"] == "admin"`,
  `"x-role" in request.headers && request.headers["x-role"].contains("a")`,
  `request.header_values.exists(name, name.startsWith("x-t"))`,
  `size(request.header_values["x-role"]) > 1`,
  `request.size > 5`,
  `request.id == "4711"`,
  `request.time < now`,
  `source.address == "192.0.2.7"`,
  `source.port == 51000`,
  `has(source.principal) && source.principal == "spiffe://a/b"`,
  `connection.mtls`,
  `xds.node_group == "edge"`,
  `xds.route == "web/0/0"`,
  `subject.kind == "jwt"`,
  `subject.id == "user-1"`,
  `has(subject.region) && subject.region == "EU"`,
  `has(subject.claims.roles) && "admin" in subject.claims.roles`,
  `now < timestamp("${at(1)}")`,
  `now.getMinutes() == 2`,
  `subject.nothing == "1"`,
  `"acme" in metadata`,
];
const DEMANDS = [
  `target.upstream != "web-b"`,
  `target.upstream != "web-b" || request.url_path.startsWith("/api/")`,
  `"x-role" in request.headers && target.upstream != "web-a"`,
  `target.country == "IE"`,
  `source.address == "192.0.2.7"`,
  `"iso" in target.certifications`,
];

const mode = fc.constantFrom("enforce" as const, "enforce" as const, "shadow" as const);
const someRule: fc.Arbitrary<ProgramRule> = fc.oneof(
  fc.tuple(mode, fc.constantFrom(...CONDITIONS), fc.constantFrom("deny" as const, "allow" as const)).map((parts) => {
    const [of, when, effect] = parts;
    return rule("r", { effect, when, mode: of });
  }),
  fc
    .tuple(mode, fc.constantFrom(...DEMANDS))
    .map(([of, require]) => rule("r", { effect: "restrict", require, mode: of })),
  fc.constantFrom("-target.latencyMs", "1").map((score) => rule("r", { effect: "prefer", score })),
  fc.constantFrom(...CONDITIONS).map((when) => rule("r", { effect: "reroute", when, to: { upstream: "own" } })),
);
const program = fc.record({ rules: fc.array(someRule, { maxLength: 5 }), observed: fc.boolean() }).map(
  ({ rules, observed }): PolicyProgram => ({
    ...PROGRAM,
    rules: [rule("allow-all", { effect: "allow" }), ...rules].map((each, index) => ({ ...each, id: `r${index}` })),
    targets: [
      ...PROGRAM.targets,
      modelTarget("embed", 2, {
        api: "openai-embeddings",
        certifications: [{ name: "iso", validFrom: at(1), validUntil: at(2) }],
      }),
    ],
    splits: [
      {
        kind: "Experiment",
        key: "e",
        scope: ".",
        model: "chat",
        salt: "s",
        share: 80,
        holdout: 0,
        arms: [
          { name: "one", version: "chat@v1", weight: 1 },
          { name: "two", version: "chat@v2", weight: 1 },
        ],
      },
    ],
    ...(observed ? { observedGateways: ["edge"] } : {}),
  }),
);

const CLAIMS = { iss: "https://id.example", aud: "gw", team: "chat", sub: "user-1", org: "acme", exp: 2_000_000_000 };
const MORE_CLAIMS = { ...CLAIMS, sub: "user-2", roles: ["admin"] };
const bearer = (claims: object) => ["authorization", `Bearer ${token(claims)}`] as const;
const CALLERS: readonly Pick<CheckParts, "headers" | "claims" | "principal" | "failed">[] = [
  {},
  { principal: "spiffe://a/b" },
  { headers: [["authorization", `Bearer ${CHAT_KEY}`]] },
  { headers: [["X-API-Key", BATCH_KEY]] },
  { headers: [["x-api-key", BATCH_KEY]], principal: "spiffe://a/b" },
  {
    headers: [
      ["x-api-key", BATCH_KEY],
      ["api-key", BATCH_KEY],
    ],
  },
  {
    headers: [
      ["x-api-key", BATCH_KEY],
      ["x-api-key", CHAT_KEY],
    ],
  },
  { headers: [["authorization", "Bearer of-the-upstream"]] },
  { headers: [["authorization", "Bearer of-the-upstream"]], failed: { code: 1, message: "no" } },
  { headers: [bearer(CLAIMS)], claims: CLAIMS },
  { headers: [bearer(MORE_CLAIMS)], claims: MORE_CLAIMS },
  { headers: [bearer(CLAIMS)], claims: MORE_CLAIMS },
  { headers: [bearer(CLAIMS)] },
];
const HEADERS: readonly (readonly [string, string])[] = [
  ["x-role", "admin"],
  ["x-role", "user"],
  ["X-Role", "admin"],
  ["x-role", ""],
  ["x-role", "\xff\xfe"],
  ["x-r\x0fle", "admin"],
  ["x-trace", "1"],
  ["x-request-id", "17"],
  ["x-model", "chat"],
  ["x-model", "embed"],
  ["x-model", "chat@v1"],
  ["accept", "text/event-stream"],
  ["content-type", "Application/gRPC+proto"],
  ["content-type", "application/json"],
];
const PATHS = [
  "/api/users",
  "/api/users/1",
  "/api/users/2",
  "/api/users/secret",
  `/api/users/${"1".repeat(80)}`,
  "/models/chat",
  "/b?a=1",
  "/b?b#",
  "/api/users?x=1",
  "/api/users?x=2",
  "/api/%75sers",
  "/api//users",
  "/api/../b",
  "/api/users/.",
  "/b;c",
  "/\xfc",
  "b",
  "",
];
const parts: fc.Arbitrary<CheckParts> = fc
  .record({
    route: fc.constantFrom("web/0/0", "web/0/0", "own/0/0", "moved/0/0", "embed/0/0", "named/0/0", "pathed/0/0", "x"),
    caller: fc.constantFrom(...CALLERS),
    more: fc.subarray(HEADERS.slice(), { maxLength: 3 }),
    path: fc.constantFrom(...PATHS),
    method: fc.constantFrom("GET", "GET", "POST", "get"),
    host: fc.constantFrom("ai.example.com", "AI.example.com:443", "b.example.com"),
    scheme: fc.constantFrom("http", "https", "HTTPS"),
    size: fc.constantFrom(0, 10),
  })
  .map(({ caller, more, ...rest }) => ({ ...rest, ...caller, headers: [...more, ...(caller.headers ?? [])] }));

/** Which fields hold messages whose fields may be put elsewhere, by the way to them. */
const MESSAGES: ReadonlyMap<string, readonly number[]> = new Map([
  ["", [1]],
  [".1", [1, 2, 4, 10, 11]],
  [".1.1", [1]],
  [".1.1.1", [1]],
  [".1.4", [2]],
  [".1.4.2", [13]],
  [".1.4.2.13", [1]],
]);

/** The same message with fields doubled, left out, changed or in another order: whatever a decoder makes of it. */
function disturbed(message: Uint8Array, choices: Iterator<number>, way = ""): Uint8Array {
  const choose = (): number => choices.next().value ?? 1;
  const reader = new WireReader(message, 0, message.length);
  const fields: Uint8Array[] = [];
  for (let from = 0; reader.next(); from = reader.pos) {
    let field = message.subarray(from, reader.pos);
    if (reader.wire !== VARINT && MESSAGES.get(way)?.includes(reader.number) === true) {
      const inner = disturbed(message.subarray(reader.from, reader.to), choices, `${way}.${reader.number}`);
      field = Buffer.concat([varint(reader.number * 8 + 2), varint(inner.length), inner]);
    }
    const what = choose();
    if (what < 0.02) continue;
    if (what < 0.04) fields.push(field);
    if (what < 0.05) fields.push(Uint8Array.of(0xfa, 0x06, 1, 7));
    if (what < 0.06) {
      fields.unshift(field);
      continue;
    }
    if (what < 0.08) {
      field = Uint8Array.from(field);
      const place = Math.floor(choose() * field.length);
      field[place] = (field[place] ?? 0) ^ (1 << Math.floor(choose() * 8));
    }
    fields.push(field);
  }
  return Buffer.concat(fields);
}

function varint(value: number): Uint8Array {
  return value < 0x80 ? Uint8Array.of(value) : Uint8Array.of((value & 0x7f) | 0x80, ...varint(value >> 7));
}

/** Numbers in [0, 1) that a seed gives. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

const RESTRICTIONS: readonly (readonly Restriction[] | undefined)[] = [
  undefined,
  [],
  [{ id: "stop", kind: "upstream", value: "web-a", reason: "harm", until: at(2) }],
  [{ id: "stop", kind: "application", value: "acme/public", reason: "harm" }],
];

interface Moment {
  readonly of: number;
  readonly minutes: number;
  readonly restrictions: readonly Restriction[] | undefined;
  readonly swap: boolean;
  readonly seed: number;
}
const moments = fc.array(
  fc.record({
    of: fc.nat(),
    minutes: fc.constantFrom(0, 1, 2, 3),
    restrictions: fc.constantFrom(...RESTRICTIONS),
    swap: fc.nat({ max: 30 }).map((each) => each === 0),
    seed: fc.nat(),
  }),
  { minLength: 30, maxLength: 80 },
);

/** Never from what earlier calls found. */
function forgetful(policy: Policy): Policy {
  return { ...policy, decideAgain: (input) => policy.decide(input), basisOf: () => undefined };
}

let asked = 0;
let made = 0;

/** As it is, but for counting verdicts that are made. */
function counted(policy: Policy): Policy {
  return {
    ...policy,
    decideAgain(input) {
      made += 1;
      return policy.decideAgain(input);
    },
  };
}

interface Decider {
  readonly tables: DecisionTables;
  readonly reader: CheckReader;
}

function decider(of: PolicyProgram, wrap: (policy: Policy) => Policy): Decider {
  const tables = buildTables(revision({ program: of, layouts: [LAYOUT] }), [LAYOUT], wrap(compilePolicy(of)));
  return { tables, reader: new CheckReader() };
}

function contextOf({ tables }: Decider, { minutes, restrictions, seed }: Moment): DecisionContext {
  const draws = numbers(seed);
  const random = () => draws.next().value;
  const now = NOW + minutes * 60_000;
  return { tables, service: "authz", decisionId: "d1", now, random, restrictions, elapsedUs: () => 1 };
}

function outcomeOf(decider: Decider, bytes: Uint8Array, moment: Moment): Outcome | undefined {
  const check = decider.reader.read(bytes);
  return check === undefined ? undefined : decide(check, contextOf(decider, moment));
}

function expectSame(found: Outcome | undefined, fresh: Outcome | undefined): void {
  expect(found?.record).toEqual(fresh?.record);
  expect(found?.answer).toEqual(fresh?.answer);
  expect(found?.application).toBe(fresh?.application);
  if (found !== undefined && fresh !== undefined)
    expect(Buffer.from(found.encode())).toEqual(Buffer.from(fresh.encode()));
}

function run(
  programs: readonly [PolicyProgram, PolicyProgram],
  requests: readonly Uint8Array[],
  at: readonly Moment[],
) {
  // Time and restrictions change seldom, and then for all.
  const ordered = at.toSorted(
    (a, b) => a.minutes - b.minutes || RESTRICTIONS.indexOf(a.restrictions) - RESTRICTIONS.indexOf(b.restrictions),
  );
  const pairs = programs.map((each) => [decider(each, counted), decider(each, forgetful)] as const);
  let active = 0;
  for (const moment of ordered) {
    if (moment.swap) active = 1 - active;
    const bytes = requests[moment.of % requests.length];
    const pair = pairs[active];
    if (bytes === undefined || pair === undefined) throw new Error("there is no request");
    const [remembering, forgetting] = pair;
    const fresh = outcomeOf(forgetting, bytes, moment);
    expectSame(outcomeOf(remembering, bytes, moment), fresh);
    const check = remembering.reader.read(bytes);
    if (check === undefined) continue;
    const verdict = reachVerdict(check, contextOf(remembering, moment));
    if ("effect" in verdict && fresh?.record.effect !== "error") asked += 2;
  }
}

describe("requests that are recognised by their bytes", () => {
  test("get the decision that is made afresh", { timeout: 120_000 }, () => {
    asked = 0;
    made = 0;
    fc.assert(
      fc.property(
        program,
        program,
        fc.array(parts, { minLength: 1, maxLength: 6 }),
        moments,
        (one, two, some, when) => {
          run([one, two], some.map(checkBytes), when);
        },
      ),
      { numRuns: 80 },
    );
    // Else the property would say nothing.
    expect(asked - made).toBeGreaterThan(asked / 5);
  });

  test("also where their bytes are what no Envoy writes", { timeout: 120_000 }, () => {
    asked = 0;
    made = 0;
    fc.assert(
      fc.property(
        program,
        parts,
        fc.array(fc.nat(), { minLength: 1, maxLength: 8 }),
        moments,
        (of, base, seeds, when) => {
          const bytes = checkBytes(base);
          run([of, of], [bytes, ...seeds.map((seed) => disturbed(bytes, numbers(seed)))], when);
        },
      ),
      { numRuns: 100 },
    );
    expect(asked - made).toBeGreaterThan(asked / 5);
  });

  test("are not taken for ones with more headers than rules look through", () => {
    const ofRole = rule("of-role", { effect: "deny", when: `"x-role" in request.headers` });
    const of = { ...PROGRAM, rules: [...PROGRAM.rules, ofRole] };
    const remembering = decider(of, counted);
    const forgetting = decider(of, forgetful);
    const moment = { of: 0, minutes: 0, restrictions: undefined, swap: false, seed: 1 };
    const codes: unknown[] = [];
    for (const many of [0, 0, 1_500]) {
      const headers = Array.from({ length: many }, (_, index) => [`x-${index}`, "1"] as const);
      const bytes = checkBytes({ route: "own/0/0", method: "GET", path: "/a", headers });
      const fresh = outcomeOf(forgetting, bytes, moment);
      expectSame(outcomeOf(remembering, bytes, moment), fresh);
      codes.push(fresh?.record.code);
    }
    // Else the expectation would say nothing.
    expect(codes).toEqual(["ok", "ok", "denied"]);
  });
});
