import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { analyseProgram, FINDING_CODES } from "./analysis.ts";
import { emptyContexts } from "./analysis-contexts.ts";
import {
  ALLOW_ALL,
  APPLICATION,
  application as applicationWith,
  modelFacts,
  modelInput,
  modelTarget,
  NOW,
  program,
  rule,
  upstreamTarget,
} from "./fixtures.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";

const DAY = 86_400_000;

function found(changes: Partial<PolicyProgram>, options: Partial<Parameters<typeof analyseProgram>[1]> = {}) {
  return analyseProgram(program(changes), { now: NOW, withinMs: 30 * DAY, asked: [], ...options }).map(
    ({ code, about }) => `${code} ${about.key}`,
  );
}

it("warns of upstreams that are reached without a decision", () => {
  const targets = [upstreamTarget("web"), upstreamTarget("open", { governed: false })];
  expect(found({ targets })).toEqual(["ungoverned-upstream open"]);
});

describe("rules", () => {
  it.each<[string, readonly ProgramRule[], readonly string[]]>([
    ["nothing in rules that differ", [ALLOW_ALL, rule("d", { effect: "deny", when: "request.size > 1" })], []],
    [
      "the later of two that are the same",
      [
        rule("a", { effect: "deny", when: "request.size > 1" }),
        rule("b", { effect: "deny", when: "(request.size>1)" }),
      ],
      ["rule-shadowed b"],
    ],
    [
      "the narrower one, wherever it stands",
      [
        rule("narrow", { effect: "deny", scope: "bank", when: "request.size > 1 && request.method == 'GET'" }),
        rule("wide", { effect: "deny", when: "request.size > 1" }),
      ],
      ["rule-shadowed narrow"],
    ],
    ["no allow of another level", [rule("a", { effect: "allow", scope: "bank" }), rule("b", { effect: "allow" })], []],
    [
      "a restrict that demands less",
      [
        rule("less", { effect: "restrict", require: "target.age > 1" }),
        rule("more", { effect: "restrict", require: "target.age > 1 && target.kind == 'model'" }),
      ],
      ["rule-shadowed less"],
    ],
    [
      "a constant",
      [rule("n", { effect: "deny", when: "1 > 2" }), rule("e", { effect: "deny", when: "1 / 0 == 1" })],
      ["rule-never-holds n", "rule-always-fails e"],
    ],
    [
      "a condition that contradicts itself",
      [
        rule("a", { effect: "deny", when: 'request.method == "GET" && request.method == "PUT"' }),
        rule("b", { effect: "deny", when: "request.size > 1 && !(request.size > 1)" }),
      ],
      ["rule-never-holds a", "rule-never-holds b"],
    ],
    [
      "an allow that is denied whenever it holds",
      [
        rule("a", { effect: "allow", scope: "bank", when: 'request.size > 1 && request.method == "GET"' }),
        rule("d", { effect: "deny", when: "request.size > 1" }),
      ],
      ["allow-contradicted a"],
    ],
    [
      "a field that nobody has, unless it is asked for first",
      [
        rule("a", { effect: "deny", when: 'subject.regoin == "EU"' }),
        rule("b", { effect: "deny", when: 'has(subject.regoin) && subject.regoin == "US"' }),
        rule("c", { effect: "deny", when: 'subject.kind == "jwt" && subject.tenant == "x"' }),
      ],
      ["rule-always-fails a"],
    ],
  ])("finds %s", (_, rules, expected) => {
    const subject = { id: "k", sha256: "", subject: { tenant: "x" } };
    expect(found({ rules, applications: [{ ...APPLICATION, apiKeys: [subject] }] })).toEqual(expected);
  });
});

