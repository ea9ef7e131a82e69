import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import { nanos } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";
import type { Digest } from "../revision/index.ts";
import type { NodeReport } from "./bus.ts";
import {
  KEPT_REPORT_MS,
  MAX_BUS_LOG_ENTRIES,
  MAX_LOG_ENTRY_BYTES,
  MAX_NATS_REPORTERS,
  MAX_REPORT_BYTES,
  MAX_RESTRICTION_BYTES,
  MAX_RESTRICTIONS,
  RESTRICTION_KEPT_MS,
} from "./bus-limits.ts";
import type { NatsLink, NatsSession } from "./nats-connection.ts";
import { isMissingStream, isNameInUse, natsError } from "./nats-errors.ts";

/** Many more than one reader needs, so that the history can be looked at. */
const KEPT_HEADS = 1024;
const MAX_HEAD_BYTES = 4096;
/** A message of content, its headers included. */
export const MAX_MESSAGE_BYTES = 256 * 1024;

const PREFIX = /^[A-Za-z0-9_-]{1,64}$/;

/** Streams and subjects of one bus; several buses (regions) may share a NATS account under different prefixes. */
export interface NatsNames {
  readonly heads: string;
  readonly blobs: string;
  readonly reports: string;
  readonly restrictions: string;
  readonly head: string;
  blobPart(digest: Digest, index: number): string;
  /**
   * Of a process of a region, `eu/authz-1`: `chancery.report.region.eu.authz.authz-1`. The region comes before all that
   * varies, because a leaf node hears that the hub listens to `chancery.report.>` only where its user may publish to
   * something like `chancery.report.region.eu.>`: with a wildcard before the region it does not.
   */
  report(role: NodeReport["role"], reporter: string): string;
  readonly anyReport: string;
  /** What the server sends out after it has stored a head or a report. */
  readonly headBell: string;
  readonly reportBell: string;
  readonly anyBlobPart: string;
  restriction(digest: Digest): string;
  readonly anyRestriction: string;
  readonly restrictionBell: string;
  readonly lease: string;
  /** The subject of the record that says who leads. */
  readonly leaseCell: string;
  readonly leaseBell: string;
  readonly log: string;
  /** The subject of its entries. */
  readonly logEntry: string;
  readonly logBell: string;
}

/** @throws ChanceryError "invalid-argument" */
export function natsNames(prefix: string): NatsNames {
  if (!PREFIX.test(prefix)) {
    throw new ChanceryError("invalid-argument", `the prefix "${prefix}" is not 1 to 64 letters, digits, "-" or "_"`);
  }
  return {
    heads: `${prefix}_heads`,
    blobs: `${prefix}_blobs`,
    reports: `${prefix}_reports`,
    head: `${prefix}.head`,
    blobPart: (digest, index) => `${prefix}.blob.${digest.replace("sha256:", "")}.${index}`,
    report: (role, reporter) => {
      const [name = "", ...within] = reporter.split("/").reverse();
      const regions = within.reverse().map((region) => `region.${token(region)}.`);
      return `${prefix}.report.${regions.join("")}${role}.${token(name)}`;
    },
    anyReport: `${prefix}.report.>`,
    headBell: `${prefix}.bell.head`,
    reportBell: `${prefix}.bell.report.>`,
    anyBlobPart: `${prefix}.blob.*.*`,
    restrictions: `${prefix}_restrictions`,
    restriction: (digest) => `${prefix}.restriction.${digest.replace("sha256:", "")}`,
    anyRestriction: `${prefix}.restriction.*`,
    restrictionBell: `${prefix}.bell.restriction.*`,
    lease: `${prefix}_lease`,
    leaseCell: `${prefix}.lease`,
    leaseBell: `${prefix}.bell.lease`,
    log: `${prefix}_log`,
    logEntry: `${prefix}.log`,
    logBell: `${prefix}.bell.log`,
  };
}

export interface StreamOptions {
  /** Makes streams that are not there; the user needs the rights for it. Otherwise they are waited for. */
  readonly manage: boolean;
  /** Copies that a cluster keeps of each stream; 1 unless given. */
  readonly replicas?: number;
  /** Bytes of content that are kept; the content that was put longest ago goes first. */
  readonly maximumBytes: number;
  /** Makes the stream of the lease, too: the hub's. */
  readonly lease?: boolean;
  /** Likewise the stream of the operational log. */
  readonly log?: boolean;
}

