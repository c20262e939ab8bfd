import { beforeAll, describe, expect, test } from "vitest";
import { ed25519Verify } from "../../../../durable-objects/platform.ts";
import { base64url, utf8 } from "../../../../src/base/bytes.ts";
import { sha256 } from "../../../../src/base/digest.ts";
import { jcs } from "../../../../src/base/jcs.ts";
import { MAX_BUNDLE_BYTES, MAX_ROOTS, type PolicyDocument } from "../../../../src/policy/bundles/documents.ts";
import type { Envelope } from "../../../../src/policy/bundles/envelope.ts";
import { inForce, scheduleOf } from "../../../../src/policy/bundles/schedule.ts";
import type { PolicyTrust } from "../../../../src/policy/bundles/state.ts";
import {
  pinnedRoot,
  takeOffer,
  trustOf,
  type Offer,
  type Taken,
  type UpdatePorts,
} from "../../../../src/policy/bundles/update.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../../src/policy/bundle.ts";
import type { Manifest } from "../../../../src/policy/manifest.ts";
import bundleJson from "../../../../policies/bundle.json" with { type: "json" };
import {
  bundleBytes,
  DAY_MS,
  newRoleKeys,
  newSigner,
  NOTHING,
  offerOf,
  payloadOf,
  policyOf,
  renamed,
  rootOf,
  sign,
  signature,
  timestampOf,
  type RoleKeys,
  type Signer,
} from "../../../support/policy-documents.ts";

/** How an offer is taken, role by role; the cases of TUF's conformance suite by their names: `tuf-cases.test.ts`. */

const T = Date.UTC(2026, 5, 1);
const YEAR = 365 * DAY_MS;
const PACKS = bundleJson as unknown as Bundle;
const BUNDLE = bundleBytes(PACKS, { "*": ["sovereign"] });
const OTHER = bundleBytes(PACKS, { "*": ["authzen-certification", "sovereign"] });

let keys: RoleKeys;
let pinned: Envelope;
let fresh: PolicyTrust;
/** With policy 5 under timestamp 5. */
let served: PolicyTrust;
let five: Offer & { readonly policy: Envelope; readonly timestamp: Envelope };
const bundles = new Set<string>();

const ports: UpdatePorts = {
  verify: ed25519Verify,
  sha256,
  has: (bundle) => bundles.has(bundle),
  region: "eu",
  engine: "0.1.0",
};

beforeAll(async () => {
  keys = await newRoleKeys();
  pinned = await sign("root", rootOf(keys, 1, T + YEAR), keys.root.slice(0, 2));
  const root = await pinnedRoot(pinned, ports);
  if (!root.ok) throw new Error(root.error.detail);
  fresh = trustOf(root.value);
  five = await offerOf(keys, BUNDLE, { version: 5, now_ms: T });
  served = (await taken(fresh, five)).trust;
  bundles.add(served.policy!.document.bundle.sha256);
});

async function taken(trust: PolicyTrust, offer: Partial<Offer>, now = T): Promise<Taken> {
  const answer = await takeOffer(trust, { ...NOTHING, ...offer }, now, ports);
  if (!answer.ok) throw new Error(`${answer.error.code} ${answer.error.role}: ${answer.error.detail}`);
  return answer.value;
}

async function refused(trust: PolicyTrust, offer: Partial<Offer>, now = T): Promise<string> {
  const answer = await takeOffer(trust, { ...NOTHING, ...offer }, now, ports);
  return answer.ok ? "taken" : `${answer.error.role} ${answer.error.code}`;
}

const six = (changes: Partial<PolicyDocument> = {}) => offerOf(keys, OTHER, { version: 6, now_ms: T, changes });
const servedAt = (trust: PolicyTrust, t_ms: number) =>
  inForce(
    scheduleOf(trust, 1, "baseline", (bundle) => `of ${bundle}`),
    t_ms,
  );

