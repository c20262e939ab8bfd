import type { EntryState, TrustLevel } from "./levels.ts";

/**
 * Trust events (DESIGN section 5). State is a map (key, origin) → (generation, state): a key is revoked while any
 * origin's entry says so, and only the origin that revoked can lift its own entry, by a higher generation.
 */
export const EVENT_KINDS = [
  "revoke",
  "restore",
  "level",
  "freeze",
  "unfreeze",
  "key",
  "membership",
  "pep",
  "seal",
  "epoch",
  "source",
] as const;

export type EventKind = (typeof EVENT_KINDS)[number];

export type TrustEvent = {
  readonly v: 1;
  readonly origin: string;
  readonly incarnation: number;
  /** Gapless per origin, from 1. */
  readonly seq: number;
  /** Digest of the previous event of this origin; `null` for the first. */
  readonly prev: string | null;
  readonly kind: EventKind;
  /** Pseudonym of the canonical key (`trust/pseudonym`). */
  readonly key: string;
  readonly generation: number;
  readonly from: "issue" | "beginning";
  readonly issued_at_ms: number;
  readonly reason_code: string;
  /** For `restore`: seq of the event it lifts. */
  readonly cites: number | null;
  /** For `level`: what the key is trusted to be from now on. */
  readonly level: TrustLevel | null;
  /** For `level`: `trusted` counts as `degraded` from then on, unless it is renewed. Unix milliseconds. */
  readonly until_ms: number | null;
};

/** What an event says about its key; `null`: nothing that another region has to know. A freeze is of `frozenKey`. */
export function stateAfter(event: Pick<TrustEvent, "kind" | "level">): EntryState | null {
  if (event.kind === "revoke" || event.kind === "freeze") return "revoked";
  if (event.kind === "restore" || event.kind === "unfreeze") return "restored";
  return event.kind === "level" ? event.level : null;
}

/** One entry of the state as it travels from the authority to a shard. */
export type TrustEntry = {
  /** Pseudonym. */
  readonly key: string;
  readonly origin: string;
  readonly generation: number;
  readonly state: EntryState;
  readonly from: "issue" | "beginning";
  readonly until_ms: number | null;
  /** The origin names this key otherwise now: the entry goes, whatever its generation. */
  readonly gone?: true;
};
