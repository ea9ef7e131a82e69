import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { compileExpression } from "./cel.ts";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput } from "./decision.ts";
import { ALLOW_ALL, input, modelInput, modelTarget, PLAIN, program, removals, rule, SUBJECT } from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";

/**
 * Attacks on a decision service behind Envoy, numbered. Those that reach rules alone are tests here; the others are held
 * by tests elsewhere, which the list at the end names and finds.
 */

/** Decides with everything else allowed. */
function decide(rules: readonly ProgramRule[], given: DecisionInput = PLAIN) {
  return compilePolicy(program({ rules: [ALLOW_ALL, ...rules] })).decide(given);
}

const deny = (when: string) => rule("d", { effect: "deny", when });
const headers = (entries: Readonly<Record<string, readonly string[]>>): DecisionInput => ({
  ...PLAIN,
  request: { ...PLAIN.request, headers: new Map(Object.entries(entries)) },
});
const claims = (value: unknown): DecisionInput => ({ ...PLAIN, subject: { ...SUBJECT, claims: { value } } });

describe("19, 20: repeated headers and commas", () => {
  const every = deny(`"x-role" in request.header_values && "admin" in request.header_values["x-role"]`);
  const single = deny(`"x-role" in request.headers && request.headers["x-role"] == "admin"`);

  test("a rule sees each value of a repeated header, whichever comes first", () => {
    for (const values of [
      ["user", "admin"],
      ["admin", "user"],
    ]) {
      expect(decide([every], headers({ "x-role": values })).effect).toBe("deny");
    }
    expect(decide([every], headers({ "x-role": ["user"] })).effect).toBe("allow");
  });

  test("a rule that asks for the one value of a repeated header is unknown, and denies", () => {
    expect(decide([single], headers({ "x-role": ["user", "other"] })).effect).toBe("deny");
    expect(decide([single], headers({ "x-role": ["user"] })).effect).toBe("allow");
  });

  test("a comma in a value makes no second value", () => {
    expect(decide([every], headers({ "x-role": ["user,admin"] })).effect).toBe("allow");
  });
});

describe("21: values that are empty or very long", () => {
  test("an empty value is there", () => {
    expect(
      decide([deny(`"x-a" in request.headers && request.headers["x-a"] == ""`)], headers({ "x-a": [""] })).effect,
    ).toBe("deny");
  });

  test("8 KiB are read, and what is longer than rules read is unknown", () => {
    const long = deny(`"x-a" in request.headers && request.headers["x-a"].endsWith("!")`);
    expect(decide([long], headers({ "x-a": [`${"a".repeat(8_192)}!`] })).effect).toBe("deny");
    expect(decide([long], headers({ "x-a": ["a".repeat(8_192)] })).effect).toBe("allow");
    expect(decide([long], headers({ "x-a": ["a".repeat(1_048_576)] })).effect).toBe("deny");
  });
});

describe("25: a body whose size is not known", () => {
  test("leaves a rule about it unknown, and so denies", () => {
    const given = { ...PLAIN, request: { ...PLAIN.request, size: -1 } };
    expect(decide([deny("request.size > 1000000")], given).effect).toBe("deny");
    expect(decide([deny("!has(request.size) || request.size > 1000000")], given).effect).toBe("deny");
  });
});

