import { liveness } from "../../src/ssf/liveness.ts";
import { issuerKey } from "../../src/trust/keys.ts";
import { SOURCE, type Revocations } from "./revocations.ts";
import { actorOf, type SignalStore, type StreamRow } from "./signal-store.ts";

/** What follows when a source of signals falls silent, and when it is live again. */
export class SignalSources {
  readonly #store: SignalStore;
  readonly #revocations: Revocations;

  constructor(store: SignalStore, revocations: Revocations) {
    this.#store = store;
    this.#revocations = revocations;
  }

  /**
   * Denies what depends on the issuer of a degraded source, where its registration says so, and lifts it when the
   * source is live. Each step may be repeated: a process that died in between is made good by the next look.
   */
  async settle(): Promise<void> {
    for (const row of this.#store.streams()) {
      const { lease_s, on_degraded } = row.registration;
      const { state, reasons } = liveness(row.source, lease_s ?? null, Date.now());
      const denies = state === "degraded" && on_degraded === "deny";
      if (denies && row.source.denied_by === null) await this.#deny(row, reasons);
      else if (!denies && row.source.denied_by !== null) await this.#lift(row, row.source.denied_by);
    }
  }

  async #deny(row: StreamRow, reasons: readonly string[]): Promise<void> {
    const revoked = await this.#revocations.revoke(
      {
        key: issuerKey(row.registration.issuer),
        from: "issue",
        level: "degraded",
        reason: `source ${row.id} is degraded: ${reasons.join(", ")}`,
        actor: actorOf(row),
        wait: "accepted",
      },
      { reason_code: SOURCE },
    );
    // Refused where the issuer is revoked already: that is not for a source to lift.
    if (revoked.ok) this.#putDeniedBy(row.id, revoked.value.id);
  }

  /** Only an entry that was made for a source, and only when no other stream of the issuer is degraded. */
  async #lift(row: StreamRow, id: string): Promise<void> {
    const { issuer } = row.registration;
    const others = this.#store
      .streams()
      .some((other) => other.id !== row.id && other.registration.issuer === issuer && other.source.denied_by !== null);
    if (!others && this.#revocations.madeFor(id, SOURCE)) {
      await this.#revocations.restore(id, `source ${row.id} is live again`, actorOf(row));
    }
    this.#putDeniedBy(row.id, null);
  }

  #putDeniedBy(id: string, denied_by: string | null): void {
    this.#store.putSource(id, { ...this.#store.stream(id)!.source, denied_by });
  }
}
