import { TYPE_URLS } from "../envoy/index.ts";
import { type Batch, type TypeState, UNKNOWN } from "./session-state.ts";
import { covers } from "./subscription.ts";

/** What the answer to a response was. */
export type Answer =
  | {
      readonly kind: "accepted";
      readonly typeUrl: string;
      /** When the change that it answers was published; undefined where a request caused the response. */
      readonly publishedAt: number | undefined;
    }
  | {
      readonly kind: "rejected";
      readonly typeUrl: string;
      /** Those of the response that the message names; where it names none, all of the response. */
      readonly resources: readonly string[];
      readonly message: string;
      readonly revision: number;
    };

/** Longest part of a client's error message that is kept, characters. */
const MAX_MESSAGE = 4_096;
/** Resource names that a report carries. */
const MAX_REPORTED = 100;

/**
 * Takes an acknowledgement or a refusal. Only `error` tells them apart: versions misread "B is invalid, I am still at 1"
 * (envoyproxy/envoy#14841). A nonce that awaits no answer is a duplicate, or from an earlier stream, and changes nothing.
 */
export function settle(type: TypeState, nonce: string, error: string | undefined, now: number): Answer | undefined {
  const batch = type.outstanding.get(nonce);
  if (batch === undefined) return undefined;
  for (const [older, { resources, removed }] of type.outstanding) {
    type.outstanding.delete(older);
    if (older === nonce) break;
    // Clients answer in order: what was sent before and never answered was taken.
    forgive(type, resources, removed);
  }
  return error === undefined ? accept(type, batch, now) : reject(type, batch, error);
}

function accept(type: TypeState, batch: Batch, now: number): Answer {
  forgive(type, batch.resources, batch.removed);
  type.ackedVersion = batch.shown;
  type.ackedAt = now;
  return { kind: "accepted", typeUrl: type.typeUrl, publishedAt: batch.publishedAt };
}

function forgive(type: TypeState, resources: Batch["resources"], removed: Batch["removed"]): void {
  for (const { name } of resources) type.rejected.delete(name);
  for (const name of removed) type.rejected.delete(name);
}

/**
 * A refused response may have been applied in part: of clusters Envoy takes the good ones. So of everything in it is
 * unknown what the client holds, and all of it goes out again with the next change, removals of what is no longer
 * wanted included.
 */
function reject(type: TypeState, batch: Batch, error: string): Answer {
  const later = new Set<string>();
  for (const { resources, removed } of type.outstanding.values()) {
    for (const { name } of resources) later.add(name);
    for (const name of removed) later.add(name);
  }
  type.rejectedVersion = batch.version;
  // What refuses a heartbeat does not understand heartbeats: another would be refused again.
  if (batch.resources.length === 0 && batch.removed.length === 0) type.heartbeats.clear();
  for (const { name, version } of batch.resources) {
    // Held without being covered: asked for by an alias.
    if (!covers(type.subscription, name) && !type.held.has(name)) continue;
    type.rejected.set(name, version);
    type.heartbeats.delete(name);
    // A later response has the name too: its answer will tell.
    if (!later.has(name) && type.held.get(name) === version) type.held.set(name, UNKNOWN);
  }
  // Some Envoys refuse a response that only removes secrets, and drop them all the same (envoyproxy/envoy#32832).
  if (type.typeUrl !== TYPE_URLS.secret) {
    for (const name of batch.removed) {
      if (!covers(type.subscription, name)) continue;
      type.rejected.set(name, undefined);
      if (!later.has(name)) type.held.set(name, UNKNOWN);
    }
  }
  const names = [...batch.resources.map(({ name }) => name), ...batch.removed];
  const message = error.slice(0, MAX_MESSAGE);
  const mentioned = names.filter((name) => name !== "" && message.includes(name));
  return {
    kind: "rejected",
    typeUrl: type.typeUrl,
    resources: (mentioned.length > 0 ? mentioned : names).slice(0, MAX_REPORTED),
    message,
    revision: batch.revision,
  };
}
