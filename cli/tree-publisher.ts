import { join } from "node:path";
import { CompileCache, compile } from "../compiler/index.ts";
import {
  type Bus,
  createJwksReader,
  type Publisher,
  type PublisherEvent,
  startPublisher,
} from "../distribution/index.ts";
import type { PolicyProgram } from "../policy/index.ts";
import { formatProblem, type Inventory, type OperationalLog } from "../resources/index.ts";
import type { SigningKey } from "../revision/index.ts";
import type { Logger } from "./logging.ts";

const JWKS_FILE_MS = 1_000;
const JWKS_URL_MS = 300_000;

export interface TreePublisherOptions {
  /** Root of the resource tree. */
  readonly resources: string;
  /** For the publisher's own files. */
  readonly stateDirectory: string;
  readonly bus: Bus;
  readonly signers: readonly SigningKey[];
  /** Text of the trust file, which travels with each revision. */
  readonly trust?: string | undefined;
  /** As in PublisherOptions. */
  readonly history?: "follow" | "force" | undefined;
  readonly log: Logger;
  /** Milliseconds after which a change is taken up though others follow; the publisher's own unless given. */
  readonly maximumWaitMs?: number;
  /** As in `PublisherOptions`. */
  readonly epoch?: () => number | undefined;
  /** What the operational log adds to the tree; call `refresh` when it has changed. */
  readonly operationalLog?: () => OperationalLog;
  readonly onEvent?: (event: PublisherEvent) => void;
}

export interface TreePublisher extends Publisher {
  /** Policy of the tree that was compiled last; undefined before the first. */
  program(): PolicyProgram | undefined;
  /** Likewise what it holds. */
  inventory(): Inventory | undefined;
}

/** Compiles and publishes a resource tree, now and after each change of it or of the keys of its token issuers. */
export async function publishTree(options: TreePublisherOptions): Promise<TreePublisher> {
  const { resources, stateDirectory, bus, signers, log, operationalLog } = options;
  let publisher: Publisher | undefined;
  let program: PolicyProgram | undefined;
  let inventory: Inventory | undefined;
  const jwks = createJwksReader({
    root: resources,
    cacheDirectory: join(stateDirectory, "jwks"),
    fetch: globalThis.fetch,
    fileIntervalMs: JWKS_FILE_MS,
    urlIntervalMs: JWKS_URL_MS,
    onChange: () => void publisher?.refresh(),
    onFailure: (source, error) =>
      log.warn({ source, reason: error.message }, "the keys of a token issuer cannot be had"),
  });
  const cache = new CompileCache();
  publisher = await startPublisher({
    directory: resources,
    stateDirectory,
    bus,
    signers,
    trust: options.trust,
    history: options.history,
    compile: async (loaded) => {
      const keys = await jwks.read(loaded.inventory.applications.flatMap((application) => application.jwt));
      const compiled = compile(loaded.inventory, { jwks: keys, positions: loaded.positions, cache });
      program = compiled.parts.program;
      inventory = loaded.inventory;
      return compiled;
    },
    now: Date.now,
    ...(options.epoch === undefined ? {} : { epoch: options.epoch }),
    ...(operationalLog === undefined ? {} : { log: async () => operationalLog() }),
    ...(options.maximumWaitMs === undefined ? {} : { maximumWaitMs: options.maximumWaitMs }),
    onEvent: (event) => {
      logPublisherEvent(log, event);
      options.onEvent?.(event);
    },
  });
  const started = publisher;
  return {
    program: () => program,
    inventory: () => inventory,
    status: () => started.status(),
    refresh: () => started.refresh(),
    close: async () => {
      jwks.close();
      await started.close();
    },
  };
}

function logPublisherEvent(log: Logger, event: PublisherEvent): void {
  switch (event.type) {
    case "published":
      for (const problem of event.warnings) log.warn(formatProblem(problem));
      log.info(
        { revision: event.number, digest: event.digest, milliseconds: event.durationMs },
        "published a revision",
      );
      return;
    case "standby":
      log.info({ source: event.source }, "the tree compiles; another process leads and publishes");
      return;
    case "unchanged":
      log.debug({ revision: event.number }, "the tree changed and what it means did not");
      return;
    case "frozen":
      if (event.scopes.length === 0) log.info("every scope is as it is written again");
      for (const { scope, problems } of event.scopes) {
        log.error({ scope }, "a scope has errors: it stays as it was last good");
        for (const problem of problems) log.error(formatProblem(problem));
      }
      return;
    case "leftOut":
      for (const problem of event.problems) log.error(formatProblem(problem));
      return;
    case "refused":
      log.error("the resource tree has errors and is not taken; what was last good stays in force");
      for (const problem of event.problems) log.error(formatProblem(problem));
      return;
    case "failed":
    case "alarm":
      log.error({ code: event.error.code }, event.error.message);
  }
}
