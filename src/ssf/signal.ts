import type { JsonObject, JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { levelOf, type Severity } from "./events.ts";
import type { SetErrorCode } from "./problem.ts";
import type { SignalStream } from "./stream.ts";
import { targetOf } from "./subjects.ts";

/** What one SET asks of this region. */
export type Signal = {
  /** Event type URI. */
  readonly type: string;
  /** When it happened, as the transmitter says, and never after the SET was issued. */
  readonly at_ms: number;
  readonly effect: SignalEffect;
};

export type SignalEffect =
  | {
      /** Deny-ward: the keys fall to this level, unless they are lower already. */
      readonly kind: "lower";
      readonly level: Severity;
      readonly from: "issue" | "beginning";
      readonly keys: readonly string[];
      readonly notes: readonly string[];
    }
  /** Says nothing that would deny. What a signal lowered another never raises: that takes an administrator. */
  | { readonly kind: "none"; readonly why: string }
  | { readonly kind: "verification"; readonly state: string | null }
  | {
      readonly kind: "stream_updated";
      readonly status: "enabled" | "paused" | "disabled";
      readonly reason: string | null;
    };

const SSF = "https://schemas.openid.net/secevent/ssf/event-type/";
const VERIFICATION = `${SSF}verification`;
const STREAM_UPDATED = `${SSF}stream-updated`;

type Parts = {
  readonly type: string;
  readonly event: JsonObject;
  readonly sub_id: JsonObject;
  readonly iat: number;
  readonly toe: JsonValue | undefined;
};

type Problem = { readonly err: SetErrorCode; readonly description: string };
const refused = (description: string, code: SetErrorCode = "invalid_request"): Result<never, Problem> =>
  err({ err: code, description });

export function readSignal(parts: Parts, stream: SignalStream): Result<Signal, Problem> {
  const { type, event, sub_id, iat, toe } = parts;
  const said = event["event_timestamp"] ?? toe ?? iat;
  if (typeof said !== "number" || !Number.isFinite(said) || said < 0) {
    return refused("event_timestamp is not a time in seconds");
  }
  const at_ms = Math.min(Math.floor(said * 1_000), iat * 1_000);
  if (type === VERIFICATION || type === STREAM_UPDATED) {
    const effect = aboutStream(type, event, sub_id, stream);
    return effect.ok ? ok({ type, at_ms, effect: effect.value }) : effect;
  }
  if (!stream.events.includes(type))
    return refused(`the event type was not requested: ${type.slice(0, 128)}`, "access_denied");
  const level = levelOf(type, event);
  if (!level.ok) return refused(level.error);
  if (level.value.level === null) return ok({ type, at_ms, effect: { kind: "none", why: level.value.why } });
  const target = targetOf(sub_id, stream, level.value.aims);
  if (!target.ok) return refused(target.error.message, target.error.unmapped ? "access_denied" : "invalid_request");
  const notes = level.value.note === null ? target.value.notes : [level.value.note, ...target.value.notes];
  const { from } = level.value;
  return ok({ type, at_ms, effect: { kind: "lower", level: level.value.level, from, keys: target.value.keys, notes } });
}

/** Events about the stream itself: their subject is the stream, by the transmitter's id of it. */
function aboutStream(
  type: string,
  event: JsonObject,
  sub_id: JsonObject,
  stream: SignalStream,
): Result<SignalEffect, Problem> {
  if (sub_id["format"] !== "opaque" || (stream.stream_id !== undefined && sub_id["id"] !== stream.stream_id)) {
    return refused("the SET's sub_id is not this stream");
  }
  if (type === VERIFICATION) {
    const state = event["state"] ?? null;
    if (state !== null && (typeof state !== "string" || state.length > 1_024)) return refused("state is not a text");
    return ok({ kind: "verification", state });
  }
  const { status, reason } = event;
  if (status !== "enabled" && status !== "paused" && status !== "disabled") {
    return refused("status is not enabled, paused or disabled");
  }
  return ok({ kind: "stream_updated", status, reason: typeof reason === "string" ? reason.slice(0, 256) : null });
}