describe("32: what costs time ends within its bound", () => {
  const text = "a".repeat(60_000);

  test.each([
    ["(a+)+$", "allow"],
    ["(a|aa)+$", "allow"],
    ["^(([a-z])+.)+[A-Z]([a-z])+$", "allow"],
    ["(.*)*b", "allow"],
    ["(a+)+!$", "deny"],
    // Too large to be loaded: the rule is unknown.
    ["((a{1,50}){1,50}){1,50}b", "deny"],
  ])("the pattern %s has its answer over a long text: %s", (pattern, effect) => {
    const when = `subject.claims.value.matches(${JSON.stringify(pattern)})`;
    expect(decide([deny(when)], claims(`${text}!`)).effect).toBe(effect);
  });

  test.each([
    ["a list of 100,000", "subject.claims.value.exists(v, v == 'b')", new Array(100_000).fill("a")],
    ["a loop in a loop", "subject.claims.value.all(a, subject.claims.value.all(b, a == b))", new Array(900).fill("a")],
    ["doubled text", `[subject.claims.value].map(s, s${" + s".repeat(200)}).exists(s, s.contains("b"))`, text],
    [
      "a map of lists",
      "subject.claims.value.map(v, subject.claims.value).exists(l, l.exists(v, v == 'b'))",
      new Array(900).fill("a"),
    ],
  ])("%s", (_, when, value) => {
    expect(decide([deny(when)], claims(value)).effect).toBe("deny");
  });

  test("nesting beyond what rules read", () => {
    let nested: unknown = "x";
    for (let depth = 0; depth < 10_000; depth += 1) nested = { a: nested };
    expect(decide([deny(`subject.claims.value${".a".repeat(20)} == "x"`)], claims(nested)).effect).toBe("deny");
  });

  test("nesting of an expression is refused when it is loaded", () => {
    expect(compileExpression(`${"(".repeat(3_000)}true${")".repeat(3_000)}`, "request", "bool").ok).toBe(false);
    expect(compileExpression(`${"!".repeat(3_000)}true`, "request", "bool").ok).toBe(false);
  });
});

/** An error, a value that is no bool, and a key that is missing. */
const FAILURES = ["1 / 0 == 1", "subject.claims.level", "subject.claims.none == 'a'"] as const;

describe("33: an error, a value that is no bool, a missing key", () => {
  const targets = [modelTarget("a", 1), modelTarget("a", 0)];
  const given = modelInput("a", targets);
  const among = (...rules: readonly ProgramRule[]) => compilePolicy(program({ rules, targets })).decide(given);

  test.each(FAILURES)("%s denies in a deny rule, and is counted against it", (when) => {
    const verdict = among(ALLOW_ALL, deny(when));
    expect(verdict.effect).toBe("deny");
    expect(verdict.errors.map(({ rule: id }) => id)).toEqual(["d"]);
  });

  test.each(FAILURES)("%s does not allow in an allow rule", (when) => {
    expect(among(rule("a", { effect: "allow", when }))).toMatchObject({ effect: "deny", code: "not_allowed" });
  });

  test.each(FAILURES)("%s binds as the condition of a restrict rule", (when) => {
    const verdict = among(ALLOW_ALL, rule("r", { effect: "restrict", when, require: "false" }));
    expect(removals(verdict)).toEqual({ "model/a-1": "r", "model/a-0": "r" });
  });

  test.each(FAILURES)("%s removes the target as the demand of a restrict rule", (require) => {
    const verdict = among(ALLOW_ALL, rule("r", { effect: "restrict", require }));
    expect(removals(verdict)).toEqual({ "model/a-1": "r", "model/a-0": "r" });
  });

  test.each(FAILURES)("%s reroutes nothing and prefers nothing", (when) => {
    const move = rule("m", { effect: "reroute", when, to: { version: "a@0" } });
    const like = rule("p", { effect: "prefer", when, score: "5" });
    const plain = among(ALLOW_ALL);
    const verdict = among(ALLOW_ALL, move, like);
    expect(verdict.rerouted).toEqual([]);
    expect(verdict.effect === "allow" && verdict.targets).toEqual(plain.effect === "allow" && plain.targets);
  });

  test("in a shadow rule it changes nothing", () => {
    expect(among(ALLOW_ALL, { ...deny("1 / 0 == 1"), mode: "shadow" }).effect).toBe("allow");
  });
});

describe("34: no policy", () => {
  test("denies: without rules, without allow rules, with none but rules that do not compile", () => {
    for (const rules of [[], [deny("false")], [rule("a", { effect: "allow", when: "nonsense(" })]]) {
      expect(compilePolicy(program({ rules })).decide(input()).effect).toBe("deny");
    }
  });
});