describe("what is right is taken", () => {
  test("the first offer, the same again, a newer timestamp, a newer policy", async () => {
    expect(served.policy?.version).toBe(5);
    expect(servedAt(served, T)).toMatchObject({ ok: true, policy: { signed: { version: 5 } } });
    expect(await taken(served, five)).toMatchObject({ changed: false, bundle: null });
    const policy = JSON.parse(JSON.stringify(served.policy!.document)) as PolicyDocument;
    const later = await sign("timestamp", timestampOf(policy, 6, T + 3_600_000), keys.timestamp);
    const refreshed = await taken(served, { timestamp: later }, T + 3_600_000);
    expect(refreshed.trust).toMatchObject({ timestamp: { version: 6 }, policy: { version: 5 } });
    expect(servedAt(refreshed.trust, T + DAY_MS)).toMatchObject({ ok: true });
    const next = await taken(refreshed.trust, await offerOf(keys, OTHER, { version: 6, stamp: 7, now_ms: T }));
    expect(next.trust).toMatchObject({ policy: { version: 6 }, previous: { version: 5 } });
    expect(next.bundle?.policy.packs.map(({ name }) => name)).toEqual(["authzen-certification", "sovereign"]);
  });

  test("other signatures over the same bytes are the same document", async () => {
    const document = served.policy!.document;
    const again = await sign("policy", document, keys.policy.slice(1));
    expect(await taken(served, { policy: again })).toMatchObject({ changed: false });
  });

  test("signatures that count nothing beside enough that do", async () => {
    const stranger = await newSigner("stranger");
    const { policy, ...rest } = await six();
    const more = await signature(policy.payload, stranger, "interlock-policy+jws");
    const other = await signature(policy.payload, keys.policy[2]!, "interlock-policy+jws");
    const spoilt = { ...policy, signatures: [more, ...policy.signatures, { ...other, signature: "AAAA" }] };
    expect((await taken(served, { ...rest, policy: spoilt })).trust.policy?.version).toBe(6);
  });
});

describe("rollback", () => {
  test("of the timestamp, the policy, the policy under a newer timestamp, the root", async () => {
    const four = await offerOf(keys, BUNDLE, { version: 4, now_ms: T });
    expect(await refused(served, four)).toBe("timestamp rollback");
    expect(await refused(served, { policy: four.policy })).toBe("policy rollback");
    expect(await refused(served, await offerOf(keys, BUNDLE, { version: 4, stamp: 9, now_ms: T }))).toBe(
      "policy rollback",
    );
    const two = await sign("root", rootOf(keys, 2, T + YEAR), keys.root);
    const { trust } = await taken(served, { roots: [two] });
    expect(await refused(trust, { roots: [pinned] })).toBe("root rollback");
  });
});

describe("equivocation: a version that was accepted, with other content", () => {
  test("of each role", async () => {
    const { document } = served.policy!;
    const timestamp = await sign("timestamp", timestampOf(document, 5, T + 1), keys.timestamp);
    expect(await refused(served, { timestamp })).toBe("timestamp equivocation");
    const other = await offerOf(keys, OTHER, { version: 5, stamp: 6, now_ms: T });
    expect(await refused(served, other)).toBe("policy equivocation");
    expect(await refused(served, { policy: other.policy })).toBe("policy equivocation");
    const root = await sign("root", rootOf(keys, 1, T + 2 * YEAR), keys.root);
    expect(await refused(served, { roots: [root] })).toBe("root equivocation");
  });

  test("is one only where the role's keys signed it", async () => {
    const stranger = await newSigner("timestamp-1");
    const timestamp = await sign("timestamp", timestampOf(served.policy!.document, 5, T + 1), [stranger]);
    expect(await refused(served, { timestamp })).toBe("timestamp bad_signature");
  });
});