describe("contexts", () => {
  const targets = [modelTarget("m", 1, { country: "US" }), modelTarget("n", 1, { country: "US" })];
  const application = { ...APPLICATION, jurisdictions: ["EU", "US"], dataClasses: ["pii"] };
  const asked = [["m", "n"].map((model) => modelInput(model, targets, { application }))];
  const eu = rule("eu", {
    effect: "restrict",
    when: '"EU" in application.jurisdictions',
    require: "target.country in countries.EU",
  });

  it("finds the jurisdiction and data class for which nothing is legal", () => {
    const made = program({ rules: [ALLOW_ALL, eu], targets });
    expect(analyseProgram(made, { now: NOW, withinMs: 0, asked })).toEqual([
      {
        code: "empty-legal-set",
        message: "nothing may answer for EU with pii: every target is removed (eu)",
        hint: "chancery explain says what removed which target",
        about: { kind: "Application", key: APPLICATION.key },
      },
    ]);
  });

  it("finds nothing where one model may answer, or where rules refuse at the door", () => {
    const german = [modelTarget("m", 1, { country: "DE" }), ...targets.slice(1)];
    const inputs = [["m", "n"].map((model) => modelInput(model, german, { application }))];
    expect(found({ rules: [ALLOW_ALL, eu], targets: german }, { asked: inputs })).toEqual([]);
    expect(found({ rules: [eu], targets }, { asked })).toEqual([]);
  });

  it("takes conditions of approvals about the request as met, and holds others to what the application declares", () => {
    const models = ["m", "n"].map((key) => modelFacts(key, { approval: "required" }));
    const on = (...conditions: readonly string[]) =>
      found(
        {
          ...{ rules: [ALLOW_ALL], targets, models },
          approvals: [{ key: "a", version: "m@1", application: APPLICATION.key, jurisdictions: [], conditions }],
        },
        { asked },
      );
    expect(on('subject.nobody == "x"', 'request.headers["x-pilot"] == "yes"')).toEqual([]);
    const empty = `empty-legal-set ${APPLICATION.key}`;
    expect(on('!("pii" in application.dataClasses)')).toContain(empty);
    expect(on("only for the pilot")).toContain(empty);
  });

  it("asks for no more requests than it needs, and says where it could not look at all", () => {
    const made = program({ rules: [ALLOW_ALL], targets });
    let given = 0;
    const endless: Iterable<ReturnType<typeof modelInput>> = {
      *[Symbol.iterator]() {
        for (;;) {
          given += 1;
          yield modelInput("m", targets, { application });
        }
      },
    };
    const notes: string[] = [];
    const onNote = (note: string) => notes.push(note);
    expect(emptyContexts(made, [endless, endless], onNote)).toEqual([]);
    expect([given, notes]).toEqual([2, []]);
    const denied = program({ rules: [ALLOW_ALL, rule("no", { effect: "deny" })], targets });
    expect(emptyContexts(denied, [asked[0] ?? [], endless], onNote, 100)).toEqual([]);
    expect(notes).toEqual(["empty-legal-set: 1 of 2 applications looked at, in 100 decisions"]);
  });

  it("looks at all that is declared where each by itself is fine", () => {
    const models = targets.map(({ model }) => modelFacts(model?.model ?? "", { approval: "required" }));
    const approvals = [
      { key: "a", version: "m@1", application: APPLICATION.key, jurisdictions: ["EU"] },
      { key: "b", version: "n@1", application: APPLICATION.key, jurisdictions: ["US"] },
    ];
    const made = program({ rules: [ALLOW_ALL], targets, models, approvals });
    const [finding] = analyseProgram(made, { now: NOW, withinMs: 0, asked });
    expect(finding?.message).toBe(
      "nothing may answer for all that it declares: every target is removed (chancery:approval)",
    );
  });
});

