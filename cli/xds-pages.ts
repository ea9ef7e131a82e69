import type { XdsServer } from "../xds-server/index.ts";

/** Where the admin server of a process tells how its nodes stand with their resources. */
export const NODE_PAGE = "/xds/node";

/** Where it tells what nodes report of their clusters' load. */
const LOADS_PAGE = "/xds/loads";

type Page = (query: URLSearchParams) => object | undefined;

/** What the admin server of a process with an xDS server tells of its nodes, as JSON. */
export function xdsPages(server: Pick<XdsServer, "nodes" | "nodeDetails" | "loads">): Readonly<Record<string, Page>> {
  return {
    [NODE_PAGE]: (query) => {
      const id = query.get("id") ?? "";
      const nodes = server.nodes().filter((node) => node.id === id);
      if (nodes.length === 0) return undefined;
      return { nodes, details: server.nodeDetails(id, query.get("name") ?? undefined) };
    },
    [LOADS_PAGE]: () => ({ loads: server.loads() }),
  };
}
