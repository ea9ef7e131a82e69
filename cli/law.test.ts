import { join } from "node:path";
import { expect, test } from "vitest";
import { parseResources } from "../resources/index.ts";
import { runChancery } from "../test/support/index.ts";
import { policyTestSamples } from "./diff-samples.ts";
import { previewLaw } from "./law-preview.ts";
import { listPacks, shippedPack, shippedPacks } from "./shipped-packs.ts";
import { compileSound } from "./test.ts";

const AI_ACT = join(import.meta.dirname, "../packs/eu-ai-act");

async function preview(from: string, at: string) {
  const tree = await compileSound(AI_ACT);
  const samples = policyTestSamples(tree.loaded.inventory).filter(
    ({ described }) => described.request.application === "unseen",
  );
  return previewLaw(tree, samples, { from: Date.parse(from), at: Date.parse(at) });
}

test("a date that begins rules says which decisions they change, and leaves the clock alone", async () => {
  const found = await preview("2027-12-01T00:00:00Z", "2027-12-02T00:00:00Z");
  expect(found.begin).toEqual([
    "law:eu-ai-act/high-risk-version-annex-iii",
    "law:eu-ai-act/high-risk-oversight-annex-iii",
    "law:eu-ai-act/high-risk-logs-annex-iii",
  ]);
  expect(found.end).toEqual([]);
  expect(found.decisions.map(({ kind, rule, application }) => [kind, rule, application])).toEqual([
    ["newlyDenied", "law:eu-ai-act/high-risk-oversight-annex-iii", "unseen"],
  ]);
  expect(found.samples.asked).toBe(2);
  expect(found.decisions[0]?.count).toBe(2);
});

test("a date that changes nothing changes no decision, and going back is told as well", async () => {
  expect((await preview("2027-12-02T00:00:00Z", "2028-01-01T00:00:00Z")).decisions).toEqual([]);
  const back = await preview("2027-12-02T00:00:00Z", "2027-12-01T00:00:00Z");
  expect(back.decisions.map(({ kind }) => kind)).toEqual(["newlyAllowed"]);
  expect(back.end).toHaveLength(3);
});

test("a shipped pack is known again in a tree until it is changed", async () => {
  const shipped = await shippedPacks();
  const { text = "", name = "" } = shipped[0] ?? {};
  const how = (copy: string) => {
    const { inventory, problems } = parseResources(new Map([["law.yaml", copy]]));
    expect(problems).toEqual([]);
    return listPacks(inventory.lawPacks, shipped).map((each) => each.shipped);
  };
  expect(how(text)).toEqual(["as shipped"]);
  expect(how(text.replace("review: sourced", "review: reviewed"))).toEqual(["changed"]);
  expect(how(text.replace("version: 2026-11-21", "version: 2026-01-01"))).toEqual(["older than shipped"]);
  expect(how(text.replace(`name: ${name}`, "name: ours"))).toEqual(["your own"]);
  await expect(shippedPack("nothing")).rejects.toThrow("there are eu-ai-act, gdpr, hipaa");
});

test("preview exits with 1 where a decision changes", { timeout: 90_000 }, async () => {
  const run = await runChancery(
    ...["law", "preview", AI_ACT, "--from", "2026-08-01T00:00:00Z", "--at", "2026-08-02T00:00:00Z"],
  );
  expect(run.stdout).toContain("newly denied");
  expect(run.stdout).toContain("begins   law:eu-ai-act/transparency");
  expect(run.code).toBe(1);
});