describe("freeze: what has expired is refused, and what expires denies", () => {
  test("an offer of each role", async () => {
    expect(await refused(served, await six(), T + DAY_MS)).toBe("timestamp expired");
    const policy = policyOf(OTHER, 6, T, { expires_ms: T + 1_000 });
    const late = await sign("timestamp", timestampOf(policy, 6, T + 2_000), keys.timestamp);
    const signed = await sign("policy", policy, keys.policy);
    expect(await refused(served, { timestamp: late, policy: signed, bundle: OTHER }, T + 2_000)).toBe("policy expired");
    expect(await refused(served, await six(), T + YEAR)).toBe("root expired");
    const two = await sign("root", rootOf(keys, 2, T - 1), keys.root);
    expect(await refused(served, { roots: [two] })).toBe("root expired");
  });

  test("a root that has expired on the way does not stop the next one", async () => {
    const two = await sign("root", rootOf(keys, 2, T - 1), keys.root);
    const three = await sign("root", rootOf(keys, 3, T + YEAR), keys.root);
    expect((await taken(served, { roots: [two, three] })).trust.root.version).toBe(3);
    expect(
      (await taken(served, { roots: [await sign("root", rootOf(keys, 2, T + 2 * YEAR), keys.root)] })).changed,
    ).toBe(true);
  });

  test("at the millisecond of an expiry, whichever comes first", async () => {
    expect(servedAt(served, T + DAY_MS - 1)).toMatchObject({ ok: true, until_ms: T + DAY_MS });
    expect(servedAt(served, T + DAY_MS)).toMatchObject({ ok: false });
    const soon = await offerOf(keys, OTHER, { version: 6, now_ms: T, changes: { expires_ms: T + 5_000 } });
    const short = (await taken(served, soon)).trust;
    expect(servedAt(short, T + 4_999)).toMatchObject({ ok: true });
    expect(servedAt(short, T + 5_000)).toEqual({ ok: false, why: "the policy has expired" });
    const root = await sign("root", rootOf(keys, 2, T + 4_000), keys.root);
    expect(servedAt((await taken(served, { roots: [root] })).trust, T + 4_000)).toMatchObject({ ok: false });
  });

  test("a timestamp may not promise more than a day, nor be of the future", async () => {
    const { document } = served.policy!;
    const long = await sign("timestamp", timestampOf(document, 6, T, { expires_ms: T + DAY_MS + 1 }), keys.timestamp);
    expect(await refused(served, { timestamp: long })).toBe("timestamp malformed");
    const ahead = await sign("timestamp", timestampOf(document, 6, T + 3_600_000), keys.timestamp);
    expect(await refused(served, { timestamp: ahead })).toBe("timestamp from_the_future");
  });
});

describe("mix and match", () => {
  test("a policy, a bundle or a size that the parent does not name", async () => {
    const next = await six();
    const another = await offerOf(keys, BUNDLE, { version: 6, now_ms: T });
    expect(await refused(served, { ...next, policy: another.policy })).toBe("policy mix_and_match");
    expect(await refused(served, { ...next, timestamp: null })).toBe("policy mix_and_match");
    expect(await refused(served, { ...next, bundle: BUNDLE })).toBe("bundle mix_and_match");
    const { sha256: digest } = policyOf(OTHER, 6, T).bundle;
    const sized = await six({ bundle: { sha256: digest, size: OTHER.length + 1 } });
    expect(await refused(served, sized)).toBe("bundle mix_and_match");
  });

  test("nothing that is needed may be missing", async () => {
    const next = await six();
    expect(await refused(served, { ...next, policy: null, bundle: null })).toBe("policy missing");
    expect(await refused(served, { ...next, bundle: null })).toBe("bundle missing");
    expect(await refused(fresh, { policy: five.policy, bundle: BUNDLE })).toBe("timestamp missing");
    expect(await refused(fresh, { bundle: BUNDLE })).toBe("bundle missing");
  });
});

