import { digestOf } from "../../../src/base/digest.ts";
import { mintRunId, parseRunId } from "../../../src/base/ids.ts";
import type { PermitClaims } from "../../../src/credentials/permit.ts";
import { permitEnd } from "../../../src/credentials/permit-life.ts";
import { decodeRecord } from "../../../src/lineage/record.ts";
import { shardOfRun } from "../../../src/objects/address.ts";
import type { PermitAsk } from "../../../src/objects/decide.ts";
import { FRESHNESS } from "../../../src/region/config.ts";
import type { CanonicalRequest, Outcome } from "../../../src/vocabulary/types.ts";
import { nodeSha256, randomBytes } from "../../platform.ts";
import { GOOD } from "../run/rows.ts";
import type { Turn } from "../turn.ts";
import type { PermitRow } from "./rows.ts";

/** An id of this shard: whoever has it finds the shard by it. As many tries as shards in the mean. */
export function mintHere(turn: Pick<Turn, "region" | "log_epoch" | "shard" | "shards">): string {
  for (;;) {
    const id = mintRunId(turn.region, turn.log_epoch, randomBytes(16));
    if (shardOfRun(id, turn.shards) === turn.shard) return id;
  }
}

/** Whether it names something that this shard may have. */
export const isHere = (turn: Pick<Turn, "region" | "log_epoch">, id: string): boolean => {
  const parts = parseRunId(id);
  return parts?.region === turn.region && parts.log_epoch === turn.log_epoch;
};

/** The permit for a step that was allowed in this turn. */
export function issue(turn: Turn, ask: PermitAsk, run: string, step: number, outcome: Outcome): PermitRow {
  const row: PermitRow = {
    id: mintHere(turn),
    run,
    step,
    aud: ask.audience,
    offline: ask.offline,
    iat_ms: turn.t_ms,
    exp_ms: permitEnd({
      asked_ms: ask.ttl_ms,
      granted_ms: outcome.permit_ttl_ms,
      offline: ask.offline,
      delta_ms: FRESHNESS.delta_ms,
      t_ms: turn.t_ms,
      valid_until_ms: outcome.valid_until_ms,
      expires_ms: outcome.expires_ms,
    }),
    used: null,
  };
  turn.writer.permits.putPermit(row);
  return row;
}

/**
 * What the permit says, from its row, the question and the record of the step, which all stay as they are: so that a
 * repetition says the same, and its signature is the same. `null`: its step does not stand any more.
 */
export function claimsText(turn: Turn, row: PermitRow, request: string): string | null {
  const step = turn.writer.runs.step(row.step);
  const stored = turn.store.record(row.step);
  const record = stored === null ? null : decodeRecord(stored.leaf);
  if (step === null || step.standing !== GOOD || record?.ok !== true) return null;
  const { subject, action, resource } = JSON.parse(request) as CanonicalRequest;
  const claims: PermitClaims = {
    v: 1,
    iss: turn.pdp,
    aud: row.aud,
    jti: row.id,
    sub: { type: subject.type, id: subject.id },
    action: action.name,
    resource: { type: resource.type, id: resource.id },
    run: row.run,
    step: step.id,
    input: digestOf(request, nodeSha256),
    core: record.value.core,
    policy: record.value.policy,
    ...(row.offline ? { offline: true as const } : {}),
    iat_ms: row.iat_ms,
    exp: Math.ceil(row.exp_ms / 1_000),
    exp_ms: row.exp_ms,
  };
  return JSON.stringify(claims);
}
