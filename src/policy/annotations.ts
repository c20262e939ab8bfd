import { isObject, parseJson, type JsonObject, type JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Effect } from "../cedar/index.ts";
import type { Obligation } from "../vocabulary/types.ts";
import { jcs } from "../base/jcs.ts";

/** What a policy's annotations mean. `@id` is read by the builder; annotations with other names mean nothing here. */
export type Annotated = {
  /** `@reason`: a short machine-readable word or sentence, given out as `policy_reason`. */
  readonly reason: string | null;
  /** `@step_up("approval")`, on a forbid: the denial can be lifted by an approval. */
  readonly step_up: "approval" | null;
  /** `@obligation`, on a permit: attached to an allow that rests on it. */
  readonly obligations: readonly Obligation[];
  /** `@permit_ttl_s`, on a permit: how long a permit minted for such an allow may live, instead of the usual minute. */
  readonly permit_ttl_ms: number | null;
  /** `@valid_for`, on a permit: an allow that rests on it ends so long after it was decided. */
  readonly valid_for_ms: number | null;
};

const MAX_PERMIT_TTL_S = 900;
const MAX_VALID_FOR_MS = 86_400_000;
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

const NO_OBLIGATIONS: readonly Obligation[] = [];

/** Reads the annotations of one policy; the message says what is wrong with one. */
export function readAnnotations(effect: Effect, annotations: ReadonlyMap<string, string>): Result<Annotated, string> {
  const reason = annotations.get("reason") ?? null;
  if (reason !== null && (reason.length === 0 || reason.length > 200)) {
    return err("@reason: 1 to 200 characters are required");
  }
  const step_up = annotations.get("step_up") ?? null;
  if (step_up !== null) {
    if (step_up !== "approval") return err('@step_up: only "approval" is known');
    if (effect !== "forbid") return err("@step_up: only a forbid can be lifted by an approval");
  }
  const ttl = annotations.get("permit_ttl_s") ?? null;
  if (ttl !== null) {
    const known = /^[1-9][0-9]{0,2}$/.test(ttl) && Number(ttl) <= MAX_PERMIT_TTL_S;
    if (!known) return err(`@permit_ttl_s: whole seconds from 1 to ${MAX_PERMIT_TTL_S}`);
    if (effect !== "permit") return err("@permit_ttl_s: only a permit gives one");
  }
  const permit_ttl_ms = ttl === null ? null : Number(ttl) * 1_000;
  const valid_for = annotations.get("valid_for");
  if (valid_for !== undefined && effect !== "permit") return err("@valid_for: only a permit has an end");
  const valid_for_ms = valid_for === undefined ? null : durationOf(valid_for);
  if (valid_for_ms === undefined) return err('@valid_for: a whole number with s, m or h, at most 24 hours, as "15m"');
  const said: Omit<Annotated, "obligations"> = { reason, step_up, permit_ttl_ms, valid_for_ms };
  const written = annotations.get("obligation");
  if (written === undefined) return ok({ ...said, obligations: NO_OBLIGATIONS });
  if (effect !== "permit") return err("@obligation: only a permit carries obligations");
  const obligations = readObligations(written);
  return obligations.ok ? ok({ ...said, obligations: obligations.value }) : obligations;
}

/** Milliseconds of `90s`, `15m`, `2h`; `undefined` for anything else. */
function durationOf(text: string): number | undefined {
  const match = /^([1-9][0-9]{0,4})([smh])$/.exec(text);
  const ms = match === null ? 0 : Number(match[1]) * UNITS[match[2]!]!;
  return ms > 0 && ms <= MAX_VALID_FOR_MS ? ms : undefined;
}

const WORD = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** `type:id`, or a JSON object `{id, type, properties?}`, or an array of such objects. */
function readObligations(text: string): Result<readonly Obligation[], string> {
  const shorthand = /^([^:{[\s]+):([^:\s]+)$/.exec(text);
  if (shorthand !== null) return obligation({ type: shorthand[1]!, id: shorthand[2]! }, (one) => [one]);
  const json = parseJson(text);
  if (!json.ok) return err('@obligation: expected "type:id" or JSON {"id", "type", "properties"?}');
  const entries: readonly JsonValue[] = Array.isArray(json.value) ? (json.value as readonly JsonValue[]) : [json.value];
  const obligations: Obligation[] = [];
  for (const entry of entries) {
    const read = obligation(entry, (one) => one);
    if (!read.ok) return read;
    obligations.push(read.value);
  }
  return ok(sortObligations(obligations));
}

/** `properties` with members in the order of JCS: then `JSON.stringify` of a core is its JCS, and equal ones are one text. */
function obligation<T>(json: JsonValue, then: (one: Obligation) => T): Result<T, string> {
  if (!isObject(json)) return err("@obligation: expected an object");
  const unknown = Object.keys(json).find((name) => !["id", "type", "properties"].includes(name));
  if (unknown !== undefined) return err(`@obligation: unknown member ${unknown}`);
  const { id, type, properties = {} } = json;
  if (typeof id !== "string" || !WORD.test(id)) return err("@obligation: id must be a word");
  if (typeof type !== "string" || !WORD.test(type)) return err("@obligation: type must be a word");
  if (!isObject(properties)) return err("@obligation: properties must be an object");
  const text = jcs(properties);
  const canonical = JSON.parse(text) as JsonObject;
  // A name such as "10" stands first in a JavaScript object, wherever it was put.
  if (JSON.stringify(canonical) !== text) {
    return err("@obligation: members of properties that are named with a number cannot be kept in order; use words");
  }
  return ok(then({ id, type, properties: canonical }));
}

/** By type, then id, then properties; equal ones once. The order in which policies were written does not show. */
export function sortObligations(obligations: readonly Obligation[]): readonly Obligation[] {
  const keyed = obligations.map((one): [string, Obligation] => [jcs([one.type, one.id, one.properties]), one]);
  const unique = new Map(keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  return [...unique.values()];
}
