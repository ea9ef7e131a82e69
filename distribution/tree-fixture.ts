import type { RevisionParts } from "../compiler/index.ts";
import { compile } from "../compiler/index.ts";
import { type LoadResult, parseResources } from "../resources/index.ts";
import type { Compiled } from "./resolve-tree.ts";

/** Test data: a small resource tree. Imported by tests only. */
export function upstream(name: string, port: number): string {
  return `apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: ${name} }
spec:
  endpoints: [{ address: 127.0.0.1, port: ${port} }]
`;
}

export function policy(name: string, when: string): string {
  return `apiVersion: chancery.dev/v1
kind: Policy
metadata: { name: ${name} }
spec:
  rules:
    - { id: no, effect: deny, when: '${when}', reason: Nobody may }
`;
}

/** The real compiler, without keys of token issuers. */
export function compileLoaded(loaded: LoadResult): Compiled {
  return compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions });
}

/** Parts of a tree with one deny rule. */
export function partsOf(when: string): RevisionParts {
  return compileLoaded(parseResources(new Map([["limits.yaml", policy("limits", when)]]))).parts;
}
