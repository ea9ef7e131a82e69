import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { scopeOf } from "../resources/index.ts";

/** Test data: trees of all kinds, and edits of them as people make them. Imported by tests only. */
export type Files = ReadonlyMap<string, string>;

const ROOT = join(import.meta.dirname, "..");

function filesOf(directory: string): Map<string, string> {
  const paths = readdirSync(join(ROOT, directory), { recursive: true, encoding: "utf8" });
  const yaml = paths.filter((path) => path.endsWith(".yaml") && !path.endsWith("golden.yaml"));
  return new Map(yaml.map((path) => [path, readFileSync(join(ROOT, directory, path), "utf8")]));
}

/** Kinds that the examples do not have, for any of the trees. */
const MORE: Files = new Map([
  [
    "laws.yaml",
    `apiVersion: chancery.dev/v1
kind: LawPack
metadata: { name: law }
spec:
  instrument: Law
  jurisdiction: EU
  version: 2026-01-01
  source: https://law.example/1
  asOf: 2026-01-01
  rules:
    - { id: one, article: Art. 1, review: reviewed, effect: deny, when: 'request.method == "DELETE"', reason: No }
`,
  ],
  [
    "teams/eu/more.yaml",
    `apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: side }
spec: { endpoints: [{ address: 127.0.0.1, port: 7001 }] }
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: side }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: . }]
  to: [{ group: chancery.dev, kind: Upstream }]
---
apiVersion: chancery.dev/v1
kind: Quarantine
metadata: { name: stop }
spec: { targetRef: { kind: Upstream, name: side }, reason: incident 7 }
`,
  ],
  [
    "side.yaml",
    `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: side }
spec:
  gatewayClassName: chancery
  listeners: [{ name: http, port: 7000, protocol: HTTP }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: side }
spec:
  parentRefs: [{ name: side }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /side } }]
      backendRefs: [{ group: chancery.dev, kind: Upstream, name: side, namespace: teams/eu, weight: 1 }]
`,
  ],
]);

const APPROVAL_RULE = `apiVersion: chancery.dev/v1
kind: ApprovalRule
metadata: { name: auto }
spec:
  model: atlas
  applicationLabels: { tier: internal }
  when: target.provider != ""
  validFor: 240h
  validUntil: 2027-01-01T00:00:00Z
  reason: Known
  owner: board
`;

const BASES: readonly Files[] = [
  "examples/quickstart/resources",
  "examples/canary-by-score/resources",
  "compiler/testdata/hosts-and-tls",
  "compiler/testdata/model-chain",
  "compiler/testdata/tokens",
  "compiler/testdata/ungoverned",
].map((directory) => {
  const files = filesOf(directory);
  const hasModel = [...files.values()].some((text) => /^kind: Model\n.*name: atlas$/ms.test(text));
  return new Map([...files, ...MORE, ...(hasModel ? [["rules.yaml", APPROVAL_RULE] as const] : [])]);
});

/** What is done, and numbers that say where; which file a number means depends on the tree then. */
export interface Edit {
  readonly type: keyof typeof EDITS;
  readonly file: number;
  readonly place: number;
  readonly other: number;
}

const SCOPES = [".", "teams/eu", "teams/us", "new/deep"];

type Change = (files: Map<string, string>, path: string, edit: Edit, base: Files) => void;

const rewrite =
  (change: (text: string, edit: Edit, files: Files) => string): Change =>
  (files, path, edit) =>
    void files.set(path, change(files.get(path) ?? "", edit, files));

