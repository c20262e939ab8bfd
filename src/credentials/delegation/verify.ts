import { parseRunId } from "../../base/ids.ts";
import { isObject, type JsonObject, type JsonValue } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import type { Budget, Delegation } from "../../vocabulary/run.ts";
import { entityForm, parseKey } from "../../trust/keys.ts";
import { FUTURE_SKEW_MS, timeOf } from "../claims.ts";
import type { Algorithm } from "../jws/algorithms.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { chooseKey, gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";

/**
 * A delegation as an artefact of its own (DESIGN section 6): a JWS, `typ: interlock-delegation+jwt`, signed with a key
 * that the region has registered for the delegator. Its claims are in docs/identity.md; every one is required but
 * `limits` and `parent`, and none is passed over: a limit under a name that nobody knows would be no limit.
 */
export type DelegationIssuer = {
  readonly issuer: string;
  readonly keys: readonly PublicKey[];
  readonly algorithms: readonly Algorithm[];
  /** In whose place its keys may sign; `id: null`: any of the type. */
  readonly delegators: readonly { readonly type: string; readonly id: string | null }[];
  readonly max_lifetime_ms: number;
  readonly max_depth: number;
  readonly fresh_until_ms: number;
};

export type DelegationRules = {
  readonly issuers: readonly DelegationIssuer[];
  /** This region, by its PDP identifier: one of the artefact's audiences. */
  readonly audience: string;
};

export type DelegationFailure = {
  readonly code: "delegation_missing" | "delegation_expired";
  readonly message: string;
};

const DELEGATION_TYP = "interlock-delegation+jwt";