describe("signatures", () => {
  test("stripped: whatever the document holds", async () => {
    const { policy } = await six();
    expect(await refused(served, { ...(await six()), policy: { ...policy, signatures: [] } })).toBe("policy unsigned");
    expect(await refused(served, { ...(await six()), policy: { payload: policy.payload } })).toBe("policy unsigned");
    expect(await refused(served, { ...(await six()), policy: policyOf(OTHER, 6, T) })).toBe("policy unsigned");
    expect(await refused(served, { timestamp: { payload: five.timestamp.payload, signatures: [] } })).toBe(
      "timestamp unsigned",
    );
    expect(await refused(served, { roots: [{ ...pinned, signatures: [] }] })).toBe("root unsigned");
  });

  test("of another role: by its typ, by its keys, by its payload", async () => {
    const document = policyOf(OTHER, 6, T);
    const payload = payloadOf(document);
    const offer = await six();
    const typed = await Promise.all(keys.policy.map((key) => signature(payload, key, "interlock-root+jws")));
    expect(await refused(served, { ...offer, policy: { payload, signatures: typed } })).toBe("policy wrong_role");
    const roots = await sign("policy", document, keys.root);
    expect(await refused(served, { ...offer, policy: roots })).toBe("policy unknown_key");
    expect(await refused(served, { ...offer, policy: offer.timestamp })).toBe("policy wrong_role");
    expect(await refused(served, { timestamp: offer.policy })).toBe("timestamp wrong_role");
    const membership = await Promise.all(keys.policy.map((key) => signature(payload, key, "interlock-membership+jws")));
    expect(await refused(served, { ...offer, policy: { payload, signatures: membership } })).toBe("policy wrong_role");
  });

  test("under the threshold, by unknown keys, and that do not verify", async () => {
    const document = policyOf(OTHER, 6, T);
    const offer = await six();
    const one = await sign("policy", document, keys.policy.slice(0, 1));
    expect(await refused(served, { ...offer, policy: one })).toBe("policy under_threshold");
    const stranger = await newSigner("policy-9");
    const unknown = await sign("policy", document, [keys.policy[0]!, stranger]);
    expect(await refused(served, { ...offer, policy: unknown })).toBe("policy unknown_key");
    const forged = await sign("policy", document, [keys.policy[0]!, renamed(stranger, "policy-2")]);
    expect(await refused(served, { ...offer, policy: forged })).toBe("policy bad_signature");
    const moved = { ...offer.policy, payload: payloadOf({ ...document, expires_ms: T + YEAR }) };
    expect(await refused(served, { ...offer, policy: moved })).toBe("policy bad_signature");
  });

  test("one key signs once: twice, and under two names that the root lists", async () => {
    const document = policyOf(OTHER, 6, T);
    const offer = await six();
    const twice = await sign("policy", document, [keys.policy[0]!, keys.policy[0]!]);
    expect(await refused(served, { ...offer, policy: twice })).toBe("policy duplicate_signer");
    const alias = renamed(keys.policy[0]!, "policy-1-again");
    const two = { ...keys, policy: [keys.policy[0]!, alias, keys.policy[1]!] };
    const root = await sign("root", rootOf(two, 2, T + YEAR), keys.root);
    const { trust } = await taken(served, { roots: [root] });
    const both = await sign("policy", document, [keys.policy[0]!, alias]);
    expect(await refused(trust, { ...offer, policy: both })).toBe("policy duplicate_signer");
    expect(await refused(trust, { ...offer, policy: await sign("policy", document, two.policy.slice(1)) })).toBe(
      "taken",
    );
  });

  test("say algorithm, key and role, and nothing else", async () => {
    const payload = payloadOf(policyOf(OTHER, 6, T));
    const offer = await six();
    for (const header of [{ alg: "EdDSA" }, { alg: "none" }, { crit: ["b64"], b64: false }, { jwk: {} }]) {
      const signatures = await Promise.all(
        keys.policy.map((key) => signature(payload, key, "interlock-policy+jws", header)),
      );
      expect(await refused(served, { ...offer, policy: { payload, signatures } })).toBe("policy bad_signature");
    }
  });
});

