import type { ReadMessage, ReadView } from "../../../src/objects/log.ts";

/** Of a RegionLog what reads need; everything else runs against real objects. */
export class MemoryReads {
  readonly recorded: ReadMessage[] = [];
  fails = false;

  async recordRead(message: ReadMessage): Promise<{ readonly ok: boolean }> {
    if (this.fails) throw new Error("secret /path");
    this.recorded.push(message);
    return { ok: true };
  }

  async listReads(
    after: number,
    limit: number,
  ): Promise<{ readonly reads: readonly ReadView[]; readonly next: number | null }> {
    const reads = this.recorded.map((message, at) => ({
      ...message,
      id: at + 1,
      t_ms: 0,
      salt: "",
      until_ms: null,
      sseq: at + 2,
    }));
    return { reads: reads.slice(after, after + limit), next: null };
  }
}
