import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getStatus } from "../../admin/index.ts";
import { readDecisions } from "../../audit/index.ts";
import { bootstrapJson, findEnvoy } from "../../envoy/index.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import {
  Closables,
  freePorts,
  startChancery,
  startEnvoy,
  startTcpRelay,
  type TcpRelay,
  waitFor,
} from "../support/index.ts";
import { compiledTree, FIRST_TREE, SERVERS, type SkewTree, treeText } from "./skew-tree.ts";

export const WAIT_MS = 30_000;
const GATEWAYS = ["edge-a", "edge-b"] as const;
const SERVICES = ["authz-1", "authz-2"] as const;

/** An Envoy behind a link to its xDS server. */
export interface SkewedEnvoy {
  readonly gateway: string;
  readonly url: string;
  readonly link: TcpRelay;
  /** Requests so far that were routed to a cluster that it did not have. */
  withoutCluster(): Promise<number>;
  /** The oldest revision that it can still run. */
  oldest: number;
}

/** What a revision is made of. */
export interface Written {
  readonly number: number;
  readonly tree: SkewTree;
}

export interface SkewFleet {
  readonly envoys: readonly SkewedEnvoy[];
  /** Revision number → its tree, oldest first; a tree that is about to be a revision is there already. */
  readonly written: ReadonlyMap<number, SkewTree>;
  /** Layout → its node group, and what its routes have. */
  readonly layouts: ReadonlyMap<string, SkewLayout>;
  /** Pool → upstream. */
  readonly pools: ReadonlyMap<string, string>;
  newest(): Written;
  /** The newest revision that both decision services decide by. */
  enforced(): number;
  /** Writes a tree, and waits until both decision services decide by it. */
  write(tree: SkewTree): Promise<void>;
  /** Waits until every Envoy has acknowledged the newest revision. */
  converge(): Promise<void>;
  /** Every decision on disk, by the path of its request. */
  records(): Promise<ReadonlyMap<string, readonly DecisionRecord[]>>;
  close(): Promise<void>;
}

export interface SkewLayout {
  readonly nodeGroup: string;
  /** Key of the HTTPRoute → names that a decision may put on its list → their clusters. */
  readonly routes: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
}

/** One control plane with an xDS server and two decision services, and two Envoys, each with a gateway and link of its own. */
export async function startSkewFleet(): Promise<SkewFleet> {
  const root = await mkdtemp(join(tmpdir(), "chancery-skew-"));
  const resources = join(root, "resources");
  const state = join(root, "state");
  const things = new Closables();
  const { keep } = things;
  keep({ close: () => rm(root, { recursive: true, force: true }) });
  try {
    const servers = await Promise.all(SERVERS.map((name) => startWebServer({ name })));
    servers.forEach(keep);
    const serverPorts = servers.map(({ port }) => port);
    const [xds, authz1, authz2, control, ...ports] = await freePorts(4 + GATEWAYS.length);
    const gateways = new Map(GATEWAYS.map((name, index) => [name, ports[index] ?? 0]));
    const authz = [authz1, authz2].map((port) => `127.0.0.1:${port}`);

    const written = new Map<number, SkewTree>();
    const layouts = new Map<string, SkewLayout>();
    const pools = new Map<string, string>();
    const save = async (tree: SkewTree): Promise<void> => {
      const text = treeText(tree, gateways, serverPorts);
      const compiled = compiledTree(text);
      for (const { hash, nodeGroup, routes } of compiled.layouts) {
        const groupsOf = routes.map(({ httpRoute, groups }) => {
          const clusters = groups.map((group) => [group.name, group.clusters.map(({ name }) => name)] as const);
          return [httpRoute, new Map(clusters)] as const;
        });
        layouts.set(hash, { nodeGroup, routes: new Map(groupsOf) });
      }
      for (const [pool, upstream] of compiled.pools) pools.set(pool, upstream);
      written.set((newest()?.number ?? 0) + 1, tree);
      // Whole at once: a half-written tree would be a revision that is not counted here.
      await writeFile(join(root, "next"), text);
      await rename(join(root, "next"), join(resources, "tree.yaml"));
    };
    const newest = (): Written | undefined => {
      const [number, tree] = [...written].at(-1) ?? [];
      return number === undefined || tree === undefined ? undefined : { number, tree };
    };
    const demandNewest = (): Written => {
      const found = newest();
      if (found === undefined) throw new Error("nothing was written");
      return found;
    };

    await mkdir(resources);
    await save(FIRST_TREE);
    const plane = keep(
      await startChancery(
        [
          ...["start", "--resources", resources, "--state", state, "--log-format", "json"],
          ...["--xds", `127.0.0.1:${xds}`, "--authz", authz.join(","), "--control", `127.0.0.1:${control}`],
        ],
        { graceMs: 20_000 },
      ),
    );
    await plane.waitForOutput(/^ready /m, WAIT_MS);
    let enforced = 0;
    const inForce = async (): Promise<void> => {
      const { number } = demandNewest();
      await plane.waitForOutput(new RegExp(`^revision ${number}: enforced by ${SERVICES.join(", ")} `, "m"), WAIT_MS);
      enforced = number;
    };
    await inForce();

    const binary = (await findEnvoy(process.env)).path;
    const envoys: SkewedEnvoy[] = [];
    for (const [gateway, port] of gateways) {
      const link = keep(await startTcpRelay(xds ?? 0));
      const bootstrap = bootstrapJson({
        ...{ nodeId: `envoy-${gateway}`, nodeGroup: gateway, xds: [`127.0.0.1:${link.port}`], extAuthz: authz },
        admin: "127.0.0.1:0",
      });
      const envoy = keep(await startEnvoy({ binary, concurrency: 1, bootstrap }));
      const withoutCluster = async (): Promise<number> =>
        Object.values(await envoy.stats("\\.no_cluster$")).reduce((sum, count) => sum + count, 0);
      envoys.push({ gateway, url: `http://127.0.0.1:${port}`, link, withoutCluster, oldest: 1 });
    }
    const converge = async (): Promise<void> => {
      const { number } = demandNewest();
      await waitFor(
        async () => {
          const { nodes } = await getStatus({ control: `127.0.0.1:${control}` });
          return nodes.length === envoys.length && nodes.every((node) => node.acknowledgedRevision === BigInt(number));
        },
        WAIT_MS,
        () =>
          `revision ${number} acknowledged by both Envoys\n${plane.stdout().slice(-2_000)}\n${plane.stderr().slice(-2_000)}`,
      );
      for (const envoy of envoys) envoy.oldest = number;
    };
    await converge();
    return {
      envoys,
      written,
      layouts,
      pools,
      newest: demandNewest,
      enforced: () => enforced,
      write: async (tree) => {
        await save(tree);
        await inForce();
      },
      converge,
      records: async () => {
        const found = new Map<string, DecisionRecord[]>();
        for (const service of SERVICES) {
          for await (const { record } of readDecisions(join(state, "journal", service))) {
            if (!("effect" in record)) continue;
            const { path } = record.request;
            found.set(path, [...(found.get(path) ?? []), record]);
          }
        }
        return found;
      },
      close: things.close,
    };
  } catch (error) {
    await things.close();
    throw error;
  }
}