describe("root rotation", () => {
  test("a region that is pinned to a later root passes over the earlier ones, once", async () => {
    const next = { ...keys, root: (await newRoleKeys("b")).root };
    const two = await sign("root", rootOf(next, 2, T + YEAR), [...keys.root, ...next.root]);
    const three = await sign("root", rootOf(next, 3, T + YEAR), next.root);
    const root = await pinnedRoot(two, ports);
    if (!root.ok) throw new Error(root.error.detail);
    const late = await taken(trustOf(root.value), { ...five, roots: [pinned, two, three] });
    expect(late.trust).toMatchObject({ root: { version: 3 }, policy: { version: 5 } });
    // Nor is a root of another lineage taken under the number of the pinned one.
    const other = await sign("root", rootOf(keys, 2, T + YEAR), keys.root);
    expect(await refused(trustOf(root.value), { ...five, roots: [pinned, other] })).toMatch(/^root /);
    expect(await refused(late.trust, { roots: [pinned] })).toBe("root rollback");
  });

  test("one version at a time, endorsed by the old keys and by the new", async () => {
    const next = { ...keys, root: (await newRoleKeys("b")).root };
    const document = rootOf(next, 2, T + YEAR);
    const both = await sign("root", document, [...keys.root, ...next.root]);
    const { trust } = await taken(served, { roots: [both] });
    expect(trust.root.version).toBe(2);
    // Its other keys are the same, so what they signed stays.
    expect(servedAt(trust, T)).toMatchObject({ ok: true });
    expect(await refused(served, { roots: [await sign("root", document, keys.root)] })).toBe(
      "root root_not_self_signed",
    );
    expect(await refused(served, { roots: [await sign("root", document, next.root)] })).toBe("root root_not_endorsed");
    expect(await refused(served, { roots: [await sign("root", document, keys.root.slice(0, 1))] })).toBe(
      "root under_threshold",
    );
    const three = await sign("root", rootOf(next, 3, T + YEAR), [...keys.root, ...next.root]);
    expect(await refused(served, { roots: [three] })).toBe("root root_skipped");
    expect((await taken(served, { roots: [both, three] })).trust.root.version).toBe(3);
    // The old keys have no say after they are gone.
    const four = await sign("root", rootOf(keys, 4, T + YEAR), keys.root);
    expect(await refused((await taken(served, { roots: [both, three] })).trust, { roots: [four] })).toBe(
      "root root_not_endorsed",
    );
  });

  test("a higher threshold counts at once", async () => {
    const strict = rootOf(keys, 2, T + YEAR, { root: 3, policy: 3, timestamp: 1 });
    expect(await refused(served, { roots: [await sign("root", strict, keys.root.slice(0, 2))] })).toBe(
      "root root_not_self_signed",
    );
    const { trust } = await taken(served, { roots: [await sign("root", strict, keys.root)] });
    // Two keys signed what is in force, and three are asked for now.
    expect(trust.policy).toBeNull();
    expect(servedAt(trust, T)).toMatchObject({ ok: false });
    expect(await refused(trust, await six())).toBe("policy under_threshold");
  });

  test("what the new root's keys did not sign is trusted no more, and the baseline does not return", async () => {
    const other = { ...(await newRoleKeys("c")), root: keys.root };
    const root = await sign("root", rootOf(other, 2, T + YEAR), keys.root);
    const { trust } = await taken(served, { roots: [root] });
    expect(trust).toMatchObject({ timestamp: null, policy: null, previous: null });
    expect(servedAt(trust, T)).toMatchObject({ ok: false });
    expect(await refused(trust, five)).toBe("timestamp unknown_key");
    const again = await offerOf(other, BUNDLE, { version: 1, now_ms: T });
    expect(servedAt((await taken(trust, again)).trust, T)).toMatchObject({
      ok: true,
      policy: { signed: { version: 1 } },
    });
  });

  test("recovers from versions that a thief raised out of reach; one lost key of several is no theft", async () => {
    const raised = (await taken(served, await offerOf(keys, BUNDLE, { version: 2 ** 48, now_ms: T }))).trust;
    expect(await refused(raised, await six())).toBe("timestamp rollback");
    const thieves = { ...keys, timestamp: (await newRoleKeys("d")).timestamp };
    const stamps = await sign("root", rootOf(thieves, 2, T + YEAR), keys.root);
    const half = (await taken(raised, { roots: [stamps] })).trust;
    expect(half.floors.timestamp).toBeNull();
    // The policy's keys stay, and so does the highest version that they signed.
    expect(await refused(half, await offerOf(thieves, OTHER, { version: 6, now_ms: T }))).toBe("policy rollback");
    const lost = { ...keys, policy: [...keys.policy.slice(1), await newSigner("policy-4")] };
    const one = await sign("root", rootOf(lost, 2, T + YEAR), keys.root);
    expect((await taken(raised, { roots: [one] })).trust.floors.policy).not.toBeNull();
    // Nor are two of them, that went one root after the other.
    const lostTwo = { ...lost, policy: [...lost.policy.slice(1), await newSigner("policy-5")] };
    const two = await sign("root", rootOf(lostTwo, 3, T + YEAR), keys.root);
    expect((await taken(raised, { roots: [one, two] })).trust.floors.policy).not.toBeNull();
    const recovered = { ...thieves, policy: (await newRoleKeys("e")).policy };
    const root = await sign("root", rootOf(recovered, 3, T + YEAR), keys.root);
    const clean = (await taken(half, { roots: [root] })).trust;
    const offer = await offerOf(recovered, OTHER, { version: 6, now_ms: T });
    expect((await taken(clean, offer)).trust.policy?.version).toBe(6);
  });

  test("what other keys still vouch for is no way back, however many of its role's keys went", async () => {
    const [a, b] = keys.policy as [Signer, Signer];
    const [t1, t2] = [keys.timestamp[0]!, await newSigner("timestamp-2")];
    const two = { ...keys, policy: [a, b], timestamp: [t1, t2] };
    const one = { root: 2, policy: 1, timestamp: 1 };
    const start = await pinnedRoot(await sign("root", rootOf(two, 1, T + YEAR, one), keys.root), ports);
    if (!start.ok) throw new Error(start.error.detail);
    const signers = { ...keys, policy: [b], timestamp: [t2] };
    const old = await offerOf(signers, BUNDLE, { version: 3, now_ms: T });
    const before = (await taken(trustOf(start.value), old)).trust;
    const now = (await taken(before, await offerOf(signers, BUNDLE, { version: 5, now_ms: T }))).trust;
    // One key of each role was lost, and one is enough to sign: whoever has it may have signed anything.
    const root = await sign("root", rootOf(signers, 2, T + YEAR, one), keys.root);
    const rotated = (await taken(now, { roots: [root] })).trust;
    expect(rotated).toMatchObject({ policy: { version: 5 }, timestamp: { version: 5 } });
    expect(await refused(rotated, { timestamp: old.timestamp })).toBe("timestamp rollback");
    // With the timestamp's key in wrong hands: a new timestamp that names the old policy, which its key did sign.
    const back = await sign("timestamp", timestampOf(policyOf(BUNDLE, 3, T), 6, T), [t2]);
    expect(await refused(rotated, { ...old, timestamp: back })).toBe("policy rollback");
    // What was raised by the lost keys alone falls with them.
    const thief = { ...keys, policy: [a], timestamp: [t1] };
    const raised = (await taken(now, await offerOf(thief, OTHER, { version: 2 ** 48, now_ms: T }))).trust;
    const clean = (await taken(raised, { roots: [root] })).trust;
    expect(clean).toMatchObject({ policy: null, timestamp: null, previous: null });
    // The one before was theirs to sign who stayed.
    expect(await refused(clean, { ...old, timestamp: back })).toBe("policy rollback");
    expect((await taken(clean, await offerOf(signers, OTHER, { version: 6, now_ms: T }))).trust.policy?.version).toBe(
      6,
    );
  });
});

