import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { type Bus, type NodeReport, openNatsBus, type SequencedHead, startFollower } from "../../distribution/index.ts";
import { policy } from "../../distribution/tree-fixture.ts";
import {
  decodeRevision,
  initKeys,
  loadSigningKey,
  loadTrust,
  manifestDigest,
  openRevisionStore,
  parseSignedManifest,
  type SigningKey,
} from "../../revision/index.ts";
import { Closables, freePorts, startNats, waitFor } from "../support/index.ts";
import { apiKey, application, gateway, model, modelRoute, upstream, version, yaml } from "../support/resources.ts";
import { save } from "../support/save.ts";
import { type NatsTap, startNatsTap } from "./nats-tap.ts";
import { Child } from "./region-processes.ts";

export const WAIT_MS = 60_000;
export const LEASE_SECONDS = 2;

/** A control plane whose every publish passes a tap. */
export interface TappedControl {
  readonly child: Child;
  readonly tap: NatsTap;
  readonly state: string;
}

export interface PublishFleet {
  readonly bus: Bus;
  /** Signs restrictions. */
  readonly signer: SigningKey;
  readonly controls: readonly TappedControl[];
  /** What readers saw that they must never see. */
  readonly faults: readonly string[];
  /** Saves another rule and commits it. @returns the rule */
  edit(): Promise<string>;
  /** Of the last edit. */
  newestRule(): string;
  /** Waits until a rule is in the newest revision, and both kinds of readers decide by that. */
  published(rule: string): Promise<void>;
  /** Runs git in the tree. */
  git(...args: readonly string[]): Promise<string>;
  /** Looks at all heads that were ever published. @returns how many; @throws Error where they are not in order */
  headsInOrder(): Promise<number>;
  close(): Promise<void>;
}

interface Head {
  readonly manifest: string;
  readonly number: number;
  readonly epoch: number;
}

