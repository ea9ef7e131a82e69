import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { analysisProblems } from "../../cli/analysis-problems.ts";
import { casePreparer } from "../../cli/policy-cases.ts";
import { failureLines } from "../../cli/policy-test-report.ts";
import { runPolicyTests } from "../../cli/policy-test-run.ts";
import { compileSound } from "../../cli/test.ts";
import { type ApplicationFacts, compilePolicy } from "../../policy/index.ts";

const HERE = import.meta.dirname;
const PACKS = join(HERE, "../../packs");

/** What the matrix of a pack is made of: every moment, and the millisecond before it, and everything else by all. */
interface Matrix {
  readonly moments: readonly string[];
  readonly jurisdictions: readonly (string | undefined)[];
  /** Data classes or uses, each as facts of an application. */
  readonly profiles: Readonly<Record<string, Partial<ApplicationFacts>>>;
  readonly models: readonly string[];
  /** The application of the pack's own tree that the facts are laid over. */
  readonly application: string;
}

const HIGH = { riskTier: "high", recordRetentionDays: 184, declarations: { humanOversight: "yes" } } as const;
const MATRICES: Readonly<Record<string, Matrix>> = {
  gdpr: {
    moments: ["2018-05-25", "2026-06-01", "2027-01-01"],
    jurisdictions: ["EU", "FR", "NO", "CH", "US", undefined],
    profiles: {
      "no data": { dataClasses: [] },
      personal: { dataClasses: ["personal"] },
      pii: { dataClasses: ["pii"] },
      special: { dataClasses: ["special"] },
      "special, declared": { dataClasses: ["special"], declarations: { specialCategoryCondition: "consent" } },
      phi: { dataClasses: ["phi"] },
    },
    models: ["atlas", "atlas@v1"],
    application: "eu-public",
  },
  "eu-ai-act": {
    moments: ["2025-02-02", "2025-08-02", "2026-08-02", "2026-12-02", "2027-12-02", "2028-08-02"],
    jurisdictions: ["EU", "FR", "NO", "US", undefined],
    profiles: {
      limited: { riskTier: "limited" },
      prohibited: { riskTier: "prohibited" },
      "intimate imagery": { riskTier: "limited", riskBasis: ["non-consensual-intimate-imagery"] },
      transparency: { riskTier: "transparency" },
      "transparency, disclosed": { riskTier: "transparency", declarations: { disclosure: "yes" } },
      "generated content": { riskTier: "limited", riskBasis: ["generated-content"] },
      "older generated content": {
        riskTier: "limited",
        riskBasis: ["generated-content"],
        onMarketSince: "2026-08-01T23:59:59Z",
      },
      "high, Annex III": { ...HIGH, riskBasis: ["annex-iii-employment"] },
      "high, Annex I": { ...HIGH, riskBasis: ["annex-i"] },
      "high, nothing declared": { riskTier: "high" },
    },
    models: ["atlas", "atlas@v4", "atlas@v2", "atlas@v1"],
    application: "hiring",
  },
  hipaa: {
    moments: ["2026-12-01", "2027-06-01"],
    jurisdictions: ["US", "EU", undefined],
    profiles: {
      "no data": { dataClasses: [] },
      personal: { dataClasses: ["personal"] },
      phi: { dataClasses: ["phi"] },
      "phi, loose records": { dataClasses: ["phi"], durability: "bestEffort" },
      "phi, records for five years": { dataClasses: ["phi"], recordRetentionDays: 1_826 },
    },
    models: ["atlas", "atlas@v1"],
    application: "clinic",
  },
};

test("every pack is verified here", () => {
  expect(readdirSync(PACKS).sort()).toEqual([...Object.keys(MATRICES), "README.md"].sort());
});

