import { concat } from "../src/base/bytes.ts";
import type { IntegrateAnswer, IntegrateMessage } from "../src/objects/log.ts";

/** Leaves wait at most this long before they are sent, and are sent at once when this many wait (DESIGN section 9). */
const SEND_MS = 250;
const SEND_LEAVES = 256;
const MAX_LEAVES = 4_096;
const RETRY_MS = 1_000;

export type LeafSource = {
  readonly source: string;
  /** Leaf hashes from `first` to `last`. */
  readonly hashes: (first: number, last: number) => readonly Uint8Array[];
  /** A new stub at every call: one that threw is never used again. */
  readonly integrate: (message: IntegrateMessage) => Promise<IntegrateAnswer>;
  /** The log and the source contradict one another, or the log is halted: nothing may be decided on top. */
  readonly halt: (reason: string | null) => void;
};

/**
 * Sends a source's leaf hashes to the region log: at least once, in order, never on the decision path. The log keeps
 * the mark; on start the source asks for it. A mark above the source's own last record means that the source was
 * rewound: it halts instead of writing other records under numbers that the log has seen.
 */
export class LeafSender {
  readonly #source: LeafSource;
  /** The log's mark as far as it is known; `null` before it has answered once. */
  #mark: number | null = null;
  /** Last `sseq` of the source that is durable. */
  #last: number;
  #sending = false;
  #ready!: () => void;
  /** Resolves when the log has answered for the first time: until then nobody knows whether the source was rewound. */
  readonly ready: Promise<void>;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(source: LeafSource, last: number) {
    this.#source = source;
    this.#last = last;
    this.ready = new Promise((resolve) => {
      this.#ready = resolve;
    });
  }

  /** Integrated as far as the log has told; `null` before it has. */
  get mark(): number | null {
    return this.#mark;
  }

  /** Leaves up to `last` are durable. */
  notify(last: number): void {
    this.#last = last;
    if (this.#sending) return;
    if (this.#mark === null || last - this.#mark >= SEND_LEAVES) void this.#run();
    else this.#timer ??= setTimeout(() => void this.#run(), SEND_MS);
  }

  async #run(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#sending) return;
    this.#sending = true;
    let again = RETRY_MS;
    try {
      // The first message carries nothing: it asks for the mark.
      while (await this.#send()) again = 0;
      again = 0;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : "unknown";
      console.warn(JSON.stringify({ level: "warn", event: "integrate_failed", source: this.#source.source, message }));
    } finally {
      this.#sending = false;
      if (again > 0) this.#timer ??= setTimeout(() => void this.#run(), again);
    }
  }

  /** Sends what is there; whether there is more. */
  async #send(): Promise<boolean> {
    const { source, hashes, integrate, halt } = this.#source;
    const last = this.#last;
    const first = (this.#mark ?? 0) + 1;
    const until = this.#mark === null ? 0 : Math.min(last, first + MAX_LEAVES - 1);
    if (this.#mark !== null && until < first) return false;
    const answer = await integrate({
      v: 1,
      source,
      from_sseq: first,
      hashes: until === 0 ? new Uint8Array(0) : concat(...hashes(first, until)),
    });
    if (!answer.ok) {
      if (answer.code === "gap") {
        this.#mark = answer.mark;
        return true;
      }
      halt(
        answer.code === "diverged"
          ? `the log holds another record at sseq ${answer.sseq}`
          : answer.code === "halted"
            ? answer.reason
            : "the log refuses this source",
      );
      return false;
    }
    if (answer.mark > last) {
      halt(`the log holds sseq ${answer.mark}, and this source ends at ${last}: it was rewound`);
      return false;
    }
    halt(null);
    this.#mark = answer.mark;
    this.#ready();
    return answer.mark < this.#last;
  }
}