/** NATS, control planes over one git checkout, a decision service as a process, and readers that look at every head. */
export async function startPublishFleet(controls: number): Promise<PublishFleet> {
  const root = await mkdtemp(join(tmpdir(), "chancery-publish-kills-"));
  const tree = join(root, "tree");
  const things = new Closables();
  const { keep } = things;
  keep({ close: () => rm(root, { recursive: true, force: true }) });
  const git = async (...args: readonly string[]): Promise<string> => {
    const who = ["-c", "user.name=Test", "-c", "user.email=test@acme.example", "-c", "init.defaultBranch=main"];
    return (await promisify(execFile)("git", ["-C", tree, ...who, ...args])).stdout.trim();
  };
  /** Oldest first. */
  const commits: string[] = [];
  let edits = 0;
  const edit = async (): Promise<string> => {
    edits += 1;
    const rule = `1 == ${edits}`;
    await save(tree, "limits.yaml", policy("limits", rule));
    await git("add", "-A");
    await git("commit", "-q", "-m", rule);
    commits.push(await git("rev-parse", "HEAD"));
    return rule;
  };
  const faults: string[] = [];
  try {
    const keys = await initKeys(join(root, "keys"), { now: Date.now(), restrictionKeys: 1 });
    const trust = await loadTrust(keys.trust);
    await save(
      tree,
      "tree.yaml",
      yaml(
        ...[gateway(10_000), modelRoute("atlas"), upstream("v1", 1), model("atlas"), version("atlas", "v1", "v1")],
        application("caller", apiKey("caller").sha256),
      ),
    );
    await git("init", "-q");
    await edit();

    const nats = keep(await startNats());
    const ports = await freePorts(controls + 1);
    const running: TappedControl[] = [];
    for (const [index, port] of ports.slice(0, controls).entries()) {
      const tap = keep(await startNatsTap(nats.url));
      const [name, address] = [`control-${index}`, `127.0.0.1:${port}`];
      const state = join(root, name);
      const child = new Child(name, address, [
        ...["control", "--resources", tree, "--nats", tap.url, "--name", name, "--control", address],
        ...["--state", state, "--lease-seconds", String(LEASE_SECONDS)],
        ...["--trust", keys.trust, ...keys.signing.flatMap(({ file }) => ["--key", file])],
      ]);
      running.push({ child: keep(child), tap, state });
      await child.start();
    }

    const bus = keep(await openNatsBus({ servers: [nats.url], name: "reader" }));
    const contents = new Map<number, string>();
    let commit = 0;
    /** What a head stands for, at the moment at which it is seen. */
    const look = async ({ manifest: digest, number }: SequencedHead): Promise<void> => {
      const bytes = await bus.getBlob(digest);
      if (bytes === undefined) {
        faults.push(`head ${number} without its manifest`);
        return;
      }
      const { manifest } = parseSignedManifest(bytes);
      for (const part of manifest.parts) {
        if ((await bus.getBlob(part.digest)) === undefined) faults.push(`head ${number} without ${part.digest}`);
      }
      const content = contents.get(number) ?? manifestDigest(manifest);
      if (content !== manifestDigest(manifest)) faults.push(`two revisions have the number ${number}`);
      contents.set(number, content);
      const at = commits.indexOf(manifest.commit?.replace("+dirty", "") ?? "");
      if (at < commit) faults.push(`revision ${number} is of commit ${at} after one of commit ${commit}`);
      commit = at;
    };
    let looking: Promise<void> = Promise.resolve();
    const watch = bus.watchHead((head) => {
      looking = looking
        .then(() => look(head))
        .catch((error) => void faults.push(`head ${head.number} cannot be looked at: ${error}`));
    });
    keep({
      close: async () => {
        watch.close();
        await looking;
      },
    });

    const onAlarm = (alarm: Error): void => void faults.push(`the follower: ${alarm.message}`);
    const store = keep(await openRevisionStore(join(root, "follower"), { trust, now: Date.now, onAlarm }));
    const taken: number[] = [];
    const follower = keep(
      await startFollower({
        ...{ bus, store, reporter: "follower", role: "authz", onAlarm, now: Date.now, random: Math.random },
        onRevision: ({ number }) => {
          if (number <= (taken.at(-1) ?? 0)) faults.push(`revision ${number} after ${taken.at(-1)}`);
          taken.push(number);
        },
        state: () => ({ active: taken.at(-1) ?? 0, layouts: [], firstDecisions: {}, activeSince: {}, decisions: 0 }),
      }),
    );

    let decided: NodeReport | undefined;
    const reports = keep(
      bus.watchReports((report) => {
        if (report.reporter !== "authz") return;
        if (report.error !== undefined) faults.push(`the decision service: ${report.error}`);
        if (report.active < (decided?.active ?? 0)) faults.push(`decides by ${report.active} after ${decided?.active}`);
        decided = report;
      }),
    );
    const listen = `127.0.0.1:${ports.at(-1)}`;
    const bused = ["--nats", nats.url, "--trust", keys.trust, "--listen", listen, "--state", join(root, "authz")];
    await keep(new Child("authz", listen, ["authz", ...bused])).start();

    const newest = async (): Promise<{ readonly number: number; readonly rule: string | undefined }> => {
      const head = await bus.head();
      const bytes = head === undefined ? undefined : await bus.getBlob(head.manifest);
      if (head === undefined || bytes === undefined) return { number: 0, rule: undefined };
      const revision = await decodeRevision(parseSignedManifest(bytes), (digest) => bus.getBlob(digest), []);
      return { number: head.number, rule: revision.program.rules[0]?.when };
    };
    const published = async (rule: string): Promise<void> => {
      const output = running.map(({ child }) => `${child.name}\n${child.process.stderr().slice(-1_500)}`);
      await waitFor(
        async () => (await newest()).rule === rule,
        WAIT_MS,
        () => `${rule} published\n${output.join("\n")}`,
      );
      const { number } = await newest();
      await waitFor(
        () => follower.revision()?.number === number && decided?.active === number,
        WAIT_MS,
        () => `revision ${number} everywhere, not ${follower.revision()?.number} and ${decided?.active}`,
      );
    };
    const headsInOrder = async (): Promise<number> => {
      const connection = await connect({ servers: nats.url });
      try {
        const { direct } = await jetstreamManager(connection);
        const heads: Head[] = [];
        for (let seq = 1; ; seq += 1) {
          const message = await direct.getMessage("chancery_heads", { seq });
          if (message === null) break;
          heads.push(message.json<Head>());
        }
        for (const [index, { manifest, number, epoch }] of heads.entries()) {
          const before = heads[index - 1] ?? { manifest, number, epoch };
          if (epoch < before.epoch) throw new Error(`head ${number} under epoch ${epoch} after ${before.epoch}`);
          // The same one again is how a new leader begins.
          const isAgain = manifest === before.manifest && number === before.number;
          if (!isAgain && number !== before.number + 1) throw new Error(`head ${number} after ${before.number}`);
        }
        return heads.length;
      } finally {
        await connection.close();
      }
    };
    keep(reports);
    return {
      ...{
        bus,
        controls: running,
        faults,
        edit,
        newestRule: () => `1 == ${edits}`,
        published,
        git,
        headsInOrder,
        close: things.close,
      },
      signer: await loadSigningKey(keys.restriction[0]?.file ?? ""),
    };
  } catch (error) {
    await things.close();
    throw error;
  }
}
