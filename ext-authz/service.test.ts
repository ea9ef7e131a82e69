import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { compilePolicy, type PolicyCompiler, type PolicyProgram, type Restriction } from "../policy/index.ts";
import { BATCH_KEY, CHAT_KEY, checkBytes, decodeAnswer, EDGE, NOW, PROGRAM, revision, rule } from "./fixtures.ts";
import type { DecisionRecord, JournalRecord } from "./record.ts";
import { createDecisionService, type DecisionServiceOptions } from "./service.ts";

interface Journal {
  readonly records: JournalRecord[];
  append: (record: JournalRecord) => Promise<void>;
}

function setUp(options: Partial<DecisionServiceOptions> = {}) {
  const journal: Journal = {
    records: [],
    append: async (record) => {
      journal.records.push(record);
    },
  };
  const metrics = new Registry();
  const logged: object[] = [];
  const log = (fields: object, message: string) => void logged.push({ ...fields, message });
  let ids = 0;
  const clock = { now: NOW };
  const service = createDecisionService({
    serviceName: "authz-1",
    compilePolicy,
    appendRecord: (record) => journal.append(record),
    clock: () => clock.now,
    monotonic: () => performance.now(),
    random: () => 0.5,
    newId: () => `d${++ids}`,
    log: { info: log, warn: log, error: log },
    metrics,
    ...options,
  });
  const metric = async (name: string) =>
    (await metrics.getMetricsAsJSON()).find((entry) => entry.name === name)?.values;
  return { service, journal, metric, logged, clock };
}

const chat = (key = CHAT_KEY, layout = EDGE.hash) =>
  checkBytes({
    layout,
    body: '{"model":"chat"}',
    headers: [
      ["content-type", "application/json"],
      ["x-api-key", key],
    ],
  });

async function answer(service: { check(bytes: Uint8Array): Promise<Uint8Array> }, bytes: Uint8Array) {
  const response = decodeAnswer(await service.check(bytes));
  const { httpResponse } = response;
  const body =
    httpResponse.case === "errorResponse" || httpResponse.case === "deniedResponse" ? httpResponse.value.body : "";
  return {
    case: httpResponse.case,
    code: body === "" ? "ok" : JSON.parse(body).error.code,
    status: response.status?.code,
    metadata: response.dynamicMetadata,
  };
}

