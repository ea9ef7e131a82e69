import { TYPE_URLS } from "../envoy/index.ts";
import { UNKNOWN } from "./held-versions.ts";
import { culprits } from "./refusal.ts";
import type { Batch, TypeState } from "./session-state.ts";
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
      /** Those that are known to be at fault. */
      readonly culprits: readonly { readonly name: string; readonly version: string }[];
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
 *
 * @param isolates  whether what else was in a refused response is to be sent again without what is at fault in it
 */
export function settle(
  type: TypeState,
  nonce: string,
  error: string | undefined,
  now: number,
  isolates: boolean,
): Answer | undefined {
  const batch = type.outstanding.get(nonce);
  if (batch === undefined) return undefined;
  for (const [older, { resources, removed }] of type.outstanding) {
    type.outstanding.delete(older);
    if (older === nonce) break;
    // Clients answer in order: what was sent before and never answered was taken.
    forgive(type, resources, removed);
  }
  return error === undefined ? accept(type, batch, now) : reject(type, batch, error, isolates);
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
function reject(type: TypeState, batch: Batch, error: string, isolates: boolean): Answer {
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
  const faulty = new Set(
    culprits(
      message,
      batch.resources.map(({ name }) => name),
    ),
  );
  if (isolates) suspect(type, batch, faulty);
  const mentioned = names.filter((name) => name !== "" && message.includes(name));
  return {
    kind: "rejected",
    typeUrl: type.typeUrl,
    resources: (mentioned.length > 0 ? mentioned : names).slice(0, MAX_REPORTED),
    culprits: batch.resources.filter(({ name }) => faulty.has(name)).map(({ name, version }) => ({ name, version })),
    message,
    revision: batch.revision,
  };
}

/**
 * Envoy applies nothing of a response that it cannot decode, and does not say which resource that is for. What is not
 * at fault goes out again without the rest; where nobody knows, in halves, each smaller than what was refused: a few
 * more refusals, and what is left is the culprit.
 */
function suspect(type: TypeState, batch: Batch, faulty: ReadonlySet<string>): void {
  const names = batch.resources.map(({ name }) => name).filter((name) => !faulty.has(name));
  const middle = faulty.size > 0 ? names.length : Math.ceil(names.length / 2);
  // Removals are never at fault, and may not have been applied.
  for (const group of [names.slice(0, middle).concat(batch.removed), names.slice(middle)]) {
    if (group.length > 0 && batch.resources.length > 0) type.suspects.push(group);
  }
}
