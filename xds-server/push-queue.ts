/** What waits to be pushed, in turn. */
export interface PushQueue<T> {
  /** Urgent items go before all others, but never all the time. An item that waits already keeps its place. */
  add(items: Iterable<T>, urgent: boolean): void;
  remove(item: T): void;
  /** Pushes what there is, at once or in slices. */
  run(): void;
  close(): void;
}

export interface PushQueueOptions<T> {
  /** Must not throw. May add and remove items. */
  readonly push: (item: T, urgent: boolean) => void;
  /** How long one slice may take, ms, before others have their turn. */
  readonly sliceMs: number;
  /** Monotonic, ms. */
  readonly elapsed: () => number;
  /** Calls back after what waits for this process by now (requests, acknowledgements) has had its turn. */
  readonly yieldTurn: (callback: () => void) => void;
}

/**
 * One change may be pushed to thousands of streams, each of which costs time: acknowledgements, requests, and changes
 * of endpoints must not wait for all of them.
 */
export function createPushQueue<T>(options: PushQueueOptions<T>): PushQueue<T> {
  const { push, sliceMs, elapsed, yieldTurn } = options;
  const urgent = new Set<T>();
  const others = new Set<T>();
  let running = false;
  let planned = false;
  /** Others waited while urgent ones filled a slice. */
  let owed = false;
  let closed = false;

  function first(set: Set<T>): T | undefined {
    for (const item of set) return item;
    return undefined;
  }

  function take(set: Set<T>): boolean {
    const item = first(set);
    if (item === undefined) return false;
    set.delete(item);
    push(item, set === urgent);
    return true;
  }

  function run(): void {
    if (running || planned || closed) return;
    running = true;
    const end = elapsed() + sliceMs;
    // However many urgent ones there are, each further slice has room for one of the others.
    if (owed) take(others);
    owed = false;
    while (take(urgent) || take(others)) {
      if (elapsed() < end) continue;
      owed = others.size > 0;
      break;
    }
    running = false;
    if (urgent.size + others.size === 0) return;
    planned = true;
    yieldTurn(() => {
      planned = false;
      run();
    });
  }

  return {
    add(items, isUrgent) {
      for (const item of items) (isUrgent ? urgent : others).add(item);
    },
    remove(item) {
      urgent.delete(item);
      others.delete(item);
    },
    run,
    close() {
      closed = true;
      urgent.clear();
      others.clear();
    },
  };
}
