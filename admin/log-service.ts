import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { createClient, type ServiceImpl } from "@connectrpc/connect";
import type { Compacted, OperationalLogKeeper } from "../distribution/index.ts";
import { LogService } from "../protos/gen/chancery/admin/v1/log_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { asking } from "./client.ts";
import { type AdminClientOptions, transportTo } from "./client-transport.ts";
import { demandRole, principalKey } from "./principal.ts";

export interface LogApi {
  readonly log: Pick<OperationalLogKeeper, "compact">;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export function logService({ log, now }: LogApi): ServiceImpl<typeof LogService> {
  return {
    compactLog: async ({ closedBefore }, context) => {
      const principal = context.values.get(principalKey);
      demandRole(principal, "operator");
      const end = closedBefore === undefined ? now() : timestampMs(closedBefore);
      if (!(end >= 0 && end <= now())) {
        throw new ChanceryError("invalid-argument", "what is to leave the log was over in the past");
      }
      const { before, kept, sequence } = await log.compact(principal.name, end);
      return { before, kept, sequence: BigInt(sequence) };
    },
  };
}

/**
 * Has a control plane compact the operational log.
 *
 * @param closedBefore  milliseconds since the epoch: what was over by then leaves the log
 * @throws ChanceryError with the code that was answered
 */
export async function compactLog(options: AdminClientOptions, closedBefore: number): Promise<Compacted> {
  const client = createClient(LogService, transportTo(options));
  const request = { closedBefore: timestampFromMs(closedBefore) };
  const { before, kept, sequence } = await asking(options, "not compacted", (call) => client.compactLog(request, call));
  return { before, kept, sequence: Number(sequence) };
}
