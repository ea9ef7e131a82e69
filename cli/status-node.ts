import { z } from "zod";
import { type AdminClientOptions, adminUrl, getPage } from "../admin/index.ts";
import { ChanceryError, printableLines } from "../resources/index.ts";
import { NODE_PAGE } from "./xds-pages.ts";

export interface NodeStatusOptions {
  readonly node: string;
  /** Only resources of this name, with the reason where the node has them not. */
  readonly why?: string | undefined;
  /** Admin addresses of xDS servers (or of `chancery start`), of which one serves the node. */
  readonly servers: readonly AdminClientOptions[];
}

const nodeSchema = z.object({
  id: z.string(),
  group: z.string(),
  envoyVersion: z.string(),
  plan: z.string(),
  missingExtensions: z.array(z.string()),
  withheld: z.string().optional(),
  connected: z.boolean(),
  lastSeen: z.string(),
  acknowledgedRevision: z.number().optional(),
  acknowledgedLayout: z.string().optional(),
  heldBack: z.array(
    z.object({
      typeUrl: z.string(),
      name: z.string(),
      revision: z.number(),
      message: z.string(),
      scope: z.string(),
      since: z.string(),
    }),
  ),
});
const resourceSchema = z.object({
  typeUrl: z.string(),
  name: z.string(),
  standing: z.string(),
  text: z.string(),
  version: z.string(),
});
const detailSchema = z.object({ group: z.string(), resources: z.array(resourceSchema), leftOut: z.number() });
const pageSchema = z.object({ nodes: z.array(nodeSchema), details: z.array(detailSchema) });

/** What a process with an xDS server tells of a node. */
export type NodePage = z.infer<typeof pageSchema>;

/**
 * Asks the servers in turn until one knows the node: the one that it is connected to before one that remembers it.
 *
 * @throws ChanceryError "not-found" where none knows it, "unavailable" where none of them answers
 */
export async function nodeStatus(options: NodeStatusOptions): Promise<NodePage> {
  let remembered: NodePage | undefined;
  const failures: string[] = [];
  // What is not usable is said before anybody is asked.
  for (const server of options.servers) adminUrl(server);
  for (const server of options.servers) {
    try {
      const page = await ask(server, options);
      if (page?.nodes.some(({ connected }) => connected) === true) return page;
      remembered ??= page;
    } catch (error) {
      failures.push(`${server.control}: ${ChanceryError.from(error).message}`);
    }
  }
  if (remembered !== undefined) return remembered;
  if (failures.length > 0) {
    throw new ChanceryError(
      "unavailable",
      `no answer about node "${options.node}": ${failures.join("; ")}; xDS servers that run by themselves are named by --xds-admin`,
    );
  }
  const where = options.servers.map(({ control }) => control).join(", ");
  throw new ChanceryError("not-found", `no node "${options.node}" has been connected to ${where}`);
}

async function ask(server: AdminClientOptions, { node, why }: NodeStatusOptions): Promise<NodePage | undefined> {
  const query = new URLSearchParams({ id: node, ...(why === undefined ? {} : { name: why }) });
  const { status, text } = await getPage(server, `${NODE_PAGE}?${query}`);
  if (status === 404) return undefined;
  if (status !== 200) throw new ChanceryError("unavailable", `it answers ${status}: ${text.slice(0, 200)}`);
  const page = pageSchema.safeParse(parseJson(text));
  if (!page.success) throw new ChanceryError("unavailable", "it answers something else than the state of a node");
  return page.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not a page of a node, as the schema will say.
    return undefined;
  }
}

/** For people. With `why`, each resource of that name and its reason; else how many resources stand how. */
export function formatNodeStatus({ nodes, details }: NodePage, why: string | undefined): string {
  const lines: string[] = [];
  for (const node of nodes) {
    const link = node.connected ? "connected" : `gone since ${node.lastSeen}`;
    lines.push(`${node.id}  gateway ${node.group}  envoy ${node.envoyVersion || "?"}  plan ${node.plan}  ${link}`);
    lines.push(
      `  acknowledged revision ${node.acknowledgedRevision ?? "none"}  layout ${node.acknowledgedLayout || "none"}`,
    );
    if (node.missingExtensions.length > 0) lines.push(`  lacks ${node.missingExtensions.join(", ")}${meaning(node)}`);
    for (const held of node.heldBack) {
      lines.push(`  held back (${held.scope}) since ${held.since}: ${shortType(held.typeUrl)} ${held.name}`);
      lines.push(`    refused with revision ${held.revision}: ${held.message.trim().replaceAll("\n", "\n    ")}`);
    }
    const detail = details.find(({ group }) => group === node.group);
    if (detail === undefined) continue;
    lines.push(...(why === undefined ? summary(detail.resources) : reasons(detail.resources)));
    if (detail.leftOut > 0) lines.push(`  and ${detail.leftOut} more`);
  }
  return `${printableLines(lines.join("\n"))}\n`;
}

/** What follows from what a node lacks. */
function meaning({ plan, withheld }: z.infer<typeof nodeSchema>): string {
  if (plan === "reduced") return ": its requests go to the first pool of a decision, without fallback to others";
  const why = withheld === undefined ? " (Envoy 1.39 and later are)" : `, since ${withheld}`;
  return `: it is given nothing that is governed${why}`;
}

type Resource = z.infer<typeof resourceSchema>;

function reasons(resources: readonly Resource[]): string[] {
  return resources.map(({ typeUrl, name, standing, text }) => {
    const what = typeUrl === "" ? name : `${shortType(typeUrl)} ${name}`;
    return `  ${what}: ${standing}: ${text.trim().replaceAll("\n", "\n    ")}`;
  });
}

/** Of a whole type that is not given, one is said in place of all. */
const NOT_GIVEN: ReadonlySet<string> = new Set(["lacks-extensions", "table-too-long", "group-unknown"]);

/** One line a type, and one for each resource that is not in force, unless its type is not given at all. */
function summary(resources: readonly Resource[]): string[] {
  const lines: string[] = [];
  for (const [typeUrl, ofType] of Map.groupBy(resources, (resource) => resource.typeUrl)) {
    const rest = ofType.filter(({ standing }) => standing !== "in-force");
    const withheld = rest.filter(({ standing }) => NOT_GIVEN.has(standing));
    const [first] = withheld;
    const others = first === undefined ? "" : `, ${withheld.length} not given (${first.standing})`;
    lines.push(`  ${shortType(typeUrl)}: ${ofType.length - rest.length} in force${others}`);
    const told = rest.filter(({ standing }) => !NOT_GIVEN.has(standing));
    lines.push(...reasons(told).map((line) => `  ${line}`));
  }
  return lines;
}

/** "Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster". */
function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
}
