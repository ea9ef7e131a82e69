import { describe, expect, it } from "vitest";
import { compilePolicy, type PolicyProgram } from "../policy/index.ts";
import { decodeCheck, type WireCheck } from "./check-request.ts";
import { decide } from "./decide.ts";
import {
  CHAT_KEY,
  type CheckParts,
  check,
  checkBytes,
  EDGE,
  model,
  modelTarget,
  NOW,
  PROGRAM,
  revision,
  rule,
  single,
  token,
} from "./fixtures.ts";
import type { Outcome } from "./outcome.ts";
import { buildTables } from "./tables.ts";

function ask(parts: CheckParts, program: PolicyProgram = PROGRAM, layouts = [EDGE]): Outcome {
  return answerTo(check(parts), program, layouts);
}

function answerTo(asked: WireCheck, program: PolicyProgram = PROGRAM, layouts = [EDGE]): Outcome {
  return decide(asked, {
    tables: buildTables(revision({ program }), layouts, compilePolicy(program)),
    service: "authz-1",
    decisionId: "d1",
    now: NOW,
    random: () => 0.5,
    elapsedUs: () => 42,
  });
}

const KEY = ["authorization", `Bearer ${CHAT_KEY}`] as const;
const chat = (body: object | string, changes: CheckParts = {}): CheckParts => ({
  body: typeof body === "string" ? body : JSON.stringify(body),
  headers: [["content-type", "application/json"], KEY],
  ...changes,
});
const web = (changes: CheckParts = {}): CheckParts => ({ route: "web/0/0", method: "GET", path: "/a", ...changes });

describe("a layout whose Envoys do not go from pool to pool", () => {
  const reduced = [{ ...EDGE, plan: "reduced" as const }];

  it("is answered with the one pool, under the name that its routes look for, and the record says so", () => {
    const { answer, record } = ask(chat({ model: "gpt" }), PROGRAM, reduced);
    expect(answer).toMatchObject({ metadata: { first: "model/chat-2", legal: ["model/chat-2"] } });
    expect(record).toMatchObject({ effect: "allow", plan: "reduced", targets: ["model/chat-2"] });
  });

  it("is told nothing more where it is refused, and other layouts are told nothing of it", () => {
    const { answer, record } = ask(chat({ model: "ghost" }), PROGRAM, reduced);
    expect(answer.metadata).not.toHaveProperty("first");
    expect(record).toMatchObject({ effect: "deny", plan: "reduced" });
    const full = ask(chat({ model: "gpt" }));
    expect(full.answer.metadata).not.toHaveProperty("first");
    expect(full.record).not.toHaveProperty("plan");
  });
});

it("refuses a request whose metadata cannot be read: nobody knows which token Envoy verified", () => {
  const bytes = Buffer.from(checkBytes({ ...web(), claims: { name: "ANYBODY" } }));
  const length = bytes.indexOf("ANYBODY") - 1;
  // Longer than what is left of the message.
  bytes[length] = 0x7f;
  const asked = decodeCheck(bytes);
  if (asked === undefined) return expect.unreachable();
  expect(answerTo(asked).record).toMatchObject({ effect: "error", status: 503, code: "malformed_check" });
});

describe("approvals on record", () => {
  const CONDITION = 'subject.region == "EU"';
  const approval = (age: number, conditions: readonly string[]) => {
    const version = `chat@v${age}`;
    return { key: `board/${age}`, version, application: "acme/chat", jurisdictions: [], conditions };
  };
  const under = (conditions: readonly string[]): PolicyProgram => ({
    ...PROGRAM,
    models: [{ ...model("chat", ["chat", "gpt"]), approval: "required" }, model("embed")],
    approvals: [approval(1, []), approval(2, conditions)],
  });

  it("are those that the targets answer by, with their conditions", () => {
    const { record } = ask(chat({ model: "gpt" }), under([CONDITION]));
    expect(record.targets).toEqual(["model/chat-2", "model/chat-1"]);
    expect(record.approvals).toEqual([
      { approval: "board/2", version: "chat@v2", conditions: [CONDITION] },
      { approval: "board/1", version: "chat@v1" },
    ]);
  });

  it("are not those of targets that Envoy does not try", () => {
    const { record } = ask(chat({ model: "gpt" }), under([CONDITION]), [{ ...EDGE, plan: "reduced" as const }]);
    expect(record.targets).toEqual(["model/chat-2"]);
    expect(record.approvals?.map(({ approval: key }) => key)).toEqual(["board/2"]);
  });

  it("are named with the condition that does not hold, of which the caller is not told", () => {
    const program = { ...under(['subject.region == "US"']), approvals: [approval(2, ['subject.region == "US"'])] };
    const { answer, record } = ask(chat({ model: "gpt" }), program);
    expect(record.effect).toBe("deny");
    expect(record).not.toHaveProperty("approvals");
    expect(record.removed.find(({ pool }) => pool === "model/chat-2")).toMatchObject({
      rule: "chancery:approval",
      detail: 'approval/board/2: subject.region == "US" is false',
    });
    expect(JSON.stringify(answer)).not.toContain("subject.region");
  });
});

