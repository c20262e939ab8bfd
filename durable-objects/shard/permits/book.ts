import type { ReasonCode } from "../../../src/vocabulary/reasons.ts";
import { PermitRows, type HoldRow, type PermitRow } from "./rows.ts";

/** What a hold rests on: looked at until it ends. */
export type HoldBasis = {
  /** Canonical keys. */
  readonly keys: readonly string[];
  readonly homes: readonly string[];
  readonly expires_ms: number;
  readonly degraded: boolean;
  /** Digest of the policy that it was decided by. */
  readonly policy: string;
};

export type LiveHold = { readonly row: HoldRow; readonly basis: HoldBasis };

const KEPT_PERMIT_MS = 600_000;
const KEPT_HOLD_MS = 86_400_000;

/**
 * Permits and holds of a shard: the rows, over them what the current turn has changed (like `RunBook`), and in memory
 * what each active hold rests on. A hold that ends, ends at once and for good, whatever a turn under way makes of it.
 */
export class PermitBook {
  readonly rows: PermitRows;
  readonly live = new Map<string, LiveHold>();
  #event: number;
  #permits = new Map<string, PermitRow>();
  #holds = new Map<string, HoldRow>();
  #bases = new Map<string, HoldBasis>();

  constructor(sql: SqlStorage) {
    this.rows = new PermitRows(sql);
    this.#event = this.rows.newestEvent();
  }

  permit(id: string): PermitRow | null {
    return this.#permits.get(id) ?? this.rows.permit(id);
  }

  hold(id: string): HoldRow | null {
    return this.#holds.get(id) ?? this.rows.hold(id);
  }

  putPermit(row: PermitRow): void {
    this.#permits.set(row.id, row);
  }

  putHold(row: HoldRow, basis: HoldBasis | null): void {
    this.#holds.set(row.id, row);
    if (basis !== null) this.#bases.set(row.id, basis);
  }

  nextEvent(): number {
    return ++this.#event;
  }

  /** Outside of a turn too; `null`: it had ended before. */
  end(id: string, reason: ReasonCode, t_ms: number): HoldRow | null {
    const row = this.hold(id);
    this.live.delete(id);
    if (row === null || row.state === "ended") return null;
    const ended: HoldRow = { ...row, state: "ended", reason, ended_ms: t_ms, event: this.nextEvent() };
    if (this.#holds.has(id)) this.#holds.set(id, ended);
    // One that the turn under way has made is stored with it, as ended.
    if (this.rows.hold(id) !== null) this.rows.putHold(ended);
    return ended;
  }

  /** In the transaction of the turn's records. */
  write(): void {
    for (const row of this.#permits.values()) this.rows.putPermit(row);
    for (const row of this.#holds.values()) this.rows.putHold(row);
  }

  /** The turn is in storage. */
  written(): void {
    for (const [id, row] of this.#holds) {
      const basis = this.#bases.get(id) ?? this.live.get(id)?.basis;
      if (row.state === "active" && basis !== undefined) this.live.set(id, { row, basis });
      else this.live.delete(id);
    }
    this.clear();
  }

  /** The turn is stored, or was rolled back. */
  clear(): void {
    if (this.#permits.size > 0) this.#permits = new Map();
    if (this.#holds.size > 0) this.#holds = new Map();
    if (this.#bases.size > 0) this.#bases = new Map();
  }

  sweep(now_ms: number): void {
    this.rows.dropBefore(now_ms - KEPT_PERMIT_MS, now_ms - KEPT_HOLD_MS);
  }
}
