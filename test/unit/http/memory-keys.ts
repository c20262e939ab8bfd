import type { AdminResult } from "../../../src/objects/admin.ts";
import type {
  KeysRpc,
  KeysView,
  NextKeyMessage,
  RotateShardKeysMessage,
  SwitchKeyMessage,
} from "../../../src/objects/keys.ts";
import { MemoryPeers } from "./memory-peers.ts";

/** The region's own keys in memory; what was asked is kept. */
export class MemoryKeys extends MemoryPeers implements KeysRpc {
  readonly asked: (NextKeyMessage | SwitchKeyMessage | RotateShardKeysMessage)[] = [];
  readonly keysView: KeysView = {
    region: "eu",
    membership_version: 3,
    current: { kid: "eu.1.authority.1", thumbprint: "t1", membership: "listed" },
    next: { kid: "eu.1.authority.2", thumbprint: "t2", membership: "unlisted" },
    past: [],
    waits_for: "membership",
    behind: ["us"],
    seq: 7,
    certified: [{ kid: "eu.1.authority.1", role: "authority" }],
  };

  async ownKeys(): Promise<KeysView> {
    return this.keysView;
  }
  async rotateShardKeys(message: RotateShardKeysMessage): Promise<AdminResult<KeysView>> {
    this.asked.push(message);
    return { ok: true, value: this.keysView };
  }
  async nextKey(message: NextKeyMessage): Promise<AdminResult<KeysView>> {
    this.asked.push(message);
    return { ok: true, value: this.keysView };
  }
  async switchKey(message: SwitchKeyMessage): Promise<AdminResult<KeysView>> {
    this.asked.push(message);
    return message.force === true
      ? { ok: true, value: this.keysView }
      : { ok: false, code: "wrong_order", message: "membership version 3 does not list eu.1.authority.2" };
  }
}
