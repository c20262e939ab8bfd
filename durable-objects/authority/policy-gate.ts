import { shardAt, type Env } from "../../src/objects/address.ts";
import { withDeadline } from "../../src/objects/deadline.ts";
import type { FoundRecord } from "../../src/objects/records.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { readArtefact } from "../../src/policy/bundles/artefact.ts";
import { unsignedBy } from "../../src/policy/bundles/envelope.ts";
import { refusal, type Refusal } from "../../src/policy/bundles/refusals.ts";
import type { Held, PolicyTrust } from "../../src/policy/bundles/state.ts";
import type { PolicyDocument } from "../../src/policy/bundles/documents.ts";
import type { Region } from "../../src/region/config.ts";
import type { Compared, Gate, GateReport, Meanwhile, Tests } from "../../src/replay/gate.ts";
import { ed25519Verify, nodeSha256 } from "../platform.ts";
import { pause } from "./pause.ts";

/** Loaded when an offer arrives, like the rules of documents. */
const gateRoom = () => import("../../src/replay/gate.ts");
const pastRoom = () => import("../../src/replay/past.ts");

/** The newest records that are decided again, over all shards. */
const RECORDS = 256;
/** In one message: opened by a shard between its turns, a few milliseconds. */
const PAGE = 32;
const PAGE_BYTES = 1_048_576;
/** For the records of all shards; who is slower is named in the report. */
const SHARD_MS = 2_000;
/** Records decided again in one turn: below a millisecond. */
const SLICE = 8;

export type PolicyGateRoom = {
  readonly baseline: LoadedPolicy;
  readonly load: (bundle: string) => LoadedPolicy | null;
  readonly bytes: (bundle: string) => Uint8Array | null;
};

export type Offered = PolicyTrust & { readonly policy: Held<PolicyDocument> };

export type Gated = {
  readonly report: GateReport | null;
  readonly refusal: Refusal | null;
};

/**
 * What the region looks at itself before it takes another policy: its golden decisions, what it may newly allow, and
 * its own newest records (docs/policy.md). All of it beside the decisions, in slices; nothing is written.
 */
export class PolicyGate {
  readonly #env: Env;
  readonly #region: Region;
  readonly #room: PolicyGateRoom;

  constructor(env: Env, region: Region, room: PolicyGateRoom) {
    this.#env = env;
    this.#region = region;
    this.#room = room;
  }

  /**
   * `before`: what is trusted until now. `offered`: the bundle that comes along, compiled; `null`: the region has it.
   * `acknowledge`: digest of the report that the administrator has seen.
   */
  async look(
    before: PolicyTrust,
    after: Offered,
    offered: { readonly bytes: Uint8Array; readonly policy: LoadedPolicy } | null,
    acknowledge: string | null,
    now_ms: number,
  ): Promise<Gated> {
    const { Gate, goldenHolds, irreversibleNamed } = await gateRoom();
    const named = after.policy.document.bundle.sha256;
    const policy = offered?.policy ?? this.#room.load(named);
    const bytes = offered?.bytes ?? this.#room.bytes(named);
    if (policy === null || bytes === null) throw new Error(`bundle ${named} was taken and is not there`);
    const candidate: Compared = { policy, tests: testsIn(bytes) };
    const golden = await unhurried(goldenHolds(policy, candidate.tests));
    if (!golden.ok) return { report: null, refusal: refusal("golden_failed", "bundle", golden.error) };
    const gate = new Gate(
      this.#region.name,
      this.#compared(before),
      candidate,
      nodeSha256,
      this.#meanwhile(before, after, policy, now_ms),
    );
    await unhurried(gate.ask());
    await this.#replay(gate);
    const report = gate.report(golden.value);
    const { root } = after;
    if (
      report.signatures === 2 &&
      (await unsignedBy(root.document, { role: "policy", envelope: after.policy.envelope }, ed25519Verify, 2)) !== null
    )
      return { report, refusal: refusal("needs_two_signatures", "policy", irreversibleNamed(report)) };
    const denies = this.#env.INTERLOCK_POLICY_GATE === "deny" && report.newly_allowed.length > 0;
    if (denies && acknowledge !== report.digest) {
      const what = report.newly_allowed.map(({ pack, action }) => `${pack}/${action}`);
      const first = what.slice(0, 5).join(", ") + (what.length > 5 ? ` and ${what.length - 5} more` : "");
      const detail = `${first}: acknowledge ${report.digest}`;
      return { report, refusal: refusal("needs_acknowledgement", "bundle", detail) };
    }
    return { report, refusal: null };
  }

