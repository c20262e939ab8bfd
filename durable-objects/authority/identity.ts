import { base64url } from "../../src/base/bytes.ts";
import { digestOf } from "../../src/base/digest.ts";
import { jcs } from "../../src/base/jcs.ts";
import {
  freshUntil,
  judgeDocument,
  NEVER_MS,
  readDocument,
  uriOf,
  type SourceDocument,
} from "../../src/credentials/sources/document.ts";
import type { IdentityMaterial, SourceMaterial } from "../../src/credentials/sources/material.ts";
import type { SourceKind } from "../../src/credentials/sources/schema.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
import type { PutSourceMessage, QuarantineMessage, SourceView } from "../../src/objects/identity.ts";
import type { Region } from "../../src/region/config.ts";
import type { IncidentKind } from "../../src/lineage/incident.ts";
import { issuerKey, parseKey, pepKey, regionKey, trustDomainKey } from "../../src/trust/keys.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import { fetchDocument } from "./fetch-document.ts";
import { IdentityStore, type SourceRow } from "./identity-store.ts";
import type { Revocations } from "./revocations.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

export type IdentityRoom = {
  readonly store: AuthorityStore;
  readonly writer: EventWriter;
  readonly revocations: Revocations;
  readonly send: typeof fetch;
  readonly incident: (what: IncidentKind, detail: string) => void;
};

/** A failed fetch is repeated sooner than a refresh is due. */
const AGAIN_MS = 30_000;

/**
 * Whose word the region takes about workloads. Registrations and new keys are trust events with their leaves, in one
 * transaction with the rows; documents are fetched by alarm and never while a decision waits.
 */
export class Identity {
  readonly #region: Region;
  readonly #storage: DurableObjectStorage;
  readonly #room: IdentityRoom;
  readonly #rows: IdentityStore;
  #material: IdentityMaterial | null = null;
  /** One at a time: what a fetch brought is judged against what is known then. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(region: Region, storage: DurableObjectStorage, room: IdentityRoom) {
    this.#region = region;
    this.#storage = storage;
    this.#room = room;
    this.#rows = new IdentityStore(storage);
  }

  /** The same object until something changes. */
  material(): IdentityMaterial {
    return (this.#material ??= { nonce_key: this.#nonceKey(), sources: this.#rows.all().map(materialOf) });
  }

  #nonceKey(): string {
    const stored = this.#rows.meta("nonce_key");
    if (stored !== null) return stored;
    const made = base64url(randomBytes(32));
    this.#rows.setMeta("nonce_key", made);
    return made;
  }

  // ── registration ────────────────────────────────────────────────────────────────────────────────────────────────

  async put(message: PutSourceMessage): Promise<AdminResult<SourceView>> {
    const done = await this.#inTurn(() => this.#put(message));
    if (done.ok && uriOf(done.value.rules) !== null && done.value.document === null) {
      // The administrator hears at once whether the publisher can be reached.
      await this.#refresh(message.kind, message.id);
      await this.arm();
      return this.read(message.kind, message.id);
    }
    await this.arm();
    return done;
  }

