/**
 * A small metrics registry with the Prometheus text format 0.0.4. It lives in one isolate: a region has many, each
 * counts what it served itself, and a scrape reaches one of them. Every HELP line says so.
 */
export type Labels = Readonly<Record<string, string>>;

type Metric = { readonly name: string; readonly write: (lines: string[]) => void };

const PER_ISOLATE = "Counted by the isolate that answers this scrape, since it started.";

export class Registry {
  readonly #metrics: Metric[] = [];

  counter(name: string, help: string, labels: readonly string[]): Counter {
    const counter = new Counter(name, help, labels);
    this.#metrics.push(counter);
    return counter;
  }

  histogram(name: string, help: string, bounds: readonly number[], label: string | null = null): Histogram {
    const histogram = new Histogram(name, help, bounds, label);
    this.#metrics.push(histogram);
    return histogram;
  }

  /** The text of everything registered, followed by `more` (read at scrape time). */
  text(more: readonly (Gauge | ReadHistogram)[] = []): string {
    const lines: string[] = [];
    for (const metric of this.#metrics) metric.write(lines);
    for (const read of more) {
      if ("bounds" in read) writeHistogram(read, lines);
      else writeGauge(read, lines);
    }
    return lines.join("\n") + "\n";
  }
}

export class Counter {
  readonly name: string;
  readonly #help: string;
  readonly #labels: readonly string[];
  // One map from the joined label values: no object is made when a decision is counted.
  readonly #counts = new Map<string, number>();

  constructor(name: string, help: string, labels: readonly string[]) {
    this.name = name;
    this.#help = help;
    this.#labels = labels;
  }

  /** `values` joined by `\n`, in the order of the labels. They come from closed lists, so the map stays small. */
  add(values: string, by = 1): void {
    this.#counts.set(values, (this.#counts.get(values) ?? 0) + by);
  }

  write(lines: string[]): void {
    lines.push(`# HELP ${this.name} ${this.#help} ${PER_ISOLATE}`, `# TYPE ${this.name} counter`);
    for (const [values, count] of this.#counts) {
      const labels = values.split("\n").map((value, i) => `${this.#labels[i] ?? "label"}="${escapeLabel(value)}"`);
      lines.push(`${this.name}${labels.length > 0 && this.#labels.length > 0 ? `{${labels.join(",")}}` : ""} ${count}`);
    }
  }
}

type Series = { readonly buckets: Float64Array; sum: number; count: number };

export class Histogram {
  readonly name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #label: string | null;
  readonly #series = new Map<string, Series>();

  constructor(name: string, help: string, bounds: readonly number[], label: string | null) {
    this.name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#label = label;
  }

  observe(value: number, label = ""): void {
    let series = this.#series.get(label);
    if (series === undefined) {
      series = { buckets: new Float64Array(this.#bounds.length), sum: 0, count: 0 };
      this.#series.set(label, series);
    }
    series.sum += value;
    series.count += 1;
    for (let i = 0; i < this.#bounds.length; i++) {
      if (value <= this.#bounds[i]!) {
        series.buckets[i]! += 1;
        return;
      }
    }
  }

  write(lines: string[]): void {
    lines.push(`# HELP ${this.name} ${this.#help} ${PER_ISOLATE}`, `# TYPE ${this.name} histogram`);
    for (const [value, series] of this.#series) {
      const label = this.#label === null ? "" : `${this.#label}="${escapeLabel(value)}"`;
      const head = label === "" ? "" : `${label},`;
      const tail = label === "" ? "" : `{${label}}`;
      let below = 0;
      for (let i = 0; i < this.#bounds.length; i++) {
        below += series.buckets[i]!;
        lines.push(`${this.name}_bucket{${head}le="${this.#bounds[i]}"} ${below}`);
      }
      lines.push(`${this.name}_bucket{${head}le="+Inf"} ${series.count}`);
      lines.push(`${this.name}_sum${tail} ${series.sum}`, `${this.name}_count${tail} ${series.count}`);
    }
  }
}

/** Read when it is scraped: the object's own value, the same whichever isolate asks. */
export type Gauge = {
  readonly name: string;
  readonly help: string;
  /** `counter`: an object's own count, which never falls. Default: a gauge. */
  readonly type?: "counter";
  readonly samples: readonly { readonly labels: Labels; readonly value: number }[];
};

/** A histogram that an object keeps; `counts` has one place more than `bounds`, for what is beyond. */
export type ReadHistogram = {
  readonly name: string;
  readonly help: string;
  readonly bounds: readonly number[];
  readonly samples: readonly {
    readonly labels: Labels;
    readonly counts: readonly number[];
    readonly sum: number;
  }[];
};

function writeGauge({ name, help, type, samples }: Gauge, lines: string[]): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type ?? "gauge"}`);
  for (const { labels, value } of samples) lines.push(`${name}${labelText(labels)} ${value}`);
}

function writeHistogram({ name, help, bounds, samples }: ReadHistogram, lines: string[]): void {
  lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} histogram`);
  for (const { labels, counts, sum } of samples) {
    let below = 0;
    for (const [at, bound] of [...bounds, "+Inf"].entries()) {
      below += counts[at] ?? 0;
      lines.push(`${name}_bucket${labelText({ ...labels, le: String(bound) })} ${below}`);
    }
    lines.push(`${name}_sum${labelText(labels)} ${sum}`, `${name}_count${labelText(labels)} ${below}`);
  }
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
}

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