describe("the order of record and answer", () => {
  it.each([
    ["answer", chat()],
    ["refusal", checkBytes({ layout: EDGE.hash, headers: [["x-api-key", CHAT_KEY]] })],
  ])("lets no %s leave before its record is durable", async (_, bytes) => {
    const { service, journal } = setUp({ recordWaitMs: 0 });
    service.activate(revision());
    const order: string[] = [];
    let durable: () => void = () => undefined;
    journal.append = async () => {
      order.push("append");
      await new Promise<void>((resolve) => {
        durable = resolve;
      });
      order.push("durable");
    };
    const answered = answer(service, bytes).then(() => order.push("answer"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual(["append"]);
    durable();
    await answered;
    expect(order).toEqual(["append", "durable", "answer"]);
    await service.close();
  });

  it("refuses a strict application without a record, and lets others go on, counted", async () => {
    const { service, journal, metric } = setUp();
    service.activate(revision());
    journal.append = () => Promise.reject(new Error("disk full"));
    expect(await answer(service, chat())).toMatchObject({
      case: "errorResponse",
      code: "record_unavailable",
      status: 14,
    });
    expect(await answer(service, chat(BATCH_KEY))).toMatchObject({ case: "okResponse", code: "ok" });
    expect(await answer(service, chat("nope"))).toMatchObject({ case: "deniedResponse", code: "invalid_api_key" });
    expect(await metric("chancery_records_lost_total")).toEqual([{ labels: { how: "lost" }, value: 3 }]);
    expect(await metric("chancery_decisions_total")).toContainEqual({
      labels: { effect: "error", code: "record_unavailable", application: "acme/chat" },
      value: 1,
    });
  });

  it("lets a bestEffort application wait for a slow disk no longer than told, and counts it", async () => {
    const { service, journal, metric } = setUp({ recordWaitMs: 1 });
    service.activate(revision());
    journal.append = () => new Promise(() => undefined);
    expect(await answer(service, chat(BATCH_KEY))).toMatchObject({ code: "ok" });
    expect(await metric("chancery_records_lost_total")).toEqual([{ labels: { how: "late" }, value: 1 }]);
    expect(await metric("chancery_records_pending")).toMatchObject([{ value: 1 }]);
  });
});

describe("own failures", () => {
  const broken = (): never => {
    throw new Error("broken");
  };

  it("fails closed without a revision, for bytes that are no check, and for an exception", async () => {
    const { service, logged } = setUp({
      compilePolicy: () => ({
        problems: [],
        usableModels: () => [],
        decide: broken,
        decideAgain: broken,
        basisOf: broken,
      }),
    });
    expect(await answer(service, chat())).toMatchObject({ case: "errorResponse", code: "no_revision", status: 14 });
    service.activate(revision());
    expect(await answer(service, Buffer.from("garbage"))).toMatchObject({
      case: "errorResponse",
      code: "malformed_check",
    });
    expect(await answer(service, chat())).toMatchObject({ case: "errorResponse", code: "internal", status: 14 });
    expect(logged).toContainEqual(expect.objectContaining({ message: "a decision failed" }));
    await service.close();
  });

  it("refuses early when too many checks are in flight", async () => {
    const { service, journal } = setUp({ maxInFlight: 2 });
    service.activate(revision());
    let durable: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      durable = resolve;
    });
    journal.append = () => held;
    const waiting = [service.check(chat()), service.check(chat())];
    expect(await answer(service, chat())).toMatchObject({ case: "errorResponse", code: "overloaded", status: 14 });
    durable();
    await Promise.all(waiting);
    expect(await answer(service, chat())).toMatchObject({ code: "ok" });
  });

  it("counts an unknown layout, alarms once a second, and looks for each layout once a second", async () => {
    const looked: string[] = [];
    let time = 0;
    const { service, metric, clock, journal, logged } = setUp({
      layoutWaitMs: 0,
      monotonic: () => time,
      onUnknownLayout: (layout, group) => void looked.push(`${group}:${layout}`),
    });
    service.activate(revision());
    const alarms = () => logged.filter((entry) => "message" in entry && /not known here/.test(String(entry.message)));
    for (const layout of ["beef", "beef", "cafe"]) {
      expect(await answer(service, chat(CHAT_KEY, layout))).toMatchObject({
        case: "errorResponse",
        code: "unknown_layout",
      });
    }
    expect(looked).toEqual(["edge:beef", "edge:cafe"]);
    expect(alarms()).toMatchObject([{ layout: "beef" }]);
    clock.now += 1000;
    time += 1000;
    await service.check(chat(CHAT_KEY, "cafe"));
    expect(looked).toEqual(["edge:beef", "edge:cafe", "edge:cafe"]);
    expect(alarms()).toMatchObject([{ layout: "beef" }, { layout: "cafe" }]);
    expect(await metric("chancery_unknown_layout_total")).toMatchObject([{ value: 4 }]);
    expect(journal.records[0]).toMatchObject({ effect: "error", code: "unknown_layout", layout: "beef" });
    await service.close();
  });

  it("lets a Check wait for a layout that is about to be loaded", async () => {
    const { service, metric } = setUp({ layoutWaitMs: 60_000 });
    service.activate(revision());
    const early = answer(service, chat(CHAT_KEY, "next"));
    const never = answer(service, chat(CHAT_KEY, "never"));
    service.activate(revision({ number: 8, layouts: [{ ...EDGE, hash: "next" }] }));
    expect(await early).toMatchObject({ code: "ok", metadata: { revision: 8 } });
    expect(await metric("chancery_unknown_layout_total")).toMatchObject([{ value: 0 }]);
    await service.close();
    expect(await never).toMatchObject({ code: "unknown_layout" });
  });
});

