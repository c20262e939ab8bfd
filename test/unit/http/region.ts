import { CompactSign, exportJWK, generateKeyPair } from "jose";
import { utf8 } from "../../../src/base/bytes.ts";
import { sha256 } from "../../../src/base/digest.ts";
import type { AdminKey } from "../../../src/credentials/admin.ts";
import { thumbprintOf } from "../../../src/credentials/thumbprint.ts";
import { createApp } from "../../../src/http/app.ts";
import type { Deps } from "../../../src/http/deps.ts";
import type { AuthorityRpc } from "../../../src/objects/authority.ts";
import type { MaterialKey } from "../../../src/objects/lease.ts";
import type { PublicJwk } from "../../../src/objects/jwk.ts";
import type { RegionLogRpc } from "../../../src/objects/log.ts";
import type { ShardRpc } from "../../../src/objects/shard.ts";
import { MemoryAuthority } from "./memory-authority.ts";
import { MemoryReads } from "./memory-reads.ts";
import { MemoryShard } from "./memory-shard.ts";

/** One region with small in-memory objects: everything of the HTTP side is the real thing. */
export const PDP = "https://eu.pdp.example";
export const START_MS = 1_900_000_000_000;

export type Signer = { readonly kid: string; readonly privateKey: CryptoKey; readonly jwk: PublicJwk };

export async function newSigner(kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair("Ed25519", { extractable: true });
  const { kty, crv, x } = await exportJWK(publicKey);
  return { kid, privateKey, jwk: { kty: kty!, crv: crv!, x: x!, kid, alg: "Ed25519", use: "sig" } };
}

export const pepKeyOf = (signer: Signer, issuer = PDP): MaterialKey => ({
  use: "pep",
  thumbprint: thumbprintOf(signer.jwk),
  issuer,
  jwk: signer.jwk,
});

export function sign(
  signer: Signer,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const protectedHeader = { alg: "Ed25519", kid: signer.kid, typ: "at+jwt", ...header };
  return new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader(protectedHeader)
    .sign(signer.privateKey);
}

export const seconds = (ms: number): number => Math.floor(ms / 1_000);

export const pepClaims = (over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  aud: PDP,
  client_id: "pep:eu/gateway",
  exp: seconds(START_MS) + 3_600,
  iat: seconds(START_MS) - 60,
  iss: PDP,
  jti: "cred-1",
  scope: "evaluate search runs lineage.read",
  sub: "pep:eu/gateway",
  ...over,
});

export const adminClaims = (over: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  aud: PDP,
  exp: seconds(START_MS) + 3_600,
  iat: seconds(START_MS) - 60,
  iss: `${PDP}/admin`,
  jti: "admin-1",
  scope:
    "status:read membership:write peps:write revocations:read revocations:write ssf:write erasures:read erasures:write policy:read policy:write freeze:write peers:read clock:write keys:write reads:read replay:write identity:read identity:write lineage:read log:read",
  sub: "admin:alice",
  ...over,
});

export type TestRegion = {
  readonly fetch: (request: Request) => Promise<Response>;
  readonly shards: readonly MemoryShard[];
  readonly authority: MemoryAuthority;
  readonly reads: MemoryReads;
  readonly pep: string;
  readonly admin: string;
  readonly signer: Signer;
  readonly adminSigner: Signer;
  readonly lines: string[];
  readonly clock: { now_ms: number };
};

export type RegionOptions = {
  readonly shards?: number;
  readonly open?: boolean;
  readonly deps?: (deps: Deps) => Deps;
  readonly wrapShard?: (shard: ShardRpc, number: number) => ShardRpc;
  readonly wrapAuthority?: (authority: AuthorityRpc) => AuthorityRpc;
};

export async function newRegion(options: RegionOptions = {}): Promise<TestRegion> {
  const { shards: count = 4, open = false } = options;
  const [signer, adminSigner] = await Promise.all([newSigner("eu.1.authority.1"), newSigner("eu.admin.1")]);
  const clock = { now_ms: START_MS };
  const authority = new MemoryAuthority([pepKeyOf(signer)], signer, clock);
  const shards = Array.from({ length: count }, (_, k) => new MemoryShard(k, authority, clock));
  const reads = new MemoryReads();
  const lines: string[] = [];
  const { kty, crv, x, kid } = adminSigner.jwk;
  const admin_keys: readonly AdminKey[] = [{ kty, crv: crv!, x: x!, kid, thumbprint: thumbprintOf(adminSigner.jwk) }];
  let counter = 0;
  const deps: Deps = {
    region: {
      name: "eu",
      pdp: PDP,
      log_epoch: 1,
      shards: count,
      jurisdiction: null,
      packs: null,
      open,
      secrets: [{ id: "open", secret: new Uint8Array(32) }],
      retention_days: null,
      amnesia_ask: "one",
    },
    version: "0.0.0-test",
    shard: (k) => options.wrapShard?.(shards[k]!, k) ?? shards[k]!,
    authority: () => options.wrapAuthority?.(authority) ?? authority,
    regionLog: () => reads as unknown as RegionLogRpc,
    witness: () => unreachable("witness"),
    homeOf: (run) => utf8(run).reduce((sum, byte) => (sum * 31 + byte) % 1_000_003, 7) % count,
    epoch: () => unreachable("other log epoch"),
    admin_keys,
    now: () => clock.now_ms,
    random: (length) => sha256(new TextEncoder().encode(`random ${counter++}`)).subarray(0, length),
    sha256,
    log: (line) => void lines.push(line),
    max_body_bytes: 64 * 1_024,
  };
  const app = createApp(options.deps?.(deps) ?? deps);
  const [pep, admin] = await Promise.all([sign(signer, pepClaims()), sign(adminSigner, adminClaims())]);
  const fetch = async (request: Request): Promise<Response> => app.fetch(request);
  return { fetch, shards, authority, reads, pep, admin, signer, adminSigner, lines, clock };
}

