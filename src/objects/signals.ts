import type { SourceRecord, Liveness } from "../ssf/liveness.ts";
import type { SetErrorCode } from "../ssf/problem.ts";
import type { Signal } from "../ssf/signal.ts";
import type { SignalStream, StreamBody, SubjectRule } from "../ssf/stream.ts";
import type { AdminResult } from "./admin.ts";

/** What the TrustAuthority answers about Shared Signals streams (docs/object-rpc.md). */

export type RegisterStreamMessage = { readonly stream: StreamBody; readonly actor: string };

/** A stream as administrators see it; secrets only as whether there is one. */
export type SignalStreamView = {
  readonly id: string;
  readonly issuer: string;
  readonly audience: string;
  readonly push_endpoint: string;
  readonly keys: readonly { readonly kid: string; readonly alg: string }[];
  readonly events: readonly string[];
  readonly subjects: readonly SubjectRule[];
  readonly critical_subject_members: readonly string[];
  readonly stream_id: string | null;
  readonly authorization: boolean;
  readonly lease_s: number | null;
  readonly verification: {
    readonly endpoint: string;
    readonly every_s: number;
    readonly authorization: boolean;
  } | null;
  readonly on_degraded: "deny" | "nothing";
  readonly registered_at_ms: number;
  readonly source: Liveness &
    SourceRecord & {
      /** Of the last verification that was asked for. */
      readonly asked_ms: number | null;
      readonly problem: string | null;
      readonly received: Received;
      /** Id of the revocation of `issuer:<issuer>` that stands because the source is degraded. */
      readonly denied_by: string | null;
    };
};

/** Counts since the registration, and what the last SET was. */
export type Received = {
  readonly accepted: number;
  readonly repeated: number;
  readonly refused: number;
  readonly lowered: number;
  readonly last: { readonly t_ms: number; readonly type: string; readonly notes: readonly string[] } | null;
};

/** What the Worker needs for verifying a SET. */
export type SignalSource = {
  /** Changes with every registration: a SET that was verified under another one is verified again. */
  readonly version: string;
  readonly stream: SignalStream;
  /** SHA-256 of the Authorization header that a push must carry, base64url. */
  readonly authorization_digest: string | null;
};

/** A SET that the Worker has verified. */
export type AcceptSignalMessage = {
  readonly v: 1;
  readonly stream: string;
  readonly version: string;
  readonly jti: string;
  readonly iat_ms: number;
  /** SHA-256 of the payload segment, base64url. */
  readonly payload: string;
  readonly signal: Signal;
};

export type AcceptSignalAnswer =
  /** Durable: answer 202. */
  | { readonly ok: true }
  | { readonly ok: false; readonly code: "unsupported_version" | "unknown_stream" | "stale" }
  | { readonly ok: false; readonly code: "refused"; readonly err: SetErrorCode; readonly description: string };

export type RefusedSignalMessage = {
  readonly v: 1;
  readonly stream: string;
  readonly err: SetErrorCode;
  readonly description: string;
};

export interface SignalsRpc {
  registerStream(message: RegisterStreamMessage): Promise<AdminResult<SignalStreamView>>;
  listStreams(): Promise<readonly SignalStreamView[]>;
  readStream(id: string): Promise<AdminResult<SignalStreamView>>;
  removeStream(id: string, actor: string): Promise<AdminResult<SignalStreamView>>;
  /** `null`: no such stream is registered. */
  signalSource(id: string): Promise<SignalSource | null>;
  acceptSignal(message: AcceptSignalMessage): Promise<AcceptSignalAnswer>;
  /** A SET that certainly came from the transmitter was refused: the source is degraded by it. */
  refusedSignal(message: RefusedSignalMessage): Promise<void>;
}
