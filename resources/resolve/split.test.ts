import { describe, expect, it } from "vitest";
import { clean, MODEL, onlyProblem, said, yaml } from "../fixtures.ts";

const version = (name: string, model = "atlas") =>
  yaml("ModelVersion", `${model}-${name}`, `model: ${model}\nversion: ${name}\nprovider: Acme\nmaturity: production`);
const TREE =
  MODEL + yaml("Model", "orion", "approval: required") + version("v1") + version("v2") + version("v1", "orion");
const rollout = (...lines: string[]) =>
  yaml("Rollout", "to-v2", ["model: atlas", "to: atlas-v2", "steps: [5, 50]", "step: 1", ...lines].join("\n"));
const experiment = (...lines: string[]) => yaml("Experiment", "tone", ["model: atlas", ...lines].join("\n"));
const ARMS = "arms: [{ name: a, version: atlas-v1 }, { name: b, version: atlas-v2, weight: 3 }]";

const one = (text: string) => said(onlyProblem({ "a.yaml": TREE, "b.yaml": text }));
const read = (text: string) => clean({ "a.yaml": TREE, "b.yaml": text }).inventory;
/** The text with this written in place of that; the mark stands where the problem is. */
function changed(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`${from} does not stand in the text`);
  return text.replace(from, to);
}

describe("Rollout", () => {
  it("takes its salt from its name, and leaves out nobody unless told", () => {
    expect(read(rollout()).rollouts).toMatchObject([
      { model: "atlas", to: "atlas-v2", steps: [5, 50], step: 1, salt: "to-v2", holdout: 0, segments: [] },
    ]);
    expect(read(rollout()).rollouts[0]).not.toHaveProperty("from");
    expect(read(rollout("salt: other", "from: [atlas-v1]")).rollouts).toMatchObject([
      { salt: "other", from: ["atlas-v1"] },
    ]);
  });

  it("mirrors to the version that it brings in, all of it, unless told otherwise", () => {
    expect(read(rollout()).rollouts[0]).not.toHaveProperty("mirror");
    expect(read(rollout("mirror: {}")).rollouts[0]?.mirror).toEqual({ version: "atlas-v2", share: 100 });
    expect(read(rollout("mirror: { version: atlas-v1, share: 0.5 }")).rollouts[0]?.mirror).toEqual({
      version: "atlas-v1",
      share: 0.5,
    });
  });

  it.each([
    ["steps: [5, 50]", "steps: [5, ▸5]", "invalid-value", "must be more than the step before (5)"],
    ["steps: [5, 50]", "steps: [5, ▸101]", "invalid-value", "must lie between 0 and 100 (percent)"],
    ["steps: [5, 50]", "steps: [▸-1, 50]", "invalid-value", "must lie between 0 and 100 (percent)"],
    ["step: 1", "step: ▸3", "invalid-value", "there are 2 steps, and 3 cannot be taken"],
    ["to: atlas-v2", "to: ▸atlas-v9", "dangling-reference", 'ModelVersion "atlas-v9"'],
    ["model: atlas", "model: ▸atlast", "dangling-reference", 'Model "atlast"'],
    ["to: atlas-v2", "to: ▸orion-v1", "conflict", 'orion-v1 is a version of Model "orion", and this splits "atlas"'],
  ])("%s as %s is %s", (from, to, code, message) => {
    const problem = one(changed(rollout(), from, to));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it.each([
    ["from: [▸atlas-v2]", "a version cannot take over from itself"],
    ["from: [atlas-v1, ▸orion-v1]", 'a version of Model "orion"'],
    ["segments: [{ when: 'true', version: ▸orion-v1 }]", 'a version of Model "orion"'],
    ["mirror: { version: ▸orion-v1 }", 'a version of Model "orion"'],
    ["holdout: ▸101", "must lie between 0 and 100 (percent)"],
    ["mirror: { share: ▸-1 }", "must lie between 0 and 100 (percent)"],
  ])("with %s is refused", (line, message) => {
    expect(one(rollout(line)).message).toContain(message);
  });

  it("is alone with its model in a scope, unless it says which requests", () => {
    const second = changed(changed(rollout(), "name: to-v2", "name: z"), "model: atlas", "model: ▸atlas");
    expect(one(rollout() + second)).toMatchObject({
      code: "conflict",
      message: 'Rollout "to-v2" decides on every request of Model "atlas" already',
    });
    const unmarked = second.replace("▸", "");
    expect(read(rollout("when: subject.id == 'x'") + unmarked).rollouts).toHaveLength(2);
    const { inventory } = clean({ "a.yaml": TREE, "b.yaml": rollout(), "team/c.yaml": unmarked });
    expect(inventory.rollouts.map(({ key }) => key)).toEqual(["team/z", "to-v2"]);
  });
});

describe("Experiment", () => {
  it("enrols everybody, with equal weights, unless told", () => {
    expect(read(experiment(ARMS)).experiments).toMatchObject([
      {
        arms: [
          { name: "a", version: "atlas-v1", weight: 1 },
          { name: "b", version: "atlas-v2", weight: 3 },
        ],
        share: 100,
        holdout: 0,
        salt: "tone",
      },
    ]);
  });

  it.each([
    [ARMS.replace("name: b", "name: ▸a"), "conflict", 'two arms of this experiment have the name "a"'],
    [ARMS.replace("weight: 3", "weight: ▸0"), "invalid-value", "must be more than 0"],
    [ARMS.replace("atlas-v2", "▸orion-v1"), "conflict", 'a version of Model "orion"'],
    [ARMS.replace("atlas-v2", "▸atlas-v9"), "dangling-reference", "atlas-v9"],
    [ARMS.replace("name: b", "name: ▸-b"), "invalid-value", "a short name"],
    ["arms: ▸[{ name: a, version: atlas-v1 }]", "invalid-value", "2"],
  ])("%s is refused", (arms, code, message) => {
    const problem = one(experiment(arms));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it("ends after it begins", () => {
    const period = ["validFrom: 2026-12-01T00:00:00Z", "validUntil: ▸2026-11-01T00:00:00Z"];
    expect(one(experiment(ARMS, ...period)).message).toMatch(/validFrom|validUntil/);
  });
});
