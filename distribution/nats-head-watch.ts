import type { SequencedHead, Subscription } from "./bus.ts";
import type { NatsLink } from "./nats-connection.ts";
import type { NatsHeads } from "./nats-heads.ts";
import type { NatsStreams } from "./nats-streams.ts";
import { type WatchOptions, watching } from "./nats-watch.ts";

export interface HeadWatchOptions extends WatchOptions {
  readonly link: NatsLink;
  readonly streams: NatsStreams;
  readonly heads: NatsHeads;
}

/**
 * Calls back with each newer head. A head with a smaller sequence is either an answer that was on its way too long, or
 * a stream that was lost and made again: it counts when it is seen twice.
 */
export function watchNatsHead(listener: (head: SequencedHead) => void, options: HeadWatchOptions): Subscription {
  const { link, streams, heads, onAlarm } = options;
  let seen: SequencedHead | undefined;
  let doubtful: SequencedHead | undefined;
  const offer = (head: SequencedHead): void => {
    if (!watch.open || isSame(head, seen)) return;
    if (seen !== undefined && head.sequence < seen.sequence && !isSame(head, doubtful)) {
      doubtful = head;
      watch.look();
      return;
    }
    doubtful = undefined;
    seen = head;
    listener(head);
  };
  const look = async (): Promise<void> => {
    const head = await heads.newest();
    if (head !== undefined) offer(head);
  };
  const watch = watching(look, { ...options, onAlarm });
  const bell = link.subscribe(streams.names.headBell, (message) => {
    const head = heads.rung(message);
    if (head === undefined) watch.look();
    else offer(head);
  });
  return {
    close: () => {
      watch.close();
      bell.close();
    },
  };
}

function isSame(one: SequencedHead, other: SequencedHead | undefined): boolean {
  return other !== undefined && one.sequence === other.sequence && one.manifest === other.manifest;
}
