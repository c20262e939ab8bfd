import type { Drifting, PolicyStatement } from "../policy/drift.ts";
import type { StatedState } from "../trust/state-statement.ts";
import type { AdminResult } from "./admin.ts";
import type { SyncAnswer } from "./peers.ts";

/** What a region knows of how its policy and the others' differ (docs/drift.md). */

/** Plain names for `Drifting`, with what an operator names it by. */
export type DriftEntry = Drifting & {
  /** Of this very difference; another one has another. */
  readonly id: string;
  /** Whether somebody has to look after it. */
  readonly alarming: boolean;
};

export type PeerPolicy = {
  readonly region: string;
  /** `null`: it has not said anything since this object started, or it is of a version that does not. */
  readonly statement: PolicyStatement | null;
  readonly heard_ms: number | null;
  /** What it holds of each origin; `null`: it has not said, or is of a version that does not. */
  readonly states: readonly StatedState[] | null;
};

export type DriftView = {
  readonly region: string;
  readonly at_ms: number;
  /** What the region does about a difference that nobody acknowledged. */
  readonly on_drift: "alarm" | "deny";
  /** In one line; `null`: nothing to look after. */
  readonly problem: string | null;
  readonly own: PolicyStatement | null;
  /** What this region holds of each origin, as far as it can say yet. */
  readonly states: readonly StatedState[];
  readonly peers: readonly PeerPolicy[];
  readonly differences: readonly DriftEntry[];
};

export type DriftStatus = Pick<DriftView, "at_ms" | "on_drift" | "problem" | "differences">;

export type AcknowledgeDriftMessage = { readonly id: string; readonly reason: string; readonly actor: string };

export interface DriftRpc {
  /** A peer asks what decides here. */
  syncPolicy(text: string): Promise<SyncAnswer>;
  /** A peer says what it holds of the trust state, and asks the same. */
  syncState(text: string): Promise<SyncAnswer>;
  drift(): Promise<DriftView>;
  /** The difference is known, and the region goes on with it as it is. */
  acknowledgeDrift(message: AcknowledgeDriftMessage): Promise<AdminResult<DriftView>>;
}
