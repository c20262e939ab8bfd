import { base64url } from "../../src/base/bytes.ts";
import { digestOf, sha256 } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { JsonObject, JsonValue } from "../../src/base/json.ts";
import { coreText } from "../../src/decision/decide.ts";
import { ENGINE } from "../../src/decision/engine.ts";
import { commitment, committedState, encodeRecord, leafHash, saltedRunHash } from "../../src/lineage/record.ts";
import { saltTexts } from "../../src/lineage/seal.ts";
import type { Past } from "../../src/replay/past.ts";

/** A decision as `interlock lineage search --payload --json` writes it; its salts are made of its number. */
export function itemOfPast({ core, request, facts, run, seen, determining }: Past, sseq: number): JsonObject {
  const salts = {
    facts: new Uint8Array(32).fill(sseq),
    input: new Uint8Array(32).fill(sseq + 1),
    run: new Uint8Array(32).fill(sseq + 2),
  };
  const [run_id, run_salt] = [`${core.region}.1.AAAAAAAAAAAAAAAAAAAAAA`, new Uint8Array(16).fill(4)];
  const decision_id = `${core.region}.1.s0.${sseq}`;
  const leaf = encodeRecord({
    commit: {
      facts: commitment("facts", salts.facts, jcs(facts), sha256),
      input: commitment("input", salts.input, jcs(request), sha256),
      run: commitment("run", salts.run, committedState(jcs(run), jcs(seen)), sha256),
    },
    core: digestOf(coreText(core)),
    decision: core.decision,
    decision_id,
    engine: ENGINE,
    kind: "decision",
    log_epoch: 1,
    parents: [],
    policy: core.policy,
    prev: null,
    reason: core.reason,
    refers: null,
    region: core.region,
    run: saltedRunHash(run_salt, run_id, sha256),
    seq: 1,
    source: "shard/0",
    sseq,
    t: core.t_ms,
    traceparent: null,
    trust: { digest: core.trust, revision: seen.turn.revision },
    v: 1,
  });
  const payload = {
    core: JSON.parse(coreText(core)) as JsonValue,
    determining,
    errors: [],
    facts,
    input: request,
    run: run_id,
    run_salt: base64url(run_salt),
    run_state: run,
    seen,
  } as unknown as JsonObject;
  return {
    decision_id,
    kind: "decision",
    leaf: base64url(leaf),
    leaf_hash: base64url(leafHash(leaf, sha256)),
    payload,
    payload_status: "opened",
    salts: saltTexts(salts),
  };
}

/** The same after its payload was erased. */
export const erased = (item: JsonObject): JsonObject => ({
  ...item,
  payload: null,
  payload_status: "erased",
  salts: null,
});
