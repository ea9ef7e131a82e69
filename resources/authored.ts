import type { Key, Scope } from "./inventory.ts";
import { type Envelope, isKind, KIND_NAMES, KINDS, type Kind, type Specs } from "./kinds.ts";
import type { Problem, SourcePosition } from "./problem.ts";
import { ProblemList, type Source, type Subject } from "./problems.ts";
import { scopeOf } from "./resource-files.ts";
import { SCOPE_PATTERN } from "./schema/fields.ts";
import { nearestWord } from "./suggest.ts";
import { validate } from "./validate.ts";
import { type Path, parseYaml, type TextPosition, type YamlDocument } from "./yaml-document.ts";

/** An object whose shape is right; what it refers to is not looked at yet. */
export interface Authored<K extends Kind> extends Subject {
  readonly kind: K;
  readonly key: Key;
  readonly name: string;
  readonly metadata: Envelope<unknown>["metadata"];
  readonly spec: Specs[K];
}
export type AnyAuthored = { [K in Kind]: Authored<K> }[Kind];

/** That an object is there, whether its shape is right or not: so that what refers to it is not called dangling. */
export interface Declaration extends Subject {
  readonly kind: Kind;
  readonly key: Key;
}

/** What one file (or log entry) holds, by itself. */
export interface AuthoredPart {
  readonly declarations: readonly Declaration[];
  readonly objects: readonly AnyAuthored[];
  readonly problems: readonly Problem[];
}

export function keyOf(scope: Scope, name: string): Key {
  return scope === "." ? name : `${scope}/${name}`;
}

/** Reads one file; depends on nothing but its path and text. */
export function readFileObjects(path: string, text: string): AuthoredPart {
  const scope = scopeOf(path);
  const problems = new ProblemList();
  const start: SourcePosition = { file: path, line: 1, column: 1 };
  if (!SCOPE_PATTERN.test(scope)) {
    const message = `"${scope}" cannot be a scope`;
    const hint = "directories are named with letters, digits, -, _ and ., 63 characters at most";
    return {
      declarations: [],
      objects: [],
      problems: [{ severity: "error", code: "invalid-scope", message, hint, scope, at: start }],
    };
  }
  const yaml = parseYaml(text);
  for (const { at, ...problem } of yaml.problems)
    problems.push({ severity: "error", ...problem, scope, at: { file: path, ...at } });
  const reader = new ObjectReader(scope, problems);
  for (const document of yaml.documents) reader.read(document.value, new DocumentSource(path, document));
  return { declarations: reader.declarations, objects: reader.objects, problems: problems.sorted() };
}

/** Reads one object from elsewhere than a file of the tree. */
export function readObject(value: unknown, scope: Scope, source: Source): AuthoredPart {
  const problems = new ProblemList();
  const reader = new ObjectReader(scope, problems);
  reader.read(value, source);
  return { declarations: reader.declarations, objects: reader.objects, problems: problems.sorted() };
}

class ObjectReader {
  readonly declarations: Declaration[] = [];
  readonly objects: AnyAuthored[] = [];
  readonly #scope: Scope;
  readonly #problems: ProblemList;

  constructor(scope: Scope, problems: ProblemList) {
    this.#scope = scope;
    this.#problems = problems;
  }

