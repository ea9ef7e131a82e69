import type { Key } from "../resources/index.ts";
import { type Basis, basisOf } from "./basis.ts";
import type { DecisionInput, PlainMirror, Verdict } from "./decision.ts";
import type { Dependency, DependencyKey } from "./dependency.ts";
import { FieldSource } from "./fields.ts";
import type { ApplicationFacts, Restriction, Target } from "./program.ts";

/**
 * Verdicts, kept by exactly what they were made from. Evaluation is deterministic: what it looks at next depends only on
 * what it has read so far. So the dependencies of past evaluations form a tree (of an input's key for the first
 * dependency, then for the second, …) with verdicts at its leaves, and whoever finds the way to a leaf has the verdict
 * that evaluation would give. (The megaflows of Open vSwitch are kept alike: Pfaff et al., NSDI 2015.)
 *
 * A tree belongs to one application, on one route, with one thing asked for; the whole memo to one program, one set of
 * restrictions, and the time between two moments at which something that was written begins or ends.
 */
export class DecisionMemo {
  readonly #limits: MemoLimits;
  readonly #instants: readonly number[];
  #reused: FieldSource | undefined;
  #young = new Generation();
  #old = new Generation();
  #restrictions: readonly Restriction[] | undefined;
  #from = Number.NaN;
  #until = Number.NaN;

  /** @param instants  ascending, in milliseconds: when what rules read may change by time alone */
  constructor(instants: readonly number[], limits: MemoLimits = LIMITS) {
    this.#instants = instants;
    this.#limits = limits;
  }

  /** Verdicts that are kept. */
  get size(): number {
    return this.#young.verdicts + this.#old.verdicts;
  }

  find(input: DecisionInput): Verdict | undefined {
    this.#turnTo(input);
    const source = this.#sourceOf(input);
    const verdict = walk(this.#young.rootOf(input), source);
    if (verdict !== undefined) return verdict;
    const root = this.#old.rootOf(input);
    const older = walk(root, source);
    if (older !== undefined) this.#keep(input, pathOf(root, source), older, source);
    return older;
  }

  /** @param path  what evaluation looked at, in its order */
  keep(input: DecisionInput, path: readonly Dependency[], verdict: Verdict): void {
    this.#turnTo(input);
    this.#keep(input, path, verdict, this.#sourceOf(input));
  }

  /** What the verdict that is kept for an input was made from. */
  basisOf(input: DecisionInput): Basis | undefined {
    this.#turnTo(input);
    const source = this.#sourceOf(input);
    for (const generation of [this.#young, this.#old]) {
      const root = generation.rootOf(input);
      if (walk(root, source) !== undefined) return basisOf(pathOf(root, source), this.#from, this.#until);
    }
    return undefined;
  }

  /** One for all: asking is synchronous. */
  #sourceOf(input: DecisionInput): FieldSource {
    if (this.#reused === undefined) this.#reused = new FieldSource(input);
    else this.#reused.input = input;
    return this.#reused;
  }

  #keep(input: DecisionInput, path: readonly Dependency[], verdict: Verdict, source: FieldSource): void {
    const { nodes, lines } = this.#limits;
    if (this.#young.nodes >= nodes >> 1 || this.#young.lines >= lines >> 1) {
      // Of what was not asked for lately the older half goes.
      this.#old = this.#young;
      this.#young = new Generation();
    }
    this.#young.keep(input, path, verdict, source);
  }

  #turnTo({ now, restrictions }: DecisionInput): void {
    if (now >= this.#from && now < this.#until && restrictions === this.#restrictions) return;
    this.#restrictions = restrictions;
    this.#from = Number.NEGATIVE_INFINITY;
    this.#until = Number.POSITIVE_INFINITY;
    for (const instant of this.#instants) this.#bound(instant, now);
    for (const { until } of restrictions ?? []) if (until !== undefined) this.#bound(Date.parse(until), now);
    this.#young = new Generation();
    this.#old = new Generation();
  }

  #bound(instant: number, now: number): void {
    if (instant <= now) this.#from = Math.max(this.#from, instant);
    else if (instant > now) this.#until = Math.min(this.#until, instant);
  }
}

export interface MemoLimits {
  /** Nodes of all trees, some 200 bytes each. */
  readonly nodes: number;
  /** Lines of all explanations, which are what is large about a verdict. */
  readonly lines: number;
}

const LIMITS: MemoLimits = { nodes: 131_072, lines: 524_288 };

interface Node {
  /** What is looked at here; undefined at a leaf. */
  dependency: Dependency | undefined;
  children: Map<DependencyKey, Node> | undefined;
  verdict: Verdict | undefined;
}

/** What stays the same for a route and is no field: by identity, since a route table is made once. */
interface Route {
  readonly models: readonly Key[];
  readonly weights: ReadonlyMap<string, number> | undefined;
  readonly gateway: Key;
  readonly httpRoute: Key;
  readonly observe: boolean;
  readonly mirror: PlainMirror | undefined;
  /** Application → what is asked for → tree. */
  readonly trees: Map<ApplicationFacts, Map<string, Node>>;
}

class Generation {
  readonly #routes = new WeakMap<readonly Target[], Route[]>();
  nodes = 0;
  lines = 0;
  verdicts = 0;

  rootOf(input: DecisionInput): Node | undefined {
    return this.#routeOf(input)?.trees.get(input.application)?.get(askedFor(input));
  }

  keep(input: DecisionInput, path: readonly Dependency[], verdict: Verdict, source: FieldSource): void {
    let node = this.#plant(input);
    for (const dependency of path) {
      const key = dependency.keyOf(source);
      if (key === undefined) return;
      if (node.dependency?.equals(dependency) !== true) {
        node.dependency = dependency;
        node.children = new Map();
        node.verdict = undefined;
      }
      let child = node.children?.get(key);
      if (child === undefined) {
        child = this.#leaf();
        node.children?.set(key, child);
      }
      node = child;
    }
    node.verdict = verdict;
    this.verdicts += 1;
    this.lines += verdict.considered.length + verdict.removed.length + verdict.errors.length + verdict.shadow.length;
  }

  #routeOf(input: DecisionInput): Route | undefined {
    const routes = this.#routes.get(input.candidates);
    if (routes === undefined) return undefined;
    for (const route of routes) {
      if (
        route.models === input.models &&
        route.weights === input.weights &&
        route.gateway === input.gateway &&
        route.httpRoute === input.httpRoute &&
        route.mirror === input.mirror &&
        route.observe === (input.observe === true)
      ) {
        return route;
      }
    }
    return undefined;
  }

  #plant(input: DecisionInput): Node {
    let route = this.#routeOf(input);
    if (route === undefined) {
      const { models, weights, gateway, httpRoute, mirror } = input;
      route = { models, weights, gateway, httpRoute, mirror, observe: input.observe === true, trees: new Map() };
      const routes = this.#routes.get(input.candidates);
      // More than a few are routes that are made anew for each request, which nobody will ask for again.
      if (routes === undefined || routes.length >= ROUTES_OF_CANDIDATES) this.#routes.set(input.candidates, [route]);
      else routes.push(route);
    }
    let trees = route.trees.get(input.application);
    if (trees === undefined) {
      trees = new Map();
      route.trees.set(input.application, trees);
    }
    const asked = askedFor(input);
    let root = trees.get(asked);
    if (root === undefined) {
      root = this.#leaf();
      trees.set(asked, root);
    }
    return root;
  }

