import type { DecideMessage } from "../../../src/objects/decide.ts";
import type { AcceptedFacts, ParsedFacts } from "../facts-reader.ts";

/** A `decide` message, with the facts that its shard has accepted. */
export type Question = { readonly message: DecideMessage; readonly accepted: AcceptedFacts };

/** Of item `at`: its own, where credentials came along with it, or those of the call. */
export const factsAt = ({ accepted }: Question, at: number): ParsedFacts => accepted.items[at] ?? accepted.call;
