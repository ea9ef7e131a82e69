import type { LoadResult } from "./link.ts";
import { parseResources } from "./load.ts";
import type { Problem, SourcePosition } from "./problem.ts";
import { formatProblem } from "./problem.ts";

/** Stands in the text of a test right before the place that a problem must point at. */
const MARK = "▸";

export interface Expected {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** Takes the marks out of the texts and says where they stood. */
export function unmark(texts: Readonly<Record<string, string>>): {
  readonly files: ReadonlyMap<string, string>;
  readonly marks: readonly SourcePosition[];
} {
  const files = new Map<string, string>();
  const marks: SourcePosition[] = [];
  for (const [file, text] of Object.entries(texts)) {
    let clean = "";
    for (const [index, part] of text.split(MARK).entries()) {
      if (index > 0) {
        const lines = clean.split("\n");
        marks.push({ file, line: lines.length, column: (lines.at(-1) ?? "").length + 1 });
      }
      clean += part;
    }
    files.set(file, clean);
  }
  return { files, marks };
}

/** Parses texts with one mark; the problem must be the only one, and stand there. */
export function onlyProblem(texts: Readonly<Record<string, string>>): Problem {
  const { files, marks } = unmark(texts);
  const { problems } = parseResources(files);
  const [problem, ...others] = problems;
  if (problem === undefined || others.length > 0) {
    throw new Error(`expected one problem, found ${problems.length}:\n${problems.map(formatProblem).join("\n")}`);
  }
  const [mark] = marks;
  if (mark === undefined || marks.length > 1) throw new Error("the text must have one mark");
  const { file, line, column } = problem.at;
  if (file !== mark.file || line !== mark.line || column !== mark.column) {
    throw new Error(`expected at ${mark.file}:${mark.line}:${mark.column}:\n${formatProblem(problem)}`);
  }
  return problem;
}

/** What a problem says, without its place. */
export function said({ code, message, hint }: Problem): Expected {
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}

/** Parses texts that must be free of problems. */
export function clean(texts: Readonly<Record<string, string>>): LoadResult {
  const loaded = parseResources(new Map(Object.entries(texts)));
  if (loaded.problems.length > 0) throw new Error(loaded.problems.map(formatProblem).join("\n"));
  return loaded;
}

/** An object as YAML, `spec` as lines without indentation. */
export function yaml(kind: string, name: string, spec: string): string {
  const apiVersion = /^(Gateway|HTTPRoute|ReferenceGrant)$/.test(kind)
    ? "gateway.networking.k8s.io/v1"
    : "chancery.dev/v1";
  const indented = spec
    .trim()
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");
  return `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata:\n  name: ${name}\nspec:\n${indented}\n---\n`;
}

export const GATEWAY = yaml("Gateway", "edge", "listeners:\n  - { name: http, port: 10000, protocol: HTTP }");
export const UPSTREAM = yaml("Upstream", "web", "endpoints:\n  - { address: 10.0.0.1, port: 8080 }");
export const MODEL = yaml("Model", "atlas", "approval: required");
export const VERSION = yaml(
  "ModelVersion",
  "atlas-v2",
  "model: atlas\nversion: v2\nprovider: Acme\nmaturity: production",
);
export const APPLICATION = yaml(
  "Application",
  "assistant",
  `purpose: Helps\nriskTier: limited\napiKeys:\n  - { id: k1, sha256: ${"ab".repeat(32)} }`,
);
export const APPROVAL = yaml("Approval", "ok", "version: atlas-v2\napplication: assistant\napprovers: [alice]");