  #leaf(): Node {
    this.nodes += 1;
    return { dependency: undefined, children: undefined, verdict: undefined };
  }
}

const ROUTES_OF_CANDIDATES = 64;

/** Keys have no newlines. */
function askedFor({ requested: { model, version, upstream } }: DecisionInput): string {
  if (upstream !== undefined) return model === undefined ? upstream : `${model}\n${version ?? ""}\n${upstream}`;
  if (version !== undefined) return `${model ?? ""}\n${version}`;
  return model ?? "";
}

function walk(root: Node | undefined, source: FieldSource): Verdict | undefined {
  let node = root;
  while (node !== undefined) {
    const { dependency } = node;
    if (dependency === undefined) return node.verdict;
    const key: DependencyKey = dependency.keyOf(source);
    if (key === undefined) return undefined;
    node = node.children?.get(key);
  }
  return undefined;
}

/** The dependencies on the way to a leaf that is there. */
function pathOf(root: Node | undefined, source: FieldSource): readonly Dependency[] {
  const path: Dependency[] = [];
  for (let node = root; node?.dependency !== undefined; ) {
    path.push(node.dependency);
    node = node.children?.get(node.dependency.keyOf(source));
  }
  return path;
}

/** What one evaluation looks at, each once, in its order. */
export class Recorder {
  readonly #path: Dependency[] = [];
  readonly #seen = new Set<Dependency>();
  #lost = false;

  /** undefined: it looks at what cannot be told apart. */
  note(dependency: Dependency | undefined): void {
    if (dependency === undefined) this.#lost = true;
    else if (!this.#seen.has(dependency)) {
      this.#seen.add(dependency);
      this.#path.push(dependency);
    }
  }

  /** undefined: the verdict cannot be kept. */
  get path(): readonly Dependency[] | undefined {
    return this.#lost ? undefined : this.#path;
  }
}
