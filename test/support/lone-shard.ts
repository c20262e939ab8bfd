import { mintRunId } from "../../src/base/ids.ts";
import { jcs } from "../../src/base/jcs.ts";
import type { Env } from "../../src/objects/address.ts";
import type { LeaseAnswer, LeaseRequest } from "../../src/objects/lease.ts";
import type { IntegrateAnswer, IntegrateMessage } from "../../src/objects/log.ts";
import type { DecideMessage } from "../../src/objects/decide.ts";
import { activePolicy } from "../../src/policy/baseline.ts";
import { OPEN_SECRET } from "../../src/region/federation-secrets.ts";
import type { Region } from "../../src/region/config.ts";

/** A shard in Node, without its region: what stands in for the authority and the log, and one question to ask it. */
export const REGION: Region = {
  name: "eu",
  pdp: "https://eu.pdp.example",
  log_epoch: 1,
  shards: 1,
  jurisdiction: null,
  packs: ["sovereign", "authzen-certification"],
  open: true,
  retention_days: null,
  amnesia_ask: "one",
  secrets: [OPEN_SECRET],
};

const BASELINE = activePolicy(REGION).digest;

/** The answer of an authority that has no trust events and no peers. */
export const grant = ({ nonce, material }: LeaseRequest): LeaseAnswer & { readonly ok: true } => ({
  ok: true,
  nonce,
  remaining_ms: 3_600_000,
  from_revision: 0,
  revision: 0,
  mode: "active",
  entries: [],
  more: false,
  federation: null,
  own: { incarnation: 1, seq: 0 },
  origins: [],
  material: material === null ? { v: 1, digest: "none", keys: [], identity: { nonce_key: "", sources: [] } } : null,
  policy: BASELINE,
  certificate: null,
});

type Integrate = (message: IntegrateMessage) => Promise<IntegrateAnswer>;

/** A log that takes everything, and has it witnessed at once. */
function willingLog(): Integrate {
  let mark = 0;
  return async ({ from_sseq, hashes }) => {
    mark = Math.max(mark, from_sseq - 1 + hashes.length / 32);
    return { ok: true, mark, size: mark + 1, anchored: mark };
  };
}

/** The bindings of a shard, with `authority` in place of what the authority would answer. */
export function bindings(authority: object = {}, integrate: Integrate = willingLog()): Env {
  const namespace = (stub: object): DurableObjectNamespace =>
    ({ idFromName: (name: string) => name, get: () => stub }) as unknown as DurableObjectNamespace;
  const lease = async (request: LeaseRequest) => grant(request);
  return {
    TRUST_AUTHORITY: namespace({ lease, erasureHead: async () => 0, ...authority }),
    REGION_LOG: namespace({ integrate }),
  } as unknown as Env;
}

/** An allow under the pack `authzen-certification`. */
const QUESTION = jcs({
  v: 1,
  subject: { type: "user", id: "alice" },
  action: { name: "read" },
  resource: { type: "record", id: "record-1" },
});

export const FACTS = jcs({
  v: 1,
  material: "none",
  keys: [],
  thumbprints: [],
  pep: { id: "open", credential: "", issuer: REGION.pdp, scopes: ["evaluate"], exp_ms: 4_102_444_800_000 },
});

/** `QUESTION`, asked `items` times in one call, in a run of its own. */
export function question(changes: Partial<DecideMessage> = {}, items = 1): DecideMessage {
  const run = changes.implicit_run ?? mintRunId("eu", 1, crypto.getRandomValues(new Uint8Array(16)));
  return {
    v: 1,
    items: Array.from({ length: items }, () => ({ request: QUESTION, run })),
    semantic: "execute_all",
    implicit_run: run,
    facts: FACTS,
    traceparent: null,
    deadline_ms: 60_000,
    idempotency_key: null,
    dry_run: false,
    explain: true,
    at_least: null,
    inline_evidence: false,
    ...changes,
  };
}
