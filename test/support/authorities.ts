import { randomBytes } from "node:crypto";
import { exportJWK, generateKeyPair } from "jose";
import { Authority } from "../../durable-objects/authority/authority.ts";
import { Pseudonyms } from "../../durable-objects/pseudonyms.ts";
import { ShardStore } from "../../durable-objects/shard/store.ts";
import { StateWatch } from "../../durable-objects/shard/state-watch.ts";
import { ShardTrust } from "../../durable-objects/shard/trust.ts";
import { base64url } from "../../src/base/bytes.ts";
import type { Env } from "../../src/objects/address.ts";
import type { LeaseAnswer } from "../../src/objects/lease.ts";
import type { PublicJwk } from "../../src/objects/jwk.ts";
import type { IntegrateMessage } from "../../src/objects/log.ts";
import type { ApplyTrustMessage } from "../../src/objects/shard.ts";
import type { Incident } from "../../src/lineage/incident.ts";
import type { PolicyProbe } from "../../src/policy/probe.ts";
import { readRegion, type Region, type RegionVars } from "../../src/region/config.ts";
import type { Membership } from "../../src/trust/membership.ts";
import { buildMembership, memberOf, signMembership, type MemberRegion } from "../../tools/region/membership.ts";
import { FakeStorage } from "./durable-storage.ts";

/**
 * Several regions in Node: the trust authority and one shard's trust of each, over real storage, wired to one another
 * by their own signed messages. Log and witness are stubs.
 */
const key = async (kid: string): Promise<{ publicJwk: PublicJwk; key: CryptoKey }> => {
  const { privateKey, publicKey } = await generateKeyPair("Ed25519", { extractable: true });
  const { kty, crv, x } = await exportJWK(publicKey);
  return { publicJwk: { kty: kty!, crv: crv!, x: x!, kid, alg: "Ed25519", use: "sig" }, key: privateKey };
};

export const newSecret = (id: string): { readonly id: string; readonly secret: string } => ({
  id,
  secret: base64url(randomBytes(32)),
});
type Secret = ReturnType<typeof newSecret>;

export class TestFederation {
  readonly regions = new Map<string, TestAuthority>();
  /** Regions that are not reached. */
  readonly cut = new Set<string>();
  /** Requests as they were sent. */
  readonly requested: string[] = [];
  members: readonly MemberRegion[] = [];
  version = 0;
  readonly #root: Awaited<ReturnType<typeof key>>;

  private constructor(root: Awaited<ReturnType<typeof key>>) {
    this.#root = root;
  }

  static async start(names: readonly string[], secrets: readonly Secret[], every?: number): Promise<TestFederation> {
    const federation = new TestFederation(await key("root-1"));
    for (const name of names) await federation.add(name, secrets, every);
    federation.members = await Promise.all(names.map((name) => federation.of(name).member()));
    await federation.sign();
    return federation;
  }

  of(name: string): TestAuthority {
    return this.regions.get(name)!;
  }