/** Number, short name, file from the root, and the start of the test's title (or of the case in its table). */
const ELSEWHERE: readonly (readonly [string, string, string, readonly string[]])[] = [
  ["1", "empty segments", "test/e2e/paths.test.ts", ['"//admin"', '"///admin/x"']],
  ["2", "escaped slashes", "test/e2e/paths.test.ts", ['"/admin%2Fsecret"', '"/admin%5csecret"', '"/admin%5Csecret"']],
  [
    "3",
    "dot segments",
    "test/e2e/paths.test.ts",
    ['"/public/../admin"', '"/public/%2e%2e/admin"', '"/public/.%2e/admin"'],
  ],
  ["4", "double encoding", "test/e2e/paths.test.ts", ['"/%252e%252e%252fadmin"']],
  ["5", "overlong UTF-8", "test/e2e/paths.test.ts", ['"/%c0%ae%c0%ae/admin"', '"/%c0%2fadmin"']],
  ["6", "backslashes", "test/e2e/paths.test.ts", ['"/app/\\\\/\\\\../\\\\../admin"']],
  ["7", "matrix parameters", "test/e2e/paths.test.ts", ['"/admin;a=b"', '"/..;/admin"', '"/;/admin"']],
  ["8", "ends and case", "test/e2e/paths.test.ts", ['"/admin/"', '"/admin/."', '"/admin."', '"/Admin"']],
  ["9", "NUL", "test/e2e/paths.test.ts", ['"/admin%00"']],
  ["10", "fragments", "test/e2e/paths.test.ts", ['"/admin#x"']],
  ["11", "bad escapes", "test/e2e/paths.test.ts", ['"/%zz"', '"/admin%"']],
  ["12", "queries", "test/e2e/paths.test.ts", ['"/admin?x=/public"', '"/admin?%61dmin=1;a=b"']],
  ["13, 14", "forms of the target", "test/e2e/paths.test.ts", ['"an absolute form"', '"no slash at the start"']],
  ["15", "tunnels and upgrades", "test/e2e/paths.test.ts", ['"CONNECT"', '"OPTIONS *"', '"a WebSocket"']],
  ["16", "hosts", "test/e2e/paths.test.ts", ['"two Host headers"', "decides on the host that the service is told"]],
  ["17, 18", "schemes and methods", "test/e2e/paths.test.ts", ['"a method in lower case"']],
  ["22", "bytes that are not UTF-8", "ext-authz/envoy.test.ts", ["sees bytes that are not UTF-8 as they are"]],
  [
    "23",
    "headers of our own",
    "test/e2e/spoofing.test.ts",
    ["gain nothing on a plain route", "gain nothing on a model route"],
  ],
  ["24", "Connection", "test/e2e/spoofing.test.ts", ["is gone for rule and service alike where Connection names it"]],
  ["26", "bodies", "ext-authz/model-source.test.ts", ["is refused with %s: %j"]],
  [
    "26",
    "JSON in two ways",
    "ext-authz/json-scanner.test.ts",
    ["takes 64 levels and refuses 65", "agrees with JSON.parse"],
  ],
  ["27", "gRPC", "test/e2e/identity.test.ts", ["passes with a key, and is refused with gRPC statuses"]],
  ["28", "tokens", "test/e2e/identity.test.ts", ["it.each(WRONG)", "a token that was taken before"]],
  ["29", "NUL in a name", "test/e2e/tls.test.ts", ["is refused where the name goes on behind a NUL"]],
  ["29", "names of nodes", "envoy/node-certificate.test.ts", ["a name that hides another binds to nothing"]],
  ["30", "reroutes", "test/e2e/false-decisions.test.ts", ["does not open a model route, nor the other way round"]],
  ["31", "header values of answers", "ext-authz/answer.test.ts", ["writes only header values that Envoy takes"]],
  ["34", "no revision", "ext-authz/service.test.ts", ["fails closed without a revision"]],
  ["35", "revisions at work", "ext-authz/service.test.ts", ["are decided by from the moment of activation"]],
  [
    "36",
    "unknown fields",
    "distribution/resolve-tree.test.ts",
    ["before the first good tree an error refuses the whole"],
  ],
  ["37", "too many at once", "ext-authz/service.test.ts", ["refuses early when too many checks are in flight"]],
  ["38", "log injection", "test/e2e/spoofing.test.ts", ["forges no line of a log and no field of a record"]],
  [
    "39",
    "settings per route",
    "test/e2e/false-decisions.test.ts",
    ["outlives Checks that are given up while routes change"],
  ],
];

describe("held by tests elsewhere", () => {
  test.each(ELSEWHERE)("%s: %s", async (_number, _name, file, titles) => {
    const text = await readFile(new URL(`../${file}`, import.meta.url), "utf8");
    for (const title of titles) expect(text.includes(title), `${file} has no test with ${title}`).toBe(true);
  });
});
