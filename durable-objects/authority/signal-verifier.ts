import { base64url } from "../../src/base/bytes.ts";
import { liveness } from "../../src/ssf/liveness.ts";
import { randomBytes } from "../platform.ts";
import type { SignalStore, StreamRow } from "./signal-store.ts";

/**
 * Asks transmitters to verify their streams (SSF 1.0 section 8.1.4), by the object's alarm and never while a decision
 * waits. The answer comes as a SET like any other; this only asks, and wakes up when a lease ends.
 */
const SEND_MS = 10_000;

export class SignalVerifier {
  readonly #storage: DurableObjectStorage;
  readonly #store: SignalStore;
  readonly #send: typeof fetch;
  readonly #settle: () => Promise<void>;

  constructor(storage: DurableObjectStorage, store: SignalStore, send: typeof fetch, settle: () => Promise<void>) {
    this.#storage = storage;
    this.#store = store;
    this.#send = send;
    this.#settle = settle;
  }

  async alarm(): Promise<void> {
    const now = Date.now();
    const due = this.#store.streams().filter((row) => (nextAsk(row) ?? Number.POSITIVE_INFINITY) <= now);
    await Promise.all(due.map((row) => this.#ask(row)));
    await this.#settle();
    await this.arm();
  }

  /** The alarm is the object's, and others set it too: only ever earlier. */
  async arm(): Promise<void> {
    const now = Date.now();
    const times = this.#store
      .streams()
      .flatMap((row) => [nextAsk(row), leaseEnd(row, now)].filter((at) => at !== null));
    if (times.length === 0) return;
    const next = Math.max(now + 1, Math.min(...times));
    const set = await this.#storage.getAlarm();
    if (set === null || set > next) await this.#storage.setAlarm(next);
  }

  async #ask({ id, registration }: StreamRow): Promise<void> {
    const { verification, stream_id } = registration;
    if (verification === undefined) return;
    const state = base64url(randomBytes(24));
    const sent_ms = Date.now();
    this.#store.transaction(() => {
      this.#store.ask(id, state, sent_ms);
      this.#store.putSource(id, { ...this.#store.stream(id)!.source, asked_ms: sent_ms });
    });
    const problem = await this.#post(verification, JSON.stringify({ stream_id, state }));
    // It may have been removed meanwhile.
    const row = this.#store.stream(id);
    if (row !== null && row.source.problem !== problem) this.#store.putSource(id, { ...row.source, problem });
  }

  /** `null` where the transmitter took the request. */
  async #post(
    { endpoint, authorization }: { readonly endpoint: string; readonly authorization?: string | undefined },
    body: string,
  ): Promise<string | null> {
    try {
      const send = this.#send;
      const answer = await send(endpoint, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          ...(authorization === undefined ? {} : { Authorization: authorization }),
        },
        body,
        redirect: "manual",
        signal: AbortSignal.timeout(SEND_MS),
      });
      await answer.body?.cancel();
      return answer.ok ? null : `the verification endpoint answers ${answer.status}`;
    } catch {
      return "the verification endpoint does not answer";
    }
  }
}

function nextAsk({ registration: { verification }, source }: StreamRow): number | null {
  if (verification === undefined) return null;
  return source.asked_ms === null ? 0 : source.asked_ms + verification.every_s * 1_000;
}

/** A lease that has not ended yet. */
function leaseEnd({ registration, source }: StreamRow, now_ms: number): number | null {
  const { lease_until_ms } = liveness(source, registration.lease_s ?? null, now_ms);
  return lease_until_ms !== null && lease_until_ms > now_ms ? lease_until_ms : null;
}