describe("what ends", () => {
  const at = (days: number) => new Date(NOW + days * DAY).toISOString();
  const approval = (key: string, days: number) => ({
    key,
    version: "m@1",
    application: "a",
    jurisdictions: [],
    validUntil: at(days),
  });
  const targets = [
    modelTarget("m", 1, {
      certifications: [{ name: "soc2", validUntil: at(29) }],
      scores: [{ metric: "accuracy", slice: "all", value: 0.9, evaluatedAt: at(-80) }],
    }),
    modelTarget("m", 1, { deployment: "second", region: "us" }),
    modelTarget("m", 0, { region: "us", maturity: "retired" }),
  ];

  it("is found within the days that are asked for, and after", () => {
    const approvals = [approval("gone", -1), approval("soon", 30), approval("later", 31)];
    expect(found({ approvals })).toEqual(["approval-ends gone", "approval-ends soon"]);
    expect(found({ targets: targets.slice(0, 1) })).toEqual(["certification-ends m@1"]);
    expect(found({ targets: targets.slice(0, 1) }, { withinMs: 10 * DAY, scoreAgeMs: 90 * DAY })).toEqual([
      "score-ages m@1",
    ]);
    expect(found({ targets: targets.slice(0, 1) }, { withinMs: 9 * DAY, scoreAgeMs: 90 * DAY })).toEqual([]);
  });

  it("is found of what nothing follows: agreements by kind and party, safeguards by country", () => {
    const agreement = (days: number, subprocessor?: string) => ({
      ...({ kind: "data-processing", reference: "1", validUntil: at(days) } as const),
      ...(subprocessor === undefined ? {} : { subprocessor }),
    });
    const safeguard = (country: string, days: number) => ({
      ...({ country, kind: "standard-clauses", reference: "1", validUntil: at(days) } as const),
    });
    const agreed = (...agreements: ReturnType<typeof agreement>[]) =>
      found({ targets: [modelTarget("m", 1, { deployment: "here", agreements })] });
    expect(agreed(agreement(30))).toEqual(["agreement-ends here"]);
    expect(agreed(agreement(31))).toEqual([]);
    expect(agreed(agreement(-1), agreement(31))).toEqual([]);
    expect(agreed(agreement(-1, "helper"), agreement(31))).toEqual(["agreement-ends here"]);
    const safe = [modelTarget("m", 1, { deployment: "here", safeguards: [safeguard("US", 30), safeguard("IN", 31)] })];
    expect(found({ targets: safe })).toEqual(["safeguard-ends here"]);
    expect(found({ targets: safe, adequate: [{ country: "US", to: at(31) }] })).toEqual([]);
    expect(found({ targets: safe, adequate: [{ country: "US" }] })).toEqual([]);
    expect(found({ targets: safe, adequate: [{ country: "IN" }] })).toEqual(["safeguard-ends here"]);
  });

  it("takes the age of a score from the applications too, the least one", () => {
    const asking = (maxAgeMs: number, metric = "accuracy") =>
      applicationWith({ minimumScores: [{ metric, slice: "all", value: 0, maxAgeMs }] });
    const made = { targets: [modelTarget("m", 1, { scores: targets[0]?.model?.scores ?? [] })] };
    const ages = (...applications: ReturnType<typeof applicationWith>[]) =>
      found({ ...made, applications }, { withinMs: 10 * DAY });
    expect(ages(asking(91 * DAY), asking(90 * DAY))).toEqual(["score-ages m@1"]);
    expect(ages(asking(91 * DAY), asking(1, "toxicity"))).toEqual([]);
  });

  it("counts the targets of a region, not the retired ones", () => {
    expect(found({ targets }, { withinMs: 0, minReady: 1 })).toEqual([]);
    expect(found({ targets }, { withinMs: 0, minReady: 2 })).toEqual(["few-targets m", "few-targets m"]);
  });
});

describe("laws", () => {
  const begins = (days: number) => new Date(NOW + days * DAY).toISOString();
  const laws = [
    rule("law:a/soon", { effect: "deny", effectiveFrom: begins(30) }),
    rule("law:a/later", { effect: "deny", effectiveFrom: begins(31) }),
    rule("law:a/now", { effect: "deny", when: "request.size < 0", effectiveFrom: begins(0) }),
    rule("law:a/off", { effect: "deny", mode: "off", effectiveFrom: begins(1) }),
    rule("law:a/nobody", { effect: "deny", when: "request.size == 7", effectiveFrom: begins(1) }),
  ];

  it("are told before they begin, with whom they then decide about", () => {
    const asked = [[modelInput("m", [modelTarget("m", 1)])]];
    const made = program({ rules: [ALLOW_ALL, ...laws], targets: [modelTarget("m", 1)] });
    const findings = analyseProgram(made, { now: NOW, withinMs: 30 * DAY, asked }).filter(
      ({ code }) => code === "law-begins",
    );
    expect(findings.map(({ about, message }) => [about.key, message])).toEqual([
      ["law:a/soon", `it begins at ${begins(30)}: it then decides about ${APPLICATION.key}`],
      ["law:a/nobody", `it begins at ${begins(1)}: nothing that is asked for today is decided by it`],
    ]);
  });

  it("that counsel has not reviewed are told once a pack", () => {
    const findings = analyseProgram(program(), {
      ...{ now: NOW, withinMs: 0, asked: [] },
      laws: [
        { key: "gdpr", unreviewed: ["transfers", "lawful-basis"] },
        { key: "hipaa", unreviewed: [] },
      ],
    });
    expect(findings).toMatchObject([{ code: "law-unreviewed", about: { kind: "LawPack", key: "gdpr" } }]);
  });
});

it("docs/findings.md has every code with its meaning, and no other", async () => {
  const text = await readFile(new URL("../docs/findings.md", import.meta.url), "utf8");
  const rows = [...text.matchAll(/^\| `([^`]+)` \| (.+?) \| (.+?) \|$/gm)];
  expect(rows.map(([, code, meaning]) => [code, meaning])).toEqual(Object.entries(FINDING_CODES));
});
