import { GeneralSign } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { sha256 } from "../../../src/base/digest.ts";
import { jcs } from "../../../src/base/jcs.ts";
import { parsePolicy } from "../../../src/lineage/tlog-policy.ts";
import { MEMBERSHIP_TYP, type Membership, type Roots } from "../../../src/trust/membership.ts";
import { membershipsIn, trustOf, verifyHistory } from "../../../src/trust/membership-history.ts";
import { newSigner, type Signer } from "../http/region.ts";

/** What an auditor who holds the roots makes of signed memberships, whoever handed them over. */
const NOW = 1_900_000_000_000;
let roots: Signer[];
let pinned: Roots;
let keys: Record<string, Signer>;

const NAMES = [
  "eu.1.log.1",
  "eu.1.witness.1",
  "eu.2.log.1",
  "us.1.log.1",
  "us.1.witness.1",
  "ap.1.log.1",
  "ap.1.witness.1",
];

beforeAll(async () => {
  roots = await Promise.all(["r1", "r2", "r3"].map(newSigner));
  pinned = { threshold: 2, keys: roots.map(({ jwk }) => jwk) };
  keys = Object.fromEntries(await Promise.all(NAMES.map(async (kid) => [kid, await newSigner(kid)] as const)));
});

const member = (region: string, log_epoch: number, ...kids: readonly string[]): Membership["regions"][number] => ({
  region,
  pdp: `https://${region}.example`,
  endpoint: `https://${region}.example`,
  log_epoch,
  state: "active",
  keys: kids.map((kid) => keys[kid]!.jwk) as object[] as Membership["regions"][number]["keys"],
});

const membership = (version: number, eu = member("eu", 1, "eu.1.log.1", "eu.1.witness.1"), changes: object = {}) =>
  ({
    v: 1,
    type: "interlock-membership",
    version,
    issued_at_ms: NOW + version,
    expires_ms: NOW + 1_000_000,
    delta_ms: 2_000,
    regions: [eu, member("us", 1, "us.1.log.1", "us.1.witness.1"), member("ap", 1, "ap.1.log.1", "ap.1.witness.1")],
    domains: {},
    issuers: {},
    may_revoke: {},
    ...changes,
  }) as Membership;

async function signed(document: object, by: readonly Signer[] = roots.slice(0, 2), typ = MEMBERSHIP_TYP) {
  const general = new GeneralSign(new TextEncoder().encode(jcs(document)));
  for (const { kid, privateKey } of by)
    general.addSignature(privateKey).setProtectedHeader({ alg: "Ed25519", kid, typ });
  return general.sign();
}

const historyOf = async (...documents: readonly Membership[]) => {
  const history = await verifyHistory(await Promise.all(documents.map((one) => signed(one))), pinned);
  if (!history.ok) throw new Error(history.error);
  return history.value;
};

const trusted = (history: readonly Membership[], options: Partial<Parameters<typeof trustOf>[1]> = {}) =>
  trustOf(history, { region: "eu", now_ms: NOW + 500, ...options }, sha256);

describe("a history", () => {
  test("is put in order, and what stands twice is one", async () => {
    const all = await Promise.all([3, 1, 2, 3].map((version) => signed(membership(version))));
    const history = await verifyHistory(all, pinned);
    expect(history.ok && history.value.map(({ version }) => version)).toEqual([1, 2, 3]);
  });

  test("with one that too few roots signed, or one root twice, is refused as a whole", async () => {
    const one = membership(2);
    for (const by of [[roots[0]!], [roots[0]!, roots[0]!], [roots[0]!, await newSigner("r9")]]) {
      const history = await verifyHistory([await signed(membership(1)), await signed(one, by)], pinned);
      expect(history).toMatchObject({ ok: false, error: expect.stringContaining("membership 2: signed by 1") });
    }
  });

  test("with a signature made for another purpose is refused", async () => {
    expect((await verifyHistory([await signed(membership(1), roots, "interlock-policy+jws")], pinned)).ok).toBe(false);
  });

  test("with another text under a version is refused", async () => {
    const two = [await signed(membership(1)), await signed(membership(1, undefined, { delta_ms: 3_000 }))];
    expect(await verifyHistory(two, pinned)).toMatchObject({
      ok: false,
      error: expect.stringContaining("two memberships"),
    });
  });

  test("whose times run backwards is refused", async () => {
    const two = [await signed(membership(1)), await signed(membership(2, undefined, { issued_at_ms: NOW }))];
    expect((await verifyHistory(two, pinned)).ok).toBe(false);
  });

  test.each([
    ["no JWS", {}],
    ["null", null],
    ["a text", "x"],
  ])("with %s is refused", async (_, jws) => {
    expect((await verifyHistory([jws], pinned)).ok).toBe(false);
  });
});

