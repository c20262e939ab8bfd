import { utf8 } from "../../src/base/bytes.ts";
import { digestOf, digestText } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import { err, type Result } from "../../src/base/result.ts";
import { ENGINE } from "../../src/decision/engine.ts";
import { COMMITMENT_SALT_BYTES, commitment } from "../../src/lineage/record.ts";
import type { Env } from "../../src/objects/address.ts";
import type {
  PolicyRequest,
  PolicyStanding,
  PolicyView,
  PutPolicyAnswer,
  PutPolicyMessage,
} from "../../src/objects/policy.ts";
import { refusal, type Refusal } from "../../src/policy/bundles/refusals.ts";
import { loadArtefact, readArtefact, type Artefact } from "../../src/policy/bundles/artefact.ts";
import { inForce, scheduleOf, type PolicySchedule } from "../../src/policy/bundles/schedule.ts";
import { packsOf } from "../../src/policy/regions.ts";
import type { Held, Mark, PolicyTrust } from "../../src/policy/bundles/state.ts";
import type { RootDocument } from "../../src/policy/bundles/documents.ts";
import type { GateReport } from "../../src/replay/gate.ts";
import type { Taken } from "../../src/policy/bundles/update.ts";
import type { LoadedPolicy, PackStatus } from "../../src/policy/load.ts";
import type { Region } from "../../src/region/config.ts";
import { ed25519Verify, nodeSha256, randomBytes } from "../platform.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import { PolicyGate, type Gated } from "./policy-gate.ts";
import type { PolicyRows } from "./policy-rows.ts";
import type { Shards } from "./shards.ts";
import type { AuthorityStore } from "./store.ts";
import type { RegionSync } from "./sync.ts";
import type { EventWriter } from "./writer.ts";

/** Loaded when an offer arrives, or something signed is stored: its schemas would cost every other start time. */
const updateRoom = () => import("../../src/policy/bundles/update.ts");
const proofRoom = () => import("../../src/policy/bundles/prove.ts");

/** How long the second administrator has. */
const ASKED_MS = 3_600_000;
const TRUST = "policy_trust";
const SERIAL = "policy_serial";
const ASKED = "policy_asked";
const GATE = "policy_gate";

/** `rests_on` is absent in what an earlier version stored. */
type Asked = PolicyRequest & { readonly key: string; readonly rests_on?: readonly string[] };

export type ActivePolicyRoom = {
  readonly store: AuthorityStore;
  readonly rows: PolicyRows;
  readonly acts: AdminRows;
  readonly writer: EventWriter;
  readonly shards: () => Shards;
  readonly sync: RegionSync;
  /** Whether one of these canonical keys is revoked here. */
  readonly shutOut: (keys: readonly string[]) => boolean;
  readonly incident: (detail: string, evidence: string) => void;
};

/**
 * Which policy the region decides by: the baseline of the deployment, until a signed bundle was taken. Rules are in
 * `src/policy/bundles`; here they are stored, with a leaf, and told to the shards.
 */
export class ActivePolicy {
  readonly #env: Env;
  readonly #region: Region;
  readonly #baseline: LoadedPolicy;
  readonly #room: ActivePolicyRoom;
  readonly #gate: PolicyGate;
  #schedule: PolicySchedule | null = null;
  /** What is stored, as it was verified or taken: what is stored now counts only where it is that text. */
  #proven: Proven = { text: null, trust: null, stored_root: null, problem: null };
  /** The last bundle that was taken, as it was compiled to be checked. */
  #checked: { readonly bundle: string; readonly policy: LoadedPolicy } | null = null;
  #putting: Promise<unknown> = Promise.resolve();

