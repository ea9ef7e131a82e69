import { type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { bindingOf, misuse } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { acceptedElsewhere } from "./accepted-elsewhere.ts";
import type { Clock } from "./clock.ts";
import type { Dispatcher, Subscription } from "./dispatch.ts";
import type { XdsMetrics } from "./metrics.ts";
import type { NameLists } from "./name-lists.ts";
import { type IdentitySettings, type NodeIdentity, subscriberOf } from "./node-identity.ts";
import type { NodeTable } from "./node-state.ts";
import type { QuarantineScope } from "./quarantine.ts";
import { createRequestPace, type RequestPace, type RequestPaceSettings } from "./request-pace.ts";
import { RequestReader } from "./requests.ts";
import type { XdsCall } from "./services.ts";
import { advance, createSession, type Effect, type SessionEvent, type SessionRequest } from "./session.ts";
import type { Protocol, Session, SessionSettings } from "./session-state.ts";
import type { SnapshotStore } from "./store.ts";
import { emptyGroup } from "./view.ts";
import { encodeResponse } from "./wire.ts";

/** What happens to nodes. */
export type XdsEvent =
  | { readonly kind: "connected"; readonly node: NodeIdentity; readonly knownGroup: boolean }
  | { readonly kind: "disconnected"; readonly node: NodeIdentity }
  | {
      readonly kind: "acknowledged";
      readonly node: NodeIdentity;
      readonly revision: number;
      readonly layout: string;
      /** From publishing the revision here; for a node that connected later, from its connecting. */
      readonly milliseconds: number;
    }
  | {
      readonly kind: "rejected";
      readonly node: NodeIdentity;
      readonly typeUrl: string;
      readonly resources: readonly string[];
      readonly message: string;
      readonly revision: number;
    }
  /** What was refused is held back from now on, or from more nodes than before. */
  | {
      readonly kind: "held-back";
      readonly group: string;
      readonly typeUrl: string;
      readonly resource: string;
      readonly revision: number;
      readonly message: string;
      readonly scope: QuarantineScope;
    };

export interface StreamContext {
  readonly store: SnapshotStore;
  readonly dispatcher: Dispatcher;
  readonly nameLists: NameLists;
  readonly identity: IdentitySettings;
  readonly nodes: NodeTable;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: XdsMetrics | undefined;
  readonly settings: SessionSettings & RequestPaceSettings;
  /** Refuse client certificates that name no gateway. */
  readonly mustBindNodes: boolean;
  readonly onEvent: (event: XdsEvent) => void;
}

export interface StreamKind {
  readonly protocol: Protocol;
  /** Makes nonces of this stream differ from those of any other. */
  readonly noncePrefix: string;
  /** The one type of a separate stream; undefined: ADS. */
  readonly only: string | undefined;
  /** When the stream ends by itself, ms after its opening. */
  readonly ageMs: number;
}

/** One stream of ADS or of one type: carries events to its session and effects to the wire. Owns the call, its timer and subscription. */
export class XdsStream {
  readonly #context: StreamContext;
  readonly #call: XdsCall;
  readonly #session: Session;
  readonly #onClose: () => void;
  readonly #pace: RequestPace;
  #cancelPause: () => void = () => {};
  #connectedAt = 0;
  #subscription: Subscription | undefined;
  #cancelWake: () => void = () => {};
  readonly #cancelAge: () => void;
  #closed = false;

  /** @param onClose  called once, when the stream is over for whatever reason */
  constructor(context: StreamContext, call: XdsCall, kind: StreamKind, onClose: () => void) {
    this.#context = context;
    this.#call = call;
    this.#onClose = onClose;
    this.#pace = createRequestPace(context.settings, context.clock.now());
    this.#session = createSession({
      protocol: kind.protocol,
      noncePrefix: kind.noncePrefix,
      only: kind.only,
      settings: context.settings,
      resolve: (node) => this.#identify(node),
    });
    this.#cancelAge = context.clock.after(kind.ageMs, () => this.close());
    const reader = new RequestReader(kind.protocol, context.identity, context.nameLists);
    call.on("data", (bytes: Buffer) => {
      const now = context.clock.now();
      this.#keepPace(now);
      const request = this.#read(reader, bytes);
      if (request === undefined) return;
      const refusal = this.#misuse(request);
      if (refusal === undefined) this.#deliver({ kind: "request", request, now });
      else this.#refuse(refusal);
    });
    call.on("end", () => this.close());
    call.on("cancelled", () => this.close());
    call.on("close", () => this.close());
    call.on("error", (error: Error) => {
      context.log.debug({ err: error, node: this.#session.node?.id }, "xDS stream failed");
      this.close();
    });
  }

  /** Ends the stream. Safe to call twice. */
  close(reason?: Pick<ServiceError, "code" | "details">): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.closed = true;
    this.#subscription?.close();
    this.#cancelWake();
    this.#cancelAge();
    this.#cancelPause();
    const { nodes, clock, onEvent, log } = this.#context;
    const { node } = this.#session;
    if (node !== undefined) {
      nodes.disconnected(this.#session, clock.now());
      log.info({ node: node.id, group: node.group }, "node disconnected");
      onEvent({ kind: "disconnected", node });
    }
    if (reason === undefined) this.#call.end();
    else this.#call.emit("error", reason satisfies Partial<StatusObject>);
    this.#onClose();
  }

  #read(reader: RequestReader, bytes: Buffer): SessionRequest | undefined {
    if (this.#closed) return undefined;
    try {
      return reader.read(bytes);
    } catch (error) {
      const details = `the request cannot be decoded: ${ChanceryError.from(error).message}`;
      this.#context.log.warn({ node: this.#session.node?.id, reason: details }, "xDS stream refused");
      this.close({ code: status.INVALID_ARGUMENT, details });
      return undefined;
    }
  }

  /** What asks too much is read no faster: flow control stops the client, and others have their turn. */
  #keepPace(now: number): void {
    const waitMs = this.#pace.taken(now);
    if (waitMs === 0) return;
    this.#call.pause();
    this.#cancelPause();
    this.#cancelPause = this.#context.clock.after(waitMs, () => this.#call.resume());
  }

  /** Why the node of a first request may not use its client certificate. */
  #misuse({ node }: SessionRequest): string | undefined {
    if (this.#session.node !== undefined || node === undefined) return undefined;
    const { sslPeerCertificate } = this.#call.getAuthContext();
    if (sslPeerCertificate === undefined) return undefined;
    return misuse(bindingOf(sslPeerCertificate.subjectaltname ?? ""), node, this.#context.mustBindNodes);
  }

  #refuse(reason: string): void {
    this.#context.log.warn({ reason }, "xDS stream refused");
    this.close({ code: status.PERMISSION_DENIED, details: reason });
  }

  #identify(node: NodeIdentity): ReturnType<Session["resolve"]> {
    const { store, dispatcher, nodes, clock, log, onEvent } = this.#context;
    const now = clock.now();
    this.#connectedAt = now;
    const { leftovers, namesElsewhere } = nodes.connected(this.#session, node, now);
    const subscriber = subscriberOf(node);
    const view = dispatcher.view(subscriber);
    this.#subscription = dispatcher.subscribe(subscriber, (next, changes) =>
      this.#deliver({ kind: "view", view: next, changes, now: clock.now() }),
    );
    if (node.plan === "none") {
      log.warn(
        { node: node.id, group: node.group, version: node.version, missing: node.missingExtensions },
        "node lacks extensions that governed traffic rests on; it is given ungoverned upstreams only",
      );
      const { known } = store.view(node.group);
      onEvent({ kind: "connected", node, knownGroup: known });
      // Where its gateway is known and has nothing for it, that is what it is told.
      return { view: known && !view.known ? emptyGroup(view.group, 0, now) : view, leftovers, namesElsewhere };
    }
    if (view.known) {
      const { id, group, version, plan } = node;
      log.info({ node: id, group, version, plan }, "node connected");
      if (view.withheld !== undefined) {
        log.warn({ node: id, group, reason: view.withheld }, "node is given ungoverned upstreams only");
      }
    } else
      log.warn(
        { node: node.id, group: node.group, known: store.groups().slice(0, 20) },
        "node of an unknown group connected",
      );
    onEvent({ kind: "connected", node, knownGroup: view.known });
    return { view, leftovers, namesElsewhere };
  }

  #deliver(event: SessionEvent): void {
    if (this.#closed) return;
    const effects = advance(this.#session, event);
    for (const effect of effects) this.#apply(effect, event.now);
  }

  #apply(effect: Effect, now: number): void {
    const { nodes, clock, metrics, log, onEvent } = this.#context;
    const { node } = this.#session;
    switch (effect.kind) {
      case "send": {
        const bytes = encodeResponse(this.#session.protocol, effect.response);
        const oversized = bytes.length > this.#context.settings.maxResponseBytes;
        metrics?.pushed(effect.response.typeUrl, bytes.length, oversized);
        // The callback comes when the transport has taken the message, flow control included.
        this.#call.write(bytes, () => this.#deliver({ kind: "written", now: clock.now() }));
        return;
      }
      case "wake":
        this.#cancelWake();
        this.#cancelWake =
          effect.at === undefined
            ? () => {}
            : clock.after(Math.max(0, effect.at - now), () => this.#deliver({ kind: "tick", now: clock.now() }));
        return;
      case "accepted":
        metrics?.accepted(effect.typeUrl);
        if (effect.publishedAt !== undefined) metrics?.converged(effect.typeUrl, (now - effect.publishedAt) / 1000);
        return;
      case "rejected": {
        metrics?.rejected(effect.typeUrl);
        if (node === undefined) return;
        const { kind, culprits, ...nack } = effect;
        nodes.rejected(this.#session, nack, now);
        log.error(
          { node: node.id, group: node.group, ...nack },
          "node rejected resources; it keeps its last good ones",
        );
        onEvent({ kind, node, ...nack });
        this.#quarantine(node, effect);
        return;
      }
      case "acknowledged": {
        if (node === undefined) return;
        const { revision, layout, publishedAt } = effect;
        this.#subscription?.settled(revision);
        // It runs none of what the layout says.
        if (node.plan === "none" || this.#session.view.withheld !== undefined) return;
        // It runs all but what it refused, which is not that revision.
        if (this.#session.view.heldBack !== undefined) return;
        nodes.acknowledged(this.#session, revision, layout);
        const milliseconds = now - Math.max(publishedAt, this.#connectedAt);
        log.info({ node: node.id, group: node.group, revision, milliseconds }, "node runs revision");
        onEvent({ kind: "acknowledged", node, revision, layout, milliseconds });
        return;
      }
      case "close":
        log.warn({ node: node?.id, reason: effect.reason }, "xDS stream refused");
        this.close({ code: STATUS[effect.code], details: effect.reason });
        return;
    }
  }

  #quarantine(
    node: NodeIdentity,
    { typeUrl, culprits, message, revision }: Extract<Effect, { kind: "rejected" }>,
  ): void {
    if (culprits.length === 0) return;
    const type = this.#session.types.get(typeUrl);
    // What accepted something before stays on it; what never did has nothing unless it is given what was good before.
    const fresh = type?.ackedAt === Number.NEGATIVE_INFINITY;
    const tell = node.isEnvoy ? "always" : fresh ? "last-good" : "never";
    const refusals = culprits.map((culprit) => ({ ...culprit, typeUrl, message, revision }));
    this.#subscription?.refused(refusals, tell, (refusal) =>
      acceptedElsewhere(this.#context.nodes.connectedNodes(), node, refusal),
    );
  }
}

const STATUS = {
  "invalid-argument": status.INVALID_ARGUMENT,
  "resource-exhausted": status.RESOURCE_EXHAUSTED,
} as const;
