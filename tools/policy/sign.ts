import { FlattenedSign } from "jose";
import { fromBase64url, fromUtf8 } from "../../src/base/bytes.ts";
import { isObject, parseJson } from "../../src/base/json.ts";
import { jcs } from "../../src/base/jcs.ts";
import { digestText, sha256 } from "../../src/base/digest.ts";
import {
  SCHEMAS,
  TYPES,
  type Documents,
  type PolicyDocument,
  type RootDocument,
  type TimestampDocument,
} from "../../src/policy/bundles/documents.ts";
import { openEnvelope, type Envelope, type Opened } from "../../src/policy/bundles/envelope.ts";
import type { Role } from "../../src/policy/bundles/refusals.ts";
import { ENGINE } from "../../src/decision/engine.ts";
import { Problem } from "../problem.ts";
import type { SigningKey } from "../region/keys.ts";

/** Making and signing of policy documents. Signatures are added one by one: keys of one role lie in several hands. */

/** An envelope that nobody has signed yet. */
export function unsignedEnvelope<R extends Role>(role: R, document: Documents[R]): Envelope {
  const parsed = SCHEMAS[role].safeParse(document);
  if (!parsed.success)
    throw new Problem(
      `The ${role} document is not valid: ${parsed.error.issues[0]!.path.join(".")} ${parsed.error.issues[0]!.message}`,
      "Correct what it is made from.",
      2,
    );
  return { payload: Buffer.from(jcs(document)).toString("base64url"), signatures: [] };
}

/** One more signature over the same bytes; a second one of the same name takes the place of the first. */
export async function addSignature(envelope: Envelope, role: Role, { kid, key }: SigningKey): Promise<Envelope> {
  const bytes = fromBase64url(envelope.payload);
  if (bytes === null) throw new Problem("The document's payload is not base64url", "It was damaged; make it anew.", 2);
  const header = { alg: "Ed25519", kid, typ: TYPES[role] };
  const { protected: head, signature } = await new FlattenedSign(bytes).setProtectedHeader(header).sign(key);
  const others = envelope.signatures.filter((one) => kidOf(one.protected) !== kid);
  return { payload: envelope.payload, signatures: [...others, { protected: head!, signature }] };
}

export async function signDocument<R extends Role>(
  role: R,
  document: Documents[R],
  keys: readonly SigningKey[],
): Promise<Envelope> {
  let envelope = unsignedEnvelope(role, document);
  for (const key of keys) envelope = await addSignature(envelope, role, key);
  return envelope;
}

/** `null`: a damaged one, which counts for nobody. */
function kidOf(protectedHeader: string): unknown {
  const bytes = fromBase64url(protectedHeader);
  const json = bytes === null ? null : parseJson(fromUtf8(bytes) ?? "");
  return json?.ok === true && isObject(json.value) ? json.value["kid"] : null;
}

/** What stands in an envelope, whoever signed it. */
export function documentIn<R extends Role>(role: R, envelope: unknown, where: string): Opened<R> {
  // Nobody may have signed it yet.
  const any = envelope as Partial<Envelope> | null;
  const shown = any?.signatures?.length === 0 ? { ...any, signatures: [{ protected: "", signature: "" }] } : envelope;
  const opened = openEnvelope(role, shown, sha256);
  if (!opened.ok) throw new Problem(`${where}: ${opened.error.code}: ${opened.error.detail}`, "Make it anew.", 2);
  return opened.value;
}

export type RoleKeys = Readonly<
  Record<Role, readonly { readonly kid: string; readonly publicJwk: { readonly x?: string } }[]>
>;

export function rootDocument(
  keys: RoleKeys,
  thresholds: Readonly<Record<Role, number>>,
  version: number,
  expires_ms: number,
): RootDocument {
  const all = [...keys.root, ...keys.policy, ...keys.timestamp];
  for (const { kid, publicJwk } of all)
    if (all.some((other) => other.kid === kid && other.publicJwk.x !== publicJwk.x))
      throw new Problem(`Two different keys are called ${kid}`, "Give each key a kid of its own.", 2);
  const role = (name: Role) => ({ kids: keys[name].map(({ kid }) => kid), threshold: thresholds[name] });
  return {
    v: 1,
    type: "interlock-root",
    version,
    expires_ms,
    keys: Object.fromEntries(all.map(({ kid, publicJwk }) => [kid, { kty: "OKP", crv: "Ed25519", x: publicJwk.x! }])),
    roles: { root: role("root"), policy: role("policy"), timestamp: role("timestamp") },
  };
}

export const policyDocument = (
  bundle: Uint8Array,
  said: Pick<PolicyDocument, "version" | "expires_ms" | "not_before_ms">,
): PolicyDocument => ({
  v: 1,
  type: "interlock-policy",
  ...said,
  bundle: { sha256: digestText(sha256(bundle)), size: bundle.length },
  engine_min: ENGINE.slice(ENGINE.indexOf("/") + 1),
});

export const timestampDocument = (
  { version: of, sha256: digest }: Pick<Opened<"policy">, "version" | "sha256">,
  version: number,
  now_ms: number,
  lifetime_ms: number,
): TimestampDocument => ({
  v: 1,
  type: "interlock-timestamp",
  version,
  issued_at_ms: now_ms,
  expires_ms: now_ms + lifetime_ms,
  policy: { version: of, sha256: digest },
});
