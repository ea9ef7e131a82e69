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
  names: ReadonlySet<string>;
  /** The list that `names` was made of, where it still is that list and was the last to come. */
  list: readonly string[] | undefined;
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
  return { wildcard: false, implicit: true, names: NO_SET, list: undefined };
}

const NO_SET: ReadonlySet<string> = new Set();
const sets = new WeakMap<readonly string[], ReadonlySet<string>>();

/** The names of a list as a set, the same for all who have the same list. */
function setOf(list: readonly string[]): ReadonlySet<string> {
  const known = sets.get(list);
  if (known !== undefined) return known;
  const set = new Set(list);
  sets.set(list, set);
  return set;
}

/** Takes the names of a list for all there are, where it holds each once, and nothing but names. */
function adopt(subscription: Subscription, list: readonly string[]): boolean {
  const set = setOf(list);
  if (set.size !== list.length || set.has(WILDCARD)) return false;
  subscription.names = set;
  subscription.list = list;
  return true;
}

/** A set of its own, to be changed. */
function ownNames(subscription: Subscription): Set<string> {
  if (subscription.list === undefined && subscription.names instanceof Set && subscription.names !== NO_SET) {
    return subscription.names;
  }
  const own = new Set(subscription.names);
  subscription.names = own;
  subscription.list = undefined;
  return own;
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
  if (names === subscription.list && !before) return NO_CHANGE;
  if (subscription.names.size === 0 && !before && adopt(subscription, names)) return { ...NO_CHANGE, asked: names };
  const wanted = new Set(names);
  subscription.wildcard = wanted.delete(WILDCARD);
  const asked: string[] = [];
  const dropped: string[] = [];
  for (const name of subscription.names) if (!wanted.has(name)) dropped.push(name);
  for (const name of wanted) if (!subscription.names.has(name)) asked.push(name);
  if (dropped.length + asked.length > 0) {
    const own = ownNames(subscription);
    for (const name of dropped) own.delete(name);
    for (const name of asked) own.add(name);
  }
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
  if (subscribe.length + unsubscribe.length === 0 && !first) return NO_CHANGE;
  const plain = first && subscribe.length > 0 && unsubscribe.length === 0;
  if (plain && adopt(subscription, subscribe)) return { ...NO_CHANGE, asked: subscribe };
  const names = ownNames(subscription);
  const dropped = new Set<string>();
  let wildcardDropped = false;
  for (const name of unsubscribe) {
    if (name === WILDCARD) {
      wildcardDropped = subscription.wildcard;
      subscription.wildcard = false;
    } else if (names.delete(name)) {
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
      names.add(name);
      asked.add(name);
      dropped.delete(name);
    }
  }
  return { asked: [...asked], dropped: [...dropped], wildcardAsked, wildcardDropped };
}
