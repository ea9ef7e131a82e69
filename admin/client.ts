import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
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
import { ERROR_HEADER } from "./connect-errors.ts";

export interface AdminClientOptions {
  /** "127.0.0.1:7070" or a URL. */
  readonly control: string;
  readonly token?: string;
  /** Milliseconds; 5,000 by default. */
  readonly timeoutMs?: number;
}

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

export function transportTo(options: AdminClientOptions) {
  return createConnectTransport({ baseUrl: baseUrlOf(options.control), httpVersion: "1.1" });
}

/**
 * @param control  "127.0.0.1:7070" or a URL
 * @throws ChanceryError "invalid-argument" for what is neither, or would show a password in errors and process lists
 */
export function baseUrlOf(control: string): string {
  const text = control.includes("://") ? control : `http://${control}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new ChanceryError("invalid-argument", `"${control}" is no address: write HOST:PORT or http://HOST:PORT`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new ChanceryError(
      "invalid-argument",
      `credentials for ${url.host} belong in a token file, not in the address`,
    );
  }
  return text;
}

/** Calls, and throws a ChanceryError with the code that the server named; "unavailable" where it named none. */
export async function asking<T>(
  options: AdminClientOptions,
  failed: string,
  call: (options: CallOptions) => Promise<T>,
): Promise<T> {
  try {
    return await call({
      timeoutMs: options.timeoutMs ?? 5_000,
      ...(options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } }),
    });
  } catch (cause) {
    const error = ConnectError.from(cause);
    const named = error.metadata.get(ERROR_HEADER);
    const code = named !== null && Object.hasOwn(ERROR_CODES, named) ? (named as ErrorCode) : undefined;
    if (code !== undefined) throw new ChanceryError(code, error.rawMessage, { cause });
    const message = error.code === Code.Unimplemented ? "this process does not offer it" : error.rawMessage;
    throw new ChanceryError("unavailable", `${failed} from ${baseUrlOf(options.control)}: ${message}`, { cause });
  }
}
