import { ENGINE } from "../../src/decision/engine.ts";
import type { StatedPack } from "../../src/policy/drift.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { deviations, probePolicy, type PolicyProbe } from "../../src/policy/probe.ts";
import { nodeSha256 } from "../platform.ts";

export type ExpectationPorts = {
  /** Digest of the policy that every lease names. */
  readonly digest: () => string;
  /** The same policy, where this object has it compiled; `null` where only the shards do. */
  readonly policy: () => LoadedPolicy | null;
};

/**
 * What every shard should find of the policy in force: what this object found itself when it first looked, or else what
 * the first shard said. In memory only, so that another build of the Worker begins anew; what a build does to the
 * answers the other regions see.
 */
export class Expectation {
  readonly #ports: ExpectationPorts;
  #expected: PolicyProbe | null = null;
  /** What differs, by shard. */
  #deviating = new Map<number, readonly string[]>();
  readonly #found = new Map<number, PolicyProbe>();

  constructor(ports: ExpectationPorts) {
    this.#ports = ports;
  }

  get policy(): string {
    return this.#ports.digest();
  }

  get deviating(): ReadonlyMap<number, readonly string[]> {
    return this.#deviating;
  }

  heard(shard: number, found: PolicyProbe | null): PolicyProbe | null {
    const current = found?.policy === this.policy ? found : null;
    const expected = this.#current() ?? (this.#expected = current);
    const deviating = new Map(this.#deviating);
    deviating.delete(shard);
    this.#found.delete(shard);
    if (expected !== null && current !== null) {
      this.#found.set(shard, current);
      const differ = deviations(expected, current);
      if (differ.length > 0) deviating.set(shard, differ);
    }
    this.#deviating = deviating;
    return expected;
  }

  /** What every shard should find; `null`: not known yet. */
  sound(): readonly StatedPack[] | null {
    return this.#current()?.packs ?? null;
  }

  /** For the region's statement: as a shard that deviates says it, so that others see it too. */
  packs(): readonly StatedPack[] | null {
    const expected = this.#current();
    if (expected === null) return null;
    const odd = [...this.#deviating.keys()].flatMap((shard) => this.#found.get(shard)?.packs ?? []);
    return expected.packs.map(
      ({ name, version, digest, probe }) =>
        odd.find((pack) => pack.name === name && pack.probe !== probe) ?? { name, version, digest, probe },
    );
  }

  #current(): PolicyProbe | null {
    const digest = this.policy;
    if (this.#expected?.policy !== digest) {
      const policy = this.#ports.policy();
      this.#expected = policy?.digest === digest ? probePolicy(policy, ENGINE, nodeSha256) : null;
      this.#deviating = new Map();
    }
    return this.#expected;
  }
}
