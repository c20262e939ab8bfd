import { base64url, utf8 } from "../../src/base/bytes.ts";
import type { AdminResult } from "../../src/objects/authority.ts";
import type {
  AcceptSignalAnswer,
  AcceptSignalMessage,
  Received,
  RefusedSignalMessage,
  RegisterStreamMessage,
  SignalSource,
  SignalStreamView,
} from "../../src/objects/signals.ts";
import type { Region } from "../../src/region/config.ts";
import { algorithmOf } from "../../src/ssf/keys.ts";
import { confirmed, liveness } from "../../src/ssf/liveness.ts";
import { MAX_SET_AGE_MS } from "../../src/ssf/set.ts";
import type { Signal, SignalEffect } from "../../src/ssf/signal.ts";
import type { SetErrorCode } from "../../src/ssf/problem.ts";
import { issuerKey, parseKey } from "../../src/trust/keys.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import { SOURCE, type Revocations } from "./revocations.ts";
import { SignalStore, type SourceRow, type StreamRow } from "./signal-store.ts";
import { SignalVerifier } from "./signal-verifier.ts";
import type { EventWriter } from "./writer.ts";

/**
 * The region as a receiver of Shared Signals: which streams it listens to, what each SET did, and whether its sources
 * are alive. The Worker verifies signatures; here a SET is taken once, and what it lowers becomes a trust event of this
 * region in the same transaction (`signal-verifier`: the requests that prove a source alive).
 */
const NOTHING: Received = { accepted: 0, repeated: 0, refused: 0, lowered: 0, last: null };
const NEW_SOURCE: SourceRow = {
  confirmed_sent_ms: null,
  transmitter: "enabled",
  transmitter_at_ms: 0,
  failure: null,
  asked_ms: null,
  problem: null,
  received: NOTHING,
  denied_by: null,
};

type Lowering = Extract<SignalEffect, { kind: "lower" }>;

export class Signals {
  readonly #region: Region;
  readonly #store: SignalStore;
  readonly #writer: EventWriter;
  readonly #revocations: Revocations;
  readonly #verifier: SignalVerifier;
  /** One at a time: two copies of one SET that arrive together are one. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    region: Region,
    storage: DurableObjectStorage,
    writer: EventWriter,
    revocations: Revocations,
    send: typeof fetch,
  ) {
    this.#region = region;
    this.#store = new SignalStore(storage);
    this.#writer = writer;
    this.#revocations = revocations;
    this.#verifier = new SignalVerifier(storage, this.#store, send, () => this.#inTurn(() => this.#settle()));
  }

  /** Goes on asking, and catches up with leases that ended while the object was away. */
  start(): void {
    void this.#verifier.arm();
  }

  alarm(): Promise<void> {
    return this.#verifier.alarm();
  }

  // ── registration ────────────────────────────────────────────────────────────────────────────────────────────────

