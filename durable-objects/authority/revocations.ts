import type { AdminResult, AuthorityRpc, RevocationView, RevokeMessage } from "../../src/objects/authority.ts";
import type { Region } from "../../src/region/config.ts";
import { encodeConsistency } from "../../src/trust/consistency.ts";
import { eventId, parseEventId } from "../../src/trust/event-chain.ts";
import { bindsDecisions, parseKey } from "../../src/trust/keys.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import type { Shards } from "./shards.ts";
import type { AuthorityStore, EntryRow } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** On whose behalf a revocation is made, and what else its transaction writes. */
export type Cause = { readonly reason_code: string; readonly also?: () => void };
/** A source of signals is degraded (`signals`). */
export const SOURCE = "ssf_source";
const ADMIN: Cause = { reason_code: "admin" };

/** Revocations that this region made: by key, and each by the id of the event that made it. */
export class Revocations {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly #shards: Shards;
  readonly #pseudonyms: Pseudonyms;

  constructor(region: Region, store: AuthorityStore, writer: EventWriter, shards: Shards, pseudonyms: Pseudonyms) {
    this.#pseudonyms = pseudonyms;
    this.#region = region;
    this.#store = store;
    this.#writer = writer;
    this.#shards = shards;
  }

  /** Deny-ward writes are always accepted, also while the region is joining or frozen. */
  async revoke(message: RevokeMessage, cause: Cause = ADMIN): Promise<AdminResult<RevocationView>> {
    const parsed = parseKey(message.key);
    if (!parsed.ok) return { ok: false, code: "invalid", message: `key: ${parsed.error}` };
    const origin = this.#region.name;
    const pseudonym = this.#pseudonyms.current(message.key);
    const before = this.#store.entry(pseudonym, origin);
    // The same revocation again is the same entry; only a stronger one (`beginning`) is a new event.
    if (
      before?.state === "revoked" &&
      (before.from === message.from || before.from === "beginning") &&
      this.#covers(before, cause)
    ) {
      if (cause.also !== undefined) this.#store.transaction(cause.also);
      await this.#reach(before.revision, message.wait);
      return { ok: true, value: this.#describe(before) };
    }
    const { revision } = await this.#writer.append(
      {
        kind: "revoke",
        key: message.key,
        generation: "next",
        from: message.from,
        reason_code: cause.reason_code,
        actor: message.actor,
        note: message.reason,
      },
      ({ seq, key, generation }, revision) => {
        this.#store.putEntry({
          key,
          clear: message.key,
          origin,
          generation,
          state: "revoked",
          from: message.from,
          revoked_seq: seq,
          revision,
        });
        cause.also?.();
      },
    );
    await this.#reach(revision, message.wait);
    return { ok: true, value: this.#describe(this.#store.entry(pseudonym, origin)!) };
  }

  /** `accepted`: the shards hear of it all the same, and nobody waits. */
  async #reach(revision: number, wait: RevokeMessage["wait"]): Promise<void> {
    const effective = this.#shards.effective(revision);
    if (wait === "local") await effective;
  }

  /**
   * Whether what stands is enough for this cause. A deny because a source fell silent is lifted when the source is
   * live again, so whoever else revokes the key makes an entry of their own.
   */
  #covers(entry: EntryRow, cause: Cause): boolean {
    return cause.reason_code === SOURCE || this.#store.event(entry.revoked_seq)!.event.reason_code !== SOURCE;
  }

  /** Whether the revocation was made for this cause. */
  madeFor(id: string, reason_code: string): boolean {
    const made = this.#find(id);
    return made.ok && this.#store.event(made.value.revoked_seq)!.event.reason_code === reason_code;
  }

  async restore(id: string, reason: string, actor: string): Promise<AdminResult<RevocationView>> {
    const found = this.#find(id);
    if (!found.ok) return found;
    const entry = found.value;
    if (entry.state === "restored") return { ok: true, value: this.#describe(entry) };
    const { revision, result } = await this.#writer.append(
      {
        kind: "restore",
        key: entry.clear!,
        generation: "next",
        from: entry.from,
        cites: entry.revoked_seq,
        reason_code: "admin",
        actor,
        note: reason,
      },
      ({ generation }, revision) => {
        const current = this.#store.entry(entry.key, entry.origin);
        // Revoked again meanwhile: this restoration cites an event that no longer stands.
        if (current?.revoked_seq !== entry.revoked_seq) return false;
        this.#store.putEntry({ ...entry, generation, state: "restored", revision });
        return true;
      },
    );
    if (!result)
      return { ok: false, code: "conflict", message: "the key was revoked again; restore the newer revocation" };
    await this.#shards.effective(revision);
    return { ok: true, value: this.#describe(this.#store.entry(entry.key, entry.origin)!) };
  }

  read(id: string): AdminResult<RevocationView> {
    const found = this.#find(id);
    return found.ok ? { ok: true, value: this.#describe(found.value) } : found;
  }

  list(after: number, limit: number): Awaited<ReturnType<AuthorityRpc["listRevocations"]>> {
    const rows = this.#store.revocations(this.#region.name, after, limit + 1);
    const page = rows.slice(0, limit);
    return {
      revocations: page.map((row) => this.#describe(row)),
      next: rows.length > limit ? page.at(-1)!.revision : null,
    };
  }

  /** From storage, not from memory: a superseded twin of this object would fail here instead of letting through. */
  any(keys: readonly string[]): boolean {
    return keys.some((key) => this.#store.entry(this.#pseudonyms.current(key), this.#region.name)?.state === "revoked");
  }

  #find(id: string): AdminResult<EntryRow> {
    const parts = parseEventId(id);
    const row = parts?.origin === this.#region.name ? this.#store.event(parts.seq) : null;
    if (row === null || row.event.kind !== "revoke" || eventId(row.event) !== id) {
      return { ok: false, code: "not_found", message: `no revocation ${id} was made in region ${this.#region.name}` };
    }
    const entry = this.#store.entry(row.event.key, row.event.origin)!;
    if (entry.revoked_seq !== row.event.seq) {
      return {
        ok: false,
        code: "conflict",
        message: `revocation ${id} was superseded by ${this.#region.name}.1.${entry.revoked_seq}`,
      };
    }
    return { ok: true, value: entry };
  }

  #describe(entry: EntryRow): RevocationView {
    const made = this.#store.event(entry.revoked_seq)!;
    const clear = entry.clear ?? entry.key;
    const key = parseKey(clear);
    return {
      id: eventId(made.event),
      key: clear,
      origin: entry.origin,
      generation: entry.generation,
      state: entry.state,
      from: entry.from,
      reason: made.note,
      issued_at_ms: made.event.issued_at_ms,
      revision: entry.revision,
      effect: key.ok && bindsDecisions(key.value.kind) ? "denies" : "recorded",
      status: { [this.#region.name]: this.#shards.statusOf(entry.revision) },
      consistency: encodeConsistency({
        region: this.#region.name,
        revision: entry.revision,
        events: { [entry.origin]: [made.event.incarnation, this.#store.head().seq] },
      }),
    };
  }
}
