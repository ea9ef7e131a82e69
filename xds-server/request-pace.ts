/** How many requests one stream may make: what makes more is read no faster. */
export interface RequestPaceSettings {
  /** Requests of one stream that are taken in a second, in the long run. An acknowledgement is a request, too. */
  readonly requestsPerSecond: number;
  /** Requests beyond that which may come at once. */
  readonly requestBurst: number;
}

export interface RequestPace {
  /**
   * Takes a request in.
   *
   * @returns ms to wait before the next one is read; 0: none
   */
  taken(now: number): number;
}

/** A token bucket. @param now  ms */
export function createRequestPace({ requestsPerSecond, requestBurst }: RequestPaceSettings, now: number): RequestPace {
  let tokens = requestBurst;
  let at = now;
  return {
    taken(time) {
      tokens = Math.min(requestBurst, tokens + (Math.max(0, time - at) * requestsPerSecond) / 1_000) - 1;
      at = time;
      return tokens >= 0 ? 0 : Math.ceil((-tokens * 1_000) / requestsPerSecond);
    },
  };
}