  register({ stream, actor }: RegisterStreamMessage): Promise<AdminResult<SignalStreamView>> {
    return this.#inTurn(async () => {
      const { authorization, ...registration } = stream;
      const key = parseKey(issuerKey(stream.issuer));
      if (!key.ok) return { ok: false, code: "invalid", message: `issuer: ${key.error}` };
      const before = this.#store.stream(stream.id);
      if (before !== null && before.registration.issuer !== stream.issuer) {
        return { ok: false, code: "conflict", message: `stream ${stream.id} is another issuer's; remove it first` };
      }
      const row: StreamRow = {
        id: stream.id,
        registration,
        version: base64url(randomBytes(12)),
        authorization_digest: authorization === undefined ? null : digest(authorization),
        registered_at_ms: before?.registered_at_ms ?? Date.now(),
        source: before?.source ?? NEW_SOURCE,
      };
      await this.#note("registered", row, actor, () => {
        this.#store.putStream(row);
      });
      await this.#settle();
      await this.#verifier.arm();
      return this.read(stream.id);
    });
  }

  /** What the stream's signals lowered stays as it is, and so does a deny because its source is degraded. */
  remove(id: string, actor: string): Promise<AdminResult<SignalStreamView>> {
    return this.#inTurn(async () => {
      const row = this.#store.stream(id);
      if (row === null) return unknown(id);
      await this.#note("removed", row, actor, () => {
        this.#store.removeStream(id);
      });
      return { ok: true, value: this.#describe(row) };
    });
  }

  read(id: string): AdminResult<SignalStreamView> {
    const row = this.#store.stream(id);
    return row === null ? unknown(id) : { ok: true, value: this.#describe(row) };
  }

  list(): readonly SignalStreamView[] {
    return this.#store.streams().map((row) => this.#describe(row));
  }

  source(id: string): SignalSource | null {
    const row = this.#store.stream(id);
    if (row === null) return null;
    return { version: row.version, stream: row.registration, authorization_digest: row.authorization_digest };
  }

  // ── receiving ───────────────────────────────────────────────────────────────────────────────────────────────────

  accept(message: AcceptSignalMessage): Promise<AcceptSignalAnswer> {
    if (message.v !== 1) return Promise.resolve({ ok: false, code: "unsupported_version" });
    return this.#inTurn(async () => {
      const row = this.#store.stream(message.stream);
      if (row === null) return { ok: false, code: "unknown_stream" };
      if (row.version !== message.version) return { ok: false, code: "stale" };
      const { issuer } = row.registration;
      const known = this.#store.received(issuer, message.jti);
      if (known === message.payload) {
        this.#count(row.id, "repeated");
        return { ok: true };
      }
      if (known !== null) return this.#refuse(row, "invalid_request", "the SET's jti came with another payload before");
      const answer = await this.#take(row, message);
      if (answer.ok) {
        await this.#settle();
        await this.#verifier.arm();
      }
      return answer;
    });
  }

  refused(message: RefusedSignalMessage): Promise<void> {
    return this.#inTurn(async () => {
      const row = message.v === 1 ? this.#store.stream(message.stream) : null;
      if (row === null) return;
      await this.#refuse(row, message.err, message.description);
    });
  }

  async #take(row: StreamRow, message: AcceptSignalMessage): Promise<AcceptSignalAnswer> {
    const { effect } = message.signal;
    if (effect.kind === "verification") return this.#verified(row, message, effect.state);
    if (effect.kind === "lower") await this.#lower(row, message, effect);
    else if (effect.kind === "none") this.#record(row, message, [effect.why]);
    else {
      this.#record(row, message, [effect.reason ?? effect.status], (source) =>
        message.signal.at_ms < source.transmitter_at_ms
          ? source
          : { ...source, transmitter: effect.status, transmitter_at_ms: message.signal.at_ms },
      );
    }
    return { ok: true };
  }

  async #verified(row: StreamRow, message: AcceptSignalMessage, state: string | null): Promise<AcceptSignalAnswer> {
    if (state === null) {
      // Not asked for: no telling how long it was under way, so it proves nothing of now.
      this.#record(row, message, ["a verification without a state extends no lease"]);
      return { ok: true };
    }
    const sent_ms = this.#store.asked(row.id, state);
    if (sent_ms === null) return this.#refuse(row, "invalid_state", "no verification was asked for under this state");
    this.#record(row, message, [], (source) => {
      this.#store.answered(row.id, state);
      return confirmed(source, sent_ms);
    });
    return { ok: true };
  }

  /** Each key is one trust event; the SET counts as received in the transaction of the last one. */
  async #lower(row: StreamRow, message: AcceptSignalMessage, effect: Lowering): Promise<void> {
    const { issuer } = row.registration;
    const { at_ms } = message.signal;
    // An older event than one that lowered the key as far: it is known, or an administrator has dealt with it since.
    const keys = effect.keys.filter((key) => this.#store.markOf(issuer, key, effect.level) <= at_ms);
    const notes = keys.length === effect.keys.length ? effect.notes : [...effect.notes, "overtaken by a newer event"];
    if (keys.length === 0) {
      this.#record(row, message, notes);
      return;
    }
    for (const [index, key] of keys.entries()) {
      const revoked = await this.#revocations.revoke(
        {
          key,
          from: effect.from,
          reason: reasonOf(row, message.signal, effect),
          actor: actorOf(row),
          wait: "accepted",
        },
        {
          reason_code: "ssf",
          also: () => {
            this.#store.mark(issuer, key, effect.level, at_ms);
            if (index === keys.length - 1) this.#write(row.id, message, notes, (source) => source, 1);
          },
        },
      );
      if (!revoked.ok) throw new Error(`a key of a signal is refused: ${revoked.message}`);
    }
  }

  /** A SET that says nothing deny-ward is stored, and no event: trust has not changed. */
  #record(
    row: StreamRow,
    message: AcceptSignalMessage,
    notes: readonly string[],
    change: (source: SourceRow) => SourceRow = (source) => source,
  ): void {
    this.#store.transaction(() => {
      this.#write(row.id, message, notes, change);
    });
  }

  #write(
    id: string,
    message: AcceptSignalMessage,
    notes: readonly string[],
    change: (source: SourceRow) => SourceRow,
    lowered = 0,
  ): void {
    const row = this.#store.stream(id)!;
    const { received } = row.source;
    const now = Date.now();
    this.#store.addSet(row.registration.issuer, message.jti, message.payload, now);
    this.#store.forget(now - 2 * MAX_SET_AGE_MS);
    this.#store.putSource(id, {
      ...change(row.source),
      received: {
        ...received,
        accepted: received.accepted + 1,
        lowered: received.lowered + lowered,
        last: { t_ms: now, type: message.signal.type, notes },
      },
    });
  }

  async #refuse(row: StreamRow, code: SetErrorCode, description: string): Promise<AcceptSignalAnswer> {
    const source = this.#count(row.id, "refused");
    this.#store.putSource(row.id, { ...source, failure: { t_ms: Date.now(), err: code, description } });
    await this.#settle();
    await this.#verifier.arm();
    return { ok: false, code: "refused", err: code, description };
  }

  #count(id: string, what: "repeated" | "refused"): SourceRow {
    const { source } = this.#store.stream(id)!;
    const next = { ...source, received: { ...source.received, [what]: source.received[what] + 1 } };
    this.#store.putSource(id, next);
    return next;
  }

  // ── sources that fall silent ────────────────────────────────────────────────────────────────────────────────────

  /** Denies what depends on the issuer of a degraded source, where its registration says so; lifts it when it is live. */
  async #settle(): Promise<void> {
    for (const row of this.#store.streams()) {
      const { issuer, lease_s, on_degraded } = row.registration;
      const { state, reasons } = liveness(row.source, lease_s ?? null, Date.now());
      const denies = state === "degraded" && on_degraded === "deny";
      if (denies && row.source.denied_by === null) {
        const revoked = await this.#revocations.revoke(
          {
            key: issuerKey(issuer),
            from: "issue",
            reason: `source ${row.id} is degraded: ${reasons.join(", ")}`,
            actor: actorOf(row),
            wait: "accepted",
          },
          { reason_code: SOURCE },
        );
        if (revoked.ok) this.#putDeniedBy(row.id, revoked.value.id);
      } else if (!denies && row.source.denied_by !== null) {
        await this.#lift(row, row.source.denied_by);
      }
    }
  }

  /** Only its own entry, and only when no other stream of the issuer is degraded. */
  async #lift(row: StreamRow, id: string): Promise<void> {
    this.#putDeniedBy(row.id, null);
    if (this.#store.streams().some(({ source }) => source.denied_by === id)) return;
    if (!this.#revocations.madeFor(id, SOURCE)) return;
    await this.#revocations.restore(id, `source ${row.id} is live again`, actorOf(row));
  }

  #putDeniedBy(id: string, denied_by: string | null): void {
    this.#store.putSource(id, { ...this.#store.stream(id)!.source, denied_by });
  }

  // ── ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Who may speak about which subjects is trust: registering and removing are events. */
  async #note(what: "registered" | "removed", row: StreamRow, actor: string, change: () => void): Promise<void> {
    await this.#writer.append(
      {
        kind: "source",
        key: issuerKey(row.registration.issuer),
        generation: 1,
        reason_code: what,
        actor,
        note: `Shared Signals stream ${row.id}`,
      },
      change,
    );
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    // The queue goes on after a failure; the failed caller has the rejection.
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  #describe({ id, registration, authorization_digest, registered_at_ms, source }: StreamRow): SignalStreamView {
    const { issuer, audience, events, subjects, critical_subject_members, verification, on_degraded } = registration;
    const lease_s = registration.lease_s ?? null;
    const { confirmed_sent_ms, transmitter, failure, asked_ms, problem, received, denied_by } = source;
    return {
      id,
      issuer,
      audience,
      push_endpoint: `${this.#region.pdp}/ssf/v1/events/${id}`,
      keys: registration.jwks.keys.map((jwk) => ({ kid: String(jwk["kid"]), alg: String(algorithmOf(jwk)) })),
      events,
      subjects,
      critical_subject_members,
      stream_id: registration.stream_id ?? null,
      authorization: authorization_digest !== null,
      lease_s,
      verification:
        verification === undefined
          ? null
          : {
              endpoint: verification.endpoint,
              every_s: verification.every_s,
              authorization: verification.authorization !== undefined,
            },
      on_degraded,
      registered_at_ms,
      source: {
        ...liveness(source, lease_s, Date.now()),
        confirmed_sent_ms,
        transmitter,
        failure,
        asked_ms,
        problem,
        received,
        denied_by,
      },
    };
  }
}

const digest = (text: string): string => base64url(nodeSha256(utf8(text)));
const actorOf = ({ id }: StreamRow): string => `ssf/${id}`;
const unknown = (id: string): AdminResult<never> => ({
  ok: false,
  code: "not_found",
  message: `no Shared Signals stream ${id.slice(0, 64)} is registered`,
});

/** For whoever reads the event later; names no person. */
const reasonOf = ({ id }: StreamRow, { type, at_ms }: Signal, { level, notes }: Lowering): string =>
  [`${id}: ${type.slice(type.lastIndexOf("/") + 1)}, ${level} at ${new Date(at_ms).toISOString()}`, ...notes].join(
    "; ",
  );