/** Speaks to the streams of a bus; where this process manages them, those that are lost are made again. */
export class NatsStreams {
  readonly names: NatsNames;
  readonly #link: NatsLink;
  readonly #options: StreamOptions;

  constructor(link: NatsLink, names: NatsNames, options: StreamOptions) {
    this.#link = link;
    this.names = names;
    this.#options = options;
  }

  /**
   * @param what  for messages: "the head cannot be read"
   * @throws ChanceryError
   */
  async run<T>(what: string, work: (session: NatsSession) => Promise<T>): Promise<T> {
    const session = this.#link.session();
    try {
      try {
        return await work(session);
      } catch (error) {
        if (!this.#options.manage || !isMissingStream(error)) throw error;
        await this.#make(session);
        return await work(session);
      }
    } catch (error) {
      throw natsError(error, what);
    }
  }

  /** Gives streams that another build made the configuration of this one, where this process manages them. */
  async renew(session: NatsSession): Promise<void> {
    if (this.#options.manage) await this.#make(session);
  }

  async #make({ manager }: NatsSession): Promise<void> {
    for (const config of this.#configurations()) {
      try {
        await manager.streams.add(config);
      } catch (error) {
        if (!isNameInUse(error)) throw error;
        // Made by another build, or changed by hand.
        await manager.streams.update(config.name, config);
      }
    }
  }

  #configurations(): readonly (Partial<StreamConfig> & { readonly name: string })[] {
    const { names } = this;
    const { replicas, maximumBytes, lease, log } = this.#options;
    const both = {
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      // One request for the newest message, answered by any replica, in place of a consumer for each reader.
      allow_direct: true,
      ...(replicas === undefined ? {} : { num_replicas: replicas }),
    };
    const leaseStream = {
      ...both,
      name: names.lease,
      subjects: [names.leaseCell],
      storage: StorageType.File,
      max_msgs_per_subject: 1,
      max_msg_size: MAX_HEAD_BYTES,
      republish: { src: names.leaseCell, dest: names.leaseBell },
    };
    const logStream = {
      ...both,
      name: names.log,
      subjects: [names.logEntry],
      storage: StorageType.File,
      // A revocation that was dropped for want of room would be a grant again.
      discard: DiscardPolicy.New,
      max_msgs: MAX_BUS_LOG_ENTRIES,
      max_msg_size: MAX_LOG_ENTRY_BYTES + 1024,
      republish: { src: names.logEntry, dest: names.logBell },
    };
    return [
      {
        ...both,
        name: names.heads,
        subjects: [names.head],
        storage: StorageType.File,
        max_msgs: KEPT_HEADS,
        max_msg_size: MAX_HEAD_BYTES,
        // The server rings after it has stored, also when the publisher ends in between.
        republish: { src: names.head, dest: names.headBell },
      },
      {
        ...both,
        name: names.blobs,
        subjects: [names.anyBlobPart],
        storage: StorageType.File,
        max_msgs_per_subject: 1,
        max_msg_size: MAX_MESSAGE_BYTES,
        max_bytes: maximumBytes,
      },
      {
        ...both,
        name: names.reports,
        subjects: [names.anyReport],
        // Told again every few seconds: nothing is lost with it.
        storage: StorageType.Memory,
        max_msgs_per_subject: 1,
        max_msgs: MAX_NATS_REPORTERS,
        max_age: nanos(KEPT_REPORT_MS),
        max_msg_size: MAX_REPORT_BYTES + 1024,
        republish: { src: names.anyReport, dest: names.reportBell },
      },
      {
        ...both,
        name: names.restrictions,
        subjects: [names.anyRestriction],
        storage: StorageType.File,
        max_msgs_per_subject: 1,
        max_msgs: MAX_RESTRICTIONS,
        max_msg_size: MAX_RESTRICTION_BYTES + 1024,
        max_age: nanos(RESTRICTION_KEPT_MS),
        // "{{wildcard(1)}}" is what "*" stood for.
        republish: { src: names.anyRestriction, dest: names.restrictionBell.replace("*", "{{wildcard(1)}}") },
      },
      ...(lease === true ? [leaseStream] : []),
      ...(log === true ? [logStream] : []),
    ];
  }
}

/** What is letters, digits, "-" and "_" stays, so that rights can be given by name; "%" alone, which encoding never yields, for none. */
function token(text: string): string {
  if (text === "") return "%";
  return encodeURIComponent(text.toWellFormed()).replace(/[.!~*'()]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}