const EDITS = {
  comment: rewrite((text, { place }) => `# note ${place}\n${text}`),
  number: rewrite((text, { place }) => replaceOne(text, /\b\d{1,4}\b/g, place, (found) => String(Number(found) + 1))),
  name: rewrite((text, { place, other }, files) => {
    const names = namesIn([...files.values()].join("\n"));
    return replaceOne(text, /(?<=\bname: )[a-z][\w-]*/g, place, (found) => names[other % names.length] ?? found);
  }),
  word: rewrite((text, { place, other }) =>
    replaceOne(text, /\b(?:allow|deny|enforce|shadow|production|canary|EU|US|eu|us|DE)\b/g, place, (found) =>
      other % 2 === 0 ? found.toUpperCase() : (WORDS[found] ?? found),
    ),
  ),
  labels: rewrite((text, { place, other }) => {
    const labels = other % 2 === 0 ? "tier: internal, zone: a" : "zone: a, tier: internal";
    return replaceOne(text, /metadata: \{ name: [\w-]+ \}/g, place, (found) =>
      found.replace(" }", `, labels: { ${labels} } }`),
    );
  }),
  drop: rewrite((text, { place }) => {
    const documents = text.split(/^---$/m);
    return documents.toSpliced(place % documents.length, 1).join("---");
  }),
  turn: rewrite((text) =>
    text
      .split(/^---$/m)
      .map((document) => `\n${document.trim()}\n`)
      .reverse()
      .join("---"),
  ),
  damage: rewrite((text, { place }) => `${text.slice(0, place * 7)}\nkind: [`),
  copy: (files, path, { other }) => {
    files.set(`copy-${other % 3}.yaml`, files.get(path) ?? "");
  },
  remove: (files, path) => {
    files.delete(path);
  },
  move: (files, path, { other }) => {
    const scope = SCOPES[other % SCOPES.length] ?? ".";
    const text = files.get(path) ?? "";
    files.delete(path);
    files.set(join(scope, path.slice(path.lastIndexOf("/") + 1)), text);
  },
  moveScope: (files, path, { other }) => {
    const [from, to] = [scopeOf(path), SCOPES[other % SCOPES.length] ?? "."];
    for (const [each, text] of [...files]) {
      if (scopeOf(each) !== from) continue;
      files.delete(each);
      files.set(join(to, each.slice(each.lastIndexOf("/") + 1)), text);
    }
  },
  restore: (files, _path, { file }, base) => {
    const [path, text] = [...base][file % base.size] ?? [];
    if (path !== undefined && text !== undefined) files.set(path, text);
  },
  restoreAll: (files, _path, _edit, base) => {
    files.clear();
    for (const [path, text] of base) files.set(path, text);
  },
} as const satisfies Readonly<Record<string, Change>>;

const WORDS: Readonly<Record<string, string>> = {
  ...{ allow: "deny", deny: "allow", enforce: "shadow", shadow: "enforce" },
  ...{ production: "canary", canary: "production", EU: "US", US: "EU", eu: "us", us: "eu", DE: "US" },
};

function namesIn(text: string): readonly string[] {
  return [...new Set([...text.matchAll(/\bname: ([a-z][\w-]*)/g)].map(([, name = ""]) => name))];
}

function replaceOne(text: string, pattern: RegExp, place: number, by: (found: string) => string): string {
  const all = [...text.matchAll(pattern)];
  const chosen = all[place % Math.max(1, all.length)];
  if (chosen === undefined) return text;
  const [found] = chosen;
  return text.slice(0, chosen.index) + by(found) + text.slice(chosen.index + found.length);
}

/** A tree, then the same tree after each edit. */
export function history(base: number, edits: readonly Edit[]): readonly Files[] {
  const start = BASES[base % BASES.length] ?? new Map<string, string>();
  const trees: Files[] = [start];
  for (const edit of edits) {
    const files = new Map(trees.at(-1) ?? start);
    const path = [...files.keys()][edit.file % Math.max(1, files.size)] ?? "new.yaml";
    EDITS[edit.type](files, path, edit, start);
    trees.push(files);
  }
  return trees;
}

export function arbitraryEdits(most: number): fc.Arbitrary<readonly Edit[]> {
  const number = fc.nat({ max: 200 });
  const types: (keyof typeof EDITS)[] = Object.keys(EDITS).filter((name): name is keyof typeof EDITS => name in EDITS);
  const edit = fc.record({ type: fc.constantFrom(...types), file: number, place: number, other: number });
  return fc.array(edit, { minLength: 1, maxLength: most });
}

export const BASE_COUNT = BASES.length;
