import { posix } from "node:path";
import type { AnyAuthored, Authored, Declaration } from "./authored.ts";
import { keyOf } from "./authored.ts";
import type { Key, Scope } from "./inventory.ts";
import type { Kind } from "./kinds.ts";
import type { ProblemList, Subject } from "./problems.ts";
import { isWithin, scopeChain, scopeOf } from "./resource-files.ts";
import type { Reference } from "./schema/fields.ts";
import { nearestWord } from "./suggest.ts";
import type { Path } from "./yaml-document.ts";

/** A file that an object names, relative to the root of the tree. */
export interface FileReference extends Subject {
  readonly path: string;
  readonly at: Path;
}

/** The Gateway API group and kind of what refers, as ReferenceGrants name it. */
export interface Referrer {
  readonly group: "gateway.networking.k8s.io" | "chancery.dev";
  readonly kind: "HTTPRoute" | "Gateway" | "Upstream";
}

const MOST_HINTS = 100;

/** All that was asked and told while an object without errors was resolved. */
export interface ReferenceTrace {
  readonly asked: readonly Asked[];
  readonly files: readonly FileReference[];
  /** A scope, and another that it refers to. */
  readonly dependencies: readonly (readonly [Scope, Scope])[];
}

/** A question about the tree, and the answer that it got. */
type Asked =
  | { readonly about: "declared"; readonly kind: Kind; readonly key: Key; readonly answer: boolean }
  | { readonly about: "object"; readonly kind: Kind; readonly key: Key; readonly answer: AnyAuthored | undefined }
  | ({ readonly about: "grant"; readonly answer: boolean } & GrantQuestion);

interface GrantQuestion {
  readonly from: Scope;
  readonly referrer: Referrer;
  readonly kind: GrantedKind;
  readonly scope: Scope;
  readonly name: string;
}

/** Turns names into keys, and says what is wrong where that fails. */
export class References {
  readonly #declarations: readonly Declaration[];
  readonly #declared: ReadonlySet<string>;
  readonly #objects: ReadonlyMap<string, AnyAuthored>;
  readonly #problems: ProblemList;
  #grants: ReadonlyMap<Scope, readonly Authored<"ReferenceGrant">[]> | undefined;
  #names: Names | undefined;
  #hints = 0;
  readonly files: FileReference[] = [];
  /** Scope → other scopes that its objects refer to. */
  readonly dependencies = new Map<Scope, Set<Scope>>();
  #tracing: { asked: Asked[]; dependencies: (readonly [Scope, Scope])[] } | undefined;

  /** @param objects  by `<kind> <key>` */
  constructor(declarations: readonly Declaration[], objects: ReadonlyMap<string, AnyAuthored>, problems: ProblemList) {
    this.#declarations = declarations;
    this.#declared = new Set(declarations.map(({ kind, key }) => `${kind} ${key}`));
    this.#objects = objects;
    this.#problems = problems;
  }

  /** Does something that asks for references, and tells what it asked. */
  traced<T>(work: () => T): { readonly value: T; readonly trace: ReferenceTrace } {
    const files = this.files.length;
    const tracing = { asked: [], dependencies: [] };
    this.#tracing = tracing;
    try {
      return { value: work(), trace: { ...tracing, files: this.files.slice(files) } };
    } finally {
      this.#tracing = undefined;
    }
  }

