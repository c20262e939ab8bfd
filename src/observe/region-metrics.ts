import { Registry, type Counter, type Histogram } from "./metrics.ts";

/** What one isolate of a region counts. */
export type RegionMetrics = {
  readonly registry: Registry;
  /** Values: outcome, reason (`none` for an allow). */
  readonly decisions: Counter;
  /** Seconds around the I/O of a request; the label is the route's operation. */
  readonly duration: Histogram;
  readonly batch: Histogram;
  readonly flush: Histogram;
  /** Values: route, status. */
  readonly requests: Counter;
  /** Value: kind. */
  readonly anomalies: Counter;
};

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const ITEMS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000];

export function createMetrics(): RegionMetrics {
  const registry = new Registry();
  return {
    registry,
    decisions: registry.counter("interlock_decisions_total", "Decisions answered, by outcome and reason.", [
      "outcome",
      "reason",
    ]),
    requests: registry.counter("interlock_http_requests_total", "HTTP requests answered, by route and status.", [
      "route",
      "status",
    ]),
    duration: registry.histogram(
      "interlock_http_request_duration_seconds",
      "Time from a request's arrival to its answer; the clock moves only with I/O on Cloudflare, so this is time around I/O.",
      SECONDS,
      "route",
    ),
    anomalies: registry.counter(
      "interlock_identity_anomalies_total",
      "Workload credentials that should not be seen in a sound fleet: used before, overtaken by a worse result, contraindicated.",
      ["kind"],
    ),
    batch: registry.histogram("interlock_batch_items", "Evaluations in one evaluations request.", ITEMS),
    flush: registry.histogram(
      "interlock_flush_items",
      "Decisions that shared one commit and signature, as its waiters saw it.",
      ITEMS,
    ),
  };
}
