import type { Measured, ServerName } from "./processes.ts";

/** One row of the table: what it is, where it is measured, and how many times the reference ours may need. */
interface Figure {
  readonly name: string;
  readonly of: (measured: Measured, nodes: number) => number | undefined;
  /** Target of ours / reference. */
  readonly most?: number;
}

const FIGURES: readonly Figure[] = [
  { name: "connect, s", of: ({ connect_s }) => connect_s, most: 1 },
  { name: "connect, server CPU s", of: ({ connect_cpu_s }) => connect_cpu_s },
  { name: "peak RSS, MiB", of: ({ rss_mib }) => rss_mib, most: 0.5 },
  { name: "weight flip, last ACK ms", of: ({ weight }) => weight?.last_ack_median_ms },
  { name: "weight flip, CPU us a node", of: ({ weight }, nodes) => perNode(weight?.cpu_ms, nodes), most: 2.5 },
  { name: "weight flip, bytes a node", of: ({ weight }, nodes) => bytes(weight?.kib_in, nodes) },
  { name: "one CLA, last ACK ms", of: ({ endpoint }) => endpoint?.last_ack_median_ms, most: 0.2 },
  { name: "one CLA, CPU us a node", of: ({ endpoint }, nodes) => perNode(endpoint?.cpu_ms, nodes), most: 0.2 },
  { name: "one CLA, bytes a node", of: ({ endpoint }, nodes) => bytes(endpoint?.kib_in, nodes) },
  { name: "burst, changes applied", of: ({ burst }) => burst?.applied },
  { name: "burst, lag ms", of: ({ burst }) => burst?.lag_ms },
  { name: "burst, server CPU s", of: ({ burst }) => burst?.cpu_s },
];

const perNode = (ms: number | undefined, nodes: number) => (ms === undefined ? undefined : (ms * 1_000) / nodes);
const bytes = (kib: number | undefined, nodes: number) => (kib === undefined ? undefined : (kib * 1_024) / nodes);

/** Whatever makes a measurement worthless: clients lost, answers missing, or sent more than once. */
export function faults({ error, broken = 0, weight, endpoint }: Measured): string[] {
  const found = error === undefined ? [] : [error];
  if (broken > 0) found.push(`${broken} streams broke`);
  for (const [kind, step] of Object.entries({ weight, endpoint })) {
    if (step !== undefined && step.responses_per_node !== 1)
      found.push(`${step.responses_per_node} responses a node for one ${kind} change`);
  }
  return found;
}

/** A table of one setting: median and range over the rounds for each server, and the median of the rounds' ratios. */
export function table(nodes: number, rounds: readonly Readonly<Record<ServerName, Measured>>[]): string {
  const lines = ["| | go-control-plane (LinearCache) | chancery | ratio | target |", "|---|---|---|---|---|"];
  for (const { name, of, most } of FIGURES) {
    const reference = numbers(rounds.map((round) => of(round["go-control-plane"], nodes)));
    const ours = numbers(rounds.map((round) => of(round.chancery, nodes)));
    if (ours.length === 0) continue;
    const ratios = numbers(
      rounds.map((round) => {
        const peer = of(round["go-control-plane"], nodes);
        const mine = of(round.chancery, nodes);
        return peer === undefined || mine === undefined || peer === 0 ? undefined : mine / peer;
      }),
    );
    const target = most === undefined ? "" : `${median(ratios) <= most ? "met" : "NOT met"} (<= ${most})`;
    lines.push(`| ${name} | ${spread(reference)} | ${spread(ours)} | ${round(median(ratios))} | ${target} |`);
  }
  return lines.join("\n");
}

function numbers(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function spread(values: readonly number[]): string {
  if (values.length === 0) return "-";
  return `${round(median(values))} (${round(Math.min(...values))}..${round(Math.max(...values))})`;
}

function round(value: number): string {
  if (Number.isNaN(value)) return "-";
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