  async add(name: string, secrets: readonly Secret[], every?: number): Promise<TestAuthority> {
    const roots = JSON.stringify({ threshold: 1, keys: [this.#root.publicJwk] });
    const added = await TestAuthority.make(this, name, secrets, roots, every);
    this.regions.set(name, added);
    return added;
  }

  /** The next membership, with `members` as they stand, to all or to those named. */
  async sign(to: readonly string[] = [...this.regions.keys()], change: Partial<Membership> = {}): Promise<void> {
    const membership = { ...buildMembership(this.members, ++this.version, Date.now()), ...change };
    const jws = await signMembership(membership, [{ ...this.#root, kid: "root-1", publicJwk: this.#root.publicJwk }]);
    for (const name of to) {
      const put = await this.of(name).authority.memberships.put(jws, "test");
      if (!put.ok) throw new Error(put.message);
    }
  }

  async send(url: string, init: RequestInit): Promise<Response> {
    const { hostname, pathname } = new URL(url);
    const name = hostname.split(".")[0]!;
    const region = this.regions.get(name);
    if (region === undefined || !region.running || this.cut.has(name)) throw new TypeError("fetch failed");
    if (pathname === "/sync/v1/request") {
      const { links, requests } = region.authority;
      this.requested.push(init.body as string);
      const answer = await links.answerRequest(init.body as string, (from, body) => requests.take(from, body));
      return new Response(answer.body, { status: answer.status });
    }
    if (pathname === "/sync/v1/pull" || pathname === "/sync/v1/push") {
      const { links } = region.authority;
      const text = init.body as string;
      const answer = await (pathname.endsWith("pull") ? links.answerPull(text) : links.takePush(text));
      region.asked.push(`${pathname} ${answer.status}`);
      return new Response(answer.status === 202 ? null : answer.body, { status: answer.status });
    }
    if (pathname === "/sync/v1/policy" && !region.mute) {
      const { links, drift } = region.authority;
      const hears = (from: string, digest: string): void => drift.named(from, digest);
      const answer = await links.answerPolicy(init.body as string, () => drift.statement(), hears);
      region.asked.push(`${pathname} ${answer.status}`);
      return new Response(answer.body, { status: answer.status });
    }
    if (pathname === "/sync/v1/state" && !region.mute) {
      const { links, states } = region.authority;
      const answer = await links.answerState(
        init.body as string,
        () => states.states(),
        (from, said, jws) => states.took(from, said, jws),
      );
      return new Response(answer.body, { status: answer.status });
    }
    if (pathname === "/.well-known/interlock/membership") {
      const memberships = region.authority.store.memberships(0, 100);
      return Response.json({ region: name, memberships, next: null });
    }
    return new Response(null, { status: 404 });
  }

  stop(): void {
    for (const region of this.regions.values()) region.kill();
  }
}

export class TestAuthority {
  readonly federation: TestFederation;
  readonly name: string;
  readonly storage = new FakeStorage();
  readonly shardStorage = new FakeStorage();
  /** What peers sent: path and status. */
  readonly asked: string[] = [];
  readonly #keys: Readonly<Record<"log" | "witness" | "shard", PublicJwk>>;
  readonly #roots: string;
  readonly #every: number | undefined;
  /** What this region is configured with beside what all are. */
  vars: Partial<RegionVars> = {};
  region!: Region;
  authority!: Authority;
  trust!: ShardTrust;
  watch!: StateWatch;
  running = false;
  /** How many records of this authority the log has. */
  logMark = 0;
  /** What the shard found of its policy, and what the last lease told it. */
  probe: PolicyProbe | null = null;
  told: Extract<LeaseAnswer, { ok: true }> | null = null;
  /** Of a version that does not say what decides there. */
  mute = false;
  readonly incidents: Omit<Incident, "t_ms">[] = [];
  #life = 0;

  private constructor(
    federation: TestFederation,
    name: string,
    keys: Readonly<Record<"log" | "witness" | "shard", PublicJwk>>,
    roots: string,
    every: number | undefined,
  ) {
    this.federation = federation;
    this.name = name;
    this.#keys = keys;
    this.#roots = roots;
    this.#every = every;
  }

  get shardKey(): PublicJwk {
    return this.#keys.shard;
  }

  static async make(
    federation: TestFederation,
    name: string,
    secrets: readonly Secret[],
    roots: string,
    every: number | undefined,
  ): Promise<TestAuthority> {
    const keys = {
      log: (await key(`${name}.1.log.1`)).publicJwk,
      witness: (await key(`${name}.1.witness.1`)).publicJwk,
      shard: (await key(`${name}.1.shard-0.1`)).publicJwk,
    };
    const made = new TestAuthority(federation, name, keys, roots, every);
    await made.start(secrets);
    return made;
  }

  async start(secrets: readonly Secret[]): Promise<void> {
    const vars = {
      INTERLOCK_REGION: this.name,
      INTERLOCK_PDP: `https://${this.name}.pdp.example`,
      INTERLOCK_LOG_EPOCH: "1",
      INTERLOCK_SHARDS: "1",
      INTERLOCK_PACKS: "sovereign",
      INTERLOCK_ROOTS: this.#roots,
      INTERLOCK_FEDERATION_SECRETS: JSON.stringify(secrets),
      ...this.vars,
    } as Parameters<typeof readRegion>[0];
    const read = readRegion(vars);
    if (!read.ok) throw new Error(read.error);
    this.region = read.value;
    this.storage.revive();
    this.shardStorage.revive();
    const store = new ShardStore(this.shardStorage.attach());
    this.trust = new ShardTrust(this.name, store, new Pseudonyms(this.region.secrets));
    this.watch = new StateWatch(store, () => undefined);
    const life = ++this.#life;
    // A process that has died hears nothing any more.
    const alive = async (): Promise<void> => {
      if (life !== this.#life || this.storage.dead) await new Promise(() => undefined);
    };
    const send = async (url: string, init: RequestInit): Promise<Response> => {
      await alive();
      try {
        return await this.federation.send(url, init);
      } finally {
        await alive();
      }
    };
    const storage = this.storage.attach();
    const fetching = send as unknown as typeof fetch;
    this.authority = await Authority.open(storage, this.#env(vars), this.region, fetching, this.#every);
    this.running = true;
  }

  #env(vars: object): Env {
    const namespace = (stub: object): DurableObjectNamespace =>
      ({ idFromName: (name: string) => name, get: () => stub }) as unknown as DurableObjectNamespace;
    return {
      ...vars,
      REGION_LOG: namespace({
        integrate: async ({ from_sseq, hashes }: IntegrateMessage) => ({
          ok: true,
          mark: (this.logMark = Math.max(this.logMark, from_sseq + hashes.length / 32 - 1)),
          anchored: null,
        }),
        identity: async () => ({ jwk: this.#keys.log }),
        configure: async () => undefined,
        incident: async (found: Omit<Incident, "t_ms">) => void this.incidents.push(found),
      }),
      WITNESS: namespace({ identity: async () => ({ jwk: this.#keys.witness }) }),
      LINEAGE_SHARD: namespace({
        applyTrust: async (message: ApplyTrustMessage) => {
          const answer = this.trust.apply(message);
          if (answer.ok) this.trust.markEffective(answer.revision);
          return answer;
        },
        endLeases: async () => undefined,
      }),
    } as unknown as Env;
  }

  kill(): void {
    this.running = false;
    this.#life++;
    this.storage.kill("kept");
    this.shardStorage.kill("kept");
  }

  async restart(secrets: readonly Secret[]): Promise<void> {
    this.kill();
    await this.start(secrets);
  }

  async member(state: MemberRegion["state"] = "active"): Promise<MemberRegion> {
    const enrolment = await this.authority.memberships.enrolment();
    return { ...memberOf(enrolment, this.region.pdp), state };
  }

  /** A lease over everything, as a shard with a request that rests on every region asks for it; origins that are fresh. */
  async fresh(): Promise<readonly string[]> {
    const others = [...this.federation.regions.keys()].filter((name) => name !== this.name);
    for (let more = true; more;) {
      const wanted = this.trust.leaseRequest(0, this.#keys.shard, { wanted: others, need: {} });
      const request = { ...wanted, probe: this.probe, state: this.watch.report(this.trust.applied) };
      const sent = { ms: Date.now(), clock_steps: this.trust.clockSteps };
      const answer = await this.authority.shards.lease(request);
      this.told = answer.ok ? answer : null;
      more = this.trust.takeLease(request, answer, sent);
      this.trust.markEffective(this.trust.applied);
      this.watch.look(Date.now());
    }
    const now = Date.now();
    const fresh = [...this.trust.origins]
      .filter(([, { fresh_until_ms }]) => fresh_until_ms > now)
      .map(([name]) => name);
    return fresh.sort();
  }

  /** What the shard denies on, by origin. */
  denies(canonical: string): readonly string[] {
    return this.trust.match([canonical], Date.now()).map(({ origin }) => origin);
  }

  async revoke(canonical: string): Promise<string> {
    const made = await this.authority.revocations.revoke({
      key: canonical,
      from: "issue",
      reason: "test",
      actor: "test",
      wait: "local",
    });
    if (!made.ok) throw new Error(made.message);
    return made.value.id;
  }

  async restore(id: string): Promise<void> {
    const done = await this.authority.revocations.restore(id, "test", "test");
    if (!done.ok) throw new Error(done.message);
  }

  /** Rows of the authority's storage. */
  rows(query: string): readonly Readonly<Record<string, SqlStorageValue>>[] {
    return this.storage.attach().sql.exec(query).toArray();
  }

  count(query: string): number {
    return Number(this.rows(`SELECT count(*) AS n FROM ${query}`)[0]!["n"]);
  }
}
