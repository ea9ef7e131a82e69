import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Bytes that one direction of a connection holds back; then whoever sends has to wait. */
const HELD_BYTES = 4 * 1024 * 1024;
const MAX_CONNECTIONS = 256;

export type Way = "up" | "down";

/** Stands between clients and one server on 127.0.0.1, and behaves like a bad link. "up" is from client to server. */
export interface TcpRelay {
  readonly port: number;
  /** Milliseconds that everything takes on its way, from now on; both ways unless one is named. */
  delay(ms: number, way?: Way): void;
  /** Holds back all that comes; connections stay, and go on with `heal`. */
  stall(way?: Way): void;
  /** Swallows all that comes: both ends believe in connections that are dead. They are reset by `heal`. */
  lose(): void;
  /** New connections go to another port of 127.0.0.1; those that are open stay. */
  direct(to: number): void;
  /** Resets every connection; new ones are accepted. */
  reset(): void;
  /** Resets every connection, and each new one. */
  cut(): void;
  /** Resets every connection, and nobody listens any more: as where a process was killed. */
  die(): void;
  /**
   * Connections that there are pass nothing any more, and neither end hears of it, not even after `heal`; new ones pass.
   * As where a firewall has forgotten them.
   */
  forget(): void;
  /** Everything passes again; delays stay. */
  heal(): void;
  close(): Promise<void>;
}

interface Link {
  /** Nothing passes, for ever. */
  forgotten: boolean;
  readonly client: Socket;
  readonly server: Socket;
  readonly pipes: Readonly<Record<Way, Pipe>>;
}

/** @param to  port on 127.0.0.1; @param host  address that clients connect to */
export async function startTcpRelay(to: number, host = "127.0.0.1"): Promise<TcpRelay> {
  const links = new Set<Link>();
  const delays: Record<Way, number> = { up: 0, down: 0 };
  const stalled = new Set<Way>();
  let target = to;
  let losing = false;
  let refusing = false;
  const listener = createServer((client) => {
    if (refusing || links.size >= MAX_CONNECTIONS) {
      client.on("error", () => undefined).resetAndDestroy();
      return;
    }
    const server = connect(target, "127.0.0.1");
    const isLost = (): boolean => losing || link.forgotten;
    const pipe = (way: Way, from: Socket, into: Socket): Pipe =>
      new Pipe(from, into, { delay: () => delays[way], isHeld: () => stalled.has(way), isLost });
    const link: Link = {
      ...{ forgotten: false, client, server },
      pipes: { up: pipe("up", client, server), down: pipe("down", server, client) },
    };
    links.add(link);
    // Whichever end breaks, the other one breaks with it; unless nothing passes, not even that.
    for (const socket of [client, server]) {
      socket.setNoDelay(true).on("error", () => undefined);
      socket.on("close", (broken) => {
        if (broken && !isLost() && stalled.size === 0) end(link);
        if (client.destroyed && server.destroyed) end(link);
      });
    }
  });
  const end = (link: Link): void => {
    links.delete(link);
    for (const socket of [link.client, link.server]) if (!socket.destroyed) socket.resetAndDestroy();
    for (const pipe of Object.values(link.pipes)) pipe.close();
  };
  const reset = (): void => {
    for (const link of [...links]) end(link);
  };
  listener.listen(0, host);
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  return {
    port,
    delay: (ms, way) => {
      for (const each of way === undefined ? (["up", "down"] as const) : [way]) delays[each] = ms;
    },
    stall: (way) => {
      for (const each of way === undefined ? (["up", "down"] as const) : [way]) stalled.add(each);
    },
    lose: () => {
      losing = true;
    },
    direct: (other) => {
      target = other;
    },
    reset,
    cut: () => {
      refusing = true;
      reset();
    },
    die: () => {
      listener.close();
      reset();
    },
    forget: () => {
      for (const link of links) link.forgotten = true;
    },
    heal: () => {
      if (!listener.listening) listener.listen(port, host);
      if (losing) reset();
      losing = false;
      refusing = false;
      stalled.clear();
      for (const { pipes } of links) for (const pipe of Object.values(pipes)) pipe.pump();
    },
    close: async () => {
      const closed = listener.listening ? once(listener, "close") : undefined;
      listener.close();
      reset();
      await closed;
    },
  };
}

interface PipeState {
  delay(): number;
  isHeld(): boolean;
  isLost(): boolean;
}

/** One direction of a connection: what comes is written when its time has come, in order. */
class Pipe {
  readonly #from: Socket;
  readonly #into: Socket;
  readonly #state: PipeState;
  /** undefined: the end. */
  #queue: { readonly due: number; readonly bytes: Buffer | undefined }[] = [];
  #held = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, into: Socket, state: PipeState) {
    this.#from = from;
    this.#into = into;
    this.#state = state;
    from.on("data", (bytes: Buffer) => this.#take(bytes)).on("end", () => this.#take(undefined));
    into.on("drain", () => this.pump());
  }

  #take(bytes: Buffer | undefined): void {
    if (this.#state.isLost()) return;
    this.#queue.push({ due: performance.now() + this.#state.delay(), bytes });
    this.#held += bytes?.length ?? 0;
    if (this.#held > HELD_BYTES) this.#from.pause();
    this.pump();
  }

  pump(): void {
    clearTimeout(this.#timer);
    for (let next = this.#queue[0]; next !== undefined && !this.#state.isHeld(); next = this.#queue[0]) {
      const early = next.due - performance.now();
      if (early > 0) {
        this.#timer = setTimeout(() => this.pump(), early);
        return;
      }
      this.#queue.shift();
      if (next.bytes === undefined) {
        this.#into.end();
        continue;
      }
      this.#held -= next.bytes.length;
      if (this.#held <= HELD_BYTES) this.#from.resume();
      if (!this.#into.write(next.bytes)) return;
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#queue = [];
  }
}