describe("the policy", () => {
  test("names the log, the peers and the quorum, and reads back", async () => {
    const told = trusted(await historyOf(membership(1)));
    if (!told.ok) throw new Error(told.error);
    const policy = parsePolicy(told.value.policy, sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    expect(policy.value.logs.map(({ key }) => key.name)).toEqual(["eu.example/eu/1"]);
    expect(policy.value.witnesses.map(({ name }) => name)).toEqual(["us", "ap"]);
    expect(policy.value.groups).toMatchObject([{ name: "peers", threshold: 1 }]);
    expect(policy.value.quorum).toBe("peers");
  });

  test("asks for as many peers as the auditor wants, and not for more than there are", async () => {
    const history = await historyOf(membership(1));
    expect(trusted(history, { peers: "all" })).toMatchObject({
      ok: true,
      value: { policy: expect.stringContaining("group peers all us ap") },
    });
    expect(trusted(history, { peers: 2 }).ok).toBe(true);
    expect(trusted(history, { peers: 3 }).ok).toBe(false);
    const alone = await historyOf(membership(1, undefined, { regions: [member("eu", 1, "eu.1.log.1")] }));
    expect(trusted(alone).ok).toBe(true);
    expect(trusted(alone, { peers: "all" }).ok).toBe(false);
  });

  test("keeps the logs of the epochs before, and says since when each key is listed", async () => {
    const next = membership(5, member("eu", 2, "eu.2.log.1", "eu.1.witness.1"));
    const told = trusted(await historyOf(membership(1), membership(2), next));
    if (!told.ok) throw new Error(told.error);
    const policy = parsePolicy(told.value.policy, sha256);
    expect(policy.ok && policy.value.logs.map(({ key }) => key.name)).toEqual(["eu.example/eu/2", "eu.example/eu/1"]);
    expect(told.value.keys).toMatchObject([
      { kid: "eu.1.log.1", from_version: 1, from_ms: NOW + 1, current: false },
      { kid: "eu.1.witness.1", from_version: 1, current: true },
      { kid: "eu.2.log.1", from_version: 5, log_epoch: 2, current: true },
    ]);
    const then = trusted(await historyOf(membership(1), membership(2), next), { version: 2 });
    expect(then.ok && then.value.membership.version).toBe(2);
    expect(then.ok && then.value.policy).not.toContain("eu.example/eu/2");
  });

  test("is not made of an expired membership, unless it is asked for by its version", async () => {
    const history = await historyOf(membership(1));
    expect(trusted(history, { now_ms: NOW + 1_000_000 })).toMatchObject({
      ok: false,
      error: expect.stringContaining("expired"),
    });
    expect(trusted(history, { now_ms: NOW + 1_000_000, version: 1 }).ok).toBe(true);
  });

  test.each([
    ["of a region that is not listed", { region: "mars" }],
    ["of a version that is not there", { version: 7 }],
  ])("is not made %s", async (_, options) => {
    expect(trusted(await historyOf(membership(1)), options).ok).toBe(false);
  });
});

test("files and the route's answer hold memberships in the forms that there are", async () => {
  const one = await signed(membership(1));
  const entry = { version: 1, accepted_at_ms: 0, jws: one };
  for (const form of [one, [one], entry, { region: "eu", memberships: [entry], next: null }])
    expect(membershipsIn(form)).toEqual([one]);
});
