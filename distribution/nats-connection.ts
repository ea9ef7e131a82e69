import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { Authenticator, Msg, NatsConnection, TlsOptions } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { ChanceryError } from "../resources/index.ts";
import type { Subscription } from "./bus.ts";
import { closedBus } from "./in-process-bus.ts";

/** A peer that is silent this long (milliseconds), twice over, is given up. */
const PING_MS = 3_000;
const MAX_PINGS_OUT = 2;
/** For a connection with its greeting, and for each request. */
const ANSWER_MS = 5_000;
const FIRST_RETRY_MS = 250;
const MAXIMUM_RETRY_MS = 5_000;
/** Different refusals that are told of one connection. */
const MAX_TOLD = 32;

export interface NatsConnectionOptions {
  /** `nats://host:port` or `tls://host:port`, without user and password. */
  readonly servers: readonly string[];
  /** As NATS shows it among its connections. */
  readonly name: string;
  /** JetStream domain; the server's own unless given. */
  readonly domain?: string;
  /** Asked at each connection, so that new credentials need no restart. */
  readonly authenticator?: Authenticator;
  /** Files are read at each connection. */
  readonly tls?: TlsOptions;
  /** First token of the subjects that answers come to: a user who may listen to no other hears no answers of others. */
  readonly inboxPrefix?: string;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/** One living connection. */
export interface NatsSession {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
}

interface Listener {
  readonly subject: string;
  readonly onMessage: (message: Msg) => void;
}

/**
 * Keeps one connection to one of several NATS servers, for ever. A connection that is lost, or whose peer is silent, is
 * given up as a whole and made anew, after a wait that is drawn from nothing to its bound (full jitter), so that a fleet
 * does not come back in step. What is asked meanwhile fails at once: nothing is queued up for later.
 */
export class NatsLink {
  readonly #options: NatsConnectionOptions;
  /** With their subscriptions on the connection that there is. */
  readonly #listeners = new Map<Listener, { unsubscribe(): void } | undefined>();
  readonly #onConnected = new Set<(session: NatsSession) => void>();
  readonly #firstAttempt = Promise.withResolvers<void>();
  #session: NatsSession | undefined;
  #reason = "no connection was made yet";
  #attempts = 0;
  #retry: NodeJS.Timeout | undefined;
  #told: string | undefined;
  #closed = false;

  constructor(options: NatsConnectionOptions) {
    this.#options = options;
    void this.#connect();
  }

  /** @throws ChanceryError "unavailable" while there is no connection */
  session(): NatsSession {
    if (this.#closed) throw closedBus();
    if (this.#session === undefined) throw new ChanceryError("unavailable", this.#unreachable());
    return this.#session;
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** Fulfilled when the first attempt has ended, whatever came of it, and after `ms` milliseconds at the latest. */
  async firstAttempt(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([this.#firstAttempt.promise, late]);
    clearTimeout(timer);
  }

  /** Calls back at each new connection, and now if there is one. */
  onConnected(listener: (session: NatsSession) => void): Subscription {
    this.#onConnected.add(listener);
    if (this.#session !== undefined) listener(this.#session);
    return { close: () => void this.#onConnected.delete(listener) };
  }

  /** Listens to a subject over all connections to come. Messages that are sent between two of them are missed. */
  subscribe(subject: string, onMessage: (message: Msg) => void): Subscription {
    const listener = { subject, onMessage };
    this.#listeners.set(listener, undefined);
    if (this.#session !== undefined) this.#listen(this.#session.connection, listener);
    return {
      close: () => {
        this.#listeners.get(listener)?.unsubscribe();
        this.#listeners.delete(listener);
      },
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#firstAttempt.resolve();
    this.#listeners.clear();
    this.#onConnected.clear();
    const connection = this.#session?.connection;
    this.#session = undefined;
    // A peer that is frozen takes no goodbye: it is not waited for.
    if (connection !== undefined) void connection.close().catch(() => undefined);
  }

  async #connect(): Promise<void> {
    const { servers, name, domain, authenticator, tls, inboxPrefix } = this.#options;
    try {
      const connection = await connect({
        servers: [...servers],
        name,
        timeout: ANSWER_MS,
        // One attempt at each server; what comes after is this class's own.
        reconnect: false,
        maxReconnectAttempts: 0,
        // Servers that others name were not configured here.
        ignoreClusterUpdates: true,
        pingInterval: PING_MS,
        maxPingOut: MAX_PINGS_OUT,
        noAsyncTraces: true,
        ...(authenticator === undefined ? {} : { authenticator }),
        ...(tls === undefined ? {} : { tls }),
        ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
      });
      if (this.#closed) {
        void connection.close().catch(() => undefined);
        return;
      }
      const jetStream = { timeout: ANSWER_MS, ...(domain === undefined ? {} : { domain }) };
      const client = jetstream(connection, { ...jetStream });
      const manager = await jetstreamManager(connection, { ...jetStream, checkAPI: false });
      this.#adopt({ connection, client, manager });
    } catch (error) {
      this.#lose(undefined, error instanceof Error ? error.message : String(error));
    } finally {
      this.#firstAttempt.resolve();
    }
  }

  #adopt(session: NatsSession): void {
    const { connection } = session;
    this.#session = session;
    this.#attempts = 0;
    this.#told = undefined;
    void this.#watchStatus(session);
    void connection.closed().then((error) => this.#lose(session, error?.message ?? "the connection was closed"));
    for (const listener of this.#listeners.keys()) this.#listen(connection, listener);
    for (const listener of this.#onConnected) listener(session);
  }

  async #watchStatus(session: NatsSession): Promise<void> {
    const told = new Set<string>();
    for await (const status of session.connection.status()) {
      // The client would first wait until the silent peer takes what was written.
      if (status.type === "staleConnection") this.#lose(session, "the server is silent");
      if (status.type === "disconnect") this.#lose(session, "the connection was lost");
      // The same thing may be refused at every look: it is told once for each connection.
      if (status.type === "error" && !told.has(status.error.message) && told.size < MAX_TOLD) {
        told.add(status.error.message);
        this.#options.onAlarm(new ChanceryError("unavailable", `NATS refuses: ${status.error.message}`));
      }
    }
  }

  /** @param session  the one that is lost; undefined: none was made */
  #lose(session: NatsSession | undefined, reason: string): void {
    if (this.#closed || this.#session !== session) return;
    this.#session = undefined;
    this.#reason = reason;
    if (session !== undefined) void session.connection.close().catch(() => undefined);
    if (this.#told !== reason) this.#options.onAlarm(new ChanceryError("unavailable", this.#unreachable()));
    this.#told = reason;
    const bound = Math.min(MAXIMUM_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#attempts, 8));
    this.#attempts += 1;
    this.#retry = setTimeout(() => void this.#connect(), bound * this.#options.random());
  }

  #listen(connection: NatsConnection, listener: Listener): void {
    const subscription = connection.subscribe(listener.subject, {
      callback: (error, message) => {
        // That it may not be listened to has been told as a status; polling goes on.
        if (error === null) listener.onMessage(message);
      },
    });
    this.#listeners.set(listener, subscription);
  }

  #unreachable(): string {
    return `NATS at ${this.#options.servers.join(", ")} cannot be used: ${this.#reason}`;
  }
}
