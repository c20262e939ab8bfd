/** Where log lines go; `null` switches them off (benchmarks). */
export type LogSink = ((line: string) => void) | null;

/**
 * One line for each decision that a shard answered (a batch: one for each shard it touched). No personal data: no
 * subject, resource, action, context or run; the decision id leads the authorized to those.
 */
export type DecisionLine = {
  readonly event: "decision";
  readonly region: string;
  readonly decision_id: string | null;
  readonly outcome: "allow" | "deny" | "mixed";
  readonly reason: string | null;
  readonly items: number;
  readonly allowed: number;
  readonly pep: string;
  readonly request_id: string | null;
  readonly traceparent: string | null;
  readonly duration_ms: number;
  readonly t_ms: number;
};

/** What was thrown, for the operator only: callers get a code. */
export type FaultLine = {
  readonly event: "fault";
  readonly region: string;
  readonly where: string;
  readonly error: string;
  readonly request_id: string | null;
  readonly t_ms: number;
};

export function logLine(sink: LogSink, line: DecisionLine | FaultLine): void {
  if (sink !== null) sink(JSON.stringify(line));
}

/** Name and message of what was thrown, bounded; never its stack. */
export function faultText(thrown: unknown): string {
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : typeof thrown;
  return text.slice(0, 300);
}
