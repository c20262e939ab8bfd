import { concat } from "../src/base/bytes.ts";
import type { IncidentKind } from "../src/lineage/incident.ts";
import type { IntegrateAnswer, IntegrateMessage } from "../src/objects/log.ts";

/** Leaves wait at most this long before they are sent, and are sent at once when this many wait (DESIGN section 9). */
const SEND_MS = 250;
const SEND_LEAVES = 256;
const MAX_LEAVES = 4_096;
const RETRY_MS = 1_000;
const ANSWER_MS = 5_000;
const REMEMBER_MS = 1_000;
/** Cosignatures are there half a second after the leaves, as a rule. A minute in all. */
const FOLLOW_MS = [800, 800, 1_400, 3_000, 4_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000];

export type LeafSource = {
  readonly source: string;
  /** Leaf hashes from `first` to `last`. */
  readonly hashes: (first: number, last: number) => readonly Uint8Array[];
  /** A new stub at every call: one that threw is never used again. */
  readonly integrate: (message: IntegrateMessage) => Promise<IntegrateAnswer>;
  /** `merge_by` of the oldest record that waits; a source that promises nothing has none. */
  readonly promised?: () => number | null;
  /** Who wants to know how far the log is (`IntegrateAnswer`); then the log is asked on until a quorum has everything. */
  readonly answered?: (mark: number, anchored: number | null) => void;
  /**
   * The log and the source contradict one another (`what` says how), or the log takes nothing more, which is its own
   * to explain (`null`): nothing may be decided on top. No reason: they agree.
   */
  readonly halt: (reason: string | null, what: IncidentKind | null) => void;
  /** The highest mark that the log has told, kept on disk: a log that tells less after a restart was put back. */
  readonly told: { readonly read: () => number; readonly write: (mark: number) => void };
};

/**
 * Sends a source's leaf hashes to the region log: at least once, in order, never on the decision path. The log keeps
 * the mark; on start the source asks for it, and shows the record that it has there, which the log compares. A mark
 * above the source's own last record, or another record at the mark, means that the source was rewound: it halts
 * instead of writing other records under numbers that the log has seen. A mark that goes back means that the log was.
 * Whoever has halted stays so until the object starts anew: a mark that is overtaken later proves nothing.
 */
export class LeafSender {
  readonly #source: LeafSource;
  /** The log's mark as far as it is known; `null` before it has answered once. */
  #mark: number | null = null;
  /** Whether the log has confirmed the record at its mark since this object started. */
  #confirmed = false;
  #stopped = false;
  /** Last `sseq` of the source that is durable. */
  #last: number;
  #sending = false;
  #remembered = 0;
  #ready!: () => void;
  /** Resolves when the log has confirmed the source, or it has halted: until then nobody knows whether it was rewound. */
  readonly ready: Promise<void>;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Under a quorum as far as the log has told; `null` where it asks nobody. */
  #anchored: number | null = null;
  #follow: ReturnType<typeof setTimeout> | null = null;
  #followed = 0;
  #asking: Promise<void> | null = null;

  constructor(source: LeafSource, last: number) {
    this.#source = source;
    this.#last = last;
    this.ready = new Promise((resolve) => {
      this.#ready = resolve;
    });
  }

  /** Integrated as far as the log has told; `null` before it has confirmed that the source goes on from there. */
  get mark(): number | null {
    return this.#confirmed ? this.#mark : null;
  }