  read(value: unknown, source: Source): void {
    const subject: Subject = { scope: this.#scope, source };
    if (!isRecord(value)) {
      const hint = "write apiVersion, kind, metadata and spec";
      this.#problems.error(subject, [], "not-an-object", "this document is not an object", hint);
    } else if (value.kind === "List") {
      this.#list(value, subject);
    } else {
      const kind = this.#kindOf(value, subject);
      if (kind !== undefined) this.#object(kind, value, subject);
    }
  }

  #list(value: Record<string, unknown>, subject: Subject): void {
    if (value.apiVersion !== "v1") {
      this.#problems.error(subject, ["apiVersion"], "unknown-kind", "a List has apiVersion v1", "write apiVersion: v1");
    } else if (!Array.isArray(value.items)) {
      this.#problems.error(subject, ["items"], "invalid-value", "a List has a list of items");
    } else {
      for (const key of Object.keys(value).filter(
        (name) => !["apiVersion", "kind", "metadata", "items"].includes(name),
      )) {
        this.#problems.errorAtKey(subject, [key], "unknown-field", `unknown field "${key}"`, "a List has items");
      }
      for (const [index, item] of value.items.entries()) {
        if (isRecord(item) && item.kind === "List") {
          this.#problems.error(
            subject,
            ["items", index, "kind"],
            "unsupported",
            "a List inside a List is not supported",
          );
        } else this.read(item, new Shifted(subject.source, ["items", index]));
      }
    }
  }

  #kindOf(value: Record<string, unknown>, subject: Subject): Kind | undefined {
    const { kind, apiVersion } = value;
    const error = this.#problems.error.bind(this.#problems, subject);
    if (kind === undefined || apiVersion === undefined) {
      const missing = kind === undefined ? "kind" : "apiVersion";
      const hint =
        typeof kind === "string" && isKind(kind) ? `write apiVersion: ${KINDS[kind].apiVersions[0]}` : undefined;
      error([missing], "missing-field", `"${missing}" is missing`, hint);
      return undefined;
    }
    if (typeof kind !== "string" || typeof apiVersion !== "string") {
      error([typeof kind === "string" ? "apiVersion" : "kind"], "invalid-value", "must be a string");
      return undefined;
    }
    if (!isKind(kind)) {
      const known = KNOWN_ELSEWHERE[kind];
      if (known !== undefined) error(["kind"], "unsupported", `kind ${kind} is not supported`, known);
      else {
        const near = nearestWord(kind, KIND_NAMES);
        const hint = near === undefined ? `known kinds: ${KIND_NAMES.join(", ")}` : `did you mean "${near}"?`;
        error(["kind"], "unknown-kind", `unknown kind "${kind.slice(0, 64)}"`, hint);
      }
      return undefined;
    }
    if (!KINDS[kind].apiVersions.includes(apiVersion)) {
      if (kind === "Secret" && apiVersion === "v1") {
        const hint = "write apiVersion: chancery.dev/v1, kind: Secret, with the paths of files that hold the material";
        error(["apiVersion"], "inline-secret", "a Secret of Kubernetes carries its material in the YAML", hint);
      } else {
        const hint = `write apiVersion: ${KINDS[kind].apiVersions[0]}`;
        error(["apiVersion"], "unknown-kind", `there is no ${kind} in "${apiVersion.slice(0, 64)}"`, hint);
      }
      return undefined;
    }
    return kind;
  }

  #object<K extends Kind>(kind: K, value: Record<string, unknown>, subject: Subject): void {
    const name = isRecord(value.metadata) ? value.metadata.name : undefined;
    if (typeof name === "string") this.declarations.push({ kind, key: keyOf(subject.scope, name), ...subject });
    const result = validate(KINDS[kind].schema, value);
    if (!result.ok) {
      for (const { path, on, code, message, hint } of result.violations) {
        const described = on === "value" && code === "invalid-value" ? `${pathText(path)}: ${message}` : message;
        if (on === "key") this.#problems.errorAtKey(subject, path, code, described, hint);
        else this.#problems.error(subject, path, code, described, hint);
      }
      return;
    }
    const { metadata, spec } = result.value;
    if (metadata.namespace !== undefined && metadata.namespace !== subject.scope) {
      const message = `namespace is "${metadata.namespace}", but this file lies in scope "${subject.scope}"`;
      const hint = `write namespace: ${subject.scope}, or leave it out`;
      this.#problems.error(subject, ["metadata", "namespace"], "wrong-namespace", message, hint);
      return;
    }
    const authored: Authored<K> = {
      ...subject,
      kind,
      key: keyOf(subject.scope, metadata.name),
      name: metadata.name,
      metadata,
      spec,
    };
    this.objects.push(authored as AnyAuthored);
  }
}

/** Kinds that people know from elsewhere, with what to write instead. */
const KNOWN_ELSEWHERE: Readonly<Record<string, string>> = {
  Service: "write an Upstream (chancery.dev/v1) with the endpoints",
  GRPCRoute: "not yet; write an HTTPRoute with a path match /package.Service/Method",
  TLSRoute: "streams that are not terminated here cannot be decided upon",
  TCPRoute: "only HTTP and HTTPS are governed",
  UDPRoute: "only HTTP and HTTPS are governed",
  GatewayClass: "leave it out: a Gateway in the tree is always ours",
  BackendTLSPolicy: "write tls on the Upstream",
  ConfigMap: "write the values where they are used",
  Namespace: "a scope is a directory: leave it out",
};

/** `spec.endpoints[0].port`. */
export function pathText(path: Path): string {
  return path.map((step, index) => (typeof step === "number" ? `[${step}]` : index === 0 ? step : `.${step}`)).join("");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class DocumentSource implements Source {
  readonly file: string;
  readonly #document: YamlDocument;

  constructor(file: string, document: YamlDocument) {
    this.file = file;
    this.#document = document;
  }

  at(path: Path): SourcePosition {
    return this.#position(this.#document.at(path));
  }

  keyAt(path: Path): SourcePosition {
    return this.#position(this.#document.keyAt(path));
  }

  within(path: Path, offset: number): SourcePosition {
    return this.#position(this.#document.within(path, offset));
  }

  #position({ line, column }: TextPosition): SourcePosition {
    return { file: this.file, line, column };
  }
}

/** A part of another source. */
class Shifted implements Source {
  readonly file: string;
  readonly #inner: Source;
  readonly #base: Path;

  constructor(inner: Source, base: Path) {
    this.file = inner.file;
    this.#inner = inner;
    this.#base = base;
  }

  at(path: Path): SourcePosition {
    return this.#inner.at([...this.#base, ...path]);
  }

  keyAt(path: Path): SourcePosition {
    return this.#inner.keyAt([...this.#base, ...path]);
  }

  within(path: Path, offset: number): SourcePosition {
    return this.#inner.within([...this.#base, ...path], offset);
  }
}
