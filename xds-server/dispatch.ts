import { TYPE_URLS } from "../envoy/index.ts";
import type { Clock } from "./clock.ts";
import { type Coalescer, type CoalesceSettings, createCoalescer } from "./coalesce.ts";
import { differences, formersOf, heldBackView } from "./held-back-view.ts";
import { createLastGood, type LastGood } from "./last-good.ts";
import { createPushQueue } from "./push-queue.ts";
import {
  heldBackFrom,
  keyOf,
  NO_QUARANTINE,
  type Quarantine,
  type QuarantineEntry,
  type QuarantineSettings,
  quarantine,
  type Refusal,
  recalled,
  released,
} from "./quarantine.ts";
import { type HeldBack, NOTHING_HELD_BACK } from "./quarantine-memory.ts";
import type { SnapshotStore, ViewListener } from "./store.ts";
import type { Changes, GroupView } from "./view.ts";

export interface DispatchSettings extends CoalesceSettings, QuarantineSettings {
  /** Ids of nodes that are given new content before the rest of their group, and whose refusal is the group's. */
  readonly canaries: readonly string[];
  /** How long the rest of a group waits at most for its canaries to accept new content, ms. */
  readonly canaryWaitMs: number;
  /** How long pushing may go on, ms, before requests and acknowledgements have their turn. */
  readonly sliceMs: number;
  /** Former content of a group's resources that is kept for nodes that refuse the new one, bytes. */
  readonly maxLastGoodBytes: number;
}

/** A stream of a node, as far as it matters for what the node shall have. */
export interface ViewSubscriber {
  readonly id: string;
  readonly group: string;
  readonly build: string;
}

/** Decides what each stream shall have, and when it hears of it. */
export interface Dispatcher {
  /** What a node shall have now. */
  view(node: ViewSubscriber): GroupView;
  /** Calls back with each change of what the node shall have, bursts merged. */
  subscribe(node: ViewSubscriber, listener: ViewListener): Subscription;
  /** The group is to be followed from now on: what its resources were before they change is known later. */
  follow(group: string): void;
  /** The group is gone, and with it what its nodes refused. */
  forget(group: string): void;
  quarantine(group: string): Quarantine;
  /** Of all groups. */
  heldBack(): Iterable<QuarantineEntry>;
  close(): void;
}

export interface Subscription {
  /** The stream has settled: everything was accepted but what is held back. */
  settled(revision: number): void;
  /**
   * The node refused resources.
   *
   * @param tell  whether the node is to be told what it shall have instead: always, where there is something that was
   *   good before, or never (it stays on its last good by itself)
   */
  refused(refusals: readonly StreamRefusal[], tell: "always" | "last-good" | "never", accepted: AcceptedByBuild): void;
  close(): void;
}

export type StreamRefusal = Omit<Refusal, "node" | "at">;

/** Whether another node of the same build has accepted what was refused. */
export type AcceptedByBuild = (refusal: StreamRefusal) => boolean;

interface Subscriber {
  readonly node: ViewSubscriber;
  readonly listener: ViewListener;
  /** What it was told last. */
  delivered: GroupView;
  /** Of changes that it was not told of. */
  pending: Changes | undefined;
  /** Those of them that may go before the rest. */
  urgent: Changes | undefined;
}

interface Group {
  readonly name: string;
  current: GroupView;
  quarantine: Quarantine;
  /** What nodes refused before this process, and no view has had since. */
  remembered: HeldBack;
  readonly lastGood: LastGood;
  /** By the entries that are held back; of the current view and quarantine. */
  readonly views: Map<string, GroupView>;
  readonly subscribers: Set<Subscriber>;
  readonly coalescer: Coalescer;
  /** Canaries that try what the others wait for; undefined: nobody waits. */
  trial: { readonly revision: number; readonly canaries: Set<Subscriber>; readonly cancel: () => void } | undefined;
  unfollow: () => void;
}