const WHAT = "delegation";
const MEMBERS = ["iss", "sub", "aud", "delegator", "scopes", "limits", "iat", "nbf", "exp", "depth", "parent", "jti"];
const SCOPE = /^(?:\*|[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*(?:\.\*)?)$/;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;
/** As `src/runs/amount.ts` reads them: at most 14 digits before the point. */
const AMOUNT = /^(?:0|[1-9][0-9]{0,13})(?:\.[0-9]{0,3}[1-9])?$/;
const MAX_SCOPES = 64;
const MAX_LIMITS = 16;
const MAX_AUDIENCES = 16;
const MAX_WINDOW_MS = 366 * 86_400_000;

export async function verifyDelegation(
  text: string,
  { issuers, audience }: DelegationRules,
  now_ms: number,
): Promise<Result<{ readonly delegation: Delegation; readonly issuer: string }, DelegationFailure>> {
  const token = gateCredential(text, WHAT);
  if (!token.ok) return refused(token.error);
  const { claims } = token.value;
  const issuer = issuers.find((one) => one.issuer === claims["iss"]);
  if (issuer === undefined) return refused("the delegation's issuer is not registered here");
  const rule: HeaderRule = { what: WHAT, algorithms: issuer.algorithms, typ: [DELEGATION_TYP], members: ["kid"] };
  const header = readHeader(token.value, rule);
  if (!header.ok) return refused(header.error);
  if (now_ms >= issuer.fresh_until_ms) return refused("the keys of the delegation's issuer are stale");
  const key = header.value.kid === null ? null : chooseKey(issuer.keys, header.value);
  if (key === null) return refused("no key of the delegation's issuer goes by its kid");
  if (!(await signatureHolds(token.value, key, header.value.alg)))
    return refused("the delegation's signature does not verify");
  const extra = Object.keys(claims).find((member) => !MEMBERS.includes(member));
  if (extra !== undefined) return refused("the delegation has a claim that is not known");
  if (!isFor(claims["aud"], audience)) return refused("the delegation is not for this region");
  const read = readDelegation(claims, issuer);
  if (!read.ok) return refused(read.error);
  const times = checkTimes(claims, issuer, now_ms);
  if (!times.ok) return times;
  const delegation: Delegation = {
    ...read.value,
    ...times.value,
    source: { issuer: issuer.issuer, key: key.thumbprint },
  };
  return ok({ delegation, issuer: issuer.issuer });
}

const refused = (message: string): Result<never, DelegationFailure> => err({ code: "delegation_missing", message });

const isFor = (aud: JsonValue | undefined, audience: string): boolean =>
  aud === audience ||
  (Array.isArray(aud) &&
    aud.length <= MAX_AUDIENCES &&
    aud.every((one) => typeof one === "string") &&
    aud.includes(audience));

type Times = Pick<Delegation, "not_before_ms" | "expires_ms">;

function checkTimes(
  { iat, nbf, exp }: JsonObject,
  { max_lifetime_ms }: DelegationIssuer,
  now_ms: number,
): Result<Times, DelegationFailure> {
  const [iat_ms, nbf_ms, exp_ms] = [timeOf(iat), timeOf(nbf), timeOf(exp)];
  if (iat_ms === null || nbf_ms === null || exp_ms === null)
    return refused("the delegation's iat, nbf or exp is not in whole seconds");
  if (iat_ms > now_ms + FUTURE_SKEW_MS) return refused("the delegation was issued in the future");
  if (exp_ms <= nbf_ms) return refused("the delegation ends before it begins");
  // From whichever is earlier: neither alone may be moved to make it live longer.
  if (exp_ms - Math.min(iat_ms, nbf_ms) > max_lifetime_ms)
    return refused(`the delegation's lifetime is longer than ${max_lifetime_ms / 1_000} s`);
  if (now_ms >= exp_ms) return err({ code: "delegation_expired", message: "the delegation has expired" });
  return ok({ not_before_ms: nbf_ms, expires_ms: exp_ms });
}

type Said = Omit<Delegation, "not_before_ms" | "expires_ms" | "source">;

function readDelegation(claims: JsonObject, issuer: DelegationIssuer): Result<Said, string> {
  const { jti, sub, delegator, scopes, limits = [], depth, parent = null } = claims;
  if (typeof jti !== "string" || parseRunId(jti) === null)
    return err("the delegation's jti is not <region>.<log_epoch>.<128 bits>");
  if (parent !== null && (typeof parent !== "string" || parseRunId(parent) === null || parent === jti))
    return err("the delegation's parent is not a delegation id");
  if (!isEntity(sub) || !isEntity(delegator)) return err("the delegation's sub or delegator is not <type>/<id>");
  if (sub === delegator) return err("the delegation's delegate is its delegator");
  if (!issuer.delegators.some(({ type, id }) => signsFor(type, id, delegator)))
    return err("the delegation's issuer may not sign for its delegator");
  if (!isCount(depth) || depth > issuer.max_depth)
    return err(`the delegation's depth is not a whole number up to ${issuer.max_depth}`);
  const list = readTexts(scopes, SCOPE, MAX_SCOPES);
  if (list === null) return err("the delegation's scopes are not one to 64 scopes, each once");
  if (!Array.isArray(limits) || limits.length > MAX_LIMITS) return err("the delegation's limits are not a short list");
  const read: Budget[] = [];
  for (const limit of limits as readonly JsonValue[]) {
    const budget = readLimit(limit);
    if (budget === null) return err("one of the delegation's limits is not one");
    if (read.some(({ id }) => id === budget.id)) return err("two of the delegation's limits have one id");
    read.push(budget);
  }
  return ok({ id: jti, delegator, delegate: sub, scopes: list, limits: read, depth, parent });
}

const isEntity = (value: JsonValue | undefined): value is string =>
  typeof value === "string" && parseKey(`subject:${value}`).ok;
const isCount = (value: JsonValue | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

function signsFor(type: string, id: string | null, delegator: string): boolean {
  return id === null ? delegator.startsWith(entityForm(type, "")) : delegator === entityForm(type, id);
}

/** Sorted, so that one delegation has one text. */
function readTexts(value: JsonValue | undefined, form: RegExp, max: number): readonly string[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > max) return null;
  const texts = value.filter((one) => typeof one === "string" && one.length <= 256 && form.test(one)) as string[];
  return texts.length === value.length && new Set(texts).size === texts.length ? [...texts].sort() : null;
}

const LIMIT = ["id", "actions", "sum", "unit", "per", "window_ms", "max"];

function readLimit(value: JsonValue): Budget | null {
  if (!isObject(value) || !Object.keys(value).every((member) => LIMIT.includes(member))) return null;
  const { id, actions, sum = null, unit = null, per, window_ms = null, max } = value;
  const scopes = readTexts(actions, SCOPE, MAX_SCOPES);
  if (typeof id !== "string" || !NAME.test(id) || scopes === null) return null;
  if (typeof max !== "string" || !AMOUNT.test(max)) return null;
  if (per !== "step" && per !== "run" && per !== "subject") return null;
  if (sum !== null && (typeof sum !== "string" || !NAME.test(sum))) return null;
  if (window_ms !== null && (!isCount(window_ms) || window_ms < 1 || window_ms > MAX_WINDOW_MS)) return null;
  const of = unit === null ? null : readUnit(unit);
  if (unit !== null && (of === null || sum === null)) return null;
  // A step by itself has no window: what could not be kept is no limit.
  if (per === "step" && window_ms !== null) return null;
  return { id, actions: scopes, sum, unit: of, per, window_ms, max };
}

function readUnit(unit: JsonValue): Budget["unit"] {
  if (!isObject(unit) || Object.keys(unit).length !== 2) return null;
  const { property, value } = unit;
  return typeof property === "string" && NAME.test(property) && typeof value === "string" && value.length <= 64
    ? { property, value }
    : null;
}
