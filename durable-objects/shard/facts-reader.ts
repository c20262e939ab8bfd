import { digestOf } from "../../src/base/digest.ts";
import type { DecideMessage } from "../../src/objects/decide.ts";
import type { Facts } from "../../src/vocabulary/types.ts";
import { nodeSha256 } from "../platform.ts";

export type ParsedFacts = { readonly facts: Facts; readonly text: string; readonly digest: string };

/** Of a call, and of those of its items that have some of their own. */
export type AcceptedFacts = { readonly call: ParsedFacts; readonly items: readonly (ParsedFacts | null)[] };

const KEPT = 256;

/** What Workers verified and say of a caller: parsed once per distinct text, and accepted only where it is current. */
export class FactsReader {
  readonly #open: boolean;
  readonly #isCurrent: (facts: Facts) => boolean;
  readonly #parsed = new Map<string, ParsedFacts>();

  /** `open`: the region lets everybody ask. `isCurrent`: whether they rest on the key material that this shard has. */
  constructor(open: boolean, isCurrent: (facts: Facts) => boolean) {
    this.#open = open;
    this.#isCurrent = isCurrent;
  }

  accept(text: string): ParsedFacts | null {
    const parsed = this.#parse(text);
    const { keys, thumbprints, pep, sources = [] } = parsed.facts;
    // Every key by the name that revokes it: without that a revoked one would not be seen.
    if (thumbprints?.length !== keys.length) return null;
    // Nobody's key vouches for the caller: everybody may ask here, or a workload asks for itself.
    if (keys.length === 0 && sources.length === 0 && !(this.#open && pep.id === "open")) return null;
    return this.#isCurrent(parsed.facts) ? parsed : null;
  }

  /** The facts of the call and of its items; `null` where any of them is stale. */
  acceptAll(message: DecideMessage): AcceptedFacts | null {
    const call = this.accept(message.facts);
    if (call === null) return null;
    const items: (ParsedFacts | null)[] = [];
    for (const { facts } of message.items) {
      // Items of a call mostly share theirs.
      const before = items.at(-1);
      const own = facts === undefined ? null : facts === before?.text ? before : this.accept(facts);
      if (own === null && facts !== undefined) return null;
      items.push(own);
    }
    return { call, items };
  }

  #parse(text: string): ParsedFacts {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const parsed = { facts: JSON.parse(text) as Facts, text, digest: digestOf(text, nodeSha256) };
    // A proof is used once, so facts with one do not come again.
    if (parsed.facts.workload === undefined && parsed.facts.step_receipts === undefined) {
      if (this.#parsed.size >= KEPT) this.#parsed.clear();
      this.#parsed.set(text, parsed);
    }
    return parsed;
  }
}
