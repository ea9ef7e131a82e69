import { describe, expect, test } from "vitest";
import { createPolicyCompiler } from "./compile-in-slices.ts";
import { compilePolicy } from "./decide.ts";
import { modelInput, modelTarget, program, rule } from "./fixtures.ts";
import { ExpressionCache } from "./rules.ts";
import { atOnce } from "./steps.ts";

const TARGETS = [modelTarget("a", 0)];
const RULES = Array.from({ length: 500 }, (_, index) =>
  rule(`r${index}`, {
    effect: index % 5 === 0 ? "deny" : "allow",
    when: `subject.tenant == "t${index % 50}" && request.url_path.startsWith("/v1/${index}")`,
  }),
);
const PROGRAM = program({ rules: RULES, targets: TARGETS });
const REQUEST = modelInput("a", TARGETS);

/** A clock that moves on by one millisecond each time it is looked at, and rests that are counted. */
function slowly(onRest: (rests: number) => void = () => undefined) {
  const counted = { rests: 0 };
  let now = 0;
  const compiler = createPolicyCompiler({
    sliceMs: 5,
    monotonic: () => {
      now += 1;
      return now;
    },
    rest: async () => {
      counted.rests += 1;
      onRest(counted.rests);
    },
  });
  return { compiler, counted };
}

describe("compiling in slices", () => {
  test("gives the same policy, with a rest after each slice", async () => {
    const { compiler, counted } = slowly();
    const policy = await compiler.compile(PROGRAM);
    expect(policy?.decide(REQUEST)).toEqual(compilePolicy(PROGRAM).decide(REQUEST));
    expect(counted.rests).toBeGreaterThan(RULES.length / 5);
  });

  test("can be given up, and then begun with another program", async () => {
    const controller = new AbortController();
    const { compiler, counted } = slowly((rests) => {
      if (rests === 20) controller.abort();
    });
    expect(await compiler.compile(PROGRAM, controller.signal)).toBeUndefined();
    expect(counted.rests).toBe(20);
    const broken = rule("broken", { effect: "deny", when: "1 +" });
    const policy = await compiler.compile({ ...PROGRAM, rules: [...RULES, broken] });
    expect(policy?.problems).toMatchObject([{ rule: "broken" }]);
  });
});

test("the same program again gives the same policy at once, an equal one its own", async () => {
  const { compiler, counted } = slowly();
  const policy = await compiler.compile(PROGRAM);
  const { rests } = counted;
  expect(await compiler.compile(PROGRAM)).toBe(policy);
  expect(counted.rests).toBe(rests);
  const equal = await compiler.compile({ ...PROGRAM });
  expect(equal).not.toBe(policy);
  expect(equal?.decide(REQUEST)).toEqual(policy?.decide(REQUEST));
});

test("what is compiled is kept until a whole compilation has no use for it", () => {
  const cache = new ExpressionCache();
  const texts = ["request.size > 1", "request.size > 2"] as const;
  const compile = (text: string) => atOnce(cache.compile(text, "request", "bool"));
  const [first, second] = texts.map(compile);
  expect(compile(texts[0])).toBe(first);
  for (const _ of cache.trim());
  expect(compile(texts[0])).toBe(first);
  for (const _ of cache.trim());
  expect(compile(texts[0])).toBe(first);
  expect(compile(texts[1])).not.toBe(second);
});
