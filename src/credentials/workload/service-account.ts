import type { Sha256 } from "../../base/digest.ts";
import { isObject, type JsonObject, type JsonValue } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";
import { checkTimes, isJti, soleAudience, tokenHash } from "../claims.ts";
import { fail, type IdentityFailure } from "../failure.ts";
import { SVID_ALGORITHMS } from "../jws/algorithms.ts";
import type { PublicKey } from "../jws/public-key.ts";
import { chooseKey, gateCredential, readHeader, signatureHolds, type HeaderRule } from "../jws/verify.ts";
import type { WorkloadId } from "./id.ts";

/** One cluster that a zone accepts, and which workload each of its service accounts is. */
export type Cluster = {
  readonly issuer: string;
  readonly audience: string;
  readonly keys: readonly PublicKey[];
  readonly fresh_until_ms: number;
  readonly accounts: readonly {
    readonly namespace: string;
    readonly service_account: string;
    readonly workload: WorkloadId;
  }[];
};

export type ServiceAccountRules = {
  /** Of this zone: a `sub` means nothing across issuers. */
  readonly clusters: readonly Cluster[];
  readonly max_lifetime_ms: number;
  readonly hash?: Sha256;
};

/** A Kubernetes projected service account token, bound to a pod. */
export type ServiceAccountToken = {
  readonly kind: "service-account";
  readonly issuer: string;
  readonly namespace: string;
  readonly service_account: string;
  readonly id: WorkloadId;
  /** Verification offline cannot see that a pod was deleted: a revocation `pod:<uid>` has to say it. */
  readonly pod: { readonly name: string; readonly uid: string };
  readonly node: string | null;
  readonly jti: string | null;
  readonly digest: string;
  readonly signed_by: string;
  readonly iat_ms: number;
  readonly exp_ms: number;
  readonly valid_until_ms: number;
};

/** TRUST section 1.7: the default of an hour, and what the API server may add. */
export const MAX_SERVICE_ACCOUNT_LIFETIME_MS = 3_700_000;

const WHAT = "service account token";
/** API servers leave `typ` out. */
const HEADER: HeaderRule = { what: WHAT, algorithms: SVID_ALGORITHMS, typ: [null, "JWT"], members: ["kid"] };
const UID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** RFC 1123 names; a subdomain for pods and accounts. */
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

export async function verifyServiceAccount(
  text: string,
  rules: ServiceAccountRules,
  now_ms: number,
): Promise<Result<ServiceAccountToken, IdentityFailure>> {
  const token = gateCredential(text, WHAT);
  if (!token.ok) return fail("identity_invalid", token.error);
  const header = readHeader(token.value, HEADER);
  if (!header.ok) return fail("identity_invalid", header.error);
  const { claims } = token.value;
  const cluster = rules.clusters.find(({ issuer }) => issuer === claims["iss"]);
  if (cluster === undefined) return fail("identity_invalid", "the service account token's issuer is not accepted here");
  if (now_ms >= cluster.fresh_until_ms)
    return fail("identity_invalid", `the keys of ${cluster.issuer} are stale; nothing of it is accepted`);
  const key = header.value.kid === null ? null : chooseKey(cluster.keys, header.value);
  if (key === null)
    return fail("identity_invalid", `no key of ${cluster.issuer} goes by the service account token's kid`);
  if (!(await signatureHolds(token.value, key, header.value.alg)))
    return fail("identity_invalid", "the service account token's signature does not verify");
  if (soleAudience(claims["aud"]) !== cluster.audience)
    return fail("identity_invalid", `the service account token's audience is not ${cluster.audience} alone`);
  const { jti } = claims;
  if (jti !== undefined && !isJti(jti))
    return fail("identity_invalid", "the service account token's jti is not usable");
  const bound = readBound(claims);
  if (!bound.ok) return fail("identity_invalid", `the service account token: ${bound.error}`);
  const times = checkTimes(claims, { what: WHAT, max_lifetime_ms: rules.max_lifetime_ms }, now_ms);
  if (!times.ok) return times;
  const { namespace, service_account } = bound.value;
  const row = cluster.accounts.find((one) => one.namespace === namespace && one.service_account === service_account);
  if (row === undefined)
    return fail("identity_mismatch", `no workload is listed for ${namespace}/${service_account} of ${cluster.issuer}`);
  return ok({
    kind: "service-account",
    issuer: cluster.issuer,
    ...bound.value,
    id: row.workload,
    jti: jti ?? null,
    digest: tokenHash(text, rules.hash),
    signed_by: key.thumbprint,
    ...times.value,
    valid_until_ms: Math.min(times.value.exp_ms, cluster.fresh_until_ms),
  });
}

type Bound = Pick<ServiceAccountToken, "namespace" | "service_account" | "pod" | "node">;

/** What `sub` and `kubernetes.io` say, where they say the same. */
function readBound(claims: JsonObject): Result<Bound, string> {
  const { sub } = claims;
  const bound = claims["kubernetes.io"];
  if (!isObject(bound)) return err("it is not bound to an object");
  const { namespace, pod, node } = bound;
  const account = nameOf(bound["serviceaccount"]);
  if (!isName(namespace) || account === null) return err("it names no namespace and service account");
  if (sub !== `system:serviceaccount:${namespace}:${account}`) return err("its sub is not what it is bound to");
  const uid = isObject(pod) ? pod["uid"] : undefined;
  const name = nameOf(pod);
  if (typeof uid !== "string" || !UID.test(uid) || name === null) return err("it is not bound to a pod");
  const on = node === undefined ? null : nameOf(node);
  if (node !== undefined && on === null) return err("its node has no name");
  return ok({ namespace, service_account: account, pod: { name, uid }, node: on });
}

const isName = (value: JsonValue | undefined): value is string => typeof value === "string" && NAME.test(value);
const nameOf = (value: JsonValue | undefined): string | null =>
  isObject(value) && isName(value["name"]) ? value["name"] : null;
