import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { ApprovalApi } from "../admin/index.ts";
import { ruledApprovals } from "../compiler/index.ts";
import { type LogSize, type LogStream, type OperationalLogKeeper, startOperationalLog } from "../distribution/index.ts";
import type { Inventory } from "../resources/index.ts";
import type { SigningKey, Trust } from "../revision/index.ts";
import type { Logger } from "./logging.ts";
import type { Reminder } from "./reminders.ts";

export interface OpenOperationalLogOptions {
  readonly bus: LogStream;
  /** Of the process. */
  readonly state: string;
  readonly trust: Trust;
  /** Of the process: those that may sign log entries do. */
  readonly signers: readonly SigningKey[];
  readonly log: Logger;
  /** What it adds to the tree has changed. */
  readonly onChange: () => void;
}

/** The operational log of a control plane, with what happens to it in the log of the process. */
export async function openOperationalLog(options: OpenOperationalLogOptions): Promise<OperationalLogKeeper> {
  const { bus, state, trust, signers, log, onChange } = options;
  return await startOperationalLog({
    bus,
    directory: join(state, "log"),
    trust,
    signers: signers.filter(({ keyId }) => trust.keys.get(keyId)?.purposes.has("log") === true),
    onChange,
    onEvent: (event) => {
      if (event.type === "refused") return;
      const { sequence, kind, at, by, action, checkpoint, signedBy } = event.entry;
      log.info(
        { sequence, kind, at, by, action: action ?? checkpoint, signedBy, restored: event.restored },
        "an entry of the operational log",
      );
    },
    onAlarm: (alarm) => log.error({ code: alarm.code }, alarm.message),
    now: Date.now,
  });
}

/** From this share of its capacity on, a log is to be compacted. */
const NEARLY_FULL = 0.8;

export function isNearlyFull({ entries, capacity }: Pick<LogSize, "entries" | "capacity">): boolean {
  return entries >= capacity * NEARLY_FULL;
}

/** What there is to say of a log that is nearly full. */
export function logReminders(size: LogSize): readonly Reminder[] {
  if (!isNearlyFull(size)) return [];
  const { entries, capacity } = size;
  const fields = { entries, capacity };
  if (entries >= capacity) {
    const message = "the operational log is full and takes revocations alone: chancery log compact";
    return [{ id: "log", level: "error", message, fields }];
  }
  return [{ id: "log", level: "warn", message: "the operational log is nearly full: chancery log compact", fields }];
}

/** @param inventory  what is in force, to know its names; undefined: not known yet */
export function approvalApi(log: OperationalLogKeeper, inventory: () => Inventory | undefined): ApprovalApi {
  return {
    log,
    names: (kind) => {
      const known = inventory();
      if (known === undefined) return undefined;
      return new Set((kind === "ModelVersion" ? known.modelVersions : known.applications).map(({ key }) => key));
    },
    version: (key) => inventory()?.modelVersions.find((each) => each.key === key),
    others: ({ id, version, application }) => {
      const known = inventory();
      const now = Date.now();
      return known === undefined
        ? []
        : [...known.approvals, ...ruledApprovals(known)]
            .filter((each) => each.version === version && each.application === application)
            .filter(({ key }) => key.slice(key.lastIndexOf("/") + 1) !== id)
            .filter(({ validUntil }) => validUntil === undefined || Date.parse(validUntil) > now)
            .map(({ key }) => key);
    },
    now: Date.now,
    newId: () => `a-${randomBytes(8).toString("hex")}`,
  };
}
