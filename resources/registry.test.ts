import { expect, it, test } from "vitest";
import { clean, MODEL, VERSION } from "./fixtures.ts";
import { MATURITIES, type Maturity } from "./models.ts";
import { identityOf, MATURITY_STEPS, registeredVersion, registryProblems } from "./registry.ts";

const DIGEST = `digest: sha256:${"a".repeat(64)}`;
const known = (text: string) =>
  new Map(clean({ "a.yaml": MODEL + text }).inventory.modelVersions.map((v) => [identityOf(v), registeredVersion(v)]));
const problems = (before: string, after: string) => registryProblems(clean({ "b.yaml": MODEL + after }), known(before));
const of = (maturity: string, ...lines: string[]) =>
  VERSION.replace("maturity: production", [`maturity: ${maturity}`, ...lines].join("\n  "));

it("says where a published version has another digest or provider, whatever its object is called", () => {
  const other = of("production", DIGEST.replace("a:aa", "a:ab").replaceAll("aaaa", "abab")).replace(
    "name: atlas-v2",
    "name: renamed",
  );
  const [problem, ...others] = problems(of("production", DIGEST), other);
  expect(others).toEqual([]);
  expect(problem).toMatchObject({
    code: "identity-changed",
    message: expect.stringContaining(`was published with the digest sha256:${"a".repeat(64)}`),
    at: { file: "b.yaml", line: 17 },
  });
  expect(problems(VERSION, VERSION.replace("provider: Acme", "provider: Other")).map(({ code }) => code)).toEqual([
    "identity-changed",
  ]);
  expect(problems(of("production", DIGEST), VERSION)).toEqual([]);
  expect(problems(VERSION, of("production", DIGEST))).toEqual([]);
});

test.each(MATURITIES.flatMap((from) => MATURITIES.map((to) => [from, to] as const)))("%s → %s", (from, to) => {
  const legal: readonly Maturity[] = [from, ...MATURITY_STEPS[from]];
  const found = problems(of(from), of(to));
  expect(found.map(({ code }) => code)).toEqual(legal.includes(to) ? [] : ["illegal-transition"]);
});

it("says which maturities may follow", () => {
  expect(problems(of("experimental"), of("production"))[0]?.hint).toBe("from experimental: shadow, retired");
  expect(problems(of("retired"), of("production"))[0]?.hint).toBe("retired is final");
});

it("lets nothing skip a step upwards, and nothing come back", () => {
  for (const [place, from] of MATURITIES.entries()) {
    const next = MATURITY_STEPS[from];
    const up = MATURITIES.slice(place + 2);
    expect(
      next.filter((to) => up.includes(to) && to !== "retired"),
      from,
    ).toEqual([]);
  }
});