describe("a model route", () => {
  it("is answered with the chain, the names on the wire, and a whole record", () => {
    const { answer, record } = ask(chat({ model: "gpt", stream: true }, { path: "/v1/chat/completions?key=secret" }));
    expect(answer).toEqual({
      kind: "allow",
      decisionId: "d1",
      headersToRemove: ["authorization"],
      metadata: {
        decision: "allow",
        decision_id: "d1",
        route: "chat/0/0",
        layout: EDGE.hash,
        revision: 7,
        application: "acme/chat",
        rule: "allow-all",
        legal: ["model/chat-2", "model/chat-1"],
        priority_groups: [{ name: "model/chat-2" }, { name: "model/chat-1" }],
        mode: "stream",
        span: [9, 5],
        models: { "model/chat-2": "wire-chat-2", "model/chat-1": "wire-chat-1" },
      },
    });
    expect(record).toEqual({
      format: 1,
      id: "d1",
      at: "2026-11-21T12:00:00.000Z",
      service: "authz-1",
      revision: { number: 7, digest: "sha256:77", signed: true },
      layout: EDGE.hash,
      route: "chat/0/0",
      gateway: "edge",
      httpRoute: "chat",
      request: {
        id: "4711",
        method: "POST",
        host: "ai.example.com",
        path: "/v1/chat/completions",
        source: "192.0.2.7",
        model: "gpt",
        stream: true,
      },
      application: "acme/chat",
      subject: { kind: "apiKey", id: "chat-1" },
      effect: "allow",
      status: 200,
      code: "ok",
      rule: "allow-all",
      reason: "because of allow-all",
      targets: ["model/chat-2", "model/chat-1"],
      removed: [],
      rerouted: [],
      shadow: [],
      errors: [],
      decidedInUs: 42,
    });
  });

  it("takes one version when one is asked for, with older ones behind it", () => {
    expect(ask(chat({ model: "chat@v1" })).record.targets).toEqual(["model/chat-1"]);
    expect(ask(chat({ model: "chat@v2" })).record.targets).toEqual(["model/chat-2", "model/chat-1"]);
  });

  it("prefers a name that holds an @ to a version", () => {
    const program = { ...PROGRAM, models: [model("chat", ["chat", "chat@v1"])] };
    expect(ask(chat({ model: "chat@v1" }), program).record.targets[0]).toBe("model/chat-2");
  });

  it.each([["other"], ["chat@v9"], ["embed"], ["@v1"], ["constructor"]])("does not find the model %s", (name) => {
    const { answer, record } = ask(chat({ model: name }));
    expect(answer).toMatchObject({ kind: "refuse", code: "model_not_found" });
    expect(record).toMatchObject({ effect: "deny", status: 404, request: { model: name } });
  });

  it("stands for its one model where the route says so", () => {
    const { answer } = ask({ route: "embed/0/0", headers: [KEY] });
    expect(answer).toMatchObject({ kind: "allow", metadata: { mode: "whole", legal: ["model/embed-1"] } });
    expect(answer.metadata).not.toHaveProperty("span");
  });

  it("says which rule removed what when nothing is left", () => {
    const restrict = rule("eu-only", { effect: "restrict", require: 'target.country == "US"' });
    const { record } = ask(chat({ model: "chat" }), { ...PROGRAM, rules: [...PROGRAM.rules, restrict] });
    expect(record).toMatchObject({ effect: "deny", status: 403, code: "no_legal_target", targets: [] });
    expect(record.removed.map((removal) => [removal.pool, removal.rule])).toEqual([
      ["model/chat-1", "eu-only"],
      ["model/chat-2", "eu-only"],
    ]);
  });

  it("follows a reroute to another model of the layout", () => {
    const reroute = rule("cheaper", { effect: "reroute", to: { version: "chat@v1" } });
    const { record } = ask(chat({ model: "chat@v2" }), { ...PROGRAM, rules: [...PROGRAM.rules, reroute] });
    expect(record).toMatchObject({ targets: ["model/chat-1"], rerouted: [{ rule: "cheaper" }] });
  });

  it("is refused with a record before the policy is asked when the body is ambiguous", () => {
    const { record } = ask(chat('{"model":"chat","model":"x"}'));
    expect(record).toMatchObject({ effect: "deny", status: 400, code: "malformed_body", application: "acme/chat" });
  });
});

