import fc from "fast-check";
import { expect, test } from "vitest";
import type { EncodedResource } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import type { Response } from "./respond.ts";
import { cluster, driveSession, endpoints, listener, route, type SessionDriver } from "./session-driver.ts";
import { leftoversOf, type Protocol, type SessionSettings } from "./session-state.ts";

const MAKE = { cluster, endpoint: endpoints, listener, route } as const;
type Kind = keyof typeof MAKE;
const KINDS = ["cluster", "endpoint", "listener", "route"] as const;
const NAMES = ["a", "b", "c", "d"] as const;

type Step =
  | { readonly kind: "publish"; readonly contents: readonly (readonly [Kind, string, number])[] }
  | { readonly kind: "subscribe" | "unsubscribe"; readonly type: Kind; readonly name: string }
  | { readonly kind: "answer"; readonly accept: boolean; readonly applied: number }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "reconnect" };

const anyKind = fc.constantFrom(...KINDS);
const anyName = fc.constantFrom("a", "b", "c");
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("publish" as const),
        contents: fc.uniqueArray(fc.tuple(anyKind, anyName, fc.integer({ min: 1, max: 3 })), {
          selector: ([kind, name]) => `${kind} ${name}`,
        }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("subscribe" as const, "unsubscribe" as const),
        type: anyKind,
        name: fc.constantFrom("a", "b", "c", "*"),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("answer" as const),
        accept: fc.boolean(),
        applied: fc.integer({ min: 0, max: 7 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(10, 1_000, 6_000) }) },
    { weight: 1, arbitrary: fc.constant({ kind: "reconnect" as const }) },
  ),
  { maxLength: 40 },
);

/** Responses of one resource, of two or three, or of all. */
const partSizes = fc.constantFrom({ maxResponseBytes: 1 }, { maxResponseBytes: 800 }, {});

/** What a client holds of one type, and what it wants. */
interface Mirror {
  readonly wanted: Set<string>;
  wildcard: boolean;
  requested: boolean;
  nonce: string;
  /** Name → version in force. */
  readonly inForce: Map<string, string>;
  /** Name → version that it says it holds: Envoy leaves out what came in a response that it refused. */
  readonly claimed: Map<string, string>;
}

/** A client as the protocol wants it, Envoy's habit of applying part of what it refuses included. */
class ModelClient {
  readonly #protocol: Protocol;
  readonly #settings: Partial<SessionSettings>;
  #drive: SessionDriver;
  readonly #mirrors = new Map<Kind, Mirror>();
  #inbox: Response[] = [];
  #resources: EncodedResource[] = [];
  responses = 0;