  async #put({ kind, id, body, actor }: PutSourceMessage): Promise<AdminResult<SourceView>> {
    const { jwks, bundle, force, ...said } = body as Record<string, unknown>;
    const rules = JSON.parse(JSON.stringify(said)) as SourceRow["rules"];
    const refused = this.#refused(kind, id, rules);
    if (refused !== null) return refused;
    const before = this.#rows.find(kind, id);
    const given = bundle ?? jwks ?? null;
    let document: SourceDocument | null = null;
    if (given !== null) {
      const read = readDocument({ kind, id, rules }, JSON.stringify(given), nodeSha256);
      if (!read.ok)
        return { ok: false, code: "invalid", message: `${kind === "trust-domain" ? "bundle" : "jwks"}: ${read.error}` };
      document = read.value;
      const anomaly = force === true ? null : this.#anomaly({ kind, id, rules }, document);
      if (anomaly !== null) return { ok: false, code: "conflict", message: anomaly };
    }
    const now = Date.now();
    const same = before !== null && uriOf(before.rules) === uriOf(rules) ? before : null;
    const kept = document ?? (same === null ? null : { ...same, digest: same.document });
    const keys = kept?.keys ?? [];
    const row: SourceRow = {
      kind,
      id,
      rules,
      keys,
      version: versionOf(rules, keys),
      document: kept?.digest ?? null,
      sequence: kept?.sequence ?? null,
      hint_ms: kept?.hint_ms ?? defaultHint(rules),
      sent_ms: document !== null || kind === "caller" ? now : (same?.sent_ms ?? null),
      registered_at_ms: before?.registered_at_ms ?? now,
      asked_ms: same?.asked_ms ?? null,
      problem: document === null ? (same?.problem ?? null) : null,
    };
    await this.#store(row, before, before === null ? "registered" : "updated", actor);
    return this.read(kind, id);
  }

  /** Stored with its event; a row that says what stood before is only dated anew. */
  async #store(row: SourceRow, before: SourceRow | null, reason_code: string, actor: string): Promise<void> {
    const change = (): void => {
      this.#rows.put(row);
      this.#material = null;
    };
    if (before !== null && before.version === row.version && before.document === row.document)
      return this.#rows.transaction(change);
    await this.#room.writer.append(
      {
        kind: "source",
        key: this.#keyOf(row),
        generation: 1,
        reason_code,
        actor,
        note: `${row.kind} ${row.id}`,
      },
      change,
    );
    this.#material = null;
  }

  #keyOf({ kind, id, rules }: Pick<SourceRow, "kind" | "id" | "rules">): string {
    if (kind === "trust-domain") return trustDomainKey(id);
    if (kind === "caller") return pepKey(this.#region.name, id);
    return kind === "verifier" ? regionKey(this.#region.name) : issuerKey(String(rules["issuer"]));
  }

  #refused(kind: SourceKind, id: string, rules: SourceRow["rules"]): AdminResult<never> | null {
    const key = parseKey(this.#keyOf({ kind, id, rules }));
    if (!key.ok) return { ok: false, code: "invalid", message: key.error };
    if (kind === "caller" && this.#room.store.pep(id) === null)
      return { ok: false, code: "conflict", message: `no PEP ${id} is registered; register it first` };
    const other = this.#rows
      .all()
      .find(
        (row) => row.kind === kind && row.id !== id && "issuer" in rules && row.rules["issuer"] === rules["issuer"],
      );
    if (other !== undefined)
      return { ok: false, code: "conflict", message: `the issuer is registered as ${kind} ${other.id}` };
    return null;
  }

  async remove(kind: SourceKind, id: string, actor: string): Promise<AdminResult<SourceView>> {
    return this.#inTurn(async () => {
      const row = this.#rows.find(kind, id);
      if (row === null) return unknown(kind, id);
      await this.#room.writer.append(
        { kind: "source", key: this.#keyOf(row), generation: 1, reason_code: "removed", actor, note: `${kind} ${id}` },
        () => {
          this.#rows.remove(kind, id);
          this.#material = null;
        },
      );
      this.#material = null;
      return { ok: true, value: viewOf(row) };
    });
  }

  read(kind: SourceKind, id: string): AdminResult<SourceView> {
    const row = this.#rows.find(kind, id);
    return row === null ? unknown(kind, id) : { ok: true, value: viewOf(row) };
  }

  list(): readonly SourceView[] {
    return this.#rows.all().map(viewOf);
  }

  // ── refresh ─────────────────────────────────────────────────────────────────────────────────────────────────────

  start(): void {
    void this.arm();
  }

  async alarm(): Promise<void> {
    const now = Date.now();
    const due = this.#rows.all().filter((row) => nextFetch(row) <= now);
    await Promise.all(due.map(({ kind, id }) => this.#refresh(kind, id)));
    await this.arm();
  }

  /** The alarm is the object's, and others set it too: only ever earlier. */
  async arm(): Promise<void> {
    const times = this.#rows.all().map(nextFetch).filter(Number.isFinite);
    if (times.length === 0) return;
    const next = Math.max(Date.now() + 1, Math.min(...times));
    const set = await this.#storage.getAlarm();
    if (set === null || set > next) await this.#storage.setAlarm(next);
  }

  /** Fetched outside the turn, judged in it. */
  async #refresh(kind: SourceKind, id: string): Promise<void> {
    const asked = this.#rows.find(kind, id);
    const uri = asked === null ? null : uriOf(asked.rules);
    if (asked === null || uri === null) return;
    this.#rows.put({ ...asked, asked_ms: Date.now() });
    const fetched = await fetchDocument(this.#room.send, uri);
    await this.#inTurn(async () => {
      const row = this.#rows.find(kind, id);
      // Removed, or registered with another publisher meanwhile.
      if (row === null || uriOf(row.rules) !== uri) return;
      if (!fetched.ok) return this.#rows.put({ ...row, problem: fetched.problem });
      const read = readDocument(row, fetched.text, nodeSha256);
      if (!read.ok) return this.#rows.put({ ...row, problem: `the document does not count: ${read.error}` });
      const anomaly = this.#anomaly(row, read.value);
      if (anomaly !== null) return this.#rows.put({ ...row, problem: anomaly });
      const { keys, sequence, digest, hint_ms } = read.value;
      const next: SourceRow = {
        ...row,
        keys,
        version: versionOf(row.rules, keys),
        document: digest,
        sequence,
        hint_ms,
        sent_ms: fetched.sent_ms,
        problem: null,
      };
      await this.#store(next, row, "refreshed", "publisher");
    });
  }

  /** Why the document is not taken: its publisher, or somebody in its place, goes back or tells two stories. */
  #anomaly(source: Pick<SourceRow, "kind" | "id" | "rules">, received: SourceDocument): string | null {
    const known = this.#rows.mark(source.kind, source.id);
    const judged = judgeDocument(source, known, received);
    if (judged === "adopt" || judged === "same") return null;
    const detail = `trust domain ${source.id}: ${judged}, sequence ${received.sequence ?? "none"} after ${known?.sequence ?? "none"}`;
    this.#room.incident(judged === "equivocation" ? "bundle_equivocation" : "bundle_rollback", detail);
    return detail;
  }

  // ── quarantine ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Only an administrator lifts it: a better result is no proof that the machine is clean again. */
  async quarantine({ v, keys, evidence }: QuarantineMessage): Promise<void> {
    if (v !== 1) return;
    for (const key of keys)
      await this.#room.revocations.revoke(
        {
          key,
          from: "issue",
          level: "quarantined",
          reason: `attestation contraindicated: ${evidence}`.slice(0, 256),
          actor: "attestation",
          wait: "accepted",
        },
        { reason_code: "attestation" },
      );
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    // The queue goes on after a failure; the failed caller has the rejection.
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