  /** The newest policy that was taken, in force or to come; the baseline where none was; `null`: none is trusted. */
  #compared({ policy, previous }: PolicyTrust): Compared | null {
    if (policy === null) return previous === "baseline" ? { policy: this.#room.baseline, tests: {} } : null;
    const { sha256 } = policy.document.bundle;
    const [loaded, bytes] = [this.#room.load(sha256), this.#room.bytes(sha256)];
    return loaded === null || bytes === null ? null : { policy: loaded, tests: testsIn(bytes) };
  }

  /** What was approved for a later time is new where it comes sooner; so is what was to end by then where it stays. */
  #meanwhile(before: PolicyTrust, after: Offered, policy: LoadedPolicy, now_ms: number): readonly Meanwhile[] {
    const from_ms = after.policy.document.not_before_ms;
    const waits_ms = before.policy?.document.not_before_ms ?? 0;
    if (waits_ms > now_ms && waits_ms > from_ms)
      return [{ how: "sooner", before: this.#loaded(before.previous), after: policy }];
    const stays = after.previous;
    if (from_ms <= now_ms || from_ms <= waits_ms || stays === null || isSame(stays, before)) return [];
    const longer = this.#loaded(stays);
    if (longer === null) throw new Error("the policy in force was taken and is not there");
    return [{ how: "longer", before: this.#loaded(before.policy), after: longer }];
  }

  #loaded(one: PolicyTrust["previous"]): LoadedPolicy | null {
    if (one === "baseline") return this.#room.baseline;
    return one === null ? null : this.#room.load(one.document.bundle.sha256);
  }

  /** Decides the newest records again. A shard that does not give them in time holds nothing up. */
  async #replay(gate: Gate): Promise<void> {
    const { shards } = this.#region;
    const each = Math.max(8, Math.ceil(RECORDS / shards));
    const { pastOfItem } = await pastRoom();
    const found = await Promise.all(
      Array.from({ length: shards }, async (_, shard): Promise<readonly FoundRecord[] | null> =>
        withDeadline(this.#newest(shard, each), SHARD_MS).catch(() => null),
      ),
    );
    for (const [shard, records] of found.entries()) {
      if (records === null) gate.silent(shard);
      for (const [at, one] of (records ?? []).entries()) {
        if (at % SLICE === SLICE - 1) await pause(0);
        const { decision_id, payload, payload_status, record } = one;
        gate.record(pastOfItem({ decision_id, payload, payload_status, kind: record["kind"] ?? null }));
      }
    }
  }

  /** `null`: what the shard holds may hold what is erased. */
  async #newest(shard: number, count: number): Promise<readonly FoundRecord[] | null> {
    const found: FoundRecord[] = [];
    for (let before_sseq: number | null = null; found.length < count;) {
      // A new stub each time: one that threw is never used again.
      const answer = await shardAt(this.#env, this.#region, shard).findRecords({
        v: 1,
        from_ms: 0,
        to_ms: Number.MAX_SAFE_INTEGER - 1,
        before_sseq,
        subject: null,
        run: null,
        reason: null,
        decision: null,
        limit: Math.min(PAGE, count - found.length),
        payload: true,
        max_bytes: PAGE_BYTES,
      });
      if (!answer.ok) return null;
      found.push(...answer.found);
      if (answer.next === null || answer.found.length === 0) break;
      before_sseq = answer.next.before_sseq;
    }
    return found;
  }
}

/** Whether it is what would be in force anyway until another policy comes. */
function isSame(stays: Held<PolicyDocument> | "baseline", { policy, previous }: PolicyTrust): boolean {
  if (policy === null) return stays === "baseline" && previous === "baseline";
  return stays !== "baseline" && stays.document.bundle.sha256 === policy.document.bundle.sha256;
}

/** The bundle was read before: its members are there. */
function testsIn(bytes: Uint8Array): Tests {
  const read = readArtefact(bytes);
  return read.ok ? read.value.tests : {};
}

/** Runs it to its end, with a pause at each yield in which everybody else is served. */
async function unhurried<T>(steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await pause(0);
  }
}
