import type { Caller } from "../credentials/pep.ts";
import type { Problem } from "./reply.ts";
import type { Self } from "./self-guard.ts";

/** Who asks, for the length of one request. */
export type CallerState = {
  readonly authorization: string | null;
  /** Replaced when a shard calls the facts stale; every later call of this request then uses the new ones. */
  caller: Caller;
  /** `null`: a PEP asks under its own credential. */
  readonly self?: Self | null;
  /** Names this request to those who record what is used once (`ownerOf`). */
  owner?: string;
  /** The renewal under way, shared by the parallel calls of one request. */
  renewal: Promise<Problem | null> | null;
};
