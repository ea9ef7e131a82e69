import { ChanceryError } from "../resources/index.ts";
import type { Bus, NodeReport, Subscription } from "./bus.ts";
import { MAX_NATS_REPORTERS } from "./bus-limits.ts";

/** Reports on their way at the same time: the hub may be far away. */
const IN_FLIGHT = 16;

export interface ForwardingOptions {
  readonly region: Bus;
  readonly hub: Bus;
  /** Put before the names of reporters: `eu/authz-1`. */
  readonly regionName: string;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/** Passes the newest report of each process of a region on to the hub. What cannot be passed on is dropped: newer ones come. */
export function forwardReports({ region, hub, regionName, onAlarm }: ForwardingOptions): Subscription {
  const waiting = new Map<string, NodeReport>();
  let sending = 0;
  let told: string | undefined;
  let closed = false;
  const send = async (): Promise<void> => {
    sending += 1;
    for (let report = next(); report !== undefined && !closed; report = next()) {
      try {
        await hub.report({ ...report, reporter: `${regionName}/${report.reporter}` });
        told = undefined;
      } catch (thrown) {
        const error = ChanceryError.from(thrown, "unavailable");
        if (!closed && error.message !== told) onAlarm(error);
        told = error.message;
      }
    }
    sending -= 1;
  };
  const next = (): NodeReport | undefined => {
    const [first] = waiting.values();
    if (first !== undefined) waiting.delete(first.reporter);
    return first;
  };
  const reports = region.watchReports((report) => {
    waiting.set(report.reporter, report);
    const [oldest] = waiting.keys();
    if (waiting.size > MAX_NATS_REPORTERS && oldest !== undefined) waiting.delete(oldest);
    if (sending < IN_FLIGHT) void send();
  });
  return {
    close: () => {
      closed = true;
      waiting.clear();
      reports.close();
    },
  };
}