describe("not_before", () => {
  test("the old policy is in force until then, and a second one takes the place of the first", async () => {
    const later = await six({ not_before_ms: T + 60_000 });
    const waiting = (await taken(served, later)).trust;
    expect(servedAt(waiting, T + 59_999)).toMatchObject({ ok: true, policy: { signed: { version: 5 } } });
    expect(servedAt(waiting, T + 60_000)).toMatchObject({ ok: true, policy: { signed: { version: 6 } } });
    const seven = await offerOf(keys, BUNDLE, { version: 7, now_ms: T, changes: { not_before_ms: T + 90_000 } });
    const replaced = (await taken(waiting, seven)).trust;
    expect(servedAt(replaced, T + 60_000)).toMatchObject({ ok: true, policy: { signed: { version: 5 } } });
    expect(servedAt(replaced, T + 90_000)).toMatchObject({ ok: true, policy: { signed: { version: 7 } } });
  });

  test("of the first signed policy: the baseline until then, never afterwards", async () => {
    const first = await offerOf(keys, BUNDLE, { version: 1, now_ms: T, changes: { not_before_ms: T + 60_000 } });
    const waiting = (await taken(fresh, first)).trust;
    expect(servedAt(fresh, T)).toMatchObject({ ok: true, policy: { digest: "baseline", signed: null } });
    expect(servedAt(waiting, T)).toMatchObject({ ok: true, policy: { digest: "baseline" } });
    expect(servedAt(waiting, T + 60_000)).toMatchObject({ ok: true, policy: { signed: { version: 1 } } });
    expect(servedAt(waiting, T + DAY_MS)).toMatchObject({ ok: false });
  });
});

