import { Histogram, type Registry } from "prom-client";

export interface FixedHistogramOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, ascending. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

/** A histogram without labels of which an observation is an addition; it is put into words when somebody asks. */
export class FixedHistogram extends Histogram {
  /** Observes nothing: for the words. */
  readonly #blank: Histogram;
  readonly #bounds: readonly number[];
  /** Observations up to each bound that are over the one before; at the end those over all bounds. */
  readonly #counts: number[];
  #sum = 0;

  constructor({ name, help, buckets, registry }: FixedHistogramOptions) {
    super({ name, help, buckets: [...buckets], registers: [registry] });
    this.#blank = new Histogram({ name, help, buckets: [...buckets], registers: [] });
    this.#bounds = buckets;
    this.#counts = new Array<number>(buckets.length + 1).fill(0);
  }

  add(value: number): void {
    const bounds = this.#bounds;
    let place = 0;
    while (place < bounds.length && value > (bounds[place] ?? 0)) place += 1;
    this.#counts[place] = (this.#counts[place] ?? 0) + 1;
    this.#sum += value;
  }

  override async get(): ReturnType<Histogram["get"]> {
    const metric = await this.#blank.get();
    const total = this.#counts.reduce((sum, count) => sum + count, 0);
    let upTo = 0;
    let place = 0;
    for (const line of metric.values) {
      if (line.metricName === `${metric.name}_sum`) line.value = this.#sum;
      else if (line.metricName === `${metric.name}_count`) line.value = total;
      else {
        // Buckets come in the order of their bounds, and the one without a bound at last.
        upTo += this.#counts[place] ?? 0;
        place += 1;
        line.value = upTo;
      }
    }
    return metric;
  }

  /** What a registry asks for where it is there. */
  getForPromString(): ReturnType<Histogram["get"]> {
    return this.get();
  }
}
