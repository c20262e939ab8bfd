import { fromBase64url, fromUtf8 } from "../../src/base/bytes.ts";
import { isObject, parseJson } from "../../src/base/json.ts";
import { gate, type GatedToken } from "../../src/credentials/gate.ts";
import { importEd25519, signatureHolds } from "../../src/credentials/access-token.ts";
import { digestOf } from "../../src/base/digest.ts";
import type { VerifiedEvent } from "../../src/sync/events.ts";
import type { Signed } from "../../src/sync/inputs.ts";
import type {
  HeadBody,
  PageBody,
  PolicyAskBody,
  PolicyBody,
  PullBody,
  PushBody,
  RelayBody,
  RequestBody,
  SnapshotManifest,
  StateAskBody,
  StateBody,
  VerdictBody,
} from "../../src/sync/messages.ts";
import { readEvent } from "../../src/trust/event-read.ts";
import { stateAfter, type TrustEvent } from "../../src/trust/events.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { secretOf } from "../../src/trust/pseudonym.ts";
import { nodeSha256, signJws } from "../platform.ts";
import type { OwnKeys } from "./own-keys.ts";

/** Loaded with the first message: its schemas would cost every start some milliseconds, and no decision needs them. */
const messagesRoom = () => import("../../src/sync/messages.ts");

export type Bodies = {
  readonly pull: PullBody;
  readonly head: HeadBody;
  readonly relay: RelayBody;
  readonly page: PageBody;
  readonly push: PushBody;
  readonly request: RequestBody;
  readonly verdict: VerdictBody;
  readonly policy_ask: PolicyAskBody;
  readonly policy: PolicyBody;
  readonly state_ask: StateAskBody;
  readonly state: StateBody;
};

/** Watermarks of 64 regions, and room. */
const MAX_PULL_CHARS = 65_536;
const SMALL: ReadonlySet<keyof Bodies> = new Set([
  "pull",
  "request",
  "verdict",
  "policy_ask",
  "policy",
  "state_ask",
  "state",
]);
/** A thousand events and what stands around them. */
export const MAX_MESSAGE_CHARS = 4_194_304;
const MESSAGE_LIMITS = { what: "message", max_chars: MAX_MESSAGE_CHARS, limits: { max_depth: 8, max_values: 20_000 } };
/** Five thousand entries of six members each. */
const PAGE_LIMITS = { ...MESSAGE_LIMITS, limits: { max_depth: 8, max_values: 60_000 } };
const MANIFEST_LIMITS = { what: "snapshot", max_chars: 1 << 20, limits: { max_depth: 4, max_values: 20_000 } };
const EVENT_LIMITS = { what: "event", max_chars: 16_384, limits: { max_depth: 8, max_values: 200 } };
const HEADER = "alg,kid,typ";
const EVENT_TYP = "secevent+jwt";

/** Signs what leaves, and verifies what comes, under the authority keys that the membership lists. */
export class SyncMessages {
  readonly #self: string;
  readonly #own: OwnKeys;
  readonly #membership: () => Membership | null;
  /** Ids of the federation secrets that this region holds: keys named under another cannot be looked up here. */
  readonly #secrets: ReadonlySet<string>;
  readonly #keys = new Map<string, Promise<CryptoKey | null>>();

  constructor(
    self: string,
    own: OwnKeys,
    membership: () => Membership | null,
    secrets: readonly { readonly id: string }[],
  ) {
    this.#secrets = new Set(secrets.map(({ id }) => id));
    this.#self = self;
    this.#own = own;
    this.#membership = membership;
  }

