/**
 * Which resources of one type a client wants, by xds_protocol.rst "How the client specifies what resources to return".
 * Owned by one stream and updated in place: a client may name thousands, and repeats them with every acknowledgement.
 */
export interface Subscription {
  /** All resources of the type. */
  wildcard: boolean;
  /** State of the world: only empty lists have come so far, so an empty list still means what the first one meant. */
  implicit: boolean;
  /** Named one by one; "" is a name like any other, "*" never is. */
  readonly names: Set<string>;
}

/** What a request changed. */
export interface SubscriptionChange {
  /** Asked for by name, for the first time or (delta) once more: to be sent even where the client holds them. */
  readonly asked: readonly string[];
  /** No longer asked for by name. */
  readonly dropped: readonly string[];
  /** "*" was asked for: everything is to be sent. */
  readonly wildcardAsked: boolean;
  readonly wildcardDropped: boolean;
}

const WILDCARD = "*";
const NO_CHANGE: SubscriptionChange = { asked: [], dropped: [], wildcardAsked: false, wildcardDropped: false };

export function noSubscription(): Subscription {
  return { wildcard: false, implicit: true, names: new Set() };
}

export function covers(subscription: Subscription, name: string): boolean {
  return subscription.wildcard || subscription.names.has(name);
}

/** State of the world: every request carries the whole list. */
export function replaceNames(
  subscription: Subscription,
  names: readonly string[],
  first: boolean,
  emptyMeansAll: boolean,
): SubscriptionChange {
  const before = subscription.wildcard;
  if (names.length === 0 && subscription.implicit) {
    if (first) subscription.wildcard = emptyMeansAll;
    return { ...NO_CHANGE, wildcardAsked: subscription.wildcard && !before };
  }
  subscription.implicit = false;
  const wanted = new Set(names);
  subscription.wildcard = wanted.delete(WILDCARD);
  const asked: string[] = [];
  const dropped: string[] = [];
  for (const name of subscription.names) if (!wanted.has(name)) dropped.push(name);
  for (const name of wanted) if (!subscription.names.has(name)) asked.push(name);
  for (const name of dropped) subscription.names.delete(name);
  for (const name of asked) subscription.names.add(name);
  return {
    asked,
    dropped,
    wildcardAsked: subscription.wildcard && !before,
    wildcardDropped: before && !subscription.wildcard,
  };
}

/** Delta: requests carry what to add and what to take away. Dropping what was never asked for does nothing. */
export function changeNames(
  subscription: Subscription,
  subscribe: readonly string[],
  unsubscribe: readonly string[],
  first: boolean,
  emptyMeansAll: boolean,
): SubscriptionChange {
  const dropped = new Set<string>();
  let wildcardDropped = false;
  for (const name of unsubscribe) {
    if (name === WILDCARD) {
      wildcardDropped = subscription.wildcard;
      subscription.wildcard = false;
    } else if (subscription.names.delete(name)) {
      dropped.add(name);
    }
  }
  const asked = new Set<string>();
  let wildcardAsked = false;
  if (first && subscribe.length === 0 && emptyMeansAll) {
    subscription.wildcard = true;
    wildcardAsked = true;
  }
  for (const name of subscribe) {
    if (name === WILDCARD) {
      subscription.wildcard = true;
      wildcardAsked = true;
      wildcardDropped = false;
    } else {
      subscription.names.add(name);
      asked.add(name);
      dropped.delete(name);
    }
  }
  return { asked: [...asked], dropped: [...dropped], wildcardAsked, wildcardDropped };
}
