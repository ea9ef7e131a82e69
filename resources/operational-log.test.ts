import { describe, expect, it } from "vitest";
import { APPLICATION, APPROVAL, clean, MODEL, VERSION } from "./fixtures.ts";
import { parseResources } from "./load.ts";
import type { LogEntry, LogOperation } from "./operational-log.ts";
import { formatProblem } from "./problem.ts";

const TREE = new Map([["team/a.yaml", MODEL + VERSION + APPLICATION]]);
const entry = (sequence: number, operation: LogOperation): LogEntry => ({
  sequence,
  at: "2026-01-01T00:00:00Z",
  by: "alice@acme.example",
  operation,
});
const approval = (name: string, spec: object = {}, namespace = "team") => ({
  apiVersion: "chancery.dev/v1",
  kind: "Approval",
  metadata: { name, namespace },
  spec: { version: "atlas-v2", application: "assistant", approvers: ["alice"], ...spec },
});
const put = (sequence: number, object: unknown) => entry(sequence, { type: "put", object });

describe("the operational log", () => {
  it("adds objects to the tree, in their scope", () => {
    const { inventory, problems, positions } = parseResources(TREE, [put(7, approval("ok"))]);
    expect(problems).toEqual([]);
    expect(inventory.approvals).toMatchObject([
      { key: "team/ok", scope: "team", version: "team/atlas-v2", application: "team/assistant", approvers: ["alice"] },
    ]);
    expect(positions.locate("Approval", "team/ok", ["spec", "version"])).toEqual({ file: "log:7", line: 1, column: 1 });
  });

  it("replaces and removes what is authored and what it added itself", () => {
    const tree = new Map([["a.yaml", MODEL + VERSION + APPLICATION + APPROVAL]]);
    const approvers = (...entries: LogEntry[]) => {
      const { inventory, problems } = parseResources(tree, entries);
      expect(problems).toEqual([]);
      return inventory.approvals.map((object) => object.approvers);
    };
    const bob = put(1, approval("ok", { approvers: ["bob"] }, "."));
    const remove = entry(2, { type: "delete", kind: "Approval", key: "ok" });
    expect(approvers()).toEqual([["alice"]]);
    expect(approvers(bob)).toEqual([["bob"]]);
    expect(approvers(bob, remove)).toEqual([]);
    expect(approvers(bob, remove, entry(3, { type: "delete", kind: "Approval", key: "gone" }))).toEqual([]);
    expect(approvers(remove, put(3, approval("ok", { approvers: ["carol"] }, ".")))).toEqual([["carol"]]);
  });

  it("is checked by the same schemas, at its sequence number", () => {
    const wrong = [
      put(1, approval("a", { approvers: [] })),
      put(2, approval("b", { version: "atlas-v9" })),
      put(3, { ...approval("c"), kind: "Model", spec: {} }),
      put(3, approval("d")),
      put(4, "nonsense"),
      entry(5, { type: "delete", kind: "Policy", key: "p" }),
      put(6, approval("ok")),
    ];
    const { inventory, problems } = parseResources(TREE, wrong);
    expect(problems.map(formatProblem)).toEqual([
      "log:1:1:1: error: spec.approvers: an approval needs at least 1 approver [invalid-value]",
      'log:2:1:1: error: there is no ModelVersion "atlas-v9" in scope "team" or above it [dangling-reference]\n    hint: did you mean "atlas-v2"?',
      "log:3:1:1: error: the log cannot hold a Model [invalid-log]\n    hint: the log holds Approval, Rollout, Experiment; the rest is written as YAML",
      "log:3:1:1: error: sequence 3 follows 3 [invalid-log]\n    hint: entries are in order",
      "log:4:1:1: error: this document is not an object [not-an-object]\n    hint: write apiVersion, kind, metadata and spec",
      "log:5:1:1: error: the log cannot delete a Policy [invalid-log]\n    hint: the log holds Approval, Rollout, Experiment; the rest is written as YAML",
    ]);
    expect(inventory.approvals.map(({ key }) => key)).toEqual(["team/ok"]);
  });

  it("may be empty", () => {
    expect(parseResources(TREE, []).inventory).toEqual(clean(Object.fromEntries(TREE)).inventory);
  });
});
