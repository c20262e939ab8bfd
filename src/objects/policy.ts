import type { Refusal } from "../policy/bundles/refusals.ts";
import type { PolicyTrust } from "../policy/bundles/state.ts";
import type { GateReport } from "../replay/gate.ts";
import type { PackStatus } from "../policy/load.ts";

/** How signed policy gets into the region (docs/policy.md). */

export type PutPolicyMessage = {
  /** Roots after the one that the region trusts, in order; `timestamp`, `policy`: `null` where none is offered. */
  readonly roots: readonly unknown[];
  readonly timestamp: unknown;
  readonly policy: unknown;
  readonly bundle: Uint8Array | null;
  readonly actor: string;
  /** Thumbprint of the key that signed the administrator's credential. */
  readonly key: string;
  /** Two approvals must come under two keys too: where the region has more than one. */
  readonly another_key: boolean;
  /** Digest of the report that the administrator has seen (`INTERLOCK_POLICY_GATE`). */
  readonly acknowledge: string | null;
  /** Only says what would come of it. */
  readonly dry_run: boolean;
  /** Canonical keys of the credential, its issuer and its key: once one is revoked, the asking counts no more. */
  readonly rests_on: readonly string[];
};

/** Somebody brought an offer that a second administrator has to bring too. */
export type PolicyRequest = {
  readonly asked_by: string;
  /** Digest text of the offer. */
  readonly offer: string;
  readonly asked_at_ms: number;
  readonly expires_ms: number;
};

/** What is in force, until when, and what comes next: part of the region's status. */
export type PolicyStanding = {
  /** `baseline`: the packs of the deployment, as long as no signed policy was taken. */
  readonly source: "baseline" | "signed";
  /** Of the signed policy that is in force; `null`: the baseline is, or nothing. */
  readonly version: number | null;
  readonly bundle: string | null;
  /** Version that comes into force by itself, and when. */
  readonly next: { readonly version: number; readonly from_ms: number } | null;
  /** Unix milliseconds; `null` where there is none. The first that passes denies everything. */
  readonly expires_ms: {
    readonly root: number | null;
    readonly policy: number | null;
    readonly timestamp: number | null;
  };
  /** Why nothing is in force; `null` where something is. */
  readonly problem: string | null;
};

export type PolicyView = PolicyStanding & {
  readonly region: string;
  /** Digest that decisions name. */
  readonly digest: string | null;
  readonly packs: readonly PackStatus[];
  readonly approvals: 1 | 2;
  readonly asked: PolicyRequest | null;
  /** What the region found when it took its newest policy. */
  readonly gate: GateReport | null;
  /** The documents as they were signed, and the floors: whoever prepares an offer can try it beforehand. */
  readonly trust: PolicyTrust | null;
};

/** `would_…`: of a dry run. */
export type PolicyOutcome = "taken" | "unchanged" | "asked" | "would_take" | "would_refuse";

export type PutPolicyAnswer =
  | {
      readonly ok: true;
      readonly outcome: PolicyOutcome;
      /** Of this offer; `null`: it changes nothing of what is decided. */
      readonly gate: GateReport | null;
      /** Why the gate would refuse it (`would_refuse`). */
      readonly why?: Refusal | null;
      readonly view: PolicyView;
    }
  | { readonly ok: false; readonly code: "refused"; readonly refusal: Refusal }
  | { readonly ok: false; readonly code: "unchecked" | "conflict"; readonly message: string };

export interface PolicyRpc {
  putPolicy(message: PutPolicyMessage): Promise<PutPolicyAnswer>;
  policyView(): Promise<PolicyView>;
  /** Bytes of a bundle that the region has taken, by the digest of its bytes; for shards, and for replays. */
  policyBundle(sha256: string): Promise<Uint8Array | null>;
  /** Bytes of the bundle that gave this region a policy of this digest, as records name it; for replays. */
  policyNamed(digest: string): Promise<Uint8Array | null>;
}
