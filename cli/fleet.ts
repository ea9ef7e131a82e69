import type { ControlStatus, KeyFacts, LogFacts } from "../admin/index.ts";
import {
  type ConvergenceInput,
  convergence,
  formatConvergence,
  type LogSize,
  latencySummary,
  type NodeReport,
  noConvergence,
  type PublisherEvent,
  type PublisherStatus,
  type RestrictionState,
} from "../distribution/index.ts";
import { formatProblem, type Problem } from "../resources/index.ts";
import type { NodeState, XdsEvent } from "../xds-server/index.ts";
import { FleetReports } from "./fleet-reports.ts";
import { ownNodeFacts } from "./node-facts.ts";

export interface FleetOptions {
  /** Key ids that sign what is published here. */
  readonly signedBy: readonly string[];
  /** Milliseconds since the epoch; reports from before were made by processes that are gone. */
  readonly startedAt: number;
  /** Decision services that there are: before all of them have reported, nothing is enforced. */
  readonly services: number;
  readonly now: () => number;
  /** One line for people each time that a revision has come further. */
  readonly onProgress: (line: string) => void;
}

/** The parts of a control plane that the status is read from. */
export interface FleetParts {
  readonly publisher: PublisherStatus;
  /** Of an xDS server in this process; left out: nodes are as the fleet's xDS servers report them. */
  readonly nodes?: readonly NodeState[];
  /** The revision that is served; stands for the newest one as long as none was published since the start. */
  readonly served?: RevisionFacts;
  readonly leadership?: ControlStatus["leadership"];
  /** What the kill switch of this process holds. */
  readonly restrictions: readonly RestrictionState[];
  readonly operationalLog?: LogSize | undefined;
  readonly keys?: readonly KeyFacts[];
}

export type RevisionFacts = NonNullable<ControlStatus["revision"]>;

/** Gathers what publisher, Envoys and the processes of the fleet tell, and says how far each revision has come. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #reports = new FleetReports();
  /** Decision services that reported since the start. */
  readonly #services = new Map<string, NodeReport>();
  /** Every decision service has reported. */
  #complete = false;
  #convergence = noConvergence;
  #published: RevisionFacts | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** The newest revision on the bus, whoever published it. */
  onRevision(revision: RevisionFacts): void {
    if (revision.number >= (this.#published?.number ?? 0)) this.#published = revision;
  }

  onPublisher(event: PublisherEvent): void {
    if (event.type === "published") {
      const { number, digest, at, durationMs } = event;
      this.#published = { number, digest, createdAt: at, signedBy: this.#options.signedBy };
      this.#advance({ type: "published", number, at, durationMs });
    } else if (event.type === "frozen") {
      if (event.scopes.length === 0) this.#options.onProgress("every scope is in force as it is written again");
      for (const { scope, problems } of event.scopes) {
        const where = problems.map(({ at }) => `${at.file}:${at.line}:${at.column}`).join(", ");
        this.#options.onProgress(`scope "${scope}" stays as it was last good, for the errors at ${where}`);
      }
    } else if (event.type === "refused") {
      const where = event.problems.map(({ at }) => `${at.file}:${at.line}:${at.column}`).join(", ");
      this.#options.onProgress(`the tree is not taken, for the errors at ${where}`);
    }
  }

  onXds(event: XdsEvent): void {
    if (event.kind === "acknowledged") {
      const { node, revision } = event;
      this.#advance({ type: "acknowledged", number: revision, node: node.id, at: this.#options.now() });
    } else if (event.kind === "rejected") {
      const { node, revision } = event;
      const message = event.message.trim().replaceAll("\n", " ");
      this.#options.onProgress(`revision ${revision}: rejected by ${node.id}, which keeps its last good: ${message}`);
    }
  }

  onReport(report: NodeReport): void {
    const now = this.#options.now();
    const isNew = this.#reports.add(report, now);
    // What was on the bus before this process may be of one that is gone; its clock may be another.
    if (isNew && Date.parse(report.at) < this.#options.startedAt) return;
    if (report.role !== "authz") {
      this.#advance({ type: "report", report, at: now });
      return;
    }
    this.#services.set(report.reporter, report);
    if (this.#services.size < this.#options.services) return;
    if (this.#complete) {
      this.#advance({ type: "report", report, at: now });
      return;
    }
    this.#complete = true;
    // First who there is, then what each does: the first one to be told of must not pass for all of them.
    const reports = [...this.#services.values()];
    for (const each of reports) this.#advance({ type: "report", report: { ...each, active: 0 }, at: now });
    for (const each of reports) this.#advance({ type: "report", report: each, at: now });
  }

  /** Decision services that decide by this revision or a newer one. */
  deciding(number: number): readonly string[] {
    return [...this.#services.values()].filter(({ active }) => active >= number).map(({ reporter }) => reporter);
  }

  status(parts: FleetParts): ControlStatus {
    const { publisher, nodes, served, leadership, restrictions, operationalLog, keys = [] } = parts;
    const revision = this.#published ?? served;
    const now = this.#options.now();
    const frozen = publisher.frozen.map(({ scope, problems }) => ({ scope, problems: problems.map(formatProblem) }));
    const saveToAcknowledged = latencySummary(this.#convergence.saveToAcknowledged);
    const saveToFirstDecision = latencySummary(this.#convergence.saveToDecision);
    return {
      ...(revision === undefined ? {} : { revision }),
      nodes: nodes?.map(ownNodeFacts) ?? this.#reports.nodes(now),
      decisionServices: this.#reports.decisionServices(now),
      frozenScopes: [...frozen, ...byScope(publisher.refused)],
      ...(leadership === undefined ? {} : { leadership }),
      ...(operationalLog === undefined ? {} : { operationalLog: logFacts(operationalLog) }),
      keys,
      regions: this.#reports.regions(now),
      xdsServers: nodes === undefined ? this.#reports.xdsServers(now) : [],
      restrictions: restrictions
        .filter(({ lifted }) => lifted === undefined)
        .map(({ id, kind, value, reason, by, until }) => ({
          ...{ id, kind, value, reason, by },
          until: Date.parse(until),
          missingIn: this.#reports.without(id),
        })),
      convergence: {
        ...(saveToAcknowledged === undefined ? {} : { saveToAcknowledged }),
        ...(saveToFirstDecision === undefined ? {} : { saveToFirstDecision }),
      },
    };
  }

  #advance(input: ConvergenceInput): void {
    const { state, events } = convergence(this.#convergence, input);
    this.#convergence = state;
    for (const event of events) this.#options.onProgress(formatConvergence(event));
  }
}

function logFacts({ entries, capacity, sequence, checkpoint }: LogSize): LogFacts {
  return {
    ...{ entries, capacity, sequence },
    ...(checkpoint === undefined ? {} : { compactedAt: Date.parse(checkpoint.at) }),
  };
}

function byScope(problems: readonly Problem[]): { readonly scope: string; readonly problems: readonly string[] }[] {
  const scopes = Map.groupBy(problems, (problem) => problem.scope);
  return [...scopes].map(([scope, own]) => ({ scope, problems: own.map(formatProblem) }));
}