export type Call = {
  readonly method?: string;
  readonly body?: unknown;
  readonly raw?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
  /** `null`: no Authorization header. */
  readonly token?: string | null;
};

/** A POST with the region's PEP credential, unless said otherwise. */
export function call(region: TestRegion, path: string, options: Call = {}): Promise<Response> {
  const headers = new Headers();
  const raw = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  const method = options.method ?? (raw === undefined ? "GET" : "POST");
  if (raw !== undefined) headers.set("Content-Type", "application/json");
  const fallback = path.startsWith("/admin/") ? region.admin : region.pep;
  const token = options.token === undefined ? fallback : options.token;
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
  const stream = raw instanceof ReadableStream ? { duplex: "half" as const } : {};
  const init = { method, headers, ...(raw === undefined ? {} : { body: raw }), ...stream };
  return region.fetch(new Request(`http://localhost${path}`, init));
}

export const alice = { type: "user", id: "alice" };
export const bob = { type: "user", id: "bob" };
export const read = { name: "read" };
export const write = { name: "write" };
export const record = { type: "record", id: "record-1" };
/** `MemoryShard` lets alice read, and nobody anything else. */
export const allowed = { subject: alice, action: read, resource: record };
export const denied = { subject: bob, action: read, resource: record };

/** The body as JSON, trusted to have this shape: a test looks at what it needs of it. */
export const jsonOf = async <T = Record<string, unknown>>(response: Response): Promise<T> =>
  JSON.parse(await response.text()) as T;

function unreachable(object: string): never {
  throw new Error(`no ${object} in this region`);
}

/** The methods of a shard as an object, so that a test can replace some of them. */
export function bind(shard: ShardRpc): ShardRpc {
  return {
    decide: (message) => shard.decide(message),
    claim: (message) => shard.claim(message),
    search: (message) => shard.search(message),
    submitRequest: (message) => shard.submitRequest(message),
    answerRequest: (message) => shard.answerRequest(message),
    cancelRequest: (message) => shard.cancelRequest(message),
    readRequest: (id) => shard.readRequest(id),
    pendingRequests: (after, limit) => shard.pendingRequests(after, limit),
    openRun: (message) => shard.openRun(message),
    closeRun: (message) => shard.closeRun(message),
    changeRun: (message) => shard.changeRun(message),
    redeem: (message) => shard.redeem(message),
    renewHold: (message) => shard.renewHold(message),
    reportHold: (message) => shard.reportHold(message),
    readHold: (message) => shard.readHold(message),
    fetch: (request) => shard.fetch(request),
    openPass: (message) => shard.openPass(message),
    noteReceipts: (message) => shard.noteReceipts(message),
    stepReceipt: (pass) => shard.stepReceipt(pass),
    stopRun: (run, administrator) => shard.stopRun(run, administrator),
    describeRun: (run) => shard.describeRun(run),
    readDecision: (id) => shard.readDecision(id),
    findRecords: (message) => shard.findRecords(message),
    readRun: (run, limit, before) => shard.readRun(run, limit, before),
    exportRun: (run, before) => shard.exportRun(run, before),
    leaves: (from, count) => shard.leaves(from, count),
    endLeases: async () => undefined,
    applyTrust: (message) => shard.applyTrust(message),
    prepareErasure: (target) => shard.prepareErasure(target),
    erase: (message) => shard.erase(message),
    halt: (message) => shard.halt(message),
    resetClock: (message) => shard.resetClock(message),
    nextKey: () => shard.nextKey(),
    useKey: (kid) => shard.useKey(kid),
    seal: (message) => shard.seal(message),
    runHeads: (after, limit) => shard.runHeads(after, limit),
    drop: (message) => shard.drop(message),
    replayAll: (order) => shard.replayAll(order),
    status: () => shard.status(),
  };
}
