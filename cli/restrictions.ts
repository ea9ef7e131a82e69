import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { AdminServerOptions, RestrictionApi, RestrictionKind } from "../admin/index.ts";
import {
  type Bus,
  type RestrictionEvent,
  type Restrictions,
  signRestriction,
  startRestrictions,
} from "../distribution/index.ts";
import type { PolicyProgram } from "../policy/index.ts";
import type { ChanceryError } from "../resources/index.ts";
import type { SigningKey, Trust } from "../revision/index.ts";
import { isLocal } from "./address.ts";
import type { Logger } from "./logging.ts";
import type { ApiOptions } from "./process-options.ts";
import { readToken } from "./token.ts";

export interface OpenRestrictionsOptions {
  readonly buses: readonly Bus[];
  /** Of the process. */
  readonly state: string;
  readonly trust: Trust;
  /** Whether the process may write to the buses, and so mends them. */
  readonly spreads: boolean;
  /** Of the process: the first that may sign restrictions signs what is taken in, too. */
  readonly signers?: readonly SigningKey[];
  readonly log: Logger;
  readonly onEvent?: (event: RestrictionEvent) => void;
}

/** The kill switch of a process, with what it does in the log. */
export async function openRestrictions(options: OpenRestrictionsOptions): Promise<Restrictions> {
  const { buses, state, trust, spreads, signers = [], log } = options;
  return await startRestrictions({
    buses,
    directory: join(state, "restrictions"),
    trust,
    spreads,
    countersigner: restrictionSigner(signers, trust),
    onEvent: (event) => {
      if (event.type === "countersigned") {
        const { id, type } = event.statement;
        log.info({ id, type, signedBy: event.signedBy }, "signed a restriction that others gave, so that it stands");
      }
      if (event.type === "taken") {
        const { type, ...statement } = event.statement;
        const what = type === "lift" ? "a restriction is lifted" : "a restriction is in force";
        log.warn({ ...statement, signedBy: event.signedBy, restored: event.restored }, what);
      }
      options.onEvent?.(event);
    },
    onAlarm: (alarm: ChanceryError) => log.error({ code: alarm.code }, alarm.message),
    now: Date.now,
    random: Math.random,
  });
}

function restrictionSigner(signers: readonly SigningKey[], trust: Trust): SigningKey | undefined {
  return signers.find(({ keyId }) => trust.keys.get(keyId)?.purposes.has("restriction") === true);
}

/**
 * @param signers  of the process; the first that may sign restrictions does, and without one only signed ones are taken
 * @param program  what is in force, to know its names
 */
export function restrictionApi(
  restrictions: Restrictions,
  trust: Trust,
  signers: readonly SigningKey[],
  program: () => PolicyProgram | undefined,
): RestrictionApi {
  const signer = restrictionSigner(signers, trust);
  return {
    restrictions,
    ...(signer === undefined ? {} : { sign: (statement) => signRestriction(statement, [signer]) }),
    names: (kind) => {
      const known = program();
      return known === undefined ? undefined : namesOf(known, kind);
    },
    now: Date.now,
    newId: newRestrictionId,
  };
}

/** What the admin server of a process needs for its restrictions: nothing off loopback without a token. */
export async function restrictionOptions(
  { admin, tokenFile }: ApiOptions,
  trust: Trust | undefined,
  restrictions: Restrictions | undefined,
  signers: readonly SigningKey[],
  program: () => PolicyProgram | undefined,
): Promise<Pick<AdminServerOptions, "restrictions" | "token">> {
  const token = tokenFile === undefined ? undefined : await readToken(tokenFile);
  if (trust === undefined || restrictions === undefined || admin === undefined) return {};
  if (token === undefined && !isLocal(admin)) return {};
  const api = restrictionApi(restrictions, trust, signers, program);
  return token === undefined ? { restrictions: api } : { restrictions: api, token };
}

/** Ids of what is in force, for reports. */
export function restrictionsInForce(restrictions: Pick<Restrictions, "active">, now = Date.now()): readonly string[] {
  const ids = restrictions.active().filter(({ until }) => until === undefined || now < Date.parse(until));
  return [...new Set(ids.map(({ id }) => id))];
}

export function newRestrictionId(): string {
  return `q-${randomBytes(8).toString("hex")}`;
}

function namesOf(program: PolicyProgram, kind: RestrictionKind): ReadonlySet<string> {
  const ofModels = program.targets.flatMap(({ model }) => (model === undefined ? [] : [model]));
  switch (kind) {
    case "version":
      return new Set(ofModels.map(({ version }) => version));
    case "region":
      return new Set(ofModels.map(({ region }) => region));
    case "model":
      return new Set(program.models.map(({ key }) => key));
    case "application":
      return new Set(program.applications.map(({ key }) => key));
    case "upstream":
      return new Set(program.targets.map(({ upstream }) => upstream));
    case "rule":
      return new Set(program.rules.map(({ id }) => id));
  }
}
