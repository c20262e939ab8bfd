import { DurableObject } from "cloudflare:workers";
import type { JWK } from "jose";
import { base64url, fromBase64url } from "../src/base/bytes.ts";
import { verifierOf } from "../src/lineage/cosignature.ts";
import { witnessName } from "../src/lineage/names.ts";
import {
  formatVerifierKey,
  parseVerifierKey,
  SIGNATURE_TYPE,
  verifierKey,
  type VerifierKey,
} from "../src/lineage/note-key.ts";
import { formatNote } from "../src/lineage/note.ts";
import { admit, advance, cosignReply, type WitnessState } from "../src/lineage/witness.ts";
import type { Env } from "../src/objects/address.ts";
import type { PublicJwk } from "../src/objects/authority.ts";
import type { WitnessAnswer, WitnessRpc } from "../src/objects/log.ts";
import { readRegion } from "../src/region/config.ts";
import { migrate } from "./migrate.ts";
import {
  ed25519Signer,
  ed25519Verify,
  importSigningKey,
  newSigningJwk,
  nodeSha256,
  type SigningKey,
} from "./platform.ts";

const STEPS = [
  `CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE cosigned(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root TEXT NOT NULL, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE split_view(id INTEGER PRIMARY KEY, origin TEXT NOT NULL, held TEXT NOT NULL, shown TEXT NOT NULL, t_ms INTEGER NOT NULL) STRICT;`,
];

type Held = WitnessState & { readonly note: string };

/**
 * The region's C2SP witness: remembers the last size and root it cosigned of each peer's log, and cosigns only what
 * continues it (tlog-witness v1.0.0). One key, one row an origin. Compare and store are one synchronous turn; the
 * cosignature is made after the new state is on disk, so a restart can forget a signature but never a size.
 */
export class Witness extends DurableObject<Env> implements WitnessRpc {
  readonly #name: string;
  readonly #kid: string;
  #signing!: SigningKey;
  #key!: VerifierKey;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const region = readRegion(env);
    if (!region.ok) throw new Error(region.error);
    this.#name = witnessName(region.value.pdp);
    this.#kid = `${region.value.name}.${region.value.log_epoch}.witness.1`;
    migrate(ctx.storage, STEPS);
    void ctx.blockConcurrencyWhile(() => this.#start());
  }

  async #start(): Promise<void> {
    const { sql } = this.ctx.storage;
    const stored = sql.exec<{ value: string }>("SELECT value FROM meta WHERE key = 'signing_jwk'").toArray()[0]?.value;
    const jwk = stored === undefined ? await newSigningJwk(this.#kid) : (JSON.parse(stored) as JWK);
    if (stored === undefined) sql.exec("INSERT INTO meta(key, value) VALUES ('signing_jwk', ?)", JSON.stringify(jwk));
    this.#signing = await importSigningKey(jwk);
    this.#key = verifierKey(
      this.#name,
      SIGNATURE_TYPE.cosignature,
      fromBase64url(this.#signing.publicJwk.x!)!,
      nodeSha256,
    );
  }

  /** `logs`: verifier keys of the logs that this witness serves; the origin of each is its name. */
  async addCheckpoint(body: Uint8Array, logs: readonly string[]): Promise<WitnessAnswer> {
    const keys = logs.flatMap((vkey) => {
      const key = parseVerifierKey(vkey, nodeSha256);
      const verifier = key.ok ? verifierOf(key.value, ed25519Verify) : null;
      return verifier === null ? [] : [verifier];
    });
    const request = await admit(body, (origin) => {
      const trusted = keys.filter(({ key }) => key.name === origin);
      return trusted.length === 0 ? null : trusted;
    });
    if (!request.ok) return request.error;
    const { checkpoint, note } = request.value;
    // From here to the row no `await`: two requests that raced would roll one another back.
    const held = this.#held(checkpoint.origin);
    const next = advance(held, request.value, nodeSha256);
    if (!next.ok) {
      if (next.error.reason === "split_view")
        this.#keep(checkpoint.origin, held!.note, formatNote(note.text, note.signatures));
      return next.error;
    }
    const now_s = Math.floor(Date.now() / 1_000);
    this.ctx.storage.sql.exec(
      `INSERT INTO cosigned(origin, size, root, note) VALUES (?, ?, ?, ?)
       ON CONFLICT(origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note`,
      checkpoint.origin,
      next.value.size,
      base64url(next.value.root),
      formatNote(note.text, note.signatures),
    );
    await this.ctx.storage.sync();
    return cosignReply(request.value, [{ key: this.#key, sign: ed25519Signer(this.#signing) }], now_s);
  }

  #held(origin: string): Held | null {
    const row = this.ctx.storage.sql
      .exec<{ size: number; root: string; note: string }>(
        "SELECT size, root, note FROM cosigned WHERE origin = ?",
        origin,
      )
      .toArray()[0];
    return row === undefined ? null : { size: row.size, root: fromBase64url(row.root)!, note: row.note };
  }

  /** Both signed statements: proof, to anyone, that the log shows two histories. */
  #keep(origin: string, held: string, shown: string): void {
    this.ctx.storage.sql.exec(
      "INSERT INTO split_view(origin, held, shown, t_ms) VALUES (?, ?, ?, ?)",
      origin,
      held,
      shown,
      Date.now(),
    );
    console.error(JSON.stringify({ level: "error", event: "split_view", origin }));
  }

  async identity(): Promise<{ readonly vkey: string; readonly jwk: PublicJwk }> {
    return { vkey: formatVerifierKey(this.#key), jwk: this.#signing.publicJwk };
  }

  async status(): Promise<{
    readonly origins: readonly { readonly origin: string; readonly size: number; readonly root: string }[];
    readonly split_views: number;
  }> {
    const { sql } = this.ctx.storage;
    return {
      origins: sql
        .exec<{ origin: string; size: number; root: string }>("SELECT origin, size, root FROM cosigned ORDER BY origin")
        .toArray(),
      split_views: sql.exec<{ n: number }>("SELECT count(*) AS n FROM split_view").one().n,
    };
  }
}