describe("a plain route", () => {
  it("names the weighted group and leaves the body alone", () => {
    const { answer } = ask(web());
    expect(answer).toMatchObject({
      kind: "allow",
      headersToRemove: [],
      metadata: {
        mode: "plain",
        application: "acme/public",
        legal: expect.arrayContaining(["upstream/web-a", "upstream/web-b"]),
      },
    });
    const groups = answer.metadata.priority_groups;
    expect(groups).toMatchObject([{ name: "weighted" }, {}, {}]);
  });

  it("never sends what is rerouted nowhere to a backend that only rules name", () => {
    const closed = rule("closed", { effect: "restrict", require: 'target.upstream == "own"' });
    const { record } = ask(web(), { ...PROGRAM, rules: [...PROGRAM.rules, closed] });
    expect(record).toMatchObject({ code: "no_legal_target", rule: "chancery:no-legal-target", targets: [] });
    const reroute = rule("over", { effect: "reroute", to: { upstream: "own" } });
    const rerouted = ask(web(), { ...PROGRAM, rules: [...PROGRAM.rules, closed, reroute] });
    expect(rerouted.record).toMatchObject({ effect: "allow", targets: ["upstream/own"] });
  });

  it("passes the client's own Authorization where every target gets it, and only there", () => {
    const headers = [["authorization", "Basic YTpi"]] as const;
    expect(ask(web({ route: "own/0/0", headers })).answer).toMatchObject({ kind: "allow", headersToRemove: [] });
    expect(ask(web({ headers })).answer).toMatchObject({ kind: "refuse", code: "invalid_api_key" });
    expect(ask(web({ route: "moved/0/0", headers })).answer).toMatchObject({ kind: "allow" });
  });

  it("denies by a rule about a token's claim", () => {
    const claims = { iss: "https://id.example", sub: "bob", aud: "gw", team: "chat", org: "acme" };
    const headers = [["authorization", `Bearer ${token(claims)}`]] as const;
    const deny = rule("no-acme", { effect: "deny", when: 'subject.tenant == "acme"' });
    const { answer, record } = ask(web({ headers, claims }), { ...PROGRAM, rules: [...PROGRAM.rules, deny] });
    expect(answer).toMatchObject({ kind: "refuse", code: "denied", rule: "no-acme", message: "because of no-acme" });
    expect(record).toMatchObject({ subject: { kind: "jwt", id: "bob" }, effect: "deny", status: 403 });
  });

  it("denies by default", () => {
    expect(ask(web(), { ...PROGRAM, rules: [] }).record).toMatchObject({ code: "not_allowed", status: 403 });
  });

  it("lets through what only an observed gateway lets through, and says so", () => {
    const { record } = ask(web(), { ...PROGRAM, rules: [], observedGateways: ["edge"] });
    expect(record).toMatchObject({ effect: "allow", observed: { rule: "chancery:default-deny" } });
  });
});

it("allows a redirect without naming any target", () => {
  const { answer } = ask(web({ route: "moved/0/0" }));
  expect(answer).toMatchObject({ kind: "allow", metadata: { legal: [], priority_groups: [], mode: "plain" } });
});

