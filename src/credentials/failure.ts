import { err, type Result } from "../base/result.ts";
import type { ReasonCode } from "../vocabulary/reasons.ts";

/** The reason codes that say what is wrong with who asks (DESIGN section 6). */
export type IdentityCode = Extract<ReasonCode, `identity_${string}`>;
/** The same for the state of the machine that asks. */
export type AttestationCode = Extract<ReasonCode, `attestation_${string}`>;

/**
 * Why a credential does not count. `message` is for the caller: it names what was expected and never repeats a
 * credential; what it quotes of one is short and printable (`shown`).
 */
export type Failure<Code extends IdentityCode | AttestationCode = IdentityCode | AttestationCode> = {
  readonly code: Code;
  readonly message: string;
};

export type IdentityFailure = Failure<IdentityCode>;
export type AttestationFailure = Failure<AttestationCode>;

export const fail = <Code extends IdentityCode | AttestationCode>(
  code: Code,
  message: string,
): Result<never, Failure<Code>> => err({ code, message });

/** Text out of a credential, safe in a message: at most 64 characters, printable ASCII, quoted. */
export const shown = (text: string): string => JSON.stringify(text.slice(0, 64)).replaceAll(/[^ -~]/g, "?");
