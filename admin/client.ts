import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AdminService, type GetStatusResponse } from "../protos/gen/chancery/admin/v1/admin_pb.ts";
import { ChanceryError } from "../resources/index.ts";

export interface AdminClientOptions {
  /** "127.0.0.1:7070" or a URL. */
  readonly control: string;
  readonly token?: string;
  /** Milliseconds; 5,000 by default. */
  readonly timeoutMs?: number;
}

/** Asks a control plane for its status. @throws ChanceryError "unavailable" when it does not answer */
export async function getStatus(options: AdminClientOptions): Promise<GetStatusResponse> {
  const baseUrl = options.control.includes("://") ? options.control : `http://${options.control}`;
  const client = createClient(AdminService, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
  try {
    return await client.getStatus(
      {},
      {
        timeoutMs: options.timeoutMs ?? 5_000,
        ...(options.token === undefined ? {} : { headers: { authorization: `Bearer ${options.token}` } }),
      },
    );
  } catch (cause) {
    const { rawMessage } = ConnectError.from(cause);
    throw new ChanceryError("unavailable", `no status from ${baseUrl}: ${rawMessage}`, { cause });
  }
}