describe("floods", () => {
  it("are recorded in part and counted as a whole", async () => {
    const { service, journal, metric } = setUp({ refusalRecordsPerSecond: 3 });
    service.activate(revision());
    for (let i = 0; i < 10; i++) await service.check(chat("nope"));
    for (let i = 0; i < 10; i++) await service.check(chat());
    await service.close();
    const codes = journal.records.map((record) => ("kind" in record ? record.counts : record.code));
    expect(codes).toEqual([...Array(3).fill("invalid_api_key"), ...Array(10).fill("ok"), { invalid_api_key: 7 }]);
    expect(await metric("chancery_decisions_total")).toContainEqual({
      labels: { effect: "deny", code: "invalid_api_key", application: "" },
      value: 10,
    });
    expect(journal.records.at(-1)).toMatchObject({ format: 1, kind: "suppressed", service: "authz-1" });
  });
});

describe("a clock that is behind that of control", () => {
  const under = (validUntil: string) => ({
    ...PROGRAM,
    models: PROGRAM.models.map((model) => ({ ...model, approval: "required" as const })),
    approvals: ["chat@v1", "chat@v2"].map((version) => ({
      ...{ key: `board/${version}`, version, application: "acme/chat", jurisdictions: [], validUntil },
    })),
  });

  it("brings no approval back that had ended when the revision was made, and is told", async () => {
    const { service, logged, clock } = setUp();
    const createdAt = new Date(NOW).toISOString();
    clock.now = NOW - 86_400_000;
    service.activate(revision({ createdAt, program: under(new Date(NOW - 1_000).toISOString()) }));
    expect(await answer(service, chat())).toMatchObject({ code: "no_legal_target" });
    expect(logged).toContainEqual(expect.objectContaining({ behindMs: 86_400_000 }));
    // The way in which revisions come from the bus.
    await service.adopt(revision({ number: 8, createdAt, program: under(new Date(NOW).toISOString()) }));
    expect(await answer(service, chat())).toMatchObject({ code: "no_legal_target" });
    await service.adopt(revision({ number: 9, createdAt, program: under(new Date(NOW + 1).toISOString()) }));
    expect(await answer(service, chat())).toMatchObject({ code: "ok" });
    await service.close();
  });

  it("is not told of where it is behind by less than a minute, or ahead", async () => {
    const { service, logged, clock } = setUp();
    clock.now = NOW - 59_000;
    service.activate(revision({ createdAt: new Date(NOW).toISOString() }));
    expect(logged.filter((fields) => "behindMs" in fields)).toEqual([]);
    await service.close();
  });
});

