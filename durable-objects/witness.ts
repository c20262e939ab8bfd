import { DurableObject } from "cloudflare:workers";
import { fromBase64url } from "../src/base/bytes.ts";
import { cosign, verifierOf } from "../src/lineage/cosignature.ts";
import { originHash, witnessName } from "../src/lineage/names.ts";
import {
  formatVerifierKey,
  parseVerifierKey,
  SIGNATURE_TYPE,
  verifierKey,
  type VerifierKey,
} from "../src/lineage/note-key.ts";
import { formatNote, parseNote } from "../src/lineage/note.ts";
import { admit, advance, cosignReply } from "../src/lineage/witness.ts";
import type { Env } from "../src/objects/address.ts";
import type { PublicJwk } from "../src/objects/jwk.ts";
import type { WitnessAnswer, WitnessRpc } from "../src/objects/log.ts";
import { readRegion } from "../src/region/config.ts";
import { ed25519Signer, ed25519Verify, nodeSha256, ownSigningKey, type SigningKey } from "./platform.ts";
import { WitnessStore } from "./witness/store.ts";

/**
 * The region's C2SP witness: remembers the last size and root it cosigned of each peer's log, and cosigns only what
 * continues it (tlog-witness v1.0.0). One key, one row an origin. Compare and store are one synchronous turn; the
 * cosignature is made after the new state is on disk, so a restart can forget a signature but never a size.
 */
export class Witness extends DurableObject<Env> implements WitnessRpc {
  readonly #store: WitnessStore;
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
    this.#store = new WitnessStore(ctx.storage);
    void ctx.blockConcurrencyWhile(() => this.#start());
  }

  async #start(): Promise<void> {
    this.#signing = await ownSigningKey(this.#store, this.#kid);
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
    // What was verified and nothing else: it is shown to others.
    const signatures = note.signatures.filter((one) =>
      keys.some(({ key }) => key.name === one.name && key.id === one.key_id),
    );
    const signed = formatNote(note.text, signatures);
    // From here to the row no `await`: two requests that raced would roll one another back.
    const held = this.#store.held(checkpoint.origin);
    const next = advance(held, request.value, nodeSha256);
    if (!next.ok) {
      if (next.error.reason === "split_view") this.#keep(checkpoint.origin, held!.note, signed);
      return next.error;
    }
    const now_s = Math.floor(Date.now() / 1_000);
    this.#store.hold(checkpoint.origin, { ...next.value, note: signed, t_s: now_s });
    await this.#store.sync();
    return cosignReply(request.value, [{ key: this.#key, sign: ed25519Signer(this.#signing) }], now_s);
  }

  #keep(origin: string, held: string, shown: string): void {
    this.#store.addSplitView(origin, held, shown, Date.now());
    console.error(JSON.stringify({ level: "error", event: "split_view", origin }));
  }

  /**
   * The last checkpoint that this witness cosigned of an origin, under the log's own signature and this cosignature:
   * what a 409 or a 422 rests on, as proof that the log itself can check. `null` for one that was never cosigned.
   */
  async checkpoint(hash: string): Promise<string | null> {
    const known = this.#store.cosigned().find(({ origin }) => originHash(origin, nodeSha256) === hash);
    const held = known === undefined ? null : this.#store.held(known.origin);
    const note = held === null ? null : parseNote(held.note);
    if (held === null || note?.ok !== true) return null;
    const { text, signatures } = note.value;
    if (held.t_s === 0) return held.note;
    return formatNote(text, [...signatures, await cosign(text, this.#key, held.t_s, ed25519Signer(this.#signing))]);
  }

  async identity(): Promise<{ readonly vkey: string; readonly jwk: PublicJwk }> {
    return { vkey: formatVerifierKey(this.#key), jwk: this.#signing.publicJwk };
  }

  async status(): Promise<{
    readonly origins: readonly { readonly origin: string; readonly size: number; readonly root: string }[];
    readonly split_views: number;
  }> {
    return { origins: this.#store.cosigned(), split_views: this.#store.countSplitViews() };
  }
}
