import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getStatus } from "../../admin/index.ts";
import { readDecisions } from "../../audit/index.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { initKeys, loadSigningKey, type SigningKey } from "../../revision/index.ts";
import { Closables } from "../support/closables.ts";
import { freePorts } from "../support/free-port.ts";
import { type RunningNats, startNats } from "../support/nats.ts";
import { ALLOW_ALL, anonymous, policy, upstream, yaml } from "../support/resources.ts";
import { save } from "../support/save.ts";
import { startTcpRelay, type TcpRelay } from "../support/tcp-relay.ts";
import { waitFor } from "../support/wait-for.ts";
import { Child, isOpen, PINGS, PORTS, type RegionProcesses, startRegion, WAIT_MS } from "./region-processes.ts";

/** Milliseconds one way between a region and the hub. */
export const LINK_MS = 50;

export interface Region extends RegionProcesses {
  readonly link: TcpRelay;
}

export interface Regions {
  readonly hub: RunningNats;
  /** Signs restrictions that every process trusts. */
  readonly signer: SigningKey;
  readonly controls: readonly Child[];
  readonly regions: readonly Region[];
  /** Name of the control plane that leads; waits until one does. */
  leader(): Promise<Child>;
  status(): ReturnType<typeof getStatus>;
  write(path: string, text: string): Promise<void>;
  /** Adds a directory of files at once. */
  add(directory: string, files: Readonly<Record<string, string>>): Promise<void>;
  /** Writes the policies so that these paths are denied; `/open` never is, `/closed` always. */
  deny(...paths: readonly string[]): Promise<void>;
  /** Decisions on disk, of all decision services. */
  recordCount(): Promise<number>;
  close(): Promise<void>;
}

/** @param ports  region → port of its gateway; @param web  port of the upstreams */
export function regionTree(ports: ReadonlyMap<string, number>, web: number): string {
  const documents = [...ports].map(
    ([region, port]) => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge-${region} }
spec:
  gatewayClassName: chancery
  listeners: [{ name: http, port: ${port}, protocol: HTTP }]`,
  );
  const parents = [...ports.keys()].map((region) => `{ name: edge-${region} }`).join(", ");
  const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: all }
spec:
  parentRefs: [${parents}]
  rules:
    - matches: [{ path: { type: PathPrefix, value: / } }]
      backendRefs: [{ group: chancery.dev, kind: Upstream, name: web, weight: 1 }]
    - matches: [{ path: { type: Exact, value: /spare } }]
      backendRefs: [{ group: chancery.dev, kind: Upstream, name: spare, weight: 1 }]`;
  return yaml(...documents, route, upstream("web", web), upstream("spare", web), anonymous());
}

/**
 * A hub with two control planes, and two regions, each a leaf node behind a link of 100 ms there and back, with a relay,
 * an xDS server, two decision services and an Envoy. All are processes of their own. Everything goes to the upstream
 * "web", but `/spare` to "spare".
 */
export async function startRegions(names: readonly string[] = ["eu", "us"]): Promise<Regions> {
  const root = await mkdtemp(join(tmpdir(), "chancery-regions-"));
  const things = new Closables();
  const { keep } = things;
  keep({ close: () => rm(root, { recursive: true, force: true }) });
  const write = async (path: string, text: string): Promise<void> => {
    await save(join(root, "tree"), path, text);
  };
  const deny = async (...paths: readonly string[]): Promise<void> => {
    const rules = ["closed", ...paths].map(
      (path) => `{ id: no-${path}, effect: deny, when: 'request.url_path == "/${path}"', reason: Closed }`,
    );
    await write("policies.yaml", policy("rules", ALLOW_ALL, ...rules));
  };
  try {
    const keys = await initKeys(join(root, "keys"), { now: Date.now(), restrictionKeys: 1 });
    const signer = await loadSigningKey(keys.restriction[0]?.file ?? "");
    const web = keep(await startWebServer({ name: "web" }));
    const [controlA, controlB, ...others] = await freePorts(2 + PORTS * names.length);
    const portOf = (region: number, index: number): number => others[PORTS * region + index] ?? 0;
    await write("tree.yaml", regionTree(new Map(names.map((name, region) => [name, portOf(region, 0)])), web.port));
    await deny();

    const hub = keep(await startNats({ domain: "hub", leafNodes: true, config: PINGS }));
    const controls = [controlA, controlB].map((port, index) => {
      const name = `control-${index}`;
      const address = `127.0.0.1:${port}`;
      return keep(
        new Child(name, address, [
          ...["control", "--resources", join(root, "tree"), "--nats", hub.url, "--name", name, "--control", address],
          ...["--state", join(root, name), "--lease-seconds", "2", "--services", String(2 * names.length)],
          ...keys.signing.flatMap(({ file }) => ["--key", file]),
        ]),
      );
    });
    for (const control of controls) await control.start();

    const regions: Region[] = [];
    const journals: string[] = [];
    for (const [index, name] of names.entries()) {
      const link = keep(await startTcpRelay(Number(new URL(hub.leafUrl).port)));
      link.delay(LINK_MS);
      const processes = await startRegion(
        { name, root: join(root, name), trust: keys.trust, secrets: join(root, "tree") },
        { hub: `127.0.0.1:${link.port}`, ports: others.slice(PORTS * index, PORTS * (index + 1)) },
        keep,
      );
      journals.push(...processes.journals);
      regions.push({ ...processes, link });
    }
    for (const region of regions) await isOpen(region);
    const leader = async (): Promise<Child> =>
      await waitFor(
        async () => {
          for (const control of controls) {
            if (control.process.ending() !== undefined) continue;
            const { leadership } = await getStatus({ control: control.address, timeoutMs: 1_000 }).catch(() => ({
              leadership: undefined,
            }));
            if (leadership?.leading === true) return control;
          }
          return undefined;
        },
        WAIT_MS,
        "a control plane that leads",
      );
    return {
      hub,
      signer,
      controls,
      regions,
      leader,
      status: async () => await getStatus({ control: (await leader()).address }),
      write,
      add: async (directory, files) => {
        // Names that begin with a dot are no part of the tree.
        const hidden = `.${directory}`;
        for (const [name, text] of Object.entries(files)) await write(join(hidden, name), text);
        await rename(join(root, "tree", hidden), join(root, "tree", directory));
      },
      deny,
      recordCount: async () => {
        let count = 0;
        for (const journal of journals) {
          for await (const { record } of readDecisions(journal)) if ("effect" in record) count += 1;
        }
        return count;
      },
      close: things.close,
    };
  } catch (error) {
    await things.close();
    throw error;
  }
}
