import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import type { NatsSession } from "./nats-connection.ts";
import { MAX_MESSAGE_BYTES } from "./nats-streams.ts";

/** Before it, a restart could lose or reorder what a stream had acknowledged. */
const MINIMUM_VERSION = [2, 10, 23] as const;
const MAX_CONFIG_BYTES = 1024 * 1024;
const ANSWER_MS = 3_000;

/** `GET /jsz?config=true` of nats-server's monitoring. */
const jszSchema = z.object({
  config: z.object({ sync_interval: z.number(), sync_always: z.boolean().optional() }),
});

/** What a bus cannot guarantee on this server, as sentences for people; none: all that it promises. */
export function serverFindings({ connection }: NatsSession): readonly string[] {
  const { info } = connection;
  if (info === undefined) return [];
  const findings: string[] = [];
  if (!isAtLeast(info.version, MINIMUM_VERSION)) {
    findings.push(
      `nats-server ${info.version} is older than ${MINIMUM_VERSION.join(".")}: what it acknowledged may be lost when it restarts`,
    );
  }
  if (info.headers !== true) findings.push("the server has headers switched off: nothing can be published");
  if (info.max_payload < MAX_MESSAGE_BYTES) {
    findings.push(
      `max_payload of the server is ${info.max_payload}: parts of content have up to ${MAX_MESSAGE_BYTES} bytes and will be refused`,
    );
  }
  return findings;
}

/**
 * Asks the monitoring of a server how soon it writes to disk.
 *
 * @param monitor  URL of its monitoring (`http://127.0.0.1:8222`); undefined: nothing can be asked
 * @returns what follows from it, as a sentence for people; undefined when every acknowledged message is on disk
 */
export async function syncFinding(monitor: string | undefined, fetch: typeof globalThis.fetch) {
  if (monitor === undefined) {
    return 'whether NATS writes to disk before it acknowledges is not known (its monitoring was not named): set "sync_interval: always", or a loss of power takes back what was published last';
  }
  try {
    const answer = await fetch(new URL("/jsz?config=true", monitor), { signal: AbortSignal.timeout(ANSWER_MS) });
    const text = await answer.text();
    if (text.length > MAX_CONFIG_BYTES) throw new ChanceryError("corrupt", `it answered ${text.length} characters`);
    const { config } = jszSchema.parse(JSON.parse(text));
    if (config.sync_always === true) return undefined;
    const seconds = config.sync_interval / 1e9;
    return `NATS writes to disk every ${seconds} s: a loss of power takes back what was published in that time; set "sync_interval: always"`;
  } catch (error) {
    return `whether NATS writes to disk before it acknowledges is not known: ${monitor} said ${ChanceryError.from(error).message.slice(0, 200)}`;
  }
}

function isAtLeast(version: string, minimum: readonly number[]): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number) ?? [];
  for (const [index, least] of minimum.entries()) {
    const part = parts[index] ?? 0;
    if (part !== least) return part > least;
  }
  return true;
}
