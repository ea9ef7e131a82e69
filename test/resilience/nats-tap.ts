import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** Stands between one client and its nats-server, and reads what the client publishes. */
export interface NatsTap {
  readonly url: string;
  /** Subjects that were published since the last `forget`, oldest first. */
  subjects(): readonly string[];
  forget(): void;
  /** Waits for the nth publish (from 1) to a subject that matches. One at a time. */
  at(subject: RegExp, nth: number, how: "held back" | "passed on"): Promise<HeldPublish>;
  close(): Promise<void>;
}

export interface HeldPublish {
  /** Passes on what was held back, though its client may be stopped or gone. */
  release(): void;
}

const PUBLISH = /(?:^|\r\n)H?PUB (\S+) /g;

interface Wanted {
  readonly subject: RegExp;
  left: number;
  readonly hold: boolean;
  readonly found: (held: HeldPublish) => void;
}

export async function startNatsTap(natsUrl: string): Promise<NatsTap> {
  const { hostname, port } = new URL(natsUrl);
  const sockets = new Set<Socket>();
  let subjects: string[] = [];
  let wanted: Wanted | undefined;

  /** @returns where what is to be held back begins */
  const read = (chunk: Buffer, release: () => void): number | undefined => {
    for (const match of chunk.toString("latin1").matchAll(PUBLISH)) {
      const [, subject = ""] = match;
      subjects.push(subject);
      if (wanted?.subject.test(subject) !== true) continue;
      wanted.left -= 1;
      if (wanted.left > 0) continue;
      const { hold, found } = wanted;
      wanted = undefined;
      if (hold) {
        found({ release });
        return match.index;
      }
      // It is passed on first.
      setImmediate(() => found({ release: () => undefined }));
    }
    return undefined;
  };

  const listener = createServer((client) => {
    const server = connect(Number(port), hostname);
    let held: Buffer[] | undefined;
    let clientGone = false;
    const release = (): void => {
      for (const chunk of held ?? []) server.write(chunk);
      held = undefined;
      if (clientGone) server.end();
    };
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.setNoDelay(true).on("error", () => undefined);
      socket.on("close", () => sockets.delete(socket));
    }
    client.on("data", (chunk: Buffer) => {
      if (held !== undefined) {
        held.push(chunk);
        return;
      }
      const from = read(chunk, release);
      if (from !== undefined) held = [chunk.subarray(from)];
      server.write(from === undefined ? chunk : chunk.subarray(0, from));
    });
    server.on("data", (chunk: Buffer) => client.write(chunk));
    server.on("close", () => client.destroy());
    client.on("close", () => {
      clientGone = true;
      if (held === undefined) server.destroy();
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    url: `nats://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    subjects: () => subjects,
    forget: () => {
      subjects = [];
    },
    at: (subject, nth, how) =>
      new Promise((found) => {
        wanted = { subject, left: nth, hold: how === "held back", found };
      }),
    close: async () => {
      const closed = once(listener, "close");
      listener.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
