import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Authority } from "../../../durable-objects/authority/authority.ts";
import { PeerStore } from "../../../durable-objects/authority/peer-store.ts";
import { eventOf } from "../../../durable-objects/authority/sync-messages.ts";
import type { Env } from "../../../src/objects/address.ts";
import type { IntegrateMessage } from "../../../src/objects/log.ts";
import type { ApplyTrustMessage } from "../../../src/objects/shard.ts";
import { readRegion } from "../../../src/region/config.ts";
import { firstGeneration } from "../../../src/trust/merge.ts";
import type { Membership } from "../../../src/trust/membership.ts";
import { FakeStorage } from "../../support/durable-storage.ts";

/**
 * What waits for its number while no peer has said that nothing of the own chain is missing, and what a start makes of
 * what is stored: the authority in Node, and a peer whose answers the test makes.
 */
const region = (() => {
  const read = readRegion({
    INTERLOCK_REGION: "eu",
    INTERLOCK_PDP: "https://eu.pdp.example",
    INTERLOCK_LOG_EPOCH: "1",
    INTERLOCK_SHARDS: "1",
    INTERLOCK_PACKS: "sovereign",
  } as Parameters<typeof readRegion>[0]);
  if (!read.ok) throw new Error(read.error);
  return read.value;
})();

const member = (name: string, incarnation = 1) => ({
  region: name,
  pdp: `https://${name}.pdp.example`,
  endpoint: `https://${name}.pdp.example`,
  log_epoch: 1,
  state: "active" as const,
  keys: [
    {
      kty: "OKP",
      crv: "Ed25519",
      kid: `${name}.1.authority.1`,
      alg: "Ed25519",
      use: "sig" as const,
      x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    },
  ],
  incarnation,
});
const membership = (version: number, incarnations: { readonly eu?: number; readonly us?: number } = {}): Membership =>
  ({
    v: 1,
    type: "interlock-membership",
    version,
    issued_at_ms: 0,
    expires_ms: Date.now() + 1e9,
    delta_ms: 2_000,
    regions: [member("eu", incarnations.eu), member("us", incarnations.us)],
    domains: {},
    issuers: {},
    may_revoke: {},
  }) as unknown as Membership;

let storage: FakeStorage;
let authority: Authority;
let logMark = 0;
const env = (): Env => {
  const namespace = (stub: object): DurableObjectNamespace =>
    ({ idFromName: (name: string) => name, get: () => stub }) as unknown as DurableObjectNamespace;
  return {
    REGION_LOG: namespace({
      integrate: async ({ from_sseq, hashes }: IntegrateMessage) => ({
        ok: true,
        mark: (logMark = Math.max(logMark, from_sseq + hashes.length / 32 - 1)),
      }),
      configure: async () => undefined,
    }),
    LINEAGE_SHARD: namespace({
      applyTrust: async ({ revision }: ApplyTrustMessage) => ({ ok: true, revision }),
      endLeases: async () => undefined,
    }),
  } as unknown as Env;
};
/** Nothing that is sent is answered; what the peer says the test feeds. */
const open = async (): Promise<void> => {
  authority = await Authority.open(storage.attach(), env(), region, () => new Promise(() => undefined));
};

beforeEach(async () => {
  logMark = 0;
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  storage = new FakeStorage();
  await open();
  authority.store.setMeta("membership", JSON.stringify(membership(1)));
  await open();
});
afterEach(() => {
  storage.kill("lost");
  vi.restoreAllMocks();
});

/** `us` answers the poll under way: nothing of eu is missing. */
function hear(incarnation = 1): void {
  authority.sync.feed({ type: "request", origins: ["us"] });
  const { core, state } = authority.sync;
  authority.sync.feed({
    type: "head",
    head: {
      from: "us",
      kid: "us.1.authority.1",
      jws: "head",
      events: [],
      snapshot: null,
      body: {
        nonce: state.peers["us"]!.pending!.nonce,
        ready: true,
        incarnation,
        seq: 0,
        hash: null,
        from_seq: 1,
        more: false,
        membership: state.view.version,
        policy: "",
        secret_id: core.secret.id,
        key_check: core.secret.check,
        seen: {},
        asof_ms: 0,
      },
    },
  });
}
const revoke = (name: string) =>
  authority.revocations.revoke({
    key: `subject:agent/${name}`,
    from: "issue",
    reason: "test",
    actor: "admin",
    wait: "accepted",
  });
/** Its own key came first. */
const numbered = (incarnation = 1) =>
  authority.store
    .sets(incarnation, 1, 10)
    .map((set) => eventOf(set))
    .filter((event) => event?.kind !== "key");

test("a restoration that comes while its revocation waits gets a number behind it, and cites it", async () => {
  const made = await revoke("a");
  expect(made).toMatchObject({ ok: true, value: { id: "eu.waiting.1", state: "revoked" } });
  const lifting = authority.revocations.restore("eu.waiting.1", "over", "admin");
  hear();
  expect(await lifting).toMatchObject({ ok: true, value: { state: "restored", generation: 2 } });
  expect(numbered()).toMatchObject([
    { seq: 2, kind: "revoke", generation: 1, cites: null },
    { seq: 3, kind: "restore", generation: 2, cites: 2 },
  ]);
  expect(authority.sync.state.unnumbered).toBe(0);
});

test("what takes away does not wait behind what gives back", async () => {
  await revoke("a");
  const done: string[] = [];
  const lifting = authority.revocations.restore("eu.waiting.1", "over", "admin").then(() => done.push("restored"));
  await revoke("b").then(() => done.push("revoked"));
  expect(done).toEqual(["revoked"]);
  expect(authority.revocations.any(["subject:agent/b"])).toBe(true);
  hear();
  await lifting;
  expect(numbered().map((event) => event?.kind)).toEqual(["revoke", "revoke", "restore"]);
});

test("what waited when the chain began again stands above the chain before", async () => {
  await revoke("a");
  const next = membership(2, { eu: 2 });
  authority.store.setMeta("membership", JSON.stringify(next));
  authority.sync.membershipChanged(next);
  hear();
  await authority.sync.until(() => authority.sync.state.unnumbered === 0, Date.now() + 10_000);
  const [event] = numbered(2);
  expect(event).toMatchObject({ seq: 1, incarnation: 2, generation: firstGeneration(2) });
  const entry = authority.store.entry(event!.key, "eu")!;
  expect(entry).toMatchObject({
    generation: firstGeneration(2),
    state: "revoked",
    revision: authority.store.revision(),
  });
});

test("a start follows from the membership that is stored, also where the object died before it did", async () => {
  const peers = new PeerStore(storage.attach());
  peers.savePeer("us", { mark: { incarnation: 1, seq: 3, hash: "sha256:x" }, kid: "us.1.authority.1", poison: null });
  authority.store.setMeta("sync_halted_1", "region us shows another own event 1.5");
  authority.store.setMeta("membership", JSON.stringify(membership(2, { us: 2 })));
  await open();
  expect(peers.peers()["us"]!.mark).toEqual({ incarnation: 2, seq: 0, hash: null });
  expect(authority.sync.state.own.halted).not.toBeNull();
  // A higher incarnation lifts the halt, whatever else has happened.
  authority.store.setMeta("membership", JSON.stringify(membership(3, { us: 2, eu: 2 })));
  await open();
  expect(authority.sync.state.own.halted).toBeNull();
  hear(2);
  expect(authority.sync.numbering).toBe(true);
});