/** Nothing needs to be sent before these, and traffic fails while they are late. */
const URGENT: ReadonlySet<string> = new Set([TYPE_URLS.endpoint]);

export interface DispatchOptions {
  readonly store: SnapshotStore;
  readonly clock: Clock;
  readonly settings: DispatchSettings;
  /** By group: what nodes refused before this process. */
  readonly remembered?: ReadonlyMap<string, HeldBack>;
  /**
   * Called when the quarantine of a group changes. Must not throw.
   *
   * @param heldBack  works out, during the call, what a process after this one needs of it
   */
  readonly onQuarantine: (group: string, quarantine: Quarantine, before: Quarantine, heldBack: () => HeldBack) => void;
}

export function createDispatcher(options: DispatchOptions): Dispatcher {
  const { store, clock, settings } = options;
  const canaries = new Set(settings.canaries);
  const groups = new Map<string, Group>();
  const merged = merger();
  const queue = createPushQueue<Subscriber>({
    push: deliver,
    sliceMs: settings.sliceMs,
    elapsed: () => performance.now(),
    yieldTurn: (callback) => setImmediate(callback),
  });

  function groupOf(name: string): Group {
    const known = groups.get(name);
    if (known !== undefined) return known;
    const group: Group = {
      name,
      current: store.view(name),
      quarantine: NO_QUARANTINE,
      remembered: options.remembered?.get(name) ?? NOTHING_HELD_BACK,
      lastGood: createLastGood(settings.maxLastGoodBytes),
      views: new Map(),
      subscribers: new Set(),
      coalescer: createCoalescer(settings, clock, () => release(group)),
      trial: undefined,
      unfollow: () => {},
    };
    group.unfollow = store.subscribe(name, (view, changes) => onView(group, view, changes));
    groups.set(name, group);
    return group;
  }

  function viewFor(group: Group, node: ViewSubscriber): GroupView {
    if (group.quarantine.size === 0) return group.current;
    const entries = heldBackFrom(group.quarantine, node);
    if (entries.length === 0) return group.current;
    const key = entries.map(({ typeUrl, name }) => keyOf(typeUrl, name)).join("\n\n");
    const known = group.views.get(key);
    if (known !== undefined) return known;
    const view = heldBackView(group.current, entries, group.lastGood);
    group.views.set(key, view);
    return view;
  }

  function onView(group: Group, view: GroupView, changes: Changes): void {
    const before = group.quarantine;
    const refused = (typeUrl: string, name: string) => {
      const version = before.get(keyOf(typeUrl, name))?.version;
      return version !== undefined && version === group.current.types.get(typeUrl)?.resources.get(name)?.version;
    };
    group.lastGood.passed(group.current, changes, view.revision, refused);
    group.current = view;
    group.views.clear();
    const versionNow = (typeUrl: string, name: string) => view.types.get(typeUrl)?.resources.get(name)?.version;
    let next = released(before, changes, versionNow);
    if (group.remembered.quarantine.size > 0) next = recall(group, next, versionNow);
    setQuarantine(group, next);
    const urgent = changes.size > 0 && [...changes.keys()].every((typeUrl) => URGENT.has(typeUrl));
    for (const subscriber of group.subscribers) {
      subscriber.pending = merged(subscriber.pending, changes);
      if (urgent) subscriber.urgent = merged(subscriber.urgent, changes);
    }
    if (!urgent) {
      group.coalescer.changed();
      return;
    }
    queue.add(group.subscribers, true);
    queue.run();
  }

  function recall(group: Group, before: Quarantine, versionNow: (typeUrl: string, name: string) => string | undefined) {
    const { remembered, lastGood, current } = group;
    for (const former of remembered.formers) lastGood.recall(former);
    const isKnown = ({ typeUrl, name, lastGoodRefused }: QuarantineEntry) =>
      lastGoodRefused || lastGood.get(typeUrl, name) !== undefined || remembered.added.has(keyOf(typeUrl, name));
    const all = recalled(before, remembered.quarantine, current.revision, versionNow, isKnown);
    group.remembered = { ...remembered, quarantine: all.remembered };
    return all.quarantine;
  }

  /** A burst is over: everyone is told, or the canaries are. */
  function release(group: Group): void {
    const trying = [...group.subscribers].filter(({ node }) => canaries.has(node.id));
    if (trying.length === 0 || trying.length === group.subscribers.size) {
      endTrial(group);
      queue.add(group.subscribers, false);
    } else {
      // The wait ends when it would have ended, however many changes come.
      const cancel = group.trial?.cancel ?? clock.after(settings.canaryWaitMs, () => endTrialAndRun(group));
      group.trial = { revision: group.current.revision, canaries: new Set(trying), cancel };
      queue.add(trying, false);
    }
    queue.run();
  }

  function endTrial(group: Group): void {
    if (group.trial === undefined) return;
    group.trial.cancel();
    group.trial = undefined;
    for (const subscriber of group.subscribers) if (subscriber.pending !== undefined) queue.add([subscriber], false);
  }

  function endTrialAndRun(group: Group): void {
    endTrial(group);
    queue.run();
  }

  function canaryDone(group: Group, subscriber: Subscriber): void {
    const { trial } = group;
    if (trial?.canaries.delete(subscriber) && trial.canaries.size === 0) endTrialAndRun(group);
  }

  function deliver(subscriber: Subscriber, isUrgent: boolean): void {
    const { node, pending, urgent, delivered } = subscriber;
    const group = groups.get(node.group);
    if (pending === undefined || group === undefined) return;
    // What the canaries try is not told to the others; what is urgent is.
    if (!isUrgent && group.trial !== undefined && !canaries.has(node.id)) return;
    const view = viewFor(group, node);
    subscriber.urgent = undefined;
    if (isUrgent && urgent !== undefined && pending !== urgent && delivered.known) {
      const ahead = aheadOf(delivered, view, urgent);
      subscriber.delivered = ahead.view;
      subscriber.listener(ahead.view, ahead.changes);
      return;
    }
    subscriber.pending = undefined;
    subscriber.delivered = view;
    subscriber.listener(view, pending);
  }

  function setQuarantine(group: Group, next: Quarantine): void {
    const before = group.quarantine;
    if (next === before) return;
    group.quarantine = next;
    group.views.clear();
    options.onQuarantine(group.name, next, before, () => heldBackOf(group));
  }

  function heldBackOf({ current, quarantine: held, lastGood, remembered }: Group): HeldBack {
    const { formers, needed } = formersOf(current, held.values(), lastGood);
    const isAdded = (key: string, { typeUrl, name }: QuarantineEntry) =>
      lastGood.addedAt(typeUrl, name) !== undefined ||
      (remembered.added.has(key) && lastGood.get(typeUrl, name) === undefined);
    const added = [...held].flatMap(([key, entry]) => (isAdded(key, entry) ? [key] : []));
    return { quarantine: held, formers: [...formers, ...needed], added: new Set(added) };
  }

  function refuse(
    group: Group,
    subscriber: Subscriber,
    refusals: readonly StreamRefusal[],
    tell: "always" | "last-good" | "never",
    accepted: AcceptedByBuild,
  ): void {
    const { node } = subscriber;
    const at = clock.now();
    const connected = new Set([...group.subscribers].map((each) => each.node.id)).size;
    let next = group.quarantine;
    for (const refusal of refusals) {
      const now = group.current.types.get(refusal.typeUrl)?.resources.get(refusal.name)?.version;
      const known = next.get(keyOf(refusal.typeUrl, refusal.name));
      // What was refused is not served any more: its successor speaks for itself.
      if (known === undefined && now !== refusal.version) continue;
      const facts = { connected, canary: canaries.has(node.id), acceptedByBuild: accepted(refusal) };
      next = quarantine(next, { ...refusal, node, at }, facts, settings);
    }
    if (next === group.quarantine) return;
    setQuarantine(group, next);
    const good = refusals.some(({ typeUrl, name }) => group.lastGood.get(typeUrl, name) !== undefined);
    const silent = tell === "never" || (tell === "last-good" && !good);
    for (const each of group.subscribers) {
      const view = viewFor(group, each.node);
      if (view === each.delivered) continue;
      if (each === subscriber && silent) {
        each.delivered = view;
        each.listener(view, new Map());
        continue;
      }
      each.pending = merged(each.pending, differences(each.delivered, view));
      queue.add([each], false);
    }
    if (canaries.has(node.id)) endTrial(group);
    queue.run();
  }

  function viewOf(node: ViewSubscriber): GroupView {
    const view = store.view(node.group);
    const group = groups.get(node.group);
    return group === undefined || !view.known ? view : viewFor(group, node);
  }

  return {
    view: viewOf,
    subscribe(node, listener) {
      const group = groupOf(node.group);
      const subscriber: Subscriber = { node, listener, delivered: viewOf(node), pending: undefined, urgent: undefined };
      group.subscribers.add(subscriber);
      return {
        settled(revision) {
          if (group.trial?.revision === revision) canaryDone(group, subscriber);
        },
        refused: (refusals, tell, accepted) => refuse(group, subscriber, refusals, tell, accepted),
        close() {
          group.subscribers.delete(subscriber);
          queue.remove(subscriber);
          canaryDone(group, subscriber);
          // Clients name groups as they like: of those that nobody publishes nothing stays.
          if (group.subscribers.size === 0 && !store.view(group.name).known) drop(group);
        },
      };
    },
    follow: (group) => void groupOf(group),
    forget(name) {
      const group = groups.get(name);
      if (group === undefined) return;
      group.remembered = NOTHING_HELD_BACK;
      setQuarantine(group, NO_QUARANTINE);
      if (group.subscribers.size === 0) drop(group);
    },
    quarantine: (group) => groups.get(group)?.quarantine ?? NO_QUARANTINE,
    *heldBack() {
      for (const group of groups.values()) yield* group.quarantine.values();
    },
    close() {
      queue.close();
      for (const group of groups.values()) drop(group);
    },
  };

  function drop(group: Group): void {
    group.unfollow();
    group.coalescer.close();
    group.trial?.cancel();
    if (groups.get(group.name) === group) groups.delete(group.name);
  }
}