  /**
   * Whether whoever asked the same of this tree would get the same answers. If so, what it told is told again.
   */
  replay({ asked, files, dependencies }: ReferenceTrace): boolean {
    if (!asked.every((question) => this.#answer(question) === question.answer)) return false;
    for (const file of files) this.files.push(file);
    for (const [from, to] of dependencies) this.#depend(from, to);
    return true;
  }

  /** The object, unless it is missing or its shape is wrong. */
  object<K extends Kind>(kind: K, key: Key): Authored<K> | undefined {
    const answer = this.#objects.get(`${kind} ${key}`);
    this.#tracing?.asked.push({ about: "object", kind, key, answer });
    return answer?.kind === kind ? (answer as Authored<K>) : undefined;
  }

  /** A governance reference: the nearest scope upwards that has the name, or the scope that is given. */
  upwards(from: Subject, kind: Kind, reference: Reference, at: Path): Key | undefined {
    const { name, namespace } = reference;
    const scopes = namespace === undefined ? scopeChain(from.scope) : [namespace];
    for (const scope of scopes) {
      const key = keyOf(scope, name);
      if (this.#isDeclared(kind, key)) return this.#found(from, scope, key);
    }
    const where = namespace === undefined ? `in scope "${from.scope}" or above it` : `in scope "${namespace}"`;
    this.#dangling(from, kind, name, at, where, (scope) => `write {name: ${name}, namespace: ${scope}}`);
    return undefined;
  }

  /**
   * A Gateway API reference: the referrer's own scope, or the scope that is given when a ReferenceGrant there names
   * the referrer's kind and scope.
   */
  granted(from: Subject, referrer: Referrer, kind: GrantedKind, reference: Reference, at: Path): Key | undefined {
    const { name, namespace = from.scope } = reference;
    const key = keyOf(namespace, name);
    if (!this.#isDeclared(kind, key)) {
      this.#dangling(from, kind, name, at, `in scope "${namespace}"`, (scope) =>
        scope === from.scope
          ? `leave out namespace`
          : `write namespace: ${scope} here, and in that scope a ReferenceGrant from ${referrer.kind} of ${from.scope}`,
      );
      return undefined;
    }
    if (namespace !== from.scope && !this.#isGranted({ from: from.scope, referrer, kind, scope: namespace, name })) {
      const message = `scope "${namespace}" does not let ${referrer.kind} of "${from.scope}" refer to ${kind} "${name}"`;
      const grant = `from: [{group: ${referrer.group}, kind: ${referrer.kind}, namespace: ${from.scope}}], to: [{group: chancery.dev, kind: ${kind}}]`;
      this.#problems.error(
        from,
        at,
        "not-granted",
        message,
        `in scope "${namespace}", write a ReferenceGrant with ${grant}`,
      );
      return undefined;
    }
    return this.#found(from, namespace, key);
  }

  /** A Gateway by its scope and name, whoever asks: its listeners decide whom they admit. */
  gateway(from: Subject, reference: Reference, at: Path): Key | undefined {
    const { name, namespace = from.scope } = reference;
    const key = keyOf(namespace, name);
    if (this.#isDeclared("Gateway", key)) return this.#found(from, namespace, key);
    this.#dangling(from, "Gateway", name, at, `in scope "${namespace}"`, (scope) =>
      scope === from.scope
        ? "leave out namespace"
        : `write namespace: ${scope}, and let its listeners admit this scope (allowedRoutes.namespaces.from: All)`,
    );
    return undefined;
  }

  /** The path of a file, from relative to the YAML file to relative to the root of the tree. */
  file(from: Subject, path: string, at: Path): string | undefined {
    const resolved = posix.normalize(posix.join(scopeOf(from.source.file), path));
    if (resolved === ".." || resolved.startsWith("../") || posix.isAbsolute(resolved)) {
      const hint = "a path is relative to the directory of this file and stays inside the resource tree";
      this.#problems.error(from, at, "outside-tree", "this path leads out of the resource tree", hint);
      return undefined;
    }
    this.files.push({ scope: from.scope, source: from.source, path: resolved, at });
    return resolved;
  }

  #found(from: Subject, scope: Scope, key: Key): Key {
    if (scope !== from.scope) {
      this.#tracing?.dependencies.push([from.scope, scope]);
      this.#depend(from.scope, scope);
    }
    return key;
  }

