import type { Registry } from "prom-client";
import { addKeyMetrics, type KeyFacts } from "../admin/index.ts";
import type { SigningKey, Trust, TrustedKey } from "../revision/index.ts";
import type { Logger } from "./logging.ts";
import { type Reminder, startReminders } from "./reminders.ts";
import type { ShutdownStack } from "./shutdown.ts";

const DAY_MS = 86_400_000;
/** A key with less time left (milliseconds) is to be replaced. */
export const KEY_ENDS_SOON_MS = 14 * DAY_MS;

/** The keys that a process believes, for its status. */
export function keyFacts(trust: Trust, signers: readonly SigningKey[]): readonly KeyFacts[] {
  const own = new Set(signers.map(({ keyId }) => keyId));
  return [...trust.keys.values()].map(({ keyId, purposes, notAfter }) => ({
    ...{ id: keyId, purposes: [...purposes], notAfter, signsHere: own.has(keyId) },
  }));
}

/**
 * What there is to say of keys that end soon, or have ended: of each that this process signs with, and of others unless
 * enough are there that stand for them longer.
 *
 * @param now  milliseconds since the epoch
 */
export function keyReminders(trust: Trust, signers: readonly SigningKey[], now: number): readonly Reminder[] {
  const own = new Set(signers.map(({ keyId }) => keyId));
  const reminders: Reminder[] = [];
  for (const { keyId } of signers) {
    if (trust.keys.has(keyId)) continue;
    const message = "a signing key is not trusted: chancery keys rotate makes one that is";
    reminders.push({ id: `key ${keyId}`, level: "error", message, fields: { key: keyId } });
  }
  for (const key of trust.keys.values()) {
    const left = key.notAfter - now;
    if (left > KEY_ENDS_SOON_MS || (!own.has(key.keyId) && isReplaced(key, trust, now))) continue;
    const what = own.has(key.keyId) ? "a signing key" : "a key that is trusted here";
    const fields = {
      ...{ key: key.keyId, purposes: [...key.purposes], until: new Date(key.notAfter).toISOString() },
      days: Math.floor(left / DAY_MS),
    };
    reminders.push(
      left < 0
        ? { id: `key ${key.keyId}`, level: "error", message: `${what} has expired: what it signs is refused`, fields }
        : { id: `key ${key.keyId}`, level: "warn", message: `${what} is to be rotated: chancery keys rotate`, fields },
    );
  }
  return reminders;
}

/** Tells of the keys that a process on the data path believes, which its trust file and later revisions name. */
export function watchKeys(trust: Trust | undefined, stack: ShutdownStack, metrics: Registry, log: Logger): void {
  if (trust === undefined) return;
  addKeyMetrics(metrics, trust, Date.now);
  const reminders = startReminders({ check: () => keyReminders(trust, [], Date.now()), log, now: Date.now });
  stack.add({ name: "reminders", close: () => reminders.close() });
}

/** Whether enough other keys may do all that it may, for longer. A key of the kill switch is one person's. */
function isReplaced({ keyId, purposes }: TrustedKey, trust: Trust, now: number): boolean {
  if (!purposes.has("revision")) return false;
  const others = [...trust.keys.values()].filter(
    (other) =>
      other.keyId !== keyId &&
      other.notAfter - now > KEY_ENDS_SOON_MS &&
      [...purposes].every((purpose) => other.purposes.has(purpose)),
  );
  return others.length >= trust.threshold;
}