describe("the list of models", () => {
  const list = (parts: CheckParts, program?: PolicyProgram): unknown => {
    const { answer, record } = ask({ route: "edge/models/*", method: "GET", path: "/v1/models", ...parts }, program);
    if (answer.kind !== "reply") return record.code;
    expect(answer.metadata).toMatchObject({ decision: "answered" });
    return JSON.parse(answer.json);
  };

  it("holds every name of what the caller may use", () => {
    const entry = (id: string) => ({ id, object: "model", created: 1_795_258_800, owned_by: "acme" });
    expect(list({ headers: [KEY] })).toEqual({ object: "list", data: [entry("chat"), entry("gpt"), entry("embed")] });
  });

  it("leaves out what rules deny to the caller, and is empty rather than refused", () => {
    const rules = [...PROGRAM.rules, rule("no-chat", { effect: "deny", target: { kind: "Model", key: "chat" } })];
    expect(list({ headers: [KEY] }, { ...PROGRAM, rules })).toMatchObject({ data: [{ id: "embed" }] });
    expect(list({ headers: [KEY] }, { ...PROGRAM, rules: [] })).toEqual({ object: "list", data: [] });
  });

  it("is for callers that are known", () => {
    expect(list({ headers: [["x-api-key", "nope"]] })).toBe("invalid_api_key");
  });
});

describe("what the service itself lacks", () => {
  it("is an error of its own, never a denial of the caller", () => {
    expect(ask(chat({ model: "chat" }, { layout: "beef" })).record).toMatchObject({
      effect: "error",
      code: "unknown_layout",
      status: 503,
    });
    expect(ask(chat({ model: "chat" }, { route: "none" })).record).toMatchObject({ code: "unknown_route" });
    const pointer = { type: "body", pointer: "/a/b" } as const;
    const routes = EDGE.routes.map((route) => (route.id === "chat/0/0" ? { ...route, modelSource: pointer } : route));
    expect(ask(chat({ model: "chat" }), PROGRAM, [{ ...EDGE, routes }]).record).toMatchObject({ code: "internal" });
  });
});

describe("records and answers", () => {
  it("hold nothing of a credential, a body or a query", () => {
    const secrets = ["sk-unknown-77", "hunter2", "SECRETQUERY", "SECRETBODY"];
    const body = '{"model":"chat","messages":"SECRETBODY"}';
    const tried = [
      ask(chat(body, { headers: [["authorization", "Bearer sk-unknown-77"]] })),
      ask(chat(body, { headers: [["authorization", "Basic hunter2"]] })),
      ask(chat(body, { path: "/a?key=SECRETQUERY" })),
      ask(chat(body, { path: "/a//b?key=SECRETQUERY" })),
      ask(chat(body, { headers: [["x-api-key", "hunter2"]] })),
      ask(chat(`${body}x`)),
    ];
    for (const { answer, record } of tried) {
      for (const secret of [...secrets, CHAT_KEY]) {
        expect(JSON.stringify(record)).not.toContain(secret);
        expect(JSON.stringify(answer)).not.toContain(secret);
      }
    }
  });

  it("are bounded, whatever the request holds", () => {
    const { record } = ask(chat({ model: "chat" }, { path: `//${"x".repeat(60_000)}\r\n`, host: "h".repeat(60_000) }));
    expect(record).toMatchObject({ code: "ambiguous_path", subject: { kind: "unknown", id: "" } });
    expect(JSON.stringify(record).length).toBeLessThan(4_000);
  });
});

describe("an Envoy on an older layout", () => {
  it("gets decisions of the newest policy in the names of its own layout", () => {
    const targets = [...PROGRAM.targets.filter((target) => target.pool !== "model/chat-2"), modelTarget("chat", 3)];
    const { record } = ask(chat({ model: "chat" }), { ...PROGRAM, targets });
    expect(record.targets).toEqual(["model/chat-1"]);
    const routes = EDGE.routes.map((old) =>
      old.id === "chat/0/0" ? { ...old, groups: [...old.groups, single("model/chat-3")] } : old,
    );
    const newer = { ...EDGE, hash: "newer", routes };
    const both = ask(chat({ model: "chat" }, { layout: "newer" }), { ...PROGRAM, targets }, [EDGE, newer]);
    expect(both.record.targets).toEqual(["model/chat-3", "model/chat-1"]);
  });
});
