import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import bundleJson from "../../../policies/bundle.json" with { type: "json" };
import { LeaseKeeper } from "../../../durable-objects/shard/lease-keeper.ts";
import { ShardProbe } from "../../../durable-objects/shard/probe.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import { loadPolicy, type LoadedPolicy } from "../../../src/policy/evaluate.ts";
import { newSecret, TestFederation, type TestAuthority } from "../../support/authorities.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

/**
 * How long a region's changed policy stays unknown, on a clock that only the test moves: three regions with their real
 * authorities, leases and probes, messages that take as long as they may, and one of each kind lost on each link.
 */
const DELTA_MS = 2_000;
/** One way, between regions; the longest that docs/drift.md allows where messages get lost. */
const FAR_MS = 100;
/** Between a shard and its authority, one way. */
const NEAR_MS = 20;

const laws = vi.hoisted(() => new Map<string, unknown>());
vi.mock("../../../src/policy/baseline.ts", () => ({
  activePolicy: ({ name }: { name: string }) => laws.get(name),
}));

const BUNDLE = bundleJson as unknown as Bundle;
const PACKS = ["authzen-certification", "hospital-mcp", "sovereign"];

function law(change: (pack: ValidPack) => void = () => undefined): LoadedPolicy {
  const packs = BUNDLE.packs
    .filter((pack): pack is ValidPack => pack.status === "valid" && PACKS.includes(pack.name))
    .map((pack) => {
      const copy = structuredClone(pack);
      change(copy);
      return { ...copy, digest: packDigest(copy) };
    });
  return loadPolicy({ v: 1, packs }, PACKS);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
const part = (policy: LoadedPolicy, name: string): Mutable<LoadedPolicy["application"][number]> =>
  policy.application.find((one) => one.name === name)!;

const withoutPolicies = (policy: LoadedPolicy): void => {
  const { policies, facts } = policy.sovereign[0]!;
  Object.assign(part(policy, "authzen-certification"), { policies, facts });
};

const time = new VirtualTime();
const secrets = [newSecret("f1")];
let federation: TestFederation;
let regions: Map<string, Region>;
/** Of each kind and link, whether the next message is lost. */
let losses: Map<string, number>;

class Region {
  readonly authority: TestAuthority;
  law: LoadedPolicy;
  lease!: LeaseKeeper;
  probe!: ShardProbe;
  asked = true;
  /** What its authority knows of its probe. */
  said = "";

  constructor(authority: TestAuthority, of: LoadedPolicy) {
    this.authority = authority;
    this.law = of;
    laws.set(authority.name, of);
    this.#shard();
  }

  #shard(): void {
    const { authority } = this;
    const now = (): number => Date.now();
    this.probe = new ShardProbe({ policy: () => this.law, now, found: () => void this.lease.report() });
    const { probe } = this;
    this.lease = new LeaseKeeper({
      trust: authority.trust,
      marked: () => null,
      over: () => false,
      now,
      request: (wanted) => ({
        ...authority.trust.leaseRequest(0, authority.shardKey, wanted),
        probe: probe.report,
      }),
      send: async (request) => {
        await pause(NEAR_MS);
        // The one that matters: it says what was found anew.
        const text = JSON.stringify(request.probe ?? null);
        const tells = authority.name === "us" && text !== "null" && text !== this.said;
        if (tells) near("there poll");
        const answer = await authority.authority.shards.lease(request);
        await pause(NEAR_MS);
        if (tells) near("back poll");
        this.said = text;
        probe.told(answer);
        return answer;
      },
      settled: () => Promise.resolve(),
      // Of a process that was ended meanwhile; without a lease nothing would be found.
      failed: () => undefined,
    });
  }

  /** A process with that law, which authority and shard load. */
  async restart(of: LoadedPolicy): Promise<void> {
    laws.set(this.authority.name, of);
    this.law = of;
    await time.of(this.authority.restart(secrets));
    this.#shard();
  }

  /** As the shard does before a decision. */
  async decides(): Promise<string | null> {
    await this.lease.ensure();
    if (!this.probe.isFresh(Date.now())) await this.probe.ready();
    return this.probe.condition?.denies === true ? this.probe.condition.detail : null;
  }

  get differences(): readonly string[] {
    const { differences } = this.authority.authority.drift.view();
    return differences.map(({ peer, kind, pack }) => `${peer} ${kind} ${pack}`);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A call within a region does not get lost: it fails, on its way there or back. */
function near(way: string): void {
  const left = losses.get(way) ?? 0;
  if (left === 0) return;
  losses.set(way, left - 1);
  throw new Error("lost");
}

/** The federation's messages, each as late as it may be. */
function slowly(): void {
  const direct = federation.send.bind(federation);
  federation.send = async (url, init) => {
    const { hostname, pathname } = new URL(url);
    const dropped = async (way: string): Promise<void> => {
      const key = `${way} ${pathname}`;
      const count = losses.get(key) ?? 0;
      const link = `${key} ${hostname}`;
      if (count === 0 || losses.has(link)) return pause(FAR_MS);
      losses.set(link, 1);
      await new Promise((_, reject) => init.signal?.addEventListener("abort", () => reject(new Error("lost"))));
    };
    await dropped("there");
    const answer = await direct(url, init);
    await dropped("back");
    return answer;
  };
}

const everybody = (): readonly Region[] => [...regions.values()];

beforeEach(async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  time.turn_ms = 0;
  losses = new Map();
  time.start();
  for (const name of ["eu", "us", "ap"]) laws.set(name, law());
  federation = await time.of(TestFederation.start(["eu", "us", "ap"], secrets));
  slowly();
  regions = new Map(
    [...federation.regions].map(([name, one]) => [name, new Region(one, laws.get(name) as LoadedPolicy)]),
  );
  const ask = (): void => {
    for (const region of everybody()) if (region.asked) void region.lease.ensure();
    setTimeout(ask, 50);
  };
  ask();
  const heard = (): boolean =>
    everybody().every(({ authority }) => authority.authority.drift.view().peers.every(({ statement }) => statement));
  const found = everybody().some(({ differences }) => differences.length > 0);
  if ((await time.until(heard, 20_000)) > 20_000 || found) throw new Error("the regions do not begin alike");
});
afterEach(() => {
  federation.stop();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const LOST = [
  [],
  ["there /sync/v1/policy"],
  ["back /sync/v1/policy"],
  ["there /sync/v1/pull"],
  ["back /sync/v1/pull"],
  ["there poll"],
  ["back poll"],
] as const;

/** What somebody does to `us`; what every other region finds. */
const CHANGES: readonly (readonly [string, (us: Region) => Promise<void> | void, string])[] = [
  [
    "a pack edited under its version",
    (us) =>
      us.restart(
        law((pack) => {
          if (pack.name === "hospital-mcp") Object.assign(pack, { policies: pack.policies.slice(1) });
        }),
      ),
    "us content hospital-mcp",
  ],
  ["policies in the shard's memory", (us) => withoutPolicies((us.law = own(us))), "us outcome authzen-certification"],
  [
    "policies in the memory of authority and shard, or what evaluates them",
    async (us) => {
      const odd = law();
      withoutPolicies(odd);
      await us.restart(odd);
    },
    "us outcome authzen-certification",
  ],
  [
    "entities of the directory, in memory",
    (us) => {
      us.law = own(us);
      const { directory } = part(us.law, "authzen-certification");
      Object.assign(part(us.law, "hospital-mcp"), { directory });
    },
    "us outcome hospital-mcp",
  ],
  [
    "entities of the directory, in the pack",
    (us) =>
      us.restart(
        law((pack) => {
          if (pack.name === "authzen-certification") Object.assign(pack, { entities: pack.entities.slice(1) });
        }),
      ),
    "us content authzen-certification",
  ],
  [
    "rules of the manifest, in memory",
    (us) => {
      us.law = own(us);
      const [action] = part(us.law, "hospital-mcp").demands.actions.values();
      Object.assign(action!, { delegation: { required: !action!.delegation.required, max_depth: 8 } });
    },
    "us outcome hospital-mcp",
  ],
];

/** The shard's own copy; the authority has another. */
function own(region: Region): LoadedPolicy {
  return region.law === laws.get(region.authority.name) ? law() : region.law;
}

describe.each(CHANGES)("%s", (_, change, expected) => {
  test.each([
    ["quiet", 0, LOST],
    ["loaded", 60, LOST],
  ] as const)("is known to all others within Δ; machines are %s", async (_machines, turn_ms, all) => {
    time.turn_ms = turn_ms;
    const us = regions.get("us")!;
    const others = everybody().filter((one) => one !== us);
    for (const [at, lost] of all.entries()) {
      // Not always just after a round.
      await time.pass(137 * at);
      losses = new Map(lost.map((kind) => [kind, 1]));
      await change(us);
      const took = await time.until(() => others.every(({ differences }) => differences.includes(expected)), 10_000);
      expect(took).toBeLessThanOrEqual(DELTA_MS);
      // Another content the authority finds itself, before its shard has said anything.
      const unused = lost.filter((kind) => kind.endsWith("poll") && losses.get(kind) !== 0);
      expect(expected.includes(" content ") ? [] : unused).toEqual([]);
      losses = new Map();
      await us.restart(law());
      expect(
        await time.until(() => everybody().every(({ differences }) => differences.length === 0), 60_000),
      ).toBeLessThan(60_000);
    }
  });
});

test("a shard that is changed denies by itself, within its own share", async () => {
  time.turn_ms = 60;
  const us = regions.get("us")!;
  us.law = own(us);
  withoutPolicies(us.law);
  expect(await time.until(() => us.probe.condition?.denies === true, 10_000)).toBeLessThanOrEqual(1_000);
});

test("an authority that was changed before it looked: its shards, which are sound, deny, and it says so", async () => {
  const us = regions.get("us")!;
  const odd = law();
  withoutPolicies(odd);
  await us.restart(odd);
  us.law = law();
  const { drift } = us.authority.authority;
  const said = (): boolean => us.probe.condition?.denies === true && drift.problem(Date.now()) !== null;
  expect(await time.until(said, 10_000)).toBeLessThanOrEqual(DELTA_MS);
});

test("a region that slept looks at its policy before it decides, and the others know within Δ of the first request", async () => {
  const us = regions.get("us")!;
  us.asked = false;
  await time.pass(20_000);
  us.law = own(us);
  withoutPolicies(us.law);
  await time.pass(10_000);
  expect(regions.get("eu")!.differences).toEqual([]);
  expect(await time.of(us.decides())).toMatch(/decides otherwise than it should/);
  us.asked = true;
  const others = everybody().filter((one) => one !== us);
  const took = await time.until(() => others.every(({ differences }) => differences.length > 0), 10_000);
  expect(took).toBeLessThanOrEqual(DELTA_MS);
});

test("where a difference denies, a region that starts with another law denies its first request", async () => {
  const us = regions.get("us")!;
  us.authority.vars = { INTERLOCK_ON_DRIFT: "deny" };
  const odd = law((pack) => {
    if (pack.name === "hospital-mcp") Object.assign(pack, { policies: pack.policies.slice(1) });
  });
  await us.restart(odd);
  us.asked = false;
  const origins = ["eu", "ap"];
  const first = async (): Promise<string | null> => {
    await us.lease.ensure({ wanted: origins, need: {} });
    return us.decides();
  };
  expect(await time.of(first())).toMatch(/hospital-mcp content/);
});
