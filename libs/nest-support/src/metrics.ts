import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What a metric counts. The name carries the unit (`_bytes`, `_seconds`) and `_total` for what only grows. */
export interface MetricDescription<Label extends string = string> {
  readonly name: string;
  /** One sentence for the reader of a dashboard. */
  readonly help: string;
  /** Names of its labels. Their values must come from closed sets: every combination is kept for ever. */
  readonly labels?: readonly Label[];
}

/** The metrics of one service in the Prometheus text format. One per application: there is no process-wide registry. */
export class Metrics {
  private readonly registry = new Registry();

  /** Media type of {@link text}. */
  get contentType(): string {
    return this.registry.contentType;
  }

  /** Something that only grows. */
  counter<Label extends string = never>({ name, help, labels = [] }: MetricDescription<Label>): Counter<Label> {
    return new Counter({ name, help, labelNames: labels, registers: [this.registry] });
  }

  /**
   * Something that goes up and down.
   *
   * @param read - Asked at every scrape; it sets the value, and must be quick. When it fails the metric has no value.
   */
  gauge<Label extends string = never>(
    { name, help, labels = [] }: MetricDescription<Label>,
    read?: (gauge: Gauge<Label>) => void | Promise<void>,
  ): Gauge<Label> {
    return new Gauge({
      name,
      help,
      labelNames: labels,
      registers: [this.registry],
      ...(read === undefined
        ? {}
        : {
            async collect(): Promise<void> {
              try {
                await read(this);
              } catch {
                // What is not known must not take the other metrics away, nor look as it did before.
                this.reset();
                if (labels.length === 0) this.set(NaN);
              }
            },
          }),
    });
  }

  /** How something is spread, here: durations in seconds. @param buckets - Upper bounds, ascending. */
  histogram<Label extends string = never>(
    { name, help, labels = [] }: MetricDescription<Label>,
    buckets: readonly number[],
  ): Histogram<Label> {
    return new Histogram({ name, help, labelNames: labels, buckets: [...buckets], registers: [this.registry] });
  }

  /** Adds what Node knows of its process: CPU, memory, open files, event loop, garbage collection. At most once in a process: it installs observers. */
  watchProcess(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Everything, as a scrape reads it. */
  text(): Promise<string> {
    return this.registry.metrics();
  }
}