  constructor(protocol: Protocol, settings: Partial<SessionSettings> = {}) {
    this.#protocol = protocol;
    this.#settings = settings;
    this.#drive = driveSession(protocol, { resources: [], settings });
    for (const kind of KINDS) {
      const wildcard = kind === "cluster" || kind === "listener";
      this.#mirrors.set(kind, {
        wanted: new Set(),
        wildcard,
        requested: false,
        nonce: "",
        inForce: new Map(),
        claimed: new Map(),
      });
      if (wildcard) this.#open(kind);
    }
  }

  run(step: Step): void {
    if (step.kind === "publish") {
      this.#resources = step.contents.map(([kind, name, content]) => MAKE[kind](name, String(content)));
      this.#receive(this.#drive.publish(...this.#resources));
    } else if (step.kind === "answer") this.#answer(step.accept, step.applied);
    else if (step.kind === "pass") this.#receive(this.#drive.pass(step.ms));
    else if (step.kind === "reconnect") this.#reconnect();
    else this.#change(step.type, step.name, step.kind === "subscribe");
  }

  /** Accepts everything and lets time pass until nothing more comes. */
  finish(): void {
    for (let round = 0; round < 200; round++) {
      if (this.#inbox.length > 0) this.#answer(true, 0);
      else {
        this.#receive(this.#drive.pass(60_000));
        if (this.#inbox.length === 0) return;
      }
    }
    throw new Error("responses do not end");
  }

  /** One more resource of each type comes and changes: what was refused is rightly held back until then. */
  finishWithChange(): void {
    for (const kind of KINDS) this.#change(kind, "d", true);
    const contents = this.#resources;
    for (const content of ["8", "9"]) {
      this.#resources = [...contents, ...KINDS.map((kind) => MAKE[kind]("d", content))];
      this.#receive(this.#drive.publish(...this.#resources));
      this.finish();
    }
  }

  /** What differs between what is in force and what is wanted. */
  differences(): string[] {
    const differences: string[] = [];
    for (const [kind, mirror] of this.#mirrors) {
      const exist = new Map(
        this.#resources.filter(({ typeUrl }) => typeUrl === TYPE_URLS[kind]).map((one) => [one.name, one.version]),
      );
      for (const name of NAMES) {
        if (!mirror.wildcard && !mirror.wanted.has(name)) continue;
        const [shall, is] = [exist.get(name), mirror.inForce.get(name)];
        // State of the world has no word for the end of endpoints and routes.
        const untold = this.#protocol === "sotw" && shall === undefined && (kind === "endpoint" || kind === "route");
        if (shall !== is && !untold) differences.push(`${kind} ${name}: shall be ${shall}, is ${is}`);
      }
    }
    return differences;
  }

  #mirror(kind: Kind): Mirror {
    const mirror = this.#mirrors.get(kind);
    if (mirror === undefined) throw new Error(kind);
    return mirror;
  }

  #names(mirror: Mirror): string[] {
    return [...(mirror.wildcard && mirror.requested ? ["*"] : []), ...mirror.wanted];
  }

  #open(kind: Kind): void {
    const mirror = this.#mirror(kind);
    const typeUrl = TYPE_URLS[kind];
    const names = [...(mirror.wildcard ? ["*"] : []), ...mirror.wanted];
    mirror.requested = true;
    if (this.#protocol === "sotw") this.#receive(this.#drive.ask(typeUrl, names));
    else {
      const claims = Object.fromEntries(mirror.claimed);
      this.#receive(this.#drive.change(typeUrl, { subscribe: names, claims }));
    }
  }

  #change(kind: Kind, name: string, add: boolean): void {
    const mirror = this.#mirror(kind);
    const had = name === "*" ? mirror.wildcard : mirror.wanted.has(name);
    if (had === add) return;
    if (name === "*") mirror.wildcard = add;
    else if (add) mirror.wanted.add(name);
    else mirror.wanted.delete(name);
    // What is not wanted any more is dropped; under a wildcard the server says what becomes of it.
    for (const held of [...mirror.inForce.keys()]) {
      if (mirror.wildcard || mirror.wanted.has(held)) continue;
      mirror.inForce.delete(held);
      mirror.claimed.delete(held);
    }
    if (!mirror.requested) {
      if (add) this.#open(kind);
      return;
    }
    const typeUrl = TYPE_URLS[kind];
    const { nonce } = mirror;
    if (this.#protocol === "sotw") this.#receive(this.#drive.ask(typeUrl, this.#names(mirror), { nonce }));
    else this.#receive(this.#drive.change(typeUrl, { [add ? "subscribe" : "unsubscribe"]: [name] }));
  }

  #receive(responses: readonly Response[]): void {
    for (const response of responses) {
      this.responses += 1;
      const names = response.resources.map(({ name }) => name).concat(response.removed);
      expect(new Set(names).size).toBe(names.length);
      this.#inbox.push(response);
    }
  }

  #answer(accept: boolean, applied: number): void {
    const response = this.#inbox.shift();
    if (response === undefined) return;
    const kind = KINDS.find((one) => TYPE_URLS[one] === response.typeUrl);
    if (kind === undefined) throw new Error(response.typeUrl);
    const mirror = this.#mirror(kind);
    const wants = (name: string) => mirror.wildcard || mirror.wanted.has(name);
    const complete = this.#protocol === "sotw" && (kind === "cluster" || kind === "listener");
    if (accept && complete) {
      mirror.inForce.clear();
      mirror.claimed.clear();
    }
    response.resources.forEach(({ name, version }, index) => {
      if (!wants(name) || (!accept && (applied & (1 << index)) === 0)) return;
      mirror.inForce.set(name, version);
      if (accept) mirror.claimed.set(name, version);
    });
    if (accept) {
      for (const name of response.removed) {
        mirror.inForce.delete(name);
        mirror.claimed.delete(name);
      }
    }
    mirror.nonce = response.nonce;
    const { nonce, typeUrl } = response;
    const error = accept ? undefined : { error: "no good" };
    if (this.#protocol === "delta") this.#receive(this.#drive.change(typeUrl, { nonce, ...error }));
    else this.#receive(this.#drive.ask(typeUrl, this.#names(mirror), { nonce, ...error }));
  }

  #reconnect(): void {
    const leftovers = leftoversOf(this.#drive.session);
    this.#inbox = [];
    const options = { resources: this.#resources, leftovers, noncePrefix: "next-", settings: this.#settings };
    this.#drive = driveSession(this.#protocol, options);
    for (const [kind, mirror] of this.#mirrors) {
      if (!mirror.requested) continue;
      mirror.nonce = "";
      if (mirror.wildcard || mirror.wanted.size > 0) this.#open(kind);
      else mirror.requested = false;
    }
  }
}

for (const protocol of ["sotw", "delta"] as const) {
  test(`${protocol}: whatever happened, a client that accepts ends with what it wants, and the server falls silent`, () => {
    fc.assert(
      fc.property(steps, partSizes, (script, settings) => {
        const client = new ModelClient(protocol, settings);
        for (const step of script) client.run(step);
        client.finishWithChange();
        expect(client.differences()).toEqual([]);
        const before = client.responses;
        client.finish();
        expect(client.responses).toBe(before);
      }),
      { numRuns: 300 },
    );
  });
}

test("delta: without a refusal a client ends with what it wants after any change, without a last push of everything", () => {
  fc.assert(
    fc.property(steps, partSizes, (script, settings) => {
      const client = new ModelClient("delta", settings);
      for (const step of script) client.run(step.kind === "answer" ? { ...step, accept: true } : step);
      client.finish();
      expect(client.differences()).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("a client that refuses everything is sent no more responses than there were changes", () => {
  fc.assert(
    fc.property(steps, (script) => {
      for (const protocol of ["sotw", "delta"] as const) {
        const client = new ModelClient(protocol);
        let changes = 2;
        for (const step of script) {
          client.run(step.kind === "answer" ? { ...step, accept: false } : step);
          if (step.kind !== "answer") changes += 1;
        }
        for (let round = 0; round < 500; round++) client.run({ kind: "answer", accept: false, applied: round % 8 });
        // Each change may touch each type, send the children of two parents again, and remove once more later.
        expect(client.responses).toBeLessThanOrEqual(changes * KINDS.length * 3);
      }
    }),
    { numRuns: 300 },
  );
});