describe("revisions", () => {
  it("are decided by from the moment of activation, never by an older one again", async () => {
    const { service, journal, clock } = setUp();
    let ready = 0;
    service.onReady(() => ready++);
    expect(service.ready).toBe(false);
    service.activate(revision());
    const deny = { ...PROGRAM, rules: [rule("stop", { effect: "deny" })] };
    clock.now += 60_000;
    service.activate(revision({ number: 8, program: deny }));
    expect(() => service.activate(revision())).toThrow(/older than 8/);
    expect(await answer(service, chat())).toMatchObject({ code: "denied", metadata: { revision: 8, rule: "stop" } });
    expect((journal.records[0] as DecisionRecord).revision).toEqual({ number: 8, digest: "sha256:77", signed: true });
    expect(service.ready).toBe(true);
    expect(ready).toBe(1);
    expect(service.state()).toEqual({
      prepared: 8,
      active: 8,
      layouts: [EDGE.hash],
      firstDecisions: { [EDGE.hash]: "2026-11-21T12:01:00.000Z" },
      activeSince: { 7: "2026-11-21T12:00:00.000Z", 8: "2026-11-21T12:01:00.000Z" },
      decidedSince: { 8: "2026-11-21T12:01:00.000Z" },
      decisions: 1,
    });
    service.onReady(() => ready++);
    expect(ready).toBe(2);
    await service.close();
  });

  it("are indexed in slices, given up when a newer one supersedes", async () => {
    const apiKey = (index: number) => ({ id: "k", sha256: String(index).padStart(64, "0"), subject: {} });
    const more = PROGRAM.applications.slice(0, 1).map((application) => ({
      ...application,
      key: "more",
      apiKeys: Array.from({ length: 600 }, (_, index) => apiKey(index)),
    }));
    const program = { ...PROGRAM, applications: [...PROGRAM.applications, ...more] };
    const counted = { rests: 0 };
    const rest = async () => {
      counted.rests += 1;
      if (counted.rests === 3) service.activate(revision({ number: 8 }));
    };
    const { service } = setUp({ slicing: { sliceMs: 0, monotonic: () => 0, rest } });
    expect(await service.adopt(revision({ program }))).toBe(false);
    expect(counted.rests).toBe(3);
    expect(await answer(service, chat())).toMatchObject({ metadata: { revision: 8 } });
    expect(await service.adopt(revision({ number: 9, program }))).toBe(true);
    expect(counted.rests).toBeGreaterThan(6);
    expect(await answer(service, chat())).toMatchObject({ metadata: { revision: 9 } });
    await service.close();
  });

  it("are compiled while the one before decides, and a newer one supersedes", async () => {
    const waiting: { readonly program: PolicyProgram; readonly finish: () => void }[] = [];
    const policyCompiler: PolicyCompiler = {
      compile: (program, signal) =>
        new Promise((resolve) => {
          waiting.push({
            program,
            finish: () => resolve(signal?.aborted === true ? undefined : compilePolicy(program)),
          });
        }),
    };
    const { service } = setUp({ policyCompiler });
    const deny = { ...PROGRAM, rules: [rule("stop", { effect: "deny" })] };
    const seven = service.adopt(revision());
    expect(service.ready).toBe(false);
    waiting[0]?.finish();
    expect(await seven).toBe(true);
    const eight = service.adopt(revision({ number: 8, program: deny }));
    expect(await answer(service, chat())).toMatchObject({ code: "ok", metadata: { revision: 7 } });
    const nine = service.adopt(revision({ number: 9, program: deny }));
    await expect(service.adopt(revision({ number: 8 }))).rejects.toThrow(/older than 9/);
    waiting[1]?.finish();
    expect(await eight).toBe(false);
    expect(service.state().active).toBe(7);
    for (const each of waiting) each.finish();
    expect(await nine).toBe(true);
    expect(await answer(service, chat())).toMatchObject({ code: "denied", metadata: { revision: 9 } });
    // One that comes into force at once, too.
    const ten = service.adopt(revision({ number: 10 }));
    service.activate(revision({ number: 11 }));
    for (const each of waiting) each.finish();
    expect(await ten).toBe(false);
    expect(service.state().active).toBe(11);
    await service.close();
  });

  it("keep the layouts of the ones before them, up to a bound, and those in use", async () => {
    const { service } = setUp({ layoutRevisions: 2, layoutWaitMs: 0 });
    const layouts = (number: number) => [{ ...EDGE, hash: `layout-${number}` }];
    for (const number of [3, 4]) service.activate(revision({ number, layouts: layouts(number) }));
    expect(await answer(service, chat(CHAT_KEY, "layout-3"))).toMatchObject({ code: "ok", metadata: { revision: 4 } });
    for (const number of [5, 6]) service.activate(revision({ number, layouts: layouts(number) }));
    expect(service.state().layouts.toSorted()).toEqual(["layout-3", "layout-5", "layout-6"]);
    expect(await answer(service, chat(CHAT_KEY, "layout-3"))).toMatchObject({ code: "ok", metadata: { revision: 6 } });
    expect(await answer(service, chat(CHAT_KEY, "layout-4"))).toMatchObject({ code: "unknown_layout" });
    await service.close();
  });

  it("let a target that was replaced answer on the old layout for a while, by the newest rules", async () => {
    const { service } = setUp({ departedMs: 60_000 });
    service.activate(revision());
    const without = { ...PROGRAM, targets: [] };
    service.activate(revision({ number: 8, program: without, layouts: [{ ...EDGE, hash: "next" }] }));
    expect(await answer(service, chat())).toMatchObject({ code: "ok", metadata: { revision: 8 } });
    const deny = { ...without, rules: [rule("stop", { effect: "deny" })] };
    service.activate(revision({ number: 9, program: deny, layouts: [{ ...EDGE, hash: "next" }] }));
    expect(await answer(service, chat())).toMatchObject({ code: "denied", metadata: { revision: 9 } });
    await service.close();
  });

  it("forget a target that was replaced when its time is over", async () => {
    const { service } = setUp({ departedMs: 1 });
    service.activate(revision());
    service.activate(revision({ number: 8, program: { ...PROGRAM, targets: [] } }));
    await expect.poll(async () => (await answer(service, chat())).code, { timeout: 10_000 }).toBe("no_legal_target");
    await service.close();
  });

  it("can be told of layouts from the disk after a restart", async () => {
    const { service } = setUp();
    service.activate(revision({ number: 6 }));
    service.keepLayouts({ number: 5, layouts: [{ ...EDGE, hash: "old" }] });
    expect(await answer(service, chat(CHAT_KEY, "old"))).toMatchObject({ code: "ok", metadata: { revision: 6 } });
    await service.close();
  });
});

