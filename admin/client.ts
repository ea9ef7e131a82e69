import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { AdminService, type GetStatusResponse } from "../protos/gen/chancery/admin/v1/admin_pb.ts";
import type {
  GiveRestrictionRequestSchema,
  LiftRestrictionRequestSchema,
} from "../protos/gen/chancery/admin/v1/restrictions_pb.ts";
import {
  type GiveRestrictionResponse,
  type ListRestrictionsResponse,
  RestrictionService,
} from "../protos/gen/chancery/admin/v1/restrictions_pb.ts";
import { ChanceryError, ERROR_CODES, type ErrorCode } from "../resources/index.ts";
import { type AdminClientOptions, adminUrl, CLIENT_TIMEOUT_MS, transportTo } from "./client-transport.ts";
import { ERROR_HEADER } from "./connect-errors.ts";

/** Asks a control plane for its status. @throws ChanceryError "unavailable" when it does not answer */
export async function getStatus(options: AdminClientOptions): Promise<GetStatusResponse> {
  const client = createClient(AdminService, transportTo(options));
  return await asking(options, "no status", (call) => client.getStatus({}, call));
}

/** Gives a restriction to a process. @throws ChanceryError with the code that the process answered */
export async function giveRestriction(
  options: AdminClientOptions,
  request: MessageInitShape<typeof GiveRestrictionRequestSchema>,
): Promise<GiveRestrictionResponse> {
  return await asking(options, "not restricted", (call) => restrictionsAt(options).giveRestriction(request, call));
}

/** Lifts a restriction. @returns whether every bus of the process has taken it */
export async function liftRestriction(
  options: AdminClientOptions,
  request: MessageInitShape<typeof LiftRestrictionRequestSchema>,
): Promise<boolean> {
  const lift = (call: CallOptions) => restrictionsAt(options).liftRestriction(request, call);
  return (await asking(options, "not lifted", lift)).spread;
}

export async function listRestrictions(options: AdminClientOptions): Promise<ListRestrictionsResponse> {
  return await asking(options, "no list", (call) => restrictionsAt(options).listRestrictions({}, call));
}

function restrictionsAt(options: AdminClientOptions): Client<typeof RestrictionService> {
  return createClient(RestrictionService, transportTo(options));
}

/** Calls, and throws a ChanceryError with the code that the server named; "unavailable" where it named none. */
export async function asking<T>(
  options: AdminClientOptions,
  failed: string,
  call: (options: CallOptions) => Promise<T>,
): Promise<T> {
  try {
    return await call({
      timeoutMs: options.timeoutMs ?? CLIENT_TIMEOUT_MS,
      ...(options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } }),
    });
  } catch (cause) {
    const error = ConnectError.from(cause);
    const named = error.metadata.get(ERROR_HEADER);
    const code = named !== null && Object.hasOwn(ERROR_CODES, named) ? (named as ErrorCode) : undefined;
    if (code !== undefined) throw new ChanceryError(code, error.rawMessage, { cause });
    throw new ChanceryError("unavailable", `${failed} from ${adminUrl(options)}: ${reasonOf(error)}`, { cause });
  }
}

function reasonOf({ code, rawMessage }: ConnectError): string {
  if (code === Code.Unimplemented) return "this process does not offer it";
  // Whoever listens on loopback refuses other names than its own before any service is asked, against DNS rebinding.
  if (code === Code.PermissionDenied) return `${rawMessage}: ask it by its IP address, or as localhost`;
  return rawMessage;
}