describe("form and bounds", () => {
  test("a pack with a rule that this region does not know, or that is none, is refused and not passed over", async () => {
    const treasury = PACKS.packs.find(({ name }) => name === "treasury") as ValidPack;
    const offering = async (manifest: object): Promise<string> => {
      const pack = { ...treasury, manifest: { ...treasury.manifest, ...manifest } as Manifest };
      const sealed = { ...pack, digest: packDigest(pack) };
      const bytes = bundleBytes({ v: 1, packs: [sealed] }, { "*": ["treasury"] });
      return refused(served, await offerOf(keys, bytes, { version: 6, now_ms: T }));
    };
    expect(await offering({})).toBe("taken");
    expect(await offering({ only_on_weekdays: true })).toBe("bundle bundle_invalid");
    expect(await offering({ max_unanchored_ms: "60000" })).toBe("bundle bundle_invalid");
    expect(await offering({ labels: null })).toBe("bundle bundle_invalid");
  });

  test("what is no envelope, what has unknown members, what is too large", async () => {
    const offer = await six();
    for (const policy of [1, "text", [], { payload: "!", signatures: [{ protected: "", signature: "" }] }])
      expect(await refused(served, { ...offer, policy })).toBe("policy malformed");
    expect(await refused(served, { ...offer, policy: { ...offer.policy, header: {} } })).toBe("policy malformed");
    const unknown = await sign("policy", { ...policyOf(OTHER, 6, T), colour: "blue" }, keys.policy);
    expect(await refused(served, { ...offer, policy: unknown })).toBe("policy malformed");
    const text = jcs(policyOf(OTHER, 6, T)).replace('"v":1', '"v":1,"version":7');
    const payload = base64url(utf8(text));
    const signatures = [await signature(payload, keys.policy[0]!, "interlock-policy+jws")];
    expect(await refused(served, { ...offer, policy: { payload, signatures } })).toBe("policy malformed");
    expect(await refused(served, { timestamp: { ...offer.timestamp, payload: "A".repeat(16_385) } })).toBe(
      "timestamp too_large",
    );
    const many = { ...offer.policy, signatures: Array.from({ length: 33 }, () => offer.policy.signatures[0]!) };
    expect(await refused(served, { ...offer, policy: many })).toBe("policy too_large");
    const big = new Uint8Array(MAX_BUNDLE_BYTES + 1);
    expect(await refused(served, { ...offer, bundle: big })).toBe("bundle too_large");
    expect(await refused(served, { roots: Array.from({ length: MAX_ROOTS + 1 }, () => pinned) })).toBe(
      "root too_large",
    );
  });

  test("a root with a role that nobody can fulfil", async () => {
    const alias = renamed(keys.policy[0]!, "alias");
    const one = rootOf({ ...keys, policy: [keys.policy[0]!, alias] }, 2, T + YEAR);
    expect(await refused(served, { roots: [await sign("root", one, keys.root)] })).toBe("root malformed");
  });

  test("a bundle that is none, is not for the region, or has a broken pack; an engine that is too old", async () => {
    const bytes = async (bundle: Uint8Array, changes: Partial<PolicyDocument> = {}) =>
      refused(served, await offerOf(keys, bundle, { version: 6, now_ms: T, changes }));
    expect(await bytes(utf8("{}"))).toBe("bundle bundle_invalid");
    expect(await bytes(bundleBytes(PACKS, { us: ["sovereign"] }))).toBe("bundle other_region");
    expect(await bytes(bundleBytes(PACKS, { "*": ["sovereign", "not-there"] }))).toBe("bundle bundle_invalid");
    const [first] = PACKS.packs;
    const broken = { v: 1 as const, packs: [{ ...first!, digest: "sha256:other" }] };
    expect(await bytes(bundleBytes(broken, { "*": [first!.name] }))).toBe("bundle bundle_invalid");
    expect(await bytes(OTHER, { engine_min: "0.1.1" })).toBe("policy engine_too_old");
    expect(await bytes(OTHER, { engine_min: "0.0.9" })).toBe("taken");
  });
});

test("the pinned root vouches for itself, or is none", async () => {
  expect(await pinnedRoot({ ...pinned, signatures: pinned.signatures.slice(1) }, ports)).toMatchObject({
    ok: false,
    error: { code: "under_threshold" },
  });
  expect(await pinnedRoot(five.policy, ports)).toMatchObject({ ok: false, error: { code: "wrong_role" } });
});
