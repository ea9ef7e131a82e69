import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type AdminClientOptions, giveRestriction, isRestrictionKind, listRestrictions } from "../admin/index.ts";
import {
  type Bus,
  mergeSignatures,
  openDirectoryBus,
  type RestrictionEntry,
  type RestrictionState,
  restrictionStates,
  verifyRestriction,
} from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { loadTrust, type Trust } from "../revision/index.ts";
import type { AdminAccess } from "./admin-client.ts";
import { demandWholeNats, type NatsOptions, openNats } from "./nats-options.ts";

export interface PlaceOptions extends NatsOptions, AdminAccess {
  readonly server: string;
  readonly bus?: string;
  readonly trust?: string;
}

/** Whether entries are put on a bus from here, which is only done signed. */
export function isBus({ bus, nats }: PlaceOptions): boolean {
  return bus !== undefined || nats !== undefined;
}

/** Where restrictions are read, and signed ones handed over: a process, or a bus. */
export interface RestrictionPlace {
  states(): Promise<readonly RestrictionState[]>;
  /** @returns whether it is on the bus */
  give(entry: Uint8Array): Promise<boolean>;
  close(): Promise<void>;
}

/** @throws ChanceryError "invalid-argument" where the options do not say one place */
export async function openRestrictionPlace(
  options: PlaceOptions,
  server: AdminClientOptions,
): Promise<RestrictionPlace> {
  const { bus: directory, nats, trust: trustFile } = options;
  if (directory !== undefined && nats !== undefined) {
    throw new ChanceryError("invalid-argument", "--bus and --nats are two places: choose one");
  }
  demandWholeNats(options);
  if (isBus(options) !== (trustFile !== undefined)) {
    throw new ChanceryError("invalid-argument", "a bus (--bus or --nats) and --trust belong together");
  }
  if (trustFile === undefined) return atServer(server);
  const trust = await loadTrust(trustFile);
  const onAlarm = (alarm: ChanceryError): void => void process.stderr.write(`warning: ${alarm.message}\n`);
  const bus =
    directory === undefined
      ? await openNats(options, { role: "operator", name: "quarantine" }, { onAlarm })
      : await openDirectoryBus(directory, { onAlarm });
  return atBus(bus, trust, onAlarm);
}

function atServer(server: AdminClientOptions): RestrictionPlace {
  return {
    states: async () =>
      (await listRestrictions(server)).restrictions.flatMap(({ kind, at, until, lifted, ...state }) => {
        // A newer server may know more kinds.
        if (!isRestrictionKind(kind)) return [];
        const { id, value, reason, by, signedBy } = state;
        const lifting =
          lifted === undefined
            ? {}
            : { lifted: { at: text(lifted.at), by: lifted.by, reason: lifted.reason, signedBy: lifted.signedBy } };
        return [{ id, kind, value, reason, by, at: text(at), until: text(until), signedBy, ...lifting }];
      }),
    give: async (entry) => (await giveRestriction(server, { signed: entry })).spread,
    close: async () => undefined,
  };
}

function atBus(bus: Bus, trust: Trust, warn: (alarm: ChanceryError) => void): RestrictionPlace {
  const verified = (bytes: Uint8Array): RestrictionEntry =>
    verifyRestriction(bytes, { trust, now: Date.now(), age: "new" });
  return {
    states: async () => {
      const set = new Map<string, RestrictionEntry>();
      for (const bytes of await bus.restrictions()) {
        try {
          const entry = verified(bytes);
          const known = set.get(entry.digest);
          // It may lie there twice, under more and under fewer signatures.
          set.set(entry.digest, known === undefined ? entry : (mergeSignatures(known, entry) ?? known));
        } catch (error) {
          warn(ChanceryError.from(error));
        }
      }
      return restrictionStates(set, Date.now());
    },
    give: async (bytes) => {
      verified(bytes);
      await bus.putRestriction(bytes);
      return true;
    },
    close: () => bus.close(),
  };
}

function text(timestamp: Timestamp | undefined): string {
  return timestamp === undefined ? "" : timestampDate(timestamp).toISOString();
}
