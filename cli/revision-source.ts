import { join } from "node:path";
import { type Bus, createInProcessBus, openDirectoryBus } from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { loadTrust, openRevisionStore, type RevisionStore, type Trust } from "../revision/index.ts";
import type { Logger } from "./logging.ts";
import { LOOP_SLICING } from "./loop-slicing.ts";
import { demandWholeNats, type NatsIdentity, type NatsOptions, openNats } from "./nats-options.ts";
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
  /** Whom it believes; undefined: revisions are made here, unsigned. */
  readonly trust?: Trust;
  /** Whether others are on the same bus. */
  readonly shared: boolean;
  /** There is a newer revision somewhere: look for it now. */
  lookAgain(): void;
  /** Milliseconds from the last change to its revision, where it is made here. */
  publishMs?(): number;
  close(): Promise<void>;
}

export interface SourceOptions extends NatsOptions {
  /** Root of a resource tree: compiled here, unsigned, and never on a bus. */
  readonly resources?: string;
  /** Directory of a bus on this machine. */
  readonly bus?: string;
  /** Trust file that revisions from a bus (a directory, or NATS) must satisfy. */
  readonly trust?: string;
}

/** @throws ChanceryError "invalid-argument" where the options do not say one source */
export function demandOneSource(options: SourceOptions): void {
  const { resources, bus, nats, trust } = options;
  if ([resources, bus, nats].filter((source) => source !== undefined).length !== 1) {
    throw new ChanceryError(
      "invalid-argument",
      "say where revisions come from: --resources DIR, or --bus DIR --trust FILE, or --nats URL --trust FILE",
    );
  }
  if ((resources === undefined) !== (trust !== undefined)) {
    throw new ChanceryError(
      "invalid-argument",
      "--bus or --nats and --trust belong together: nothing untrusted is loaded from a bus",
    );
  }
  demandWholeNats(options);
}

export async function openRevisionSource(
  options: SourceOptions,
  stateDirectory: string,
  identity: NatsIdentity,
  log: Logger,
): Promise<RevisionSource> {
  demandOneSource(options);
  const onAlarm = (alarm: ChanceryError): void => log.warn({ code: alarm.code }, alarm.message);
  const revisions = join(stateDirectory, "revisions");
  if (options.trust !== undefined) {
    const trust = await loadTrust(options.trust);
    const store = await openRevisionStore(revisions, { trust, now: Date.now, slicing: LOOP_SLICING, onAlarm });
    const bus =
      options.bus === undefined
        ? await openNats(options, identity, { onAlarm })
        : await openDirectoryBus(options.bus, { onAlarm });
    return {
      bus,
      store,
      trust,
      shared: true,
      // The bus tells of a new head at once by itself.
      lookAgain: () => undefined,
      close: async () => {
        await bus.close();
        await store.close();
      },
    };
  }
  const store = await openRevisionStore(revisions, {
    trust: "unsigned-local",
    now: Date.now,
    slicing: LOOP_SLICING,
    onAlarm,
  });
  const bus = createInProcessBus();
  let publishMs = 0;
  const publisher = await publishTree({
    resources: options.resources ?? ".",
    stateDirectory: join(stateDirectory, "publisher"),
    bus,
    signers: [],
    log,
    maximumWaitMs: MAXIMUM_WAIT_MS,
    onEvent: (event) => {
      if (event.type === "published") publishMs = event.durationMs;
    },
  });
  return {
    bus,
    store,
    shared: false,
    lookAgain: () => void publisher.refresh(),
    publishMs: () => publishMs,
    close: async () => {
      await publisher.close();
      await bus.close();
      await store.close();
    },
  };
}
