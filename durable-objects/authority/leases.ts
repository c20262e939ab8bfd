/**
 * The authority's book of leases: until when each shard may still rely on what it knows, and up to which revision
 * each has made the trust state effective.
 *
 * The book lives in memory. After a restart the authority knows nothing of earlier grants, so it assumes that every
 * shard is leased until now + L (DESIGN section 5): waiting too long is safe, waiting too short is not.
 */
export class ShardLeases {
  readonly #until: number[];
  readonly #revision: number[];

  constructor(shards: number, now_ms: number, lease_ms: number) {
    this.#until = Array.from({ length: shards }, () => now_ms + lease_ms);
    this.#revision = Array.from({ length: shards }, () => 0);
  }

  /**
   * A lease is about to be granted until `until_ms`, to a shard that reports `effective` as its effective revision.
   * A grant carries every entry up to the current revision, and a shard applies them before it relies on the lease;
   * still the book counts it in full, which can only make a writer wait longer.
   */
  granted(shard: number, until_ms: number, effective: number): void {
    this.#until[shard] = Math.max(this.#until[shard]!, until_ms);
    this.confirmed(shard, effective);
  }

  confirmed(shard: number, revision: number): void {
    this.#revision[shard] = Math.max(this.#revision[shard]!, revision);
  }

  revisionOf(shard: number): number {
    return this.#revision[shard]!;
  }

  /** Ends of the leases granted so far; grants made later carry the entry that a writer waits for. */
  endsBefore(): readonly number[] {
    return [...this.#until];
  }

  allConfirmed(revision: number): boolean {
    return this.#revision.every((have) => have >= revision);
  }

  /** Every shard has either confirmed `revision` or holds no lease any more. */
  allExpired(revision: number, now_ms: number): boolean {
    return this.#revision.every((have, shard) => have >= revision || this.#until[shard]! < now_ms);
  }

  describe(
    now_ms: number,
  ): readonly { readonly shard: number; readonly revision: number; readonly leased_for_ms: number }[] {
    return this.#until.map((until, shard) => ({
      shard,
      revision: this.#revision[shard]!,
      leased_for_ms: Math.max(0, until - now_ms),
    }));
  }
}