  async seal<K extends keyof Bodies>(kind: K, to: string, body: Omit<Bodies[K], "v" | "iss" | "aud">): Promise<string> {
    const { SYNC_TYP } = await messagesRoom();
    return signJws(this.#own.current, SYNC_TYP[kind], JSON.stringify({ ...body, v: 1, iss: this.#self, aud: to }));
  }

  /**
   * `null`: not a message of that kind, for this region, signed by a region that the membership lists. Anybody may send
   * one, so nothing but its small header is read before the signature holds.
   */
  async open<K extends keyof Bodies>(kind: K, text: string): Promise<Signed<Bodies[K]> | null> {
    const room = await messagesRoom();
    const { SYNC_TYP } = room;
    const max_chars = SMALL.has(kind) ? MAX_PULL_CHARS : MAX_MESSAGE_CHARS;
    if (text.length > max_chars) return null;
    const header = headerOf(text);
    const from = /^([a-z][a-z0-9-]*)\./.exec(header?.kid ?? "")?.[1];
    if (header === null || header.typ !== SYNC_TYP[kind] || from === undefined || from === this.#self) return null;
    const key = await this.#key(from, header.kid);
    if (key === null || !(await signatureHolds({ text }, key))) return null;
    const token = gate(text, { ...(kind === "page" ? PAGE_LIMITS : MESSAGE_LIMITS), max_chars });
    if (!token.ok) return null;
    const { iss, aud } = token.value.claims;
    if (iss !== from || aud !== this.#self) return null;
    const schemas = {
      head: room.headSchema,
      page: room.pageSchema,
      policy: room.policySchema,
      policy_ask: room.policyAskSchema,
      pull: room.pullSchema,
      push: room.pushSchema,
      relay: room.relaySchema,
      request: room.requestSchema,
      state: room.stateSchema,
      state_ask: room.stateAskSchema,
      verdict: room.verdictSchema,
    };
    const body = schemas[kind].safeParse(token.value.claims);
    return body.success ? { from, kid: header.kid, jws: text, body: body.data as Bodies[K] } : null;
  }

  /**
   * The member in whose name a message comes under a key that is not listed. Nothing is verified: it is a reason to ask
   * that member for its membership, which the roots have signed, and for nothing else.
   */
  stranger(text: string): string | null {
    const kid = text.length > MAX_MESSAGE_CHARS ? undefined : headerOf(text)?.kid;
    if (kid === undefined || !isAuthorityKey(kid)) return null;
    const from = kid.slice(0, kid.indexOf("."));
    const member = this.#membership()?.regions.find(({ region }) => region === from);
    return from === this.#self || member === undefined || member.keys.some((key) => key.kid === kid) ? null : from;
  }

  async sealManifest(manifest: SnapshotManifest): Promise<string> {
    const { SYNC_TYP } = await messagesRoom();
    return signJws(this.#own.current, SYNC_TYP.snapshot, JSON.stringify(manifest));
  }

  /** `null`: not a snapshot's manifest that `origin` signed. */
  async manifest(origin: string, text: string): Promise<SnapshotManifest | null> {
    const { SYNC_TYP, snapshotSchema } = await messagesRoom();
    const token = gate(text, MANIFEST_LIMITS);
    if (!token.ok || token.value.header["typ"] !== SYNC_TYP.snapshot) return null;
    if ((await this.#verified(token.value, origin)) === null) return null;
    const manifest = snapshotSchema.safeParse(token.value.claims);
    return manifest.success && manifest.data.origin === origin ? manifest.data : null;
  }

  /** Whether this region can look up keys of that name. */
  canLookUp(pseudonym: string): boolean {
    const secret = secretOf(pseudonym);
    return secret !== null && this.#secrets.has(secret);
  }

  /** Events as signed by `origin`; `null` where one of them is not. */
  async events(origin: string, texts: readonly string[]): Promise<readonly VerifiedEvent[] | null> {
    const events = await Promise.all(texts.map((text) => this.#event(origin, text)));
    return events.every((event) => event !== null) ? events : null;
  }

  async #event(origin: string, text: string): Promise<VerifiedEvent | null> {
    const token = gate(text, EVENT_LIMITS);
    if (!token.ok || token.value.header["typ"] !== EVENT_TYP) return null;
    const kid = await this.#verified(token.value, origin);
    const read = readEvent(token.value.claims);
    if (kid === null || !read.ok || read.value.origin !== origin) return null;
    const { incarnation, seq, prev, event } = read.value;
    return {
      origin,
      incarnation,
      seq,
      prev,
      digest: digestOf(read.value.text, nodeSha256),
      kid,
      jws: text,
      supported: event !== null && (stateAfter(event) === null || this.canLookUp(event.key)),
    };
  }

  async #verified(token: GatedToken, region: string): Promise<string | null> {
    const { alg, kid } = token.header;
    if (Object.keys(token.header).sort().join() !== HEADER || (alg !== "Ed25519" && alg !== "EdDSA")) return null;
    const key = typeof kid === "string" ? await this.#key(region, kid) : null;
    return key !== null && (await signatureHolds(token, key)) ? (kid as string) : null;
  }

  #key(region: string, kid: string): Promise<CryptoKey | null> | null {
    const member = this.#membership()?.regions.find((listed) => listed.region === region);
    const jwk = member?.keys.find((key) => key.kid === kid && isAuthorityKey(key.kid));
    if (jwk === undefined) return null;
    const name = `${kid}\n${jwk["x"]}`;
    let key = this.#keys.get(name);
    if (key === undefined) this.#keys.set(name, (key = importEd25519(jwk) as Promise<CryptoKey | null>));
    return key;
  }
}

/** The protected header, where it is exactly `alg`, `kid` and `typ` as our messages have them. */
function headerOf(text: string): { readonly kid: string; readonly typ: string } | null {
  const end = text.indexOf(".");
  const bytes = end > 0 && end < 512 ? fromBase64url(text.slice(0, end)) : null;
  const json = bytes === null ? null : parseJson(fromUtf8(bytes) ?? "");
  if (json?.ok !== true || !isObject(json.value)) return null;
  const { alg, kid, typ } = json.value;
  if (Object.keys(json.value).sort().join() !== HEADER || (alg !== "Ed25519" && alg !== "EdDSA")) return null;
  return typeof kid === "string" && typeof typ === "string" ? { kid, typ } : null;
}

/** Key names are `<region>.<log_epoch>.<role>.<n>`; only the authority speaks for its region. */
export const isAuthorityKey = (kid: string): boolean => /^[a-z][a-z0-9-]*\.[0-9]+\.authority\.[0-9]+$/.test(kid);

/** What a verified event says. Its signature was checked when it came, or it is read from storage. */
export function eventOf(jws: string): TrustEvent | null {
  const token = gate(jws, EVENT_LIMITS);
  const read = token.ok ? readEvent(token.value.claims) : null;
  return read?.ok === true ? read.value.event : null;
}