  /** Asks the log how far it is although there is nothing to send. Never rejects. */
  async ask(): Promise<void> {
    if (this.#sending || this.#stopped || this.#mark === null) return;
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askOnce(): Promise<void> {
    const { source, integrate } = this.#source;
    const none = new Uint8Array(0);
    try {
      const answer = await withinTime(integrate({ v: 1, source, from_sseq: this.#mark! + 1, hashes: none }));
      // A log that contradicts this source says so when the next leaves are sent.
      if (!answer.ok || answer.mark !== this.#mark) return;
      this.#tell(answer.mark, answer.anchored);
    } catch {
      // Asked again, or told with the next leaves.
    }
  }

  /** What is measured with it must not stand in the way of the leaves: it is told again with the next answer. */
  #tell(mark: number, anchored: number | null): void {
    this.#anchored = anchored;
    try {
      this.#source.answered?.(mark, anchored);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "anchoring_unread", source: this.#source.source, message }));
    }
  }

  /** While a quorum is missing, and for a minute after the last leaves: then the object may sleep. */
  #followLater(): void {
    if (this.#source.answered === undefined || this.#follow !== null || this.#stopped) return;
    if (this.#anchored === null || this.#mark === null || this.#anchored >= this.#mark) return;
    if (this.#followed >= FOLLOW_MS.length) return;
    this.#follow = setTimeout(() => {
      this.#follow = null;
      void this.ask().then(() => this.#followLater());
    }, FOLLOW_MS[this.#followed++]);
  }

  /** Leaves up to `last` are durable. */
  notify(last: number): void {
    this.#last = last;
    this.#followed = 0;
    if (this.#sending || this.#stopped) return;
    if (this.#mark === null || last - this.#mark >= SEND_LEAVES) void this.#run();
    else this.#timer ??= setTimeout(() => void this.#run(), SEND_MS);
  }

  async #run(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#sending) return;
    this.#sending = true;
    let failed = true;
    try {
      // The first message carries nothing: it asks for the mark.
      while (await this.#send());
      failed = false;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "integrate_failed", source: this.#source.source, message }));
    } finally {
      this.#sending = false;
      // What became durable while the last message was under way has nobody else to announce it.
      const behind = !this.#stopped && this.#mark !== null && this.#mark < this.#last;
      this.#followLater();
      if (failed || behind) this.#timer ??= setTimeout(() => void this.#run(), failed ? RETRY_MS : SEND_MS);
    }
  }

  /** Sends what is there; whether there is more. */
  async #send(): Promise<boolean> {
    const { source, hashes, integrate } = this.#source;
    const [last, mark] = [this.#last, this.#mark];
    const first = mark === null ? 1 : Math.max(1, this.#confirmed ? mark + 1 : mark);
    const until = mark === null ? 0 : Math.min(last, first + MAX_LEAVES - 1);
    if (mark !== null && until < first) return false;
    const merge_by = until === 0 ? null : (this.#source.promised?.() ?? null);
    const answer = await withinTime(
      integrate({
        v: 1,
        source,
        from_sseq: first,
        hashes: until === 0 ? new Uint8Array(0) : concat(...hashes(first, until)),
        ...(merge_by === null ? {} : { merge_by }),
      }),
    );
    if (!answer.ok && answer.code === "waiting") {
      // Not for good: it is asked again, a second later.
      this.#source.halt(answer.reason, null);
      throw new Error(answer.reason);
    }
    if (!answer.ok) return this.#stop(refusal(answer, mark ?? 0), answer.code === "gap" ? "log_rewound" : null);
    if (answer.mark > last)
      return this.#stop(
        `the log holds sseq ${answer.mark}, and this source ends at ${last}: it was rewound`,
        "source_rewound",
      );
    const told = this.#source.told.read();
    if (answer.mark < told)
      return this.#stop(
        `the log is at sseq ${answer.mark} of this source and was at ${told}: it was rewound`,
        "log_rewound",
      );
    // At most once a second: what is lost with a crash makes the check weaker for a second, and no decision dearer.
    if (answer.mark > told && Date.now() - this.#remembered >= REMEMBER_MS) {
      this.#remembered = Date.now();
      this.#source.told.write(answer.mark);
    }
    // The first answer only gives the mark; whether this source is the one that reached it shows in the second.
    this.#confirmed = mark !== null || answer.mark === 0;
    this.#mark = answer.mark;
    this.#tell(answer.mark, answer.anchored);
    if (!this.#confirmed) return true;
    this.#source.halt(null, null);
    this.#ready();
    return answer.mark < this.#last;
  }

  #stop(reason: string, what: IncidentKind | null): false {
    this.#stopped = true;
    const { source, halt } = this.#source;
    console.error(JSON.stringify({ level: "error", event: "source_halted", source, message: reason }));
    halt(reason, what);
    this.#ready();
    return false;
  }
}

/** A call that hangs must not be the last one. Integrating twice is integrating once, so a late answer does no harm. */
async function withinTime<T>(call: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}

function refusal(answer: IntegrateAnswer & { readonly ok: false }, mark: number): string {
  switch (answer.code) {
    case "gap":
      // It answers only when what it answers with is on disk, so it cannot have forgotten by itself.
      return `the log is at sseq ${answer.mark} of this source and was at ${mark}: it was rewound`;
    case "diverged":
      return `the log holds another record at sseq ${answer.sseq}`;
    case "halted":
      return answer.reason;
    default:
      return `the log refuses this source: ${answer.code}`;
  }
}
