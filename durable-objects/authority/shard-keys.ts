import { shardAt, type Env } from "../../src/objects/address.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { KeysView, RotateShardKeysMessage } from "../../src/objects/keys.ts";
import type { Region } from "../../src/region/config.ts";
import type { Epochs } from "./epochs.ts";
import type { CertifiedKeys } from "./keys.ts";

/**
 * New receipt keys for shards that run: each makes its next one, the authority certifies it by an event with its leaf,
 * and only then the shard signs with it. A crash in between is made good by asking again.
 */
export class ShardKeys {
  readonly #env: Env;
  readonly #region: Region;
  readonly #keys: CertifiedKeys;
  readonly #epochs: Epochs;
  readonly #view: () => KeysView;

  constructor(env: Env, region: Region, keys: CertifiedKeys, epochs: Epochs, view: () => KeysView) {
    this.#env = env;
    this.#region = region;
    this.#keys = keys;
    this.#epochs = epochs;
    this.#view = view;
  }

  async rotate({ shard, reason, actor }: RotateShardKeysMessage): Promise<AdminResult<KeysView>> {
    const { shards } = this.#region;
    if (shard !== null && shard >= shards)
      return { ok: false, code: "not_found", message: `this region has ${shards} shards, counted from 0` };
    const ended = this.#epochs.closed ?? this.#epochs.problem;
    if (ended !== null) return { ok: false, code: "conflict", message: ended };
    for (const k of shard === null ? Array.from({ length: shards }, (_, at) => at) : [shard]) {
      const stub = shardAt(this.#env, this.#region, k);
      const key = await stub.nextKey();
      await this.#keys.certify(key, "shard", { actor, reason });
      if (this.#keys.find(key.kid)?.x !== key.x)
        return {
          ok: false,
          code: "conflict",
          message: `another key is certified as ${key.kid}: the storage of shard ${k} was put back`,
        };
      if (!(await stub.useKey(key.kid)))
        return { ok: false, code: "conflict", message: `shard ${k} changed its key meanwhile: ask again` };
    }
    return { ok: true, value: this.#view() };
  }
}
