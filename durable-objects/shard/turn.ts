import type { ShardCondition } from "../../src/decision/checks.ts";
import type { Keyed } from "../../src/runs/binding.ts";
import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import type { StepOutcome, StepReceiptFacts } from "../../src/vocabulary/run.ts";
import type { CanonicalRequest, DecisionCore, TrustMatch, TrustView } from "../../src/vocabulary/types.ts";
import type { Continuity } from "../../src/objects/decide.ts";
import type { LoadedPolicy } from "../../src/policy/evaluate.ts";
import type { Call } from "./group-commit.ts";
import type { Live } from "./live.ts";
import type { HoldRow } from "./permits/rows.ts";
import type { RunRow, ShardStore } from "./store.ts";
import type { Appended, SourceWriter } from "./writer.ts";

/** An allow that was recorded and then withdrawn before it left: a `withheld` record must follow. */
export type Owed = {
  readonly run: RunRow;
  readonly refers: Appended;
  /** Canonical keys of those whom the payload is about. */
  readonly subjects: readonly string[];
  readonly input: string;
  readonly facts: string;
  readonly run_state: string;
  readonly core: DecisionCore;
  readonly traceparent: string | null;
  /** Stored answer that must not be repeated as an allow. */
  readonly idempotency: string | null;
  /** Place of the item in that answer. */
  readonly index: number;
  /**
   * Called once the record is on disk (`true`), or a flush with it has failed (`false`; it stays owed). The caller
   * hears of the deny no earlier: else a crash in between would leave an allow that could be repeated.
   */
  readonly settle: (stored: boolean) => void;
};

/** Watches the active holds, and tells those who listen (`permits/halts`). */
export interface HoldWatch {
  /** Ends whatever something has turned against. */
  look(): void;
  end(id: string, reason: ReasonCode, detail: string | null, now_ms: number): void;
  tell(hold: HoldRow, reason: ReasonCode, detail: string | null): void;
  tellRenewed(hold: HoldRow): void;
  tellEnded(hold: HoldRow, outcome: StepOutcome): void;
  /** It is over at its end unless it is renewed: then somebody has to notice. */
  expect(hold: Pick<HoldRow, "valid_until_ms">): void;
}

/** What the calls of a shard share: the state of the current turn, and the shard as it is at release. */
export interface Turn {
  readonly region: string;
  readonly log_epoch: number;
  readonly shard: number;
  /** How many shards the epoch has. */
  readonly shards: number;
  /** Identifier of the PDP. */
  readonly pdp: string;
  readonly halts: HoldWatch;
  readonly policy: LoadedPolicy;
  readonly store: ShardStore;
  readonly writer: SourceWriter;
  /** The clock of this turn, read once; never behind the newest record. */
  readonly t_ms: number;
  readonly trust: TrustView;
  readonly condition: ShardCondition;
  /** What every decision of the turn sees alike (`decision/seen`). */
  readonly seenText: string;
  readonly trustDigest: (matches: readonly TrustMatch[]) => string;
  /** Pseudonyms of a canonical key. */
  namesOf(key: string): readonly string[];
  /** For the tokens that bind a request for an approval to a denial. */
  readonly binding: Keyed;
  /** Token of a step of an opened run that was denied at `t_ms` for want of an approval. */
  bindingToken(run: string, request: CanonicalRequest, t_ms: number): string;
  /** The same as another region may be told them, the current one first: none where the region has no peers. */
  toldNames(key: string): readonly string[];
  /** Whether this shard can say anything to another region: its key is certified. */
  readonly vouchedFor: boolean;
  /** What this shard says to another region (`credentials/between`); `null`: its key is not certified. */
  statement(typ: string, claims: object): Promise<string | null>;
  now(): number;
  /** All of it at once, for what is released together. */
  live(): Live;
  liveTrust(): TrustView;
  liveCondition(): ShardCondition;
  /** Whether an entry in force names one of the keys; `degraded`: one that degrades them was known and admitted. */
  revoked(dependencies: readonly string[], degraded: boolean): boolean;
  /** The same for a decision of this turn, which has looked already: nothing to do unless the revision has moved. */
  revokedSince(dependencies: readonly string[], degraded: boolean): boolean;
  /** Whether a stored step of an opened run rests on what was revoked from the beginning. */
  marked(sseq: number): boolean;
  /** Whether any of these, canonical keys or pseudonyms, is revoked from the beginning. */
  lost(keys: readonly string[]): boolean;
  /** The same for a step of this turn: nothing to do unless the revision has moved. */
  markedSince(sseq: number): boolean;
  owe(owed: Owed): void;
  /** Whether the step at this `sseq` was withdrawn, and its record is not written yet. */
  readonly withdrawn: (sseq: number) => boolean;
  /** Whether an allow of the stored answer under this key was withdrawn, and its record is not written yet. */
  owes(idempotency: string): boolean;
  /** Executes a call once more in the next turn, after what is owed. */
  again(call: Call): void;
  mintRun(): string;
  /** Another region said two things of one pass: it has two histories, or its key is in other hands. */
  contradicted(receipt: StepReceiptFacts, why: string): void;
  consistency(): string;
  continuity(): Continuity;
  /** A compact JWS by the shard's key. */
  signed(typ: string, payload: string): Promise<string>;
  /** The receipt of an earlier call, made again: Ed25519 is deterministic, so it is the same receipt. */
  receiptOf(first_sseq: number, records: number): Promise<string | null>;
  bug(where: string, cause: unknown): void;
}