  constructor(env: Env, region: Region, baseline: LoadedPolicy, room: ActivePolicyRoom) {
    this.#env = env;
    this.#region = region;
    this.#baseline = baseline;
    this.#room = room;
    this.#gate = new PolicyGate(env, region, {
      baseline,
      load: (bundle) => this.#load(bundle),
      bytes: (bundle) => this.#bytes(bundle),
    });
  }

  /**
   * Verifies what is stored from the pinned root on, before anything is granted: who can write the storage cannot sign.
   * Where it does not hold, nothing is in force until the signed documents are brought again.
   */
  async start(): Promise<void> {
    const text = this.#room.store.meta(TRUST);
    if (text === null) return;
    const pinned = await this.#pinned();
    const stored = storedTrust(text);
    const proof = !pinned.ok ? pinned : stored === null ? err(UNREADABLE) : await proven(stored, pinned.value);
    if (proof.ok) {
      this.#proven = { text, trust: proof.value, stored_root: stored?.root ?? null, problem: null };
      return;
    }
    const { role, detail } = proof.error;
    const problem = `the stored policy does not follow from INTERLOCK_POLICY_ROOT: ${role}: ${detail}`;
    console.error(
      JSON.stringify({ level: "error", event: "policy_unproven", region: this.#region.name, detail: problem }),
    );
    const { trustOf } = await updateRoom();
    // Not the baseline, which was left for good; and no way back behind the versions that it says.
    const floors = stored?.floors ?? { timestamp: null, policy: null };
    const trust = pinned.ok ? { ...trustOf(pinned.value), previous: null, floors } : null;
    this.#proven = { text, trust, stored_root: stored?.root ?? null, problem };
  }

  /** What every lease carries. */
  get schedule(): PolicySchedule {
    const { store, rows } = this.#room;
    const serial = Number(store.meta(SERIAL) ?? "0");
    const { text, trust, problem } = this.#proven;
    if (store.meta(TRUST) !== text)
      return { ...scheduleOf(trust, serial, this.#baseline.digest, () => ""), problem: CHANGED };
    if (this.#schedule?.serial !== serial) {
      const digestOfBundle = (bundle: string): string => rows.bundle(bundle)?.digest ?? "";
      const schedule = scheduleOf(trust, serial, this.#baseline.digest, digestOfBundle);
      this.#schedule = problem === null ? schedule : { ...schedule, problem };
    }
    return this.#schedule;
  }

  /** Digest of what is in force now; empty where nothing is. */
  get digest(): string {
    const now = inForce(this.schedule, Date.now());
    return now.ok ? now.policy.digest : "";
  }

  /**
   * What is in force, compiled here too: to see what every shard should make of it. Where this object has not checked
   * it itself since it started, that takes a moment.
   */
  compiled(): LoadedPolicy | null {
    const { bundle, problem } = this.standing();
    if (bundle === null) return problem === null ? this.#baseline : null;
    return this.#load(bundle);
  }

  #load(bundle: string): LoadedPolicy | null {
    if (this.#checked?.bundle === bundle) return this.#checked.policy;
    const bytes = this.#bytes(bundle);
    const loaded = bytes === null ? null : loadArtefact(bytes, this.#region.name);
    return loaded?.ok === true ? loaded.value : null;
  }

  /** Signed is the digest: what is stored under its name counts only where it has it. */
  #bytes(bundle: string): Uint8Array | null {
    const bytes = this.#room.rows.bytes(bundle);
    return bytes !== null && digestText(nodeSha256(bytes)) === bundle ? bytes : null;
  }

  #selected: { readonly bundle: string; readonly artefact: Artefact | null } | null = null;

  /**
   * The packs that the policy in force gives to a region, where it is of that version; `null` where it is not, or where
   * it has none for it. What the deployment brings may be replaced pack by pack, so it says nothing about others.
   */
  selection(version: number, region: string): readonly string[] | null {
    const { bundle, version: standing } = this.standing();
    if (bundle === null || standing !== version) return null;
    if (this.#selected?.bundle !== bundle) {
      const bytes = this.#bytes(bundle);
      const read = bytes === null ? null : readArtefact(bytes);
      this.#selected = { bundle, artefact: read?.ok === true ? read.value : null };
    }
    const { artefact } = this.#selected;
    const names = artefact === null ? [] : packsOf(artefact, artefact.regions, region, null);
    return names.length === 0 ? null : names;
  }

  #trust(): PolicyTrust | null {
    return this.#proven.trust;
  }

  standing(): PolicyStanding {
    const schedule = this.schedule;
    const trust = this.#trust();
    const now_ms = Date.now();
    const now = inForce(schedule, now_ms);
    const signed = now.ok ? now.policy.signed : null;
    const waits = (schedule.policy?.signed ?? null) !== null && now_ms < schedule.from_ms;
    return {
      source: schedule.fresh_until_ms === null ? "baseline" : "signed",
      version: signed?.version ?? null,
      bundle: signed?.bundle ?? null,
      next: waits ? { version: schedule.policy!.signed!.version, from_ms: schedule.from_ms } : null,
      expires_ms: {
        root: trust?.root.document.expires_ms ?? null,
        policy: now.ok ? now.policy.expires_ms : (trust?.policy?.document.expires_ms ?? null),
        timestamp: trust?.timestamp?.document.expires_ms ?? null,
      },
      problem: now.ok ? (signed === null ? this.#baseline.problem : null) : now.why,
    };
  }

  packs(): readonly PackStatus[] {
    const { bundle } = this.standing();
    return bundle === null ? this.#baseline.packs : (this.#room.rows.bundle(bundle)?.packs ?? []);
  }

  view(): PolicyView {
    const asked = this.#asked();
    const gate = this.#room.store.meta(GATE);
    return {
      region: this.#region.name,
      digest: this.digest || null,
      ...this.standing(),
      packs: this.packs(),
      approvals: this.#approvals,
      asked: asked === null ? null : withoutKey(asked),
      gate: gate === null ? null : (JSON.parse(gate) as GateReport),
      trust: this.#trust(),
    };
  }

  bundle(sha256: string): Uint8Array | null {
    return this.#room.rows.bytes(sha256);
  }

  /** Bytes of the bundle by which past decisions name this policy. */
  named(digest: string): Uint8Array | null {
    return this.#room.rows.bytesOfPolicy(digest);
  }

  /** One at a time: what is taken rests on what was taken before. */
  put(message: PutPolicyMessage): Promise<PutPolicyAnswer> {
    const done = this.#putting.then(() => this.#put(message));
    this.#putting = done.catch(() => undefined);
    return done;
  }

  async #put(message: PutPolicyMessage): Promise<PutPolicyAnswer> {
    const { store, writer, shards } = this.#room;
    // A storage that was put back may have lower floors than the log knows of: then nothing is taken.
    if (!(await writer.confirmed()))
      return {
        ok: false,
        code: "unchecked",
        message: "the log has not confirmed that this authority has all of its records: ask again",
      };
    const { takeOffer } = await updateRoom();
    // A clock that was set back denies until it has passed its mark (docs/sync.md); nor does it make what has ended
    // fresh again, or what was in force seem to have never been.
    const now_ms = this.#now();
    const stored = store.meta(TRUST);
    const trusted = await this.#trusted();
    if (!trusted.ok) return refused(trusted.error);
    const before = trusted.value;
    const taken = await takeOffer(before, message, now_ms, {
      verify: ed25519Verify,
      sha256: nodeSha256,
      has: (bundle) => this.#bytes(bundle) !== null,
      region: this.#region.name,
      engine: ENGINE.slice(ENGINE.indexOf("/") + 1),
    });
    if (!taken.ok) {
      if (taken.error.code === "equivocation" && !message.dry_run) this.#tell(taken.error, message);
      return refused(taken.error);
    }
    const { trust } = taken.value;
    const { stored_root, problem } = this.#proven;
    // What was not proven is not trusted, and yet no root may come in its place that would be a step back.
    if (problem !== null && stored_root !== null && !follows(trust.root, stored_root))
      return refused(
        refusal(
          "rollback",
          "root",
          `version ${trust.root.version} does not lead to the stored one, ${stored_root.version}`,
        ),
      );
    // A root that only the deployment has brought so far is news, whatever the offer holds.
    if (!taken.value.changed && this.#proven.stored_root?.version === trust.root.version)
      return { ok: true, outcome: "unchanged", gate: null, view: this.view() };
    const gated = await this.#look(before, taken.value, message, now_ms);
    const { report: gate, refusal: why } = gated;
    if (message.dry_run)
      return { ok: true, outcome: why === null ? "would_take" : "would_refuse", gate, why, view: this.view() };
    if (why !== null) return refused(why);
    // What a publisher does every few hours needs one hand; what changes the law, or who may, as many as are asked for.
    const is_refresh = trust.root === before.root && trust.policy === before.policy;
    const by = is_refresh ? { actor: message.actor, confirms: null } : this.#approved(message, gate);
    if ("ok" in by) return by;
    // Offers go one by one, so it still is; an offer that was compared with another policy must not take effect.
    if (store.meta(TRUST) !== stored)
      return { ok: false, code: "conflict", message: "another policy was taken meanwhile: bring it again" };
    // What it follows was chosen at that time: the one before would be in force again.
    const from_ms = before.policy?.document.not_before_ms ?? 0;
    if (from_ms > now_ms && from_ms <= this.#now())
      return { ok: false, code: "conflict", message: "another policy came into force meanwhile: bring it again" };
    this.#store(taken.value, gate, { ...by, is_refresh }, now_ms);
    const { bundle } = taken.value;
    if (bundle !== null) this.#checked = { bundle: bundle.sha256, policy: bundle.policy };
    this.#room.sync.appended(this.#room.sync.state.own.mark, store.revision());
    await shards().effective(store.revision());
    return { ok: true, outcome: "taken", gate, view: this.view() };
  }

  #now(): number {
    return Math.max(Date.now(), this.#room.sync.state.clock.high_ms);
  }

  /** A timestamp or a root alone changes nothing of what is decided. */
  async #look(
    before: PolicyTrust,
    { trust, bundle }: Taken,
    message: PutPolicyMessage,
    now_ms: number,
  ): Promise<Gated> {
    const { policy } = trust;
    if (policy === null || policy === before.policy) return { report: null, refusal: null };
    return this.#gate.look(before, { ...trust, policy }, bundle, message.acknowledge, now_ms);
  }

  /**
   * What the region trusts before the offer. A pinned root above the stored one is the deployment's word: it takes the
   * place of a root whose keys are lost or stolen.
   */
  async #trusted(): Promise<Result<PolicyTrust, Refusal>> {
    const { adoptRoot, trustOf } = await updateRoom();
    const pinned = await this.#pinned();
    if (!pinned.ok) return pinned;
    const stored = this.#trust();
    if (stored === null) return { ok: true, value: trustOf(pinned.value) };
    return {
      ok: true,
      value: pinned.value.version > stored.root.version ? await adoptRoot(stored, pinned.value, ed25519Verify) : stored,
    };
  }

  async #pinned(): Promise<Result<Held<RootDocument>, Refusal>> {
    const text = this.#env.INTERLOCK_POLICY_ROOT ?? "";
    if (text === "") return err(refusal("no_pinned_root", "root", "INTERLOCK_POLICY_ROOT is empty"));
    const { pinnedRoot } = await updateRoom();
    const pinned = await pinnedRoot(parsed(text), { verify: ed25519Verify, sha256: nodeSha256 });
    return pinned.ok ? pinned : err({ ...pinned.error, detail: `INTERLOCK_POLICY_ROOT: ${pinned.error.detail}` });
  }

  /** Everything in one transaction: the bundle, the documents, what is trusted, the leaf, and the revision. */
  #store(
    { trust, bundle }: Taken,
    gate: GateReport | null,
    { is_refresh, ...by }: Approval & { readonly is_refresh: boolean },
    now_ms: number,
  ): void {
    const { store, rows, acts, writer } = this.#room;
    const { root, timestamp, policy } = trust;
    const text = JSON.stringify(trust);
    const act = jcs({ actor: by.actor, confirms: by.confirms, t_ms: now_ms, what: "policy" });
    const salt = randomBytes(COMMITMENT_SALT_BYTES);
    writer.record((leaf) => {
      if (bundle !== null)
        rows.addBundle(
          { sha256: bundle.sha256, digest: bundle.policy.digest, packs: bundle.policy.packs },
          bundle.bytes,
          now_ms,
        );
      rows.addDocument("root", root.version, root.sha256, root.envelope, now_ms);
      if (policy !== null) rows.addDocument("policy", policy.version, policy.sha256, policy.envelope, now_ms);
      store.setMeta(TRUST, text);
      store.setMeta(SERIAL, String(store.nextRevision()));
      if (!is_refresh) store.setMeta(ASKED, "");
      if (gate !== null) store.setMeta(GATE, JSON.stringify(gate));
      const ref = policy?.document.bundle.sha256 ?? null;
      const sseq = leaf(
        "policy",
        {
          commit: commitment("input", salt, act, nodeSha256),
          gate: gate === null ? null : digestOf(jcs(gate), nodeSha256),
          policy:
            policy === null
              ? null
              : {
                  bundle: ref,
                  digest: rows.bundle(ref!)?.digest ?? null,
                  from_ms: policy.document.not_before_ms,
                  sha256: policy.sha256,
                  version: policy.version,
                },
          root: root.version,
          timestamp: timestamp?.version ?? null,
        },
        now_ms,
        salt,
      );
      acts.addAct(sseq, act);
    });
    this.#proven = { text, trust, stored_root: root, problem: null };
  }

  get #approvals(): 1 | 2 {
    return this.#env.INTERLOCK_POLICY_APPROVALS === "2" ? 2 : 1;
  }

  #asked(): Asked | null {
    const text = this.#room.store.meta(ASKED) ?? "";
    if (text === "") return null;
    const asked = JSON.parse(text) as Asked;
    const now = Date.now();
    const stands = now < asked.expires_ms && now >= asked.asked_at_ms;
    return stands && !this.#room.shutOut(asked.rests_on ?? []) ? asked : null;
  }

  /** Who brings it, or an answer where a second administrator has to bring the same. */
  #approved(message: PutPolicyMessage, gate: GateReport | null): Approval | PutPolicyAnswer {
    const { actor, key, another_key, rests_on } = message;
    if (this.#approvals === 1) return { actor, confirms: null };
    const offer = offerDigest(message);
    const asked = this.#asked();
    if (asked?.offer === offer && asked.asked_by !== actor) {
      if (!another_key || asked.key !== key) return { actor, confirms: asked.asked_by };
      return {
        ok: false,
        code: "conflict",
        message: `${asked.asked_by} asked with a credential of the same admin key: confirm with one that another key signed`,
      };
    }
    const { store, acts, writer } = this.#room;
    const t_ms = Date.now();
    const asks: Asked = { asked_by: actor, offer, asked_at_ms: t_ms, expires_ms: t_ms + ASKED_MS, key, rests_on };
    recordAct(acts, writer, { what: "policy_asked", actor, reason: offer, t_ms }, () =>
      store.setMeta(ASKED, JSON.stringify(asks)),
    );
    return { ok: true, outcome: "asked", gate, view: this.view() };
  }

  /** Tells it with the documents that prove it; of what came along and was not looked at only what there is room for. */
  #tell({ role, detail }: Refusal, { roots, timestamp, policy }: PutPolicyMessage): void {
    // Each root once: as often as an offer may hold one it would be more than a row of storage takes.
    const distinct = new Map(
      roots.map((root) => [JSON.stringify((root as { readonly payload?: unknown }).payload), root]),
    );
    const proof =
      role === "root"
        ? { roots: withRoom([...distinct.values()]) }
        : { timestamp, policy: withRoom([policy])[0] ?? null };
    this.#room.incident(`${role}: ${detail}`, JSON.stringify(proof));
  }
}