it("counts evaluation errors against their rule", async () => {
  const { service, metric } = setUp();
  const broken = rule("broken", { effect: "deny", mode: "shadow", when: 'request.headers["x-none"] == "a"' });
  service.activate(revision({ program: { ...PROGRAM, rules: [...PROGRAM.rules, broken] } }));
  expect(await answer(service, chat())).toMatchObject({ code: "ok" });
  expect(await metric("chancery_rule_errors_total")).toEqual([{ labels: { rule: "broken" }, value: 1 }]);
  await service.close();
});

it("records and counts a request that is recognised like any other, and stops it at once", async () => {
  let restrictions: readonly Restriction[] = [];
  let made = 0;
  const { service, journal, metric } = setUp({
    restrictions: () => restrictions,
    compilePolicy(program) {
      const policy = compilePolicy(program);
      return {
        ...policy,
        decideAgain(input) {
          made += 1;
          return policy.decideAgain(input);
        },
      };
    },
  });
  const broken = rule("broken", { effect: "deny", mode: "shadow", when: 'request.headers["x-none"] == "a"' });
  service.activate(revision({ program: { ...PROGRAM, rules: [...PROGRAM.rules, broken] } }));
  const web = (path: string) =>
    checkBytes({ route: "own/0/0", method: "GET", path, headers: [["x-api-key", BATCH_KEY]] });
  for (const path of ["/a", "/a", "/b"]) expect(await answer(service, web(path))).toMatchObject({ code: "ok" });
  expect(made).toBe(1);
  expect(await metric("chancery_rule_errors_total")).toEqual([{ labels: { rule: "broken" }, value: 3 }]);
  expect(await metric("chancery_decisions_total")).toEqual([
    { labels: { effect: "allow", code: "ok", application: "acme/batch" }, value: 3 },
  ]);
  const [first, ...others] = journal.records as DecisionRecord[];
  expect(others.map((record) => ({ ...record, decidedInUs: 0 }))).toEqual(
    [
      ["d2", "/a"],
      ["d3", "/b"],
    ].map(([id, path]) => ({ ...first, id, decidedInUs: 0, request: { ...first?.request, path } })),
  );

  restrictions = [{ id: "stop", kind: "upstream", value: "own", reason: "harm" }];
  expect(await answer(service, web("/a"))).toMatchObject({ case: "deniedResponse", code: "no_legal_target" });
  restrictions = [];
  expect(await answer(service, web("/a"))).toMatchObject({ code: "ok" });
  await service.close();
});
