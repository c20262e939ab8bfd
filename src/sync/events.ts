/**
 * A signed event as the driver hands it in: its signature verified under a key of the origin, its digest computed.
 * The core looks at the links only; the driver gets the same object back in `commit` and stores what it needs.
 */
export type VerifiedEvent = {
  readonly origin: string;
  readonly incarnation: number;
  readonly seq: number;
  readonly prev: string | null;
  /** `eventDigest` of its canonical text. */
  readonly digest: string;
  readonly kid: string;
  /** The compact JWS as received: half of a proof, and what is handed on. */
  readonly jws: string;
  /** Whether this version knows the event's kind and can read its body. */
  readonly supported: boolean;
};
