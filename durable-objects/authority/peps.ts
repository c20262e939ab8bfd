import { base64url } from "../../src/base/bytes.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { PepView, RegisterPepMessage } from "../../src/objects/authority.ts";
import type { Region } from "../../src/region/config.ts";
import { credentialKey, issuerKey, keyKey, parseKey, pepKey, regionKey } from "../../src/trust/keys.ts";
import { randomBytes, signJws } from "../platform.ts";
import type { CertifiedKeys } from "./keys.ts";
import type { Revocations } from "./revocations.ts";
import type { AuthorityStore, PepRow } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** The region's PEPs: who may ask, under a credential that the authority signs. */
export class Peps {
  readonly #region: Region;
  readonly #store: AuthorityStore;
  readonly #writer: EventWriter;
  readonly #keys: CertifiedKeys;
  readonly #revocations: Revocations;

  constructor(
    region: Region,
    store: AuthorityStore,
    writer: EventWriter,
    keys: CertifiedKeys,
    revocations: Revocations,
  ) {
    this.#region = region;
    this.#store = store;
    this.#writer = writer;
    this.#keys = keys;
    this.#revocations = revocations;
  }

  async register(message: RegisterPepMessage): Promise<AdminResult<PepView & { readonly credential: string }>> {
    const key = pepKey(this.#region.name, message.id);
    const parsed = parseKey(key);
    if (!parsed.ok) return { ok: false, code: "invalid", message: `id: ${parsed.error}` };
    const now = Date.now();
    const row: PepRow = {
      id: message.id,
      scopes: message.scopes,
      audiences: message.audiences ?? [],
      jti: base64url(randomBytes(16)),
      registered_at_ms: now,
      exp_ms: now + message.ttl_s * 1_000,
      kid: this.#keys.own.kid,
    };
    const credential = await this.#credential(row);
    const stored = await this.#writer.append(
      {
        kind: "pep",
        key,
        generation: 1,
        reason_code: "registered",
        actor: message.actor,
        note: row.scopes.join(" "),
      },
      () => {
        const before = this.#store.pep(row.id);
        const revoked = this.#revocations.any([key]);
        if (before !== null && before.exp_ms > now && !revoked) return "registered";
        if (revoked) return "revoked";
        const taken = this.#takenAudience(row, now);
        if (taken !== null) return taken;
        this.#store.putPep(row);
        return null;
      },
    );
    if (stored.result?.startsWith("audience") === true) return { ok: false, code: "conflict", message: stored.result };
    if (stored.result !== null) {
      return {
        ok: false,
        code: "conflict",
        message: `PEP ${row.id} is ${stored.result}; choose another id, or ${stored.result === "revoked" ? "restore" : "revoke"} it first`,
      };
    }
    return { ok: true, value: { ...this.#describe(row, now), credential } };
  }

  /** An audience may be shared by PEPs, but nobody goes by the id of another. */
  #takenAudience({ id, audiences }: PepRow, now: number): string | null {
    for (const other of this.#store.peps()) {
      if (other.id === id || other.exp_ms <= now) continue;
      if (audiences.includes(other.id)) return `audience ${other.id} is the id of another PEP`;
      if (other.audiences.includes(id)) return `audience ${id} is registered for PEP ${other.id}: choose another id`;
    }
    return null;
  }

  list(): readonly PepView[] {
    const now = Date.now();
    return this.#store.peps().map((row) => this.#describe(row, now));
  }

  status(id: string): PepView | null {
    const row = this.#store.pep(id);
    return row === null ? null : this.#describe(row, Date.now());
  }

  #credential(row: PepRow): Promise<string> {
    const name = `pep:${this.#region.name}/${row.id}`;
    const claims = {
      aud: this.#region.pdp,
      ...(row.audiences.length === 0 ? {} : { audiences: row.audiences }),
      client_id: name,
      exp: Math.floor(row.exp_ms / 1_000),
      iat: Math.floor(row.registered_at_ms / 1_000),
      iss: this.#region.pdp,
      jti: row.jti,
      scope: row.scopes.join(" "),
      sub: name,
    };
    return signJws(this.#keys.own, "at+jwt", JSON.stringify(claims));
  }

  #describe(row: PepRow, now: number): PepView {
    const key = pepKey(this.#region.name, row.id);
    // Who reads is held against this status, so what the credential rests on counts like the PEP itself.
    const { pdp, name } = this.#region;
    const signer = this.#keys.signerOf(row.kid);
    const revoked =
      signer === null ||
      this.#revocations.any([key, credentialKey(pdp, row.jti), issuerKey(pdp), keyKey(signer), regionKey(name)]);
    return {
      id: row.id,
      key,
      scopes: row.scopes,
      audiences: row.audiences,
      registered_at_ms: row.registered_at_ms,
      exp_ms: row.exp_ms,
      status: revoked ? "revoked" : row.exp_ms <= now ? "expired" : "active",
    };
  }
}
