import { FLOOR_EXTENSIONS, TYPE_URLS } from "../envoy/index.ts";
import type { NodeIdentity } from "./node-identity.ts";
import { RESOURCE_TYPES_WITHOUT_VERSION } from "./node-state.ts";
import { type QuarantineEntry, widestScope } from "./quarantine.ts";
import { isIn } from "./response-size.ts";
import type { Session, TypeState } from "./session-state.ts";
import { covers } from "./subscription.ts";
import type { GroupView } from "./view.ts";

/** How a node stands with a resource, as a word for tools. */
export type ResourceStanding =
  | "in-force"
  | "unacknowledged"
  | "about-to-be-sent"
  | "waits-for-clusters"
  | "waits-for-burst-or-canaries"
  | "held-back"
  | "refused"
  | "to-be-removed"
  | "not-asked-for"
  | "type-not-asked-for"
  | "not-its-secret"
  | "not-in-its-group"
  | "group-unknown"
  | "lacks-extensions"
  | "table-too-long";

export interface ResourceDetail {
  readonly typeUrl: string;
  readonly name: string;
  readonly standing: ResourceStanding;
  /** For people: what that means, with what the node said where it refused something. */
  readonly text: string;
  /** That the node holds, or was sent last; "" for secrets, whose versions would let short ones be guessed. */
  readonly version: string;
}

/** What is known of one connected node. Names and versions, never content. */
export interface NodeDetail {
  readonly id: string;
  readonly group: string;
  readonly envoyVersion: string;
  readonly plan: string;
  readonly resources: readonly ResourceDetail[];
  /** Resources that are left out, since there are too many. */
  readonly leftOut: number;
}

/** What the server knows besides the streams of the node. */
export interface DetailFacts {
  /** What the node shall have now. */
  readonly view: GroupView;
  /** What its group shall have, whatever is held back. */
  readonly groupView: GroupView;
  readonly heldBack: readonly QuarantineEntry[];
  /** Other groups that have a resource of a name. */
  readonly groupsWith: (name: string) => readonly string[];
  /** Whether there is a secret of that name. */
  readonly isSecret: (name: string) => boolean;
}

interface Standing {
  readonly standing: ResourceStanding;
  readonly text: string;
}

const ABOUT_TO_BE_SENT: Standing = {
  standing: "about-to-be-sent",
  text: "is sent when the connection has taken what came before",
};

/** Names that are told where one was not found. */
const MAX_SIMILAR = 5;

/** Resources in one answer; for more there is CSDS. */
const MAX_RESOURCES = 10_000;

/**
 * How a node stands with its resources.
 *
 * @param sessions  its open streams; none: it is not connected
 * @param name  only resources of this name, and why it has them not; undefined: all that it holds or shall have
 */
export function nodeDetail(
  identity: NodeIdentity,
  sessions: Iterable<Session>,
  facts: DetailFacts,
  name: string | undefined,
): NodeDetail {
  const open = [...sessions];
  const wanted = new Map<string, Set<string>>();
  const want = (typeUrl: string, each: string) => {
    if (name !== undefined && each !== name) return;
    const names = wanted.get(typeUrl) ?? new Set();
    wanted.set(typeUrl, names.add(each));
  };
  for (const view of [facts.view, facts.groupView]) {
    for (const { typeUrl, resources } of view.types.values()) {
      for (const each of name === undefined ? resources.keys() : resources.has(name) ? [name] : []) want(typeUrl, each);
    }
  }
  for (const { types } of open) {
    for (const { typeUrl, held, subscription } of types.values()) {
      for (const each of held.keys()) want(typeUrl, each);
      for (const each of subscription.names) want(typeUrl, each);
    }
  }
  const resources: ResourceDetail[] = [];
  let leftOut = 0;
  for (const [typeUrl, names] of wanted) {
    for (const each of names) {
      if (resources.length >= MAX_RESOURCES) leftOut += 1;
      else resources.push(detailOf(identity, open, facts, typeUrl, each));
    }
  }
  if (name !== undefined && resources.length === 0) resources.push(unknownName(identity, facts, name));
  const { id, group, version } = identity;
  const plan = facts.view.withheld === undefined ? identity.plan : "none";
  return { id, group, envoyVersion: version, plan, resources, leftOut };
}

function detailOf(
  identity: NodeIdentity,
  open: readonly Session[],
  facts: DetailFacts,
  typeUrl: string,
  name: string,
): ResourceDetail {
  // The newest stream of a type says how the node stands with it.
  const session = open.findLast(({ types }) => types.get(typeUrl)?.requested === true);
  const type = session?.types.get(typeUrl);
  const held = type?.held.get(name);
  const shown = typeof held === "string" && !RESOURCE_TYPES_WITHOUT_VERSION.has(typeUrl) ? held : "";
  return { typeUrl, name, version: shown, ...standingOf(identity, session, type, facts, typeUrl, name) };
}