/** Merges changes. The streams of a group wait for the same ones, so each pair is merged once for all of them. */
function merger(): (before: Changes | undefined, changes: Changes) => Changes {
  let last: { readonly before: Changes; readonly changes: Changes; readonly all: Changes } | undefined;
  return (before, changes) => {
    if (before === undefined || before === changes) return changes;
    if (last?.before === before && last.changes === changes) return last.all;
    const all = new Map<string, readonly string[]>(before);
    for (const [typeUrl, names] of changes) {
      const known = all.get(typeUrl);
      all.set(typeUrl, known === undefined ? names : [...new Set([...known, ...names])]);
    }
    last = { before, changes, all };
    return all;
  };
}

/**
 * The view that was told last with the urgent changes of a newer one. Nothing is taken away ahead of the rest: what is
 * still served may need it.
 */
function aheadOf(delivered: GroupView, view: GroupView, urgent: Changes): { view: GroupView; changes: Changes } {
  const types = new Map(delivered.types);
  const changes = new Map<string, readonly string[]>();
  for (const [typeUrl, names] of urgent) {
    const type = view.types.get(typeUrl);
    if (type === undefined) continue;
    types.set(typeUrl, type);
    changes.set(
      typeUrl,
      names.filter((name) => type.resources.has(name)),
    );
  }
  return { view: { ...delivered, types, publishedAt: view.publishedAt }, changes };
}
