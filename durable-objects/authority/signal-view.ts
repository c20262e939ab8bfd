import type { SignalStreamView } from "../../src/objects/signals.ts";
import { algorithmOf } from "../../src/ssf/keys.ts";
import { liveness } from "../../src/ssf/liveness.ts";
import type { StreamRow } from "./signal-store.ts";

/** A stream as administrators see it: no secret, and how the source stands now. */
export function viewOf(
  { id, registration, authorization_digest, registered_at_ms, source }: StreamRow,
  pdp: string,
  now_ms: number,
): SignalStreamView {
  const { issuer, audience, events, subjects, critical_subject_members, verification, on_degraded } = registration;
  const lease_s = registration.lease_s ?? null;
  const { confirmed_sent_ms, transmitter, failure, asked_ms, problem, received, denied_by } = source;
  return {
    id,
    issuer,
    audience,
    push_endpoint: `${pdp}/ssf/v1/events/${id}`,
    keys: registration.jwks.keys.map((jwk) => ({ kid: String(jwk["kid"]), alg: String(algorithmOf(jwk)) })),
    events,
    subjects,
    critical_subject_members,
    stream_id: registration.stream_id ?? null,
    authorization: authorization_digest !== null,
    lease_s,
    verification:
      verification === undefined
        ? null
        : {
            endpoint: verification.endpoint,
            every_s: verification.every_s,
            authorization: verification.authorization !== undefined,
          },
    on_degraded,
    registered_at_ms,
    source: {
      ...liveness(source, lease_s, now_ms),
      confirmed_sent_ms,
      transmitter,
      failure,
      asked_ms,
      problem,
      received,
      denied_by,
    },
  };
}
