import type { Command } from "commander";
import { type NatsBus, type NatsBusOptions, natsCredentials, openNatsBus } from "../distribution/index.ts";
import { ChanceryError } from "../resources/index.ts";

/** How a process reaches the bus over NATS. */
export interface NatsOptions {
  readonly nats?: readonly string[];
  readonly natsCreds?: string;
  readonly natsCa?: string;
  readonly natsCertificate?: string;
  readonly natsKey?: string;
  readonly natsPrefix?: string;
  readonly natsDomain?: string;
}

/** Who the process is on the bus; its answers come to `_INBOX_<role>`, which its user alone may listen to. */
export interface NatsIdentity {
  readonly role: "control" | "relay" | "xds" | "authz" | "operator";
  readonly name: string;
}

const FLAGS: Readonly<Record<keyof NatsOptions, string>> = {
  nats: "--nats",
  natsCreds: "--nats-creds",
  natsCa: "--nats-ca",
  natsCertificate: "--nats-certificate",
  natsKey: "--nats-key",
  natsPrefix: "--nats-prefix",
  natsDomain: "--nats-domain",
};

export function addNatsOptions(command: Command): Command {
  return command
    .option("--nats <url,…>", "servers of a bus over NATS: nats://127.0.0.1:4222, or tls://HOST:PORT", parseServers)
    .option("--nats-creds <file>", "who this process is there: a .creds file, or the nkey seed of a user")
    .option("--nats-ca <file>", "CA (PEM) of the servers' certificates; demanded off loopback")
    .option("--nats-certificate <file>", "certificate (PEM) of this process, where the servers ask for one")
    .option("--nats-key <file>", "its private key (PEM)")
    .option("--nats-prefix <name>", 'which bus on the NATS account: a region\'s, or "chancery"')
    .option("--nats-domain <name>", "JetStream domain of the bus, where it is not the servers' own");
}

function parseServers(text: string): string[] {
  return text.split(",").map((each) => each.trim());
}

/** @throws ChanceryError "invalid-argument" for options that say nothing without others */
export function demandWholeNats(options: NatsOptions): void {
  const given = (Object.keys(FLAGS) as (keyof NatsOptions)[]).filter((key) => options[key] !== undefined);
  if (options.nats === undefined && given.length > 0) {
    const flags = given.map((key) => FLAGS[key]).join(", ");
    throw new ChanceryError("invalid-argument", `${flags} say how a NATS is used, and none is named: add --nats URL`);
  }
  if ((options.natsCertificate === undefined) !== (options.natsKey === undefined)) {
    throw new ChanceryError("invalid-argument", "--nats-certificate and --nats-key belong together");
  }
  if (options.natsCertificate !== undefined && options.natsCa === undefined) {
    throw new ChanceryError("invalid-argument", "--nats-certificate needs --nats-ca: servers are verified as well");
  }
}

/** @param more  what is special about this process's bus */
export async function openNats(
  options: NatsOptions,
  { role, name }: NatsIdentity,
  more: Pick<NatsBusOptions, "manageStreams" | "lease" | "log" | "monitor" | "replicas" | "onAlarm">,
): Promise<NatsBus> {
  const { nats, natsCreds, natsCa, natsCertificate, natsKey, natsPrefix, natsDomain } = options;
  demandWholeNats(options);
  return await openNatsBus({
    servers: nats ?? [],
    name: `chancery ${role} ${name}`,
    inboxPrefix: `_INBOX_${role}`,
    ...(natsCreds === undefined ? {} : { authenticator: natsCredentials(natsCreds) }),
    ...(natsCa === undefined
      ? {}
      : {
          tls: {
            caFile: natsCa,
            ...(natsCertificate === undefined ? {} : { certFile: natsCertificate }),
            ...(natsKey === undefined ? {} : { keyFile: natsKey }),
          },
        }),
    ...(natsPrefix === undefined ? {} : { prefix: natsPrefix }),
    ...(natsDomain === undefined ? {} : { domain: natsDomain }),
    ...more,
  });
}
