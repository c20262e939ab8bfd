import type { ReadMessage, ReadView } from "../../../src/objects/log.ts";

/** Of a RegionLog what reads need; everything else runs against real objects. */
export class MemoryReads {
  readonly recorded: ReadMessage[] = [];
  fails = false;
  leaf_epoch: number | null = null;

  async recordRead(message: ReadMessage): Promise<{ readonly ok: boolean }> {
    if (this.fails) throw new Error("secret /path");
    this.recorded.push(message);
    return { ok: true };
  }

  async listReads(
    before: number | null,
    limit: number,
  ): Promise<{ readonly reads: readonly ReadView[]; readonly next: number | null }> {
    const reads = this.recorded.map((message, at) => ({
      ...message,
      id: at + 1,
      t_ms: 0,
      salt: "",
      until_ms: null,
      sseq: at + 2,
      leaf_epoch: this.leaf_epoch,
    }));
    const page = reads.toReversed().filter(({ id }) => before === null || id < before);
    return { reads: page.slice(0, limit), next: page.length > limit ? page[limit - 1]!.id : null };
  }
}