  #depend(from: Scope, to: Scope): void {
    const scopes = this.dependencies.get(from) ?? new Set();
    this.dependencies.set(from, scopes.add(to));
  }

  #isDeclared(kind: Kind, key: Key): boolean {
    const answer = this.#declared.has(`${kind} ${key}`);
    this.#tracing?.asked.push({ about: "declared", kind, key, answer });
    return answer;
  }

  #answer(question: Asked): Asked["answer"] {
    switch (question.about) {
      case "declared":
        return this.#declared.has(`${question.kind} ${question.key}`);
      case "object":
        return this.#objects.get(`${question.kind} ${question.key}`);
      case "grant":
        return this.#isOpened(question);
    }
  }

  #dangling(from: Subject, kind: Kind, name: string, at: Path, where: string, write: (scope: Scope) => string): void {
    const message = `there is no ${kind} "${name}" ${where}`;
    this.#problems.error(from, at, "dangling-reference", message, this.#hint(from, kind, name, write));
  }

  #hint(from: Subject, kind: Kind, name: string, write: (scope: Scope) => string): string | undefined {
    this.#names ??= namesOf(this.#declarations);
    const elsewhere = this.#names.scopes.get(`${kind} ${name}`)?.toSorted()[0];
    if (elsewhere !== undefined) return `there is one in scope "${elsewhere}": ${write(elsewhere)}`;
    const declared = [...(this.#names.declared.get(kind)?.values() ?? [])];
    if (declared.length === 0) return `there is no ${kind} in the whole tree`;
    const reach = declared.filter(({ scope }) => isWithin(from.scope, scope)).map(({ key }) => posix.basename(key));
    // Looking for the nearest of many names is slow: when everything dangles, the first ones say enough.
    const near = ++this.#hints > MOST_HINTS ? undefined : nearestWord(name, reach);
    if (near !== undefined) return `did you mean "${near}"?`;
    return reach.length === 0
      ? undefined
      : `within reach: ${reach.slice(0, 12).join(", ")}${reach.length > 12 ? ", …" : ""}`;
  }

  #isGranted(question: GrantQuestion): boolean {
    const answer = this.#isOpened(question);
    this.#tracing?.asked.push({ about: "grant", answer, ...question });
    return answer;
  }

  #isOpened({ from, referrer, kind, scope, name }: GrantQuestion): boolean {
    this.#grants ??= Map.groupBy(
      [...this.#objects.values()].filter((object) => object.kind === "ReferenceGrant"),
      (grant) => grant.scope,
    );
    return (this.#grants.get(scope) ?? []).some(
      (grant) =>
        grant.spec.from.some(
          (entry) => entry.group === referrer.group && entry.kind === referrer.kind && entry.namespace === from,
        ) &&
        grant.spec.to.some(
          (entry) =>
            entry.kind === kind &&
            // Core "" is the group of Secrets in Gateway API; ours stand in for them.
            (entry.group === "chancery.dev" || kind === "Secret") &&
            (entry.name === undefined || entry.name === name),
        ),
    );
  }
}

/** What there is, for those who have mistaken a name. */
interface Names {
  readonly declared: ReadonlyMap<Kind, ReadonlyMap<Key, Declaration>>;
  /** Scopes that have something of a name, by `<kind> <name>`. */
  readonly scopes: ReadonlyMap<string, readonly Scope[]>;
}

function namesOf(declarations: readonly Declaration[]): Names {
  const declared = new Map<Kind, Map<Key, Declaration>>();
  const scopes = new Map<string, Scope[]>();
  for (const declaration of declarations) {
    const { kind, key, scope } = declaration;
    const ofKind = declared.get(kind) ?? new Map<Key, Declaration>();
    declared.set(kind, ofKind.set(key, declaration));
    const named = `${kind} ${posix.basename(key)}`;
    const known = scopes.get(named) ?? [];
    if (!known.includes(scope)) scopes.set(named, [...known, scope]);
  }
  return { declared, scopes };
}

/** Kinds that a ReferenceGrant can open. */
export type GrantedKind = "Upstream" | "Model" | "Secret";
