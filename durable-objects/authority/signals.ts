import { base64url, utf8 } from "../../src/base/bytes.ts";
import type { AdminResult } from "../../src/objects/admin.ts";
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
import { confirmed } from "../../src/ssf/liveness.ts";
import { MAX_SET_AGE_MS } from "../../src/ssf/set.ts";
import type { Signal, SignalEffect } from "../../src/ssf/signal.ts";
import type { SetErrorCode } from "../../src/ssf/problem.ts";
import { severity } from "../../src/trust/levels.ts";
import { issuerKey, parseKey } from "../../src/trust/keys.ts";
import { nodeSha256, randomBytes } from "../platform.ts";
import type { Revocations } from "./revocations.ts";
import { SignalSources } from "./signal-sources.ts";
import { actorOf, SignalStore, type SourceRow, type StreamRow } from "./signal-store.ts";
import { SignalVerifier } from "./signal-verifier.ts";
import { viewOf } from "./signal-view.ts";
import type { EventWriter } from "./writer.ts";

/**
 * The region as a receiver of Shared Signals: which streams it listens to, what each SET did, and whether its sources
 * are alive. The Worker verifies signatures; here a SET is taken once, and what it lowers becomes a trust event of this
 * region in the same transaction (`signal-verifier`: the requests that prove a source alive; `signal-sources`: what follows when it is not).
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
  readonly #sources: SignalSources;
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
    this.#sources = new SignalSources(this.#store, revocations);
    this.#verifier = new SignalVerifier(storage, this.#store, send, () => this.#inTurn(() => this.#sources.settle()));
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
      await this.#sources.settle();
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
      return { ok: true, value: this.#view(row) };
    });
  }

  read(id: string): AdminResult<SignalStreamView> {
    const row = this.#store.stream(id);
    return row === null ? unknown(id) : { ok: true, value: this.#view(row) };
  }

  list(): readonly SignalStreamView[] {
    return this.#store.streams().map((row) => this.#view(row));
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
        await this.#sources.settle();
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
    const current = effect.keys.filter((key) => this.#store.markOf(issuer, key, effect.level) <= at_ms);
    // A signal never raises: what is lower already stays, and who said so decides when it is restored.
    const keys = current.filter((key) => effect.level === "revoked" || this.#isAbove(key, effect.level));
    const notes = [...effect.notes];
    if (current.length < effect.keys.length) notes.push("overtaken by a newer event");
    if (keys.length < current.length) notes.push("as low already");
    const finish = (source: SourceRow): SourceRow => {
      for (const key of current) this.#store.mark(issuer, key, effect.level, at_ms);
      return source;
    };
    if (keys.length === 0) this.#record(row, message, notes, finish);
    for (const [index, key] of keys.entries()) {
      const last = index === keys.length - 1;
      const also = (): void => {
        if (last) this.#write(row.id, message, notes, finish, 1);
      };
      const lowered = await this.#revocations.revoke(
        {
          key,
          from: effect.from,
          reason: reasonOf(row, message.signal, effect),
          actor: actorOf(row),
          wait: "accepted",
          ...(effect.level === "revoked" ? {} : { level: effect.level }),
        },
        { reason_code: "ssf", also },
      );
      if (!lowered.ok) throw new Error(`a key of a signal is refused: ${lowered.message}`);
    }
  }

  #isAbove(key: string, level: Lowering["level"]): boolean {
    return severity(this.#revocations.ownState(key)) < severity(level);
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
    await this.#sources.settle();
    await this.#verifier.arm();
    return { ok: false, code: "refused", err: code, description };
  }

  #count(id: string, what: "repeated" | "refused"): SourceRow {
    const { source } = this.#store.stream(id)!;
    const next = { ...source, received: { ...source.received, [what]: source.received[what] + 1 } };
    this.#store.putSource(id, next);
    return next;
  }

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

  #view(row: StreamRow): SignalStreamView {
    return viewOf(row, this.#region.pdp, Date.now());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    // The queue goes on after a failure; the failed caller has the rejection.
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

const digest = (text: string): string => base64url(nodeSha256(utf8(text)));
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
