import { type Timestamp, timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Given,
  RESTRICTION_KINDS,
  type RestrictionState,
  type RestrictionStatement,
  type Restrictions,
} from "../distribution/index.ts";
import type { RestrictionService } from "../protos/gen/chancery/admin/v1/restrictions_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { demandRole, principalKey } from "./principal.ts";

export type RestrictionKind = (typeof RESTRICTION_KINDS)[number];

export function isRestrictionKind(text: string): text is RestrictionKind {
  return RESTRICTION_KINDS.some((kind) => kind === text);
}

export interface RestrictionApi {
  readonly restrictions: Pick<Restrictions, "give" | "states" | "refused">;
  /** Signs what a caller says; without it only what is signed already is taken. */
  readonly sign?: (statement: RestrictionStatement) => Uint8Array;
  /** Names of a kind that are in use; undefined: not known here. */
  readonly names?: (kind: RestrictionKind) => ReadonlySet<string> | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A new "q-…". */
  readonly newId: () => string;
}

/** Shows this many names to one who gave a wrong one. */
const SHOWN_NAMES = 8;

export function restrictionService(api: RestrictionApi): ServiceImpl<typeof RestrictionService> {
  const { restrictions, now, newId } = api;
  const sign = (statement: RestrictionStatement): Uint8Array => {
    if (api.sign !== undefined) return api.sign(statement);
    throw new ChanceryError("untrusted", "this process has no key for restrictions: sign it yourself (--key FILE)");
  };
  return {
    giveRestriction: async (request, context) => {
      if (request.signed.length > 0) return await giveSigned(restrictions, request.signed);
      demandRole(context.values.get(principalKey), "operator");
      const renewed = request.renews === "" ? undefined : renewedState(restrictions, request.renews);
      const kind = renewed?.kind ?? kindOf(request.kind);
      const value = renewed?.value ?? request.value;
      if (!request.allowUnknown && renewed === undefined) demandKnown(api, kind, value);
      const id = renewed?.id ?? newId();
      const statement: RestrictionStatement = {
        format: 1,
        type: "restrict",
        id,
        kind,
        value,
        reason: request.reason === "" ? (renewed?.reason ?? "") : request.reason,
        by: context.values.get(principalKey).name,
        at: new Date(now()).toISOString(),
        until: untilOf(request.until),
      };
      return { ...(await restrictions.give(sign(statement))), id };
    },
    liftRestriction: async (request, context): Promise<Given> => {
      if (request.signed.length > 0) return await restrictions.give(request.signed);
      demandRole(context.values.get(principalKey), "operator");
      const { id, reason } = request;
      const by = context.values.get(principalKey).name;
      const at = new Date(now()).toISOString();
      return await restrictions.give(sign({ format: 1, type: "lift", id, reason, by, at }));
    },
    listRestrictions: () => ({
      restrictions: restrictions.states().map(({ lifted, ...state }) => ({
        ...state,
        signedBy: [...state.signedBy],
        at: timestamp(state.at),
        until: timestamp(state.until),
        ...(lifted === undefined
          ? {}
          : { lifted: { ...lifted, signedBy: [...lifted.signedBy], at: timestamp(lifted.at) } }),
      })),
      refused: restrictions.refused(),
    }),
  };
}

/** What the statement says of itself is checked where it is taken in. */
async function giveSigned(restrictions: RestrictionApi["restrictions"], entry: Uint8Array) {
  const { spread } = await restrictions.give(entry);
  return { spread };
}

function renewedState(restrictions: RestrictionApi["restrictions"], id: string): RestrictionState {
  const found = restrictions.states().find((state) => state.id === id);
  if (found !== undefined) return found;
  throw new ChanceryError("not-found", `there is no restriction ${id} here that has not ended`);
}

function kindOf(text: string): RestrictionKind {
  if (isRestrictionKind(text)) return text;
  throw new ChanceryError(
    "invalid-argument",
    `"${text}" cannot be restricted; one of ${RESTRICTION_KINDS.join(", ")} can`,
  );
}

/** A kill switch with a typing error in it would stop nothing, and say that it was thrown. */
function demandKnown(api: RestrictionApi, kind: RestrictionKind, value: string): void {
  const names = api.names?.(kind);
  if (names === undefined || names.has(value)) return;
  const near = [...names].filter((name) => name.endsWith(`/${value}`) || name.includes(value) || value.includes(name));
  const shown = (near.length > 0 ? near : [...names]).sort().slice(0, SHOWN_NAMES).join(", ");
  const known =
    names.size === 0 ? `there is no ${kind} at all` : `there is ${shown}${names.size > SHOWN_NAMES ? ", …" : ""}`;
  throw new ChanceryError(
    "not-found",
    `there is no ${kind} "${value}" in force here: ${known} (--unknown restricts it all the same)`,
  );
}

function untilOf(until: Timestamp | undefined): string {
  const milliseconds = until === undefined ? Number.NaN : timestampMs(until);
  // The range of a Date; beyond it there is no text for it.
  if (Math.abs(milliseconds) <= 8.64e15) return new Date(milliseconds).toISOString();
  throw new ChanceryError("invalid-argument", "a restriction needs an end: until");
}

function timestamp(text: string): Timestamp {
  return timestampFromDate(new Date(text));
}