/** A row of storage is 2 MB; a document that was read has less than a fifth of this. */
const MAX_PROOF_BYTES = 1_500_000;

/** Those before the first that there is no room for. */
function withRoom(documents: readonly unknown[]): readonly unknown[] {
  let room = MAX_PROOF_BYTES;
  const over = documents.findIndex((one) => (room -= utf8(JSON.stringify(one)).length) < 0);
  return over === -1 ? documents : documents.slice(0, over);
}

type Proven = {
  readonly text: string | null;
  readonly trust: PolicyTrust | null;
  /** The root that is stored: the pinned one may be above it. */
  readonly stored_root: Mark | null;
  readonly problem: string | null;
};
const CHANGED = "what is stored of the policy was changed while the region ran";

type Approval = { readonly actor: string; readonly confirms: string | null };

const refused = (why: Refusal): PutPolicyAnswer => ({ ok: false, code: "refused", refusal: why });

const withoutKey = ({ asked_by, offer, asked_at_ms, expires_ms }: Asked): PolicyRequest => ({
  asked_by,
  offer,
  asked_at_ms,
  expires_ms,
});

/** What two administrators agree on: the documents, and the bundle by the digest in them. */
const offerDigest = ({ roots, timestamp, policy }: PutPolicyMessage): string =>
  digestOf(jcs({ roots, timestamp, policy }), nodeSha256);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const UNREADABLE = refusal("malformed", "root", "what is stored cannot be read");

function storedTrust(text: string): PolicyTrust | null {
  const trust = parsed(text) as Partial<PolicyTrust> | null;
  const { root, floors } = trust ?? {};
  return typeof root?.version === "number" && typeof floors === "object" ? (trust as PolicyTrust) : null;
}

async function proven(stored: PolicyTrust, pinned: Held<RootDocument>): Promise<Result<PolicyTrust, Refusal>> {
  const { prove } = await proofRoom();
  try {
    return await prove(stored, pinned, { verify: ed25519Verify, sha256: nodeSha256 });
  } catch {
    return err(UNREADABLE);
  }
}

const follows = (root: Mark, stored: Mark): boolean =>
  root.version > stored.version || (root.version === stored.version && root.sha256 === stored.sha256);
