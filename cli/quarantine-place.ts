import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type AdminClientOptions, giveRestriction, isRestrictionKind, listRestrictions } from "../admin/index.ts";
import {
  openDirectoryBus,
  type RestrictionEntry,
  type RestrictionState,
  restrictionStates,
  verifyRestriction,
} from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { loadTrust } from "../revision/index.ts";

export interface PlaceOptions {
  readonly server: string;
  readonly tokenFile?: string;
  readonly bus?: string;
  readonly trust?: string;
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
  const { bus, trust } = options;
  if ((bus === undefined) !== (trust === undefined)) {
    throw new ChanceryError(
      "invalid-argument",
      "--bus and --trust belong together: what others would refuse is not put",
    );
  }
  if (bus === undefined || trust === undefined) return atServer(server);
  return await atBus(bus, trust);
}

function atServer(server: AdminClientOptions): RestrictionPlace {
  return {
    states: async () =>
      (await listRestrictions(server)).restrictions.flatMap(({ kind, at, until, lifted, ...state }) => {
        // A newer server may know more kinds.
        if (!isRestrictionKind(kind)) return [];
        const { id, value, reason, by, signedBy } = state;
        const lifting =
          lifted === undefined ? {} : { lifted: { at: text(lifted.at), by: lifted.by, reason: lifted.reason } };
        return [{ id, kind, value, reason, by, at: text(at), until: text(until), signedBy, ...lifting }];
      }),
    give: async (entry) => (await giveRestriction(server, { signed: entry })).spread,
    close: async () => undefined,
  };
}

async function atBus(directory: string, trustFile: string): Promise<RestrictionPlace> {
  const trust = await loadTrust(trustFile);
  const warn = (alarm: ChanceryError): void => void process.stderr.write(`warning: ${alarm.message}\n`);
  const bus = await openDirectoryBus(directory, { onAlarm: warn });
  const verified = (bytes: Uint8Array): RestrictionEntry =>
    verifyRestriction(bytes, { trust, now: Date.now(), age: "new" });
  return {
    states: async () => {
      const set = new Map<string, RestrictionEntry>();
      for (const bytes of await bus.restrictions()) {
        try {
          const entry = verified(bytes);
          set.set(entry.digest, entry);
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
