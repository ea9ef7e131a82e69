import { ChanceryError } from "../resources/index.ts";
import type { NodeReport, Subscription } from "./bus.ts";
import { MAX_NATS_REPORTERS } from "./bus-limits.ts";
import type { NatsLink } from "./nats-connection.ts";
import type { NatsReports, SequencedReport } from "./nats-reports.ts";
import type { NatsStreams } from "./nats-streams.ts";
import { type WatchOptions, watching } from "./nats-watch.ts";

export interface ReportWatchOptions extends WatchOptions {
  readonly link: NatsLink;
  readonly streams: NatsStreams;
  readonly reports: NatsReports;
}

/** Calls back with the newest report of each reporter, and with each newer one. */
export function watchNatsReports(listener: (report: NodeReport) => void, options: ReportWatchOptions): Subscription {
  const { link, streams, reports, onAlarm } = options;
  let full = false;
  /** Everything up to this sequence was delivered, or is superseded. */
  let complete = 0;
  /** Subject → sequence of what was delivered; the newest few. */
  const delivered = new Map<string, number>();
  const offer = ({ subject, sequence, report }: SequencedReport): void => {
    if (!watch.open || report === undefined || (delivered.get(subject) ?? 0) >= sequence) return;
    delivered.delete(subject);
    delivered.set(subject, sequence);
    const [oldest] = delivered.keys();
    if (delivered.size > MAX_NATS_REPORTERS && oldest !== undefined) delivered.delete(oldest);
    if (delivered.size === MAX_NATS_REPORTERS && !full) {
      full = true;
      const message = `${MAX_NATS_REPORTERS} processes report: of more, those that are silent longest are not seen`;
      onAlarm(new ChanceryError("unavailable", message));
    }
    listener(report);
  };
  const startOver = (): void => {
    complete = 0;
    delivered.clear();
  };
  const look = async (): Promise<void> => {
    for (const found of await reports.after(complete)) {
      offer(found);
      complete = Math.max(complete, found.sequence);
    }
  };
  // Reports are in memory: a server that was started again has lost them, and counts anew.
  const connections = link.onConnected(startOver);
  const watch = watching(look, options);
  const bell = link.subscribe(streams.names.reportBell, (message) => {
    const rung = reports.rung(message);
    if (rung === undefined) return;
    if (rung.sequence < (delivered.get(rung.subject) ?? 0)) startOver();
    if (rung.sequence === complete + 1) complete = rung.sequence;
    else watch.look();
    offer(rung);
  });
  return {
    close: () => {
      connections.close();
      watch.close();
      bell.close();
    },
  };
}
