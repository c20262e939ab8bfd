import { digestOf, type Sha256 } from "../base/digest.ts";
import type { JsonObject } from "../base/json.ts";

/**
 * What must not happen to a lineage, and did. An `incident` leaf says so for good: in the log itself where it still
 * signs, else as the first leaf after the genesis of the next epoch (docs/operations/new-epoch.md).
 */
export const INCIDENTS = [
  /** A checkpoint under the log's own key is larger than the log: its storage was put back. */
  "log_rewound",
  /** A checkpoint under the log's own key has another root than the log had at that size. */
  "log_forked",
  /** The stored tree is not that of the log's last checkpoint, or cannot be read. */
  "log_damaged",
  /** A source showed another record under a number that is integrated. */
  "source_diverged",
  /** The log has more of a source than the source has itself. */
  "source_rewound",
  /** A shard decided one of its decisions again, from what it sealed, and it came out otherwise. */
  "replay_diverged",
  /** The trust authority knows fewer events than its shards or the log. */
  "authority_rewound",
  /** A trust domain's bundle went back to an older sequence: keys that were withdrawn are served again. */
  "bundle_rollback",
  /** One sequence of a trust domain's bundle came with two contents. */
  "bundle_equivocation",
  /** A policy document that its role signed has a version that was accepted with other content. */
  "policy_equivocation",
  /** Another region said two things of one step there: it has two histories, or its key is in other hands. */
  "step_receipt_contradicted",
  /** An operator ended the epoch without a shard that never answered: what only that shard had is in no log. */
  "shard_left",
  /** Policies that should decide alike do not: in another region, or in a shard of this one. */
  "policy_drift",
  /** Trust entries differ after the same events: in another region, a shard, or in this region's own storage. */
  "state_drift",
] as const;

export type IncidentKind = (typeof INCIDENTS)[number];

export type Incident = {
  readonly what: IncidentKind;
  /** Who found it, or whom it concerns: `log`, `trust`, `shard/k`. */
  readonly source: string;
  /** For the operator; names no person and holds no payload. */
  readonly detail: string;
  /** What proves it to others, e.g. a foreign checkpoint as a note; `null` where nothing does. */
  readonly evidence: string | null;
  /** When it was found, Unix milliseconds. */
  readonly t_ms: number;
};

const MAX_DETAIL = 1_000;

/** Body of the `incident` leaf: the evidence by its digest, since it stays with the region and is shown on demand. */
export const incidentBody = (
  { what, source, detail, evidence, t_ms }: Incident,
  log_epoch: number,
  sha: Sha256,
): JsonObject => ({
  detail: detail.slice(0, MAX_DETAIL),
  evidence: evidence === null ? null : digestOf(evidence, sha),
  log_epoch,
  source,
  t: t_ms,
  what,
});