function standingOf(
  identity: NodeIdentity,
  session: Session | undefined,
  type: TypeState | undefined,
  facts: DetailFacts,
  typeUrl: string,
  name: string,
): Standing {
  // What is not governed, a node without the floors is given like any other.
  const lacking = identity.plan === "none" || facts.view.withheld !== undefined;
  const open = lacking && facts.view.types.get(typeUrl)?.resources.has(name) === true;
  const general = open ? undefined : generalReason(identity, facts);
  if (general !== undefined) return general;
  const entry = facts.heldBack.find((held) => held.typeUrl === typeUrl && held.name === name);
  if (entry !== undefined) return heldBack(entry);
  const wanted = facts.view.types.get(typeUrl)?.resources.get(name);
  const held = type?.held.get(name);
  if (wanted === undefined) {
    if (typeof held === "string") return say("to-be-removed", "is gone from its group, and goes when nothing needs it");
    return absent(identity, facts, typeUrl, name);
  }
  if (session === undefined || type === undefined) {
    return say("type-not-asked-for", `the node has not asked for any ${shortType(typeUrl)}${parentHint(typeUrl)}`);
  }
  if (!covers(type.subscription, name) && held === undefined) {
    return say("not-asked-for", `the node has not asked for it${parentHint(typeUrl)}`);
  }
  if (isIn(type.parts, name)) return ABOUT_TO_BE_SENT;
  for (const { resources, sentAt } of type.outstanding.values()) {
    if (!resources.some((resource) => resource.name === name)) continue;
    const since = new Date(sentAt).toISOString();
    return say("unacknowledged", `sent at ${since}, not yet acknowledged${warmingHint(typeUrl)}`);
  }
  if (held === wanted.version) return say("in-force", "acknowledged");
  if (type.waiting.has(name)) return say("waits-for-clusters", "held back until the clusters are acknowledged");
  if (type.rejected.get(name) === wanted.version) {
    return say("refused", "refused together with others, and sent again with the next change");
  }
  if (type.pending.has(name)) return ABOUT_TO_BE_SENT;
  if (session.view.types.get(typeUrl)?.resources.get(name)?.version !== wanted.version) {
    return say("waits-for-burst-or-canaries", "is sent when the burst of changes is over and the canaries took it");
  }
  return say("about-to-be-sent", "is sent with the next response");
}

function generalReason(identity: NodeIdentity, { view, groupView }: DetailFacts): Standing | undefined {
  const missing = identity.missingExtensions.join(", ");
  if (identity.plan === "none") {
    const floors = FLOOR_EXTENSIONS.filter((name) => identity.missingExtensions.includes(name)).join(", ");
    return say("lacks-extensions", `only upstreams with governed: false are given to a node without ${floors}`);
  }
  if (view.withheld !== undefined) {
    const why = `only upstreams with governed: false are given to it, since it lacks ${missing}, and ${view.withheld}`;
    return say("table-too-long", why);
  }
  if (groupView.known) return undefined;
  return say("group-unknown", `no revision has a gateway "${identity.group}": the node is given nothing`);
}

function heldBack(entry: QuarantineEntry): Standing {
  const whom = { node: "this node", build: "nodes of this build", group: "this group" }[widestScope(entry)];
  const stays = entry.lastGoodRefused ? "and so was what came before" : "the last good one stays";
  const since = new Date(entry.since).toISOString();
  return say(
    "held-back",
    `held back from ${whom} since ${since}: revision ${entry.revision} was refused, ${stays}: ${entry.message}`,
  );
}

function absent(identity: NodeIdentity, facts: DetailFacts, typeUrl: string, name: string): Standing {
  if (typeUrl === TYPE_URLS.secret && facts.isSecret(name)) {
    return say("not-its-secret", `there is such a secret, and nothing of gateway "${identity.group}" refers to it`);
  }
  const groups = facts.groupsWith(name);
  const elsewhere = groups.length === 0 ? similar(facts, name) : `; these have it: ${groups.join(", ")}`;
  return say("not-in-its-group", `gateway "${identity.group}" has no ${shortType(typeUrl)} of that name${elsewhere}`);
}

/** Full names that what was asked for is part of: "upstream/team/shop" for "shop". */
function similar({ groupView }: DetailFacts, part: string): string {
  const found = new Set<string>();
  for (const { resources } of groupView.types.values()) {
    for (const name of resources.keys()) if (name.includes(part)) found.add(name);
  }
  const shown = [...found].sort().slice(0, MAX_SIMILAR);
  return shown.length === 0 ? "" : `; it has ${shown.join(", ")}`;
}

function unknownName(identity: NodeIdentity, facts: DetailFacts, name: string): ResourceDetail {
  const typeUrl = facts.isSecret(name) ? TYPE_URLS.secret : "";
  const standing = generalReason(identity, facts) ?? absent(identity, facts, typeUrl, name);
  return { typeUrl, name, version: "", ...standing };
}

/** What makes an Envoy ask for a resource. */
function parentHint(typeUrl: string): string {
  if (typeUrl === TYPE_URLS.route) return ": a listener that it runs must name it";
  if (typeUrl === TYPE_URLS.endpoint) return ": a cluster that it runs must name it";
  if (typeUrl === TYPE_URLS.secret) return ": a listener or cluster that it runs must name it";
  return "";
}

function warmingHint(typeUrl: string): string {
  return typeUrl === TYPE_URLS.cluster ? " (an Envoy acknowledges clusters when their endpoints and secrets came)" : "";
}

function say(standing: ResourceStanding, text: string): Standing {
  return { standing, text };
}

/** "Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster". */
function shortType(typeUrl: string): string {
  return typeUrl === "" ? "resource" : typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
}
