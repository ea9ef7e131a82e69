import type { Registry } from "prom-client";
import { addRestrictionMetrics } from "../admin/index.ts";
import { openDecisionJournal, type RestrictionRecord } from "../audit/index.ts";
import {
  type RestrictionEvent,
  type Restrictions,
  type RevisionFollower,
  startFollower,
} from "../distribution/index.ts";
import type { ServerCertificates } from "../envoy/index.ts";
import { createDecisionService, decisionIds, serveDecisions } from "../ext-authz/index.ts";
import { compilePolicy, createPolicyCompiler, type PolicyProgram } from "../policy/index.ts";
import type { RevisionStore, Trust } from "../revision/index.ts";
import type { Logger } from "./logging.ts";
import { LOOP_SLICING } from "./loop-slicing.ts";
import { openRestrictions, restrictionsInForce } from "./restrictions.ts";
import type { RevisionSource } from "./revision-source.ts";

/** Older revisions whose layouts are loaded at the start, for Envoys that are still on one of them. */
const OLDER_REVISIONS = 7;
/** Checks that are being decided when the process stops get this long (milliseconds). */
const DRAIN_MS = 2_000;

export interface DecisionProcessOptions {
  readonly source: Pick<RevisionSource, "bus" | "store" | "lookAgain">;
  /** Names this process in records and reports. */
  readonly name: string;
  readonly listen: string;
  /** With it restrictions are taken from the bus, and kept in a directory of `state`. */
  readonly restrictions?: { readonly trust: Trust; readonly state: string; readonly spreads: boolean } | undefined;
  /** Directory of the decision journal. */
  readonly journal: string;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tls?: ServerCertificates | undefined;
}

export interface DecisionProcess {
  /** As Envoy reaches it. */
  readonly address: string;
  readonly restrictions: Restrictions | undefined;
  /** What is decided by; undefined before the first revision. */
  program(): PolicyProgram | undefined;
  /** Whether a revision is in force here. */
  ready(): boolean;
  /** Calls back once, when one is. */
  onReady(listener: () => void): void;
  close(): Promise<void>;
}

/** Decides by the newest revision of a source, and keeps the record of it. */
export async function startDecisionProcess(options: DecisionProcessOptions): Promise<DecisionProcess> {
  const { source, name, log } = options;
  const journal = await openDecisionJournal({
    directory: options.journal,
    onProblem: (problem) => log.error({ code: problem.code }, problem.message),
    onWait: (_, milliseconds) => log.warn({ directory: options.journal, milliseconds }, "waiting for the journal"),
  });
  for (const finding of journal.findings) log.warn({ finding }, "the journal was repaired when it was opened");
  let follower: RevisionFollower | undefined;
  // The newest trust file lies with it: what a key signed that is retired there must not be in force before.
  const newest = await source.store.lastGood();
  const restrictions =
    options.restrictions === undefined
      ? undefined
      : await openRestrictions({
          ...options.restrictions,
          buses: [source.bus],
          log,
          onEvent: (event) => {
            follower?.reportSoon();
            const record = recordOf(event, name);
            if (record === undefined) return;
            journal.append(record).catch((err) => log.error({ err }, "a restriction could not be recorded"));
          },
        });
  const service = createDecisionService({
    serviceName: name,
    compilePolicy,
    policyCompiler: createPolicyCompiler(LOOP_SLICING),
    slicing: LOOP_SLICING,
    appendRecord: (record) => journal.append(record),
    clock: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
    newId: decisionIds(),
    log,
    metrics: options.metrics,
    onUnknownLayout: () => source.lookAgain(),
    ...(restrictions === undefined ? {} : { restrictions: () => restrictions.active() }),
  });
  await keepOlderLayouts(source.store, newest?.revision.number, (revision) => service.keepLayouts(revision));
  const followed = await startFollower({
    bus: source.bus,
    store: source.store,
    newest,
    reporter: name,
    role: "authz",
    onRevision: async (revision) => {
      await service.adopt(revision);
    },
    state: () => ({
      ...service.state(),
      ...(restrictions === undefined ? {} : { restrictions: restrictionsInForce(restrictions) }),
    }),
    onAlarm: (alarm) => log.error({ code: alarm.code }, alarm.message),
    now: Date.now,
    random: Math.random,
  });
  follower = followed;
  if (restrictions !== undefined) addRestrictionMetrics(options.metrics, restrictions);
  const close = async (): Promise<void> => {
    await followed.close();
    await restrictions?.close();
    await service.close();
    await journal.close();
  };
  try {
    const server = await serveDecisions({
      service,
      listen: options.listen,
      drainMs: DRAIN_MS,
      onRefused: (why) => log.warn({ why }, "an Envoy is not heard"),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    });
    return {
      address: server.address,
      restrictions,
      program: () => followed.revision()?.program,
      ready: () => service.ready,
      onReady: (listener) => service.onReady(listener),
      close: async () => {
        // First no more Checks, then no more records.
        await server.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What was restored from the disk was recorded when it came. */
function recordOf(event: RestrictionEvent, service: string): RestrictionRecord | undefined {
  if (event.type !== "taken" || event.restored) return undefined;
  const { statement, signedBy } = event;
  return {
    format: 1,
    kind: "restriction",
    at: new Date().toISOString(),
    service,
    statement: { ...statement },
    signedBy,
  };
}

type Keep = Parameters<ReturnType<typeof createDecisionService>["keepLayouts"]>[0];

async function keepOlderLayouts(
  store: RevisionStore,
  newest: number | undefined,
  keep: (revision: Keep) => void,
): Promise<void> {
  let below = newest;
  for (let count = 0; count < OLDER_REVISIONS && below !== undefined; count += 1) {
    const older = (await store.lastGood(below))?.revision;
    if (older !== undefined) keep(older);
    below = older?.number;
  }
}
