import { join } from "node:path";
import { type Bus, createInProcessBus, openDirectoryBus } from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { loadTrust, openRevisionStore, type RevisionStore } from "../revision/index.ts";
import type { Logger } from "./logging.ts";
import { publishTree } from "./tree-publisher.ts";

/**
 * Several processes read the tree, each for itself: they see the same revisions where they wait until it is quiet. After
 * this long (milliseconds) a tree that never is is taken all the same.
 */
const MAXIMUM_WAIT_MS = 10_000;

/** Where a process on the data path gets its revisions from. */
export interface RevisionSource {
  readonly bus: Bus;
  readonly store: RevisionStore;
  /** Whether others are on the same bus. */
  readonly shared: boolean;
  /** There is a newer revision somewhere: look for it now. */
  lookAgain(): void;
  close(): Promise<void>;
}

export interface SourceOptions {
  /** Root of a resource tree: compiled here, unsigned, and never on a bus. */
  readonly resources?: string;
  /** Directory of a bus, with the trust file that its revisions must satisfy. */
  readonly bus?: string;
  readonly trust?: string;
}

/** @throws ChanceryError "invalid-argument" where the options do not say one source */
export function demandOneSource(options: SourceOptions): void {
  const { resources, bus, trust } = options;
  if ((resources === undefined) === (bus === undefined)) {
    throw new ChanceryError(
      "invalid-argument",
      "say where revisions come from: --resources DIR, or --bus DIR --trust FILE",
    );
  }
  if ((bus === undefined) !== (trust === undefined)) {
    throw new ChanceryError(
      "invalid-argument",
      "--bus and --trust belong together: nothing untrusted is loaded from a bus",
    );
  }
}

export async function openRevisionSource(
  options: SourceOptions,
  stateDirectory: string,
  log: Logger,
): Promise<RevisionSource> {
  demandOneSource(options);
  const onAlarm = (alarm: ChanceryError): void => log.warn({ code: alarm.code }, alarm.message);
  const revisions = join(stateDirectory, "revisions");
  if (options.bus !== undefined && options.trust !== undefined) {
    const trust = await loadTrust(options.trust);
    const store = await openRevisionStore(revisions, { trust, now: Date.now, onAlarm });
    const bus = await openDirectoryBus(options.bus, { onAlarm });
    return {
      bus,
      store,
      shared: true,
      // The bus tells of a new head at once by itself.
      lookAgain: () => undefined,
      close: async () => {
        await bus.close();
        await store.close();
      },
    };
  }
  const store = await openRevisionStore(revisions, { trust: "unsigned-local", now: Date.now, onAlarm });
  const bus = createInProcessBus();
  const publisher = await publishTree({
    resources: options.resources ?? ".",
    stateDirectory: join(stateDirectory, "publisher"),
    bus,
    signers: [],
    log,
    maximumWaitMs: MAXIMUM_WAIT_MS,
  });
  return {
    bus,
    store,
    shared: false,
    lookAgain: () => void publisher.refresh(),
    close: async () => {
      await publisher.close();
      await bus.close();
      await store.close();
    },
  };
}
