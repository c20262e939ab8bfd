import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import type { DecideMessage } from "../../src/objects/decide.ts";
import { factsAt } from "./decide/question.ts";
import type { Facts } from "../../src/vocabulary/types.ts";
import type { AcceptedFacts, FactsReader, ParsedFacts } from "./facts-reader.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { Policies } from "./policies.ts";
import type { ShardProbe } from "./probe.ts";
import type { ShardTrust } from "./trust.ts";
import { wantedBy } from "./wanted.ts";

/** More records than this waiting to be decided: the next are turned away at once (`overloaded`), rather than left to time out. */
const MAX_WAITING = 20_000;

/** Denied without a record: nothing is known about the question but that it is not decided now. */
export type TurnedAway = Extract<ReasonCode, "overloaded" | "trust_lease_expired" | "lineage_halted">;

/** Why nothing is decided. `stale_facts`: the Worker's key material and the shard's differ; it asks once more with newer. */
type Refused = TurnedAway | "stale_facts";

export type AdmissionPorts = {
  readonly region: string;
  readonly lease: LeaseKeeper;
  readonly policies: Policies;
  readonly probe: ShardProbe;
  readonly facts: FactsReader;
  readonly trust: ShardTrust;
  readonly now: () => number;
  /** Records that wait to be decided. */
  readonly waiting: () => number;
  /** Whether what is known of the log is old and would be said. */
  readonly anchoringIsStale: (now: number) => boolean;
  readonly askAnchoring: () => Promise<void>;
  /** It is known that nothing is decided here, whoever asks: no lease and no key material is needed to say so. */
  readonly over: () => boolean;
  /** Not decided now, for whatever reason. */
  readonly halted: () => boolean;
};

/** What comes before the queue: all that a decision needs is fetched here, and who asks is let in or turned away. */
export class Admission {
  readonly #ports: AdmissionPorts;

  constructor(ports: AdmissionPorts) {
    this.#ports = ports;
  }

  /** Where nothing has to be fetched: in the very turn, so that questions are decided as they come. Else `null`. */
  atOnce(message: DecideMessage, received: number): AcceptedFacts | Refused | null {
    const { lease, policies, probe, facts, trust } = this.#ports;
    if (this.#ports.waiting() >= MAX_WAITING) return "overloaded";
    if (!lease.isYoung(received) || !policies.isReady(received) || !probe.isFresh(received)) return null;
    if (this.#ports.anchoringIsStale(received) || message.at_least !== null || trust.unheard(received)) return null;
    // Without a record, unlike other denies: a rewound source would sign new records under numbers that are taken.
    return this.#ports.halted() ? "lineage_halted" : facts.acceptAll(message);
  }

  async ofCall(message: DecideMessage, received: number): Promise<AcceptedFacts | Refused> {
    const { lease, policies, probe, facts, trust, region } = this.#ports;
    if (!lease.isYoung(received)) await lease.ensure();
    if (!policies.isReady(received)) await policies.ensure(received);
    if (!probe.isFresh(received)) await probe.ready();
    if (this.#ports.anchoringIsStale(received)) await this.#ports.askAnchoring();
    const accepted = await this.#let(() => facts.acceptAll(message));
    if (typeof accepted === "string") return accepted;
    if (message.at_least !== null || trust.unheard(received)) {
      const factsOf = (at: number): Facts => factsAt({ message, accepted }, at).facts;
      const { policy } = policies.at(received);
      const wanted = wantedBy(message, factsOf, policy, trust.view(), region, received);
      if (wanted !== null) await lease.ensure(wanted);
    }
    return this.#ports.halted() ? "lineage_halted" : accepted;
  }

  /** Who asks about a permit or a hold; as for a decision. */
  async ofCaller(text: string): Promise<ParsedFacts | Refused> {
    const { lease, probe, facts } = this.#ports;
    if (this.#ports.waiting() >= MAX_WAITING) return "overloaded";
    await lease.ensure();
    if (!probe.isFresh(Date.now())) await probe.ready();
    const accepted = await this.#let(() => facts.accept(text));
    if (typeof accepted === "string") return accepted;
    return this.#ports.halted() ? "lineage_halted" : accepted;
  }

  /** Who searches: nothing is recorded, so it needs no place in the queue. */
  async ofSearch(text: string): Promise<ParsedFacts | Refused> {
    const { lease, policies, probe, facts } = this.#ports;
    await lease.ensure();
    if (this.#ports.over()) return "lineage_halted";
    const accepted = facts.accept(text);
    if (accepted === null) return this.unknown;
    const now = this.#ports.now();
    if (!policies.isReady(now)) await policies.ensure(now);
    if (!probe.isFresh(now)) await probe.ready();
    return accepted;
  }

  /** Why facts are not accepted: a shard that never had a lease has no key material, so none could be newer. */
  get unknown(): "trust_lease_expired" | "stale_facts" {
    return this.#ports.trust.material === null ? "trust_lease_expired" : "stale_facts";
  }

  async #let<T>(accept: () => T | null): Promise<T | Refused> {
    if (this.#ports.over()) return "lineage_halted";
    const accepted = accept();
    if (accepted !== null) return accepted;
    if (this.unknown === "trust_lease_expired") return this.unknown;
    // The Worker may have newer material than this shard, and would not find out which of the two is.
    await this.#ports.lease.renew();
    return accept() ?? "stale_facts";
  }
}
