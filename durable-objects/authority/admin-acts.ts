import { jcs } from "../../src/base/jcs.ts";
import { COMMITMENT_SALT_BYTES, commitment } from "../../src/lineage/record.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import type { AdminRows } from "./admin-rows.ts";
import type { EventWriter } from "./writer.ts";

export type AdminAct = {
  readonly what:
    "clock_reset" | "unfreeze_asked" | "request_refused" | "policy_asked" | "drift_acknowledged" | "replay_asked";
  readonly actor: string;
  readonly reason: string;
  readonly t_ms: number;
};

/** A leaf for the act, which names nobody; what it commits to stays here. In one transaction with `also`. */
export function recordAct(rows: AdminRows, writer: EventWriter, act: AdminAct, also: () => void): void {
  const text = jcs(act);
  const salt = randomBytes(COMMITMENT_SALT_BYTES);
  const commit = commitment("input", salt, text, nodeSha256);
  writer.record((leaf) => {
    rows.addAct(leaf("admin", { commit, what: act.what }, act.t_ms, salt), text);
    also();
  });
}
