import { base64url, fromBase64url, fromUtf8, utf8 } from "../base/bytes.ts";
import type { Sha256 } from "../base/digest.ts";
import { jcs } from "../base/jcs.ts";
import { isObject, parseJson, type JsonObject } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { HmacSha256 } from "../lineage/subject-tag.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { NOT_ASKED } from "./presented.ts";

/**
 * The binding token of a requestable denial (AuthZEN access-request draft; docs/approvals.md): a compact JWS (HS256)
 * under a key of the run's shard, which alone takes it back. It says which question in which run was denied for want of
 * an approval. It is a function of question, run and the ten minutes in which it was asked, so that one question has
 * one answer.
 */
export const BINDING_WINDOW_MS = 600_000;

/** Where such requests go: what the tokens are for. */
export const ACCESS_REQUESTS = "/access/v1/requests";

const HEADER = base64url(utf8('{"alg":"HS256","typ":"interlock-denial+jwt"}'));
const MAX_TOKEN = 8_192;
const PURPOSE = utf8("interlock denial binding v1");

/** The key of the tokens: of the region key of a shard, and not that key itself, which seals payloads. */
export const bindingKey = (regionKey: Uint8Array, hmac: HmacSha256): Uint8Array => hmac(regionKey, PURPOSE);

/** When what is denied at `t_ms` can no longer be asked for: ten to twenty minutes later. */
export const bindingEnds = (t_ms: number): number => (Math.floor(t_ms / BINDING_WINDOW_MS) + 2) * BINDING_WINDOW_MS;

export type Denied = {
  readonly pdp: string;
  readonly endpoint: string;
  readonly run: string;
  readonly request: CanonicalRequest;
  readonly t_ms: number;
};

export type Keyed = { readonly key: Uint8Array; readonly hmac: HmacSha256; readonly hash: Sha256 };

export function mintBinding({ pdp, endpoint, run, request, t_ms }: Denied, { key, hmac, hash }: Keyed): string {
  const members = boundMembers(request);
  const ends = bindingEnds(t_ms);
  const claims = {
    aud: endpoint,
    binding_context_members: members,
    binding_hash: bindingHash(request, members, hash),
    denial_expires_at: timeText(ends),
    exp: ends / 1_000,
    iat: (ends - 2 * BINDING_WINDOW_MS) / 1_000,
    iss: pdp,
    run,
  };
  const jti = base64url(hash(utf8(jcs(claims))).subarray(0, 16));
  const signed = `${HEADER}.${base64url(utf8(jcs({ ...claims, jti })))}`;
  return `${signed}.${base64url(hmac(key, utf8(signed)))}`;
}

/** RFC 3339 without a fraction: ends stand on whole minutes. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(".000Z", "Z");

export type Binding = {
  readonly run: string;
  readonly members: readonly string[];
  readonly hash: string;
  readonly ends_ms: number;
};

/** What a token says, whoever made it: enough to know whom to ask. */
export function readBinding(token: string): Binding | null {
  if (token.length > MAX_TOKEN) return null;
  const [header, payload, signature, ...more] = token.split(".");
  if (header !== HEADER || payload === undefined || signature === undefined || more.length > 0) return null;
  const bytes = fromBase64url(payload);
  const text = bytes === null ? null : fromUtf8(bytes);
  const json = text === null ? null : parseJson(text);
  if (json?.ok !== true || !isObject(json.value)) return null;
  const { run, binding_context_members: members, binding_hash: hash, exp }: JsonObject = json.value;
  if (typeof run !== "string" || typeof hash !== "string" || typeof exp !== "number" || !Array.isArray(members))
    return null;
  const names = members.filter((name) => typeof name === "string");
  return names.length === members.length ? { run, members: names, hash, ends_ms: exp * 1_000 } : null;
}

/**
 * The question that the token is for, put together from what was sent; the error is why it is not that one. Members of
 * the context that were not there when it was denied are left out: they came with the submission.
 */
export function boundRequest(
  token: string,
  asked: Pick<CanonicalRequest, "subject" | "action" | "resource" | "context">,
  { key, hmac, hash }: Keyed,
): Result<{ readonly binding: Binding; readonly request: CanonicalRequest }, string> {
  const binding = readBinding(token);
  if (binding === null) return err("denial.binding_token is not one of this region's");
  const dot = token.lastIndexOf(".");
  const mac = fromBase64url(token.slice(dot + 1));
  if (mac === null || !sameBytes(mac, hmac(key, utf8(token.slice(0, dot)))))
    return err("denial.binding_token was not made here, or was changed");
  const { subject, action, resource } = asked;
  const context = pick(asked.context ?? {}, binding.members);
  const request: CanonicalRequest = {
    v: 1,
    subject,
    action,
    resource,
    ...(binding.members.length === 0 ? {} : { context }),
  };
  return bindingHash(request, binding.members, hash) === binding.hash
    ? ok({ binding, request })
    : err("subject, action, resource or context are not those that were denied");
}

/** Members of the context that an approval is bound to, sorted. */
const boundMembers = ({ context = {} }: CanonicalRequest): readonly string[] =>
  Object.keys(context)
    .filter((name) => !NOT_ASKED.has(name))
    .sort();

/** As the draft's hashed form has it: a subject's `act` is left out, since the submission may say it elsewhere. */
function bindingHash(
  { subject, action, resource, context = {} }: CanonicalRequest,
  members: readonly string[],
  hash: Sha256,
): string {
  const bound = { action, context: pick(context, members), resource, subject: withoutActor(subject) };
  return base64url(hash(utf8(jcs(bound))));
}

function withoutActor(subject: CanonicalRequest["subject"]): CanonicalRequest["subject"] {
  if (subject.properties === undefined || !Object.hasOwn(subject.properties, "act")) return subject;
  const { act: _, ...properties } = subject.properties;
  return { ...subject, properties };
}

const pick = (context: JsonObject, members: readonly string[]): JsonObject =>
  Object.fromEntries(members.filter((name) => Object.hasOwn(context, name)).map((name) => [name, context[name]!]));

/** In time that does not tell where they differ. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  let differs = a.length ^ b.length;
  for (let at = 0; at < b.length; at++) differs |= (a[at] ?? 0) ^ b[at]!;
  return differs === 0;
}