describe.each(Object.entries(MATRICES))("the pack %s", (name, matrix) => {
  const compiled = compileSound(join(PACKS, name));

  test("decides as its tests say, and they cover every rule that is on", async () => {
    const run = runPolicyTests(await compiled, { monotonic: () => 0 });
    expect(run.cases.flatMap(failureLines)).toEqual([]);
    expect(run.coverage.rules.filter(({ covered }) => !covered).map(({ rule }) => rule)).toEqual([]);
  });

  test("is off where it is unreviewed, and dubious nowhere", async () => {
    const { loaded, problems } = await compiled;
    expect(problems).toEqual([]);
    const doubts = analysisProblems(await compiled, { now: Date.parse("2026-01-01T00:00:00Z"), withinMs: 0 });
    expect(doubts.filter(({ message }) => message.includes("law:"))).toEqual([]);
    const [pack] = loaded.inventory.lawPacks;
    expect(pack?.name).toBe(name);
    expect(pack?.rules.filter(({ review, mode }) => review === "unreviewed" && mode !== "off")).toEqual([]);
    expect(pack?.adequacy.filter(({ review }) => review !== "unreviewed")).toEqual([]);
  });

  test("decides by jurisdiction, date, use and version as its golden file says", async () => {
    const text = matrixText(await compiled, matrix);
    const golden = join(HERE, `${name}.golden.txt`);
    if (process.env.UPDATE_GOLDEN === "1") writeFileSync(golden, text);
    expect(text).toBe(readFileSync(golden, "utf8"));
  });
});

/** A line for each use, jurisdiction and version, and below it from when on which answer is given. */
function matrixText(compiled: Awaited<ReturnType<typeof compileSound>>, matrix: Matrix): string {
  const { prepare } = casePreparer(compiled);
  const policy = compilePolicy(compiled.compiled.parts.program);
  const moments = matrix.moments.flatMap((day) => {
    const at = Date.parse(`${day}T00:00:00Z`);
    return [at - 1, at];
  });
  const lines: string[] = [];
  for (const [profile, facts] of Object.entries(matrix.profiles)) {
    for (const jurisdiction of matrix.jurisdictions) {
      for (const model of matrix.models) {
        lines.push(`${profile} | ${jurisdiction ?? "no jurisdiction"} | ${model}`);
        let before = "";
        for (const now of moments) {
          const prepared = prepare({
            now: new Date(now).toISOString(),
            request: {
              ...{ application: matrix.application, route: "models", model, headers: {}, stream: false },
              ...{ subject: { kind: "apiKey", fields: {} }, source: "127.0.0.1" },
            },
            draw: 0,
          });
          if (!prepared.ok || prepared.asked.kind !== "decision") throw new Error(JSON.stringify(prepared));
          const { input } = prepared.asked;
          const plain = { ...input.application, riskBasis: [], declarations: {} };
          const jurisdictions = jurisdiction === undefined ? [] : [jurisdiction];
          const verdict = policy.decide({ ...input, application: { ...plain, ...facts, jurisdictions } });
          const removed = verdict.removed
            .filter(({ rule }) => rule !== "chancery:model")
            .map(({ pool, rule }) => ` -${pool.replace("model/", "")} (${rule})`)
            .sort();
          const answer =
            verdict.effect === "deny"
              ? `deny ${verdict.rule}${removed.join("")}`
              : `allow ${verdict.targets.map(({ pool }) => pool.replace("model/", "")).join(", ")}${removed.join("")}`;
          if (answer !== before) lines.push(`  ${new Date(now).toISOString()} ${answer}`);
          before = answer;
        }
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The days on which the AI Act's next parts begin to apply, as the law has them since July 2026. */
test.each([
  ["2026-08-02", "chatbot", "law:eu-ai-act/transparency"],
  ["2027-12-02", "unseen", "law:eu-ai-act/high-risk-oversight-annex-iii"],
  ["2028-08-02", "unseen-lift", "law:eu-ai-act/high-risk-oversight-annex-i"],
])(
  "a clock that passes %s begins to refuse %s, and one that is set back lets it through again",
  async (day, application, rule) => {
    const compiled = await compileSound(join(PACKS, "eu-ai-act"));
    const { prepare } = casePreparer(compiled);
    const policy = compilePolicy(compiled.compiled.parts.program);
    const start = Date.parse(`${day}T00:00:00Z`);
    const rules = [-86_400_000, -1, 0, 1, 86_400_000, -1, 0].map((shift) => {
      const now = new Date(start + shift).toISOString();
      const request = { application, route: "models", model: "atlas", headers: {}, stream: false, source: "127.0.0.1" };
      const prepared = prepare({ now, request: { ...request, subject: { fields: {} } }, draw: 0 });
      if (!prepared.ok || prepared.asked.kind !== "decision") throw new Error(JSON.stringify(prepared));
      return policy.decide(prepared.asked.input).rule;
    });
    const open = "access/everyone";
    expect(rules).toEqual([open, open, rule, rule, rule, open, rule]);
  },
);