const versionOf = (rules: SourceRow["rules"], keys: SourceRow["keys"]): string =>
  digestOf(jcs({ keys, rules }), nodeSha256).slice("sha256:".length);

const defaultHint = ({ refresh_s }: SourceRow["rules"]): number =>
  typeof refresh_s === "number" ? refresh_s * 1_000 : 300_000;

function nextFetch({ rules, asked_ms, hint_ms, problem }: SourceRow): number {
  if (uriOf(rules) === null) return Number.POSITIVE_INFINITY;
  return asked_ms === null ? 0 : asked_ms + (problem === null ? hint_ms : Math.min(hint_ms, AGAIN_MS));
}

const materialOf = (row: SourceRow): SourceMaterial =>
  ({
    kind: row.kind,
    id: row.id,
    version: row.version,
    rules: row.rules,
    keys: row.keys,
    fresh_until_ms: freshUntil(row.rules, row.sent_ms, row.hint_ms),
  }) as unknown as SourceMaterial;

function viewOf(row: SourceRow): SourceView {
  const until_ms = freshUntil(row.rules, row.sent_ms, row.hint_ms);
  return {
    kind: row.kind,
    id: row.id,
    version: row.version,
    registered_at_ms: row.registered_at_ms,
    rules: row.rules,
    keys: row.keys.map(({ kid, jwk, thumbprint }) => ({ kid: kid ?? "", kty: jwk.kty, thumbprint })),
    sequence: row.sequence,
    document: row.document,
    state: Date.now() < until_ms ? "fresh" : "stale",
    fresh_until_ms: until_ms === NEVER_MS ? null : until_ms,
    fetched_at_ms: row.sent_ms,
    asked_ms: row.asked_ms,
    problem: row.problem,
  };
}

const unknown = (kind: SourceKind, id: string): AdminResult<never> => ({
  ok: false,
  code: "not_found",
  message: `no ${kind} ${id.slice(0, 64)} is registered`,
});
