import { base64url } from "../../src/base/bytes.ts";
import type { Forwarded } from "../../src/objects/revocations.ts";
import { parseKey } from "../../src/trust/keys.ts";
import { randomBytes } from "../platform.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import type { Links } from "./links.ts";
import { pause } from "./pause.ts";
import type { ForwardRow, RequestRows, Verdict } from "./request-rows.ts";

const RETRY_MS = 1_000;
const RETRY_MAX_MS = 30_000;

export type ForwardsRoom = {
  readonly rows: RequestRows;
  readonly pseudonyms: Pseudonyms;
  readonly ask: Links["request"];
};

/** A home that has said `pending` is asked again when somebody looks, at most so often. */
const AGAIN_MS = 1_000;

/**
 * What this region took from a key of another one's, and asks the home to take too. A home that does not answer is
 * asked on, for as long as this object is awake; one that has said `pending` when somebody looks, since its
 * administrator may have decided.
 */
export class Forwards {
  readonly #room: ForwardsRoom;
  /** Requests under way: what wakes one that rests between two tries. */
  readonly #running = new Map<string, () => void>();
  readonly #answered_ms = new Map<string, number>();
  readonly #waiting = new Set<() => void>();

  constructor(room: ForwardsRoom) {
    this.#room = room;
  }

  start(): void {
    for (const row of this.#room.rows.open()) this.#begin(row);
  }

  /** In the transaction of the entry; `send` follows. The same request is not made anew. */
  note(key: string, home: string, level: ForwardRow["level"], from: ForwardRow["from"]): void {
    const before = this.#room.rows.forward(key, home);
    if (before?.level === level && before.from === from) return;
    const id = base64url(randomBytes(16));
    this.#room.rows.putForward({ key, home, id, level, from, asked_at_ms: Date.now(), verdict: null });
  }

  /** The entry was lifted, so nothing is asked for any more. What the home entered by itself stays the home's. */
  drop(key: string): void {
    this.#room.rows.dropForwards(key);
  }

  /** Asks where something is open, and waits until the home has answered or `patience_ms` are over. */
  async send(key: string, home: string, patience_ms: number): Promise<void> {
    const row = this.#room.rows.forward(key, home);
    if (row === null || isLast(row.verdict)) return;
    const before_ms = this.#answered_ms.get(row.id) ?? 0;
    if (row.verdict === "pending" && Date.now() - before_ms < AGAIN_MS) return;
    this.#begin(row);
    this.#running.get(row.id)?.();
    if (patience_ms <= 0) return;
    let look = (): void => undefined;
    const answered = new Promise<void>((resolve) => {
      look = () => {
        if ((this.#answered_ms.get(row.id) ?? 0) > before_ms) resolve();
      };
    });
    this.#waiting.add(look);
    await Promise.race([answered, pause(patience_ms)]);
    this.#waiting.delete(look);
  }

  /** The home's last word; `null` where it was not asked. */
  said(key: string, home: string): Forwarded | null {
    const row = this.#room.rows.forward(key, home);
    return row === null ? null : (row.verdict ?? "unreachable");
  }

  #begin(row: ForwardRow): void {
    if (this.#running.has(row.id)) return;
    this.#running.set(row.id, () => undefined);
    void this.#run(row)
      // Storage of an object that has died: the next one goes on.
      .catch(() => undefined)
      .finally(() => this.#running.delete(row.id));
  }

  async #run({ key, home, id }: ForwardRow): Promise<void> {
    for (let wait_ms = RETRY_MS; ; wait_ms = Math.min(2 * wait_ms, RETRY_MAX_MS)) {
      // It may have been lifted or replaced meanwhile.
      const row = this.#room.rows.forward(key, home);
      if (row?.id !== id) return;
      const verdict = await this.#ask(row);
      if (verdict !== null) {
        this.#room.rows.setVerdict(id, verdict);
        this.#answered_ms.set(id, Date.now());
        for (const look of this.#waiting) look();
        return;
      }
      await Promise.race([pause(wait_ms), new Promise<void>((resolve) => this.#running.set(id, resolve))]);
    }
  }

  async #ask({ key, home, id, level, from, asked_at_ms }: ForwardRow): Promise<Verdict | null> {
    const parsed = parseKey(key);
    if (!parsed.ok) return null;
    return this.#room.ask(home, {
      id,
      nonce: base64url(randomBytes(16)),
      key: this.#room.pseudonyms.current(key),
      kind: parsed.value.kind,
      level,
      from,
      asked_at_ms,
    });
  }
}

const isLast = (verdict: Verdict | null): boolean => verdict === "accepted" || verdict === "refused";
