import { describe, expect, test } from "vitest";
import { base64url, utf8 } from "../../../../src/base/bytes.ts";
import { MAX_ROOTS, TYPES } from "../../../../src/policy/bundles/documents.ts";
import { inForce, scheduleOf } from "../../../../src/policy/bundles/schedule.ts";
import type { PolicyTrust } from "../../../../src/policy/bundles/state.ts";
import { pinnedRoot } from "../../../../src/policy/bundles/update.ts";
import {
  DAY_MS,
  offerOf,
  payloadOf,
  policyOf,
  renamed,
  rootOf,
  sign,
  signature,
  timestampOf,
} from "../../../support/policy-documents.ts";
import {
  BUNDLE,
  keys,
  offered,
  OTHER,
  pick,
  pinned,
  ports,
  rootBy,
  said,
  served,
  six,
  stamped,
  T,
  YEAR,
} from "./served.ts";

/**
 * The cases of TUF's conformance suite (theupdateframework/tuf-conformance) by their names there, as far as they apply
 * (docs/policy-tuf-cases.md). `snapshot` and `targets` are one here: policy.
 */

const isServed = (trust: PolicyTrust, now: number) => inForce(scheduleOf(trust, 1, "baseline", String), now).ok;

/** A case of the suite, and what becomes of its offer. */
type Case = readonly [name: string, expected: string, run: () => Promise<string>];

const suite: readonly Case[] = [
  // test_basic.py
  [
    "test_invalid_initial_root",
    "malformed",
    async () => {
      const { version: _, ...without } = rootOf(keys, 1, T + YEAR);
      const answer = await pinnedRoot(await sign("root", without, keys.root), ports);
      return answer.ok ? "taken" : answer.error.code;
    },
  ],
  [
    "test_unsigned_initial_root",
    "bad_signature",
    async () => {
      const signatures = pinned.signatures.map((one) => ({ ...one, signature: "A".repeat(86) }));
      const answer = await pinnedRoot({ ...pinned, signatures }, ports);
      return answer.ok ? "taken" : answer.error.code;
    },
  ],
  [
    "test_unsigned_metadata[root]",
    "root root_not_endorsed",
    async () => said(served, { roots: [await rootBy({ ...keys, root: pick([1, 2]) }, 2, pick([1, 2]))] }),
  ],
  [
    "test_unsigned_metadata[timestamp]",
    "timestamp unsigned",
    async () => said(served, { ...(await six()), timestamp: { ...(await six()).timestamp, signatures: [] } }),
  ],
  [
    "test_unsigned_metadata[targets]",
    "policy under_threshold",
    async () => {
      const { policy, ...rest } = await six();
      return said(served, { ...rest, policy: { ...policy, signatures: policy.signatures.slice(1) } });
    },
  ],
  [
    "test_url_and_metadata_version_mismatch[root]",
    "root root_skipped",
    async () => said(served, { roots: [await rootBy(keys, 3, keys.root)] }),
  ],
  [
    "test_url_and_metadata_version_mismatch[targets]",
    "policy mix_and_match",
    async () => {
      const [next, after] = [await six(), await offerOf(keys, OTHER, { version: 7, now_ms: T })];
      return said(served, { ...next, policy: after.policy });
    },
  ],
  // The suite lets a client ignore it; here it is an incident too.
  [
    "test_timestamp_content_changes",
    "timestamp equivocation",
    async () =>
      said(served, { timestamp: await stamped(5, { policy: { version: 100, sha256: `sha256:${"A".repeat(43)}` } }) }),
  ],
  [
    "test_basic_metadata_hash_support",
    "policy mix_and_match",
    async () => {
      const policy = policyOf(OTHER, 6, T);
      const wrong = { policy: { version: 6, sha256: `sha256:${"A".repeat(43)}` } };
      const timestamp = await sign("timestamp", timestampOf(policy, 6, T, wrong), keys.timestamp);
      return said(served, { timestamp, policy: await sign("policy", policy, keys.policy), bundle: OTHER });
    },
  ],
  [
    "test_metadata_bytes_match",
    "taken",
    async () => {
      const payload = base64url(utf8(`${JSON.stringify(timestampOf(served.policy!.document, 6, T), null, 3)} `));
      const signatures = [await signature(payload, keys.timestamp[0]!, TYPES.timestamp)];
      const answer = await offered(served, { timestamp: { payload, signatures } });
      expect(answer.trust.timestamp?.envelope.payload).toBe(payload);
      return answer.said;
    },
  ],
  // The suite wants it taken; here an unknown member is refused whoever signed it: nothing is signed that is not read.
  [
    "test_custom_fields",
    "root malformed",
    async () =>
      said(served, { roots: [await sign("root", { ...rootOf(keys, 2, T + YEAR), custom: "value" }, keys.root)] }),
  ],
  ["test_targets_404", "policy missing", async () => said(served, { ...(await six()), policy: null, bundle: null })],
  [
    "test_incorrect_metadata_type",
    "timestamp wrong_role",
    async () => {
      // Also the timestamp's key may sign policies here, and does, with the timestamp's own header.
      const shared = { ...keys, policy: [...keys.policy, keys.timestamp[0]!] };
      const { trust } = await offered(served, { roots: [await rootBy(shared, 2, keys.root)] });
      const payload = payloadOf(policyOf(OTHER, 6, T));
      const as = (typ: string) => signature(payload, keys.timestamp[0]!, typ);
      expect(await said(trust, { timestamp: { payload, signatures: [await as(TYPES.policy)] } })).toBe(
        "timestamp wrong_role",
      );
      return said(trust, { timestamp: { payload, signatures: [await as(TYPES.timestamp)] } });
    },
  ],
  // test_expiration.py
  [
    "test_root_expired",
    "root expired",
    async () =>
      said(served, { roots: [await rootBy(keys, 2, keys.root), await rootBy(keys, 3, keys.root, T - DAY_MS)] }),
  ],
  [
    "test_timestamp_expired",
    "timestamp expired",
    async () => said(served, { timestamp: await stamped(6, {}, T - 5 * DAY_MS) }),
  ],
  [
    "test_targets_expired",
    "policy expired",
    async () =>
      said(
        served,
        await offerOf(keys, OTHER, { version: 6, now_ms: T, changes: { not_before_ms: T - 9, expires_ms: T - 1 } }),
      ),
  ],
  [
    "test_expired_local_root",
    "taken",
    async () => {
      const { trust } = await offered(served, { roots: [await rootBy(keys, 2, keys.root, T + 7 * DAY_MS)] });
      const late = T + 18 * DAY_MS;
      expect(isServed(trust, late)).toBe(false);
      return said(trust, { roots: [await rootBy(keys, 3, keys.root, T + 21 * DAY_MS)] }, late);
    },
  ],
  [
    "test_expired_local_timestamp",
    "taken",
    async () => {
      const late = T + 18 * DAY_MS;
      expect(isServed(served, late)).toBe(false);
      const answer = await offered(served, await offerOf(keys, OTHER, { version: 6, now_ms: late }), late);
      expect(isServed(answer.trust, late)).toBe(true);
      return answer.said;
    },
  ],
  // test_rollback.py
  [
    "test_new_timestamp_version_rollback",
    "timestamp rollback",
    async () => said(served, { timestamp: await stamped(4) }),
  ],
  [
    "test_simple_snapshot_rollback",
    "policy rollback",
    async () => said(served, { policy: (await offerOf(keys, BUNDLE, { version: 4, now_ms: T })).policy }),
  ],
  [
    "test_snapshot_rollback, test_targets_rollback",
    "policy rollback",
    async () => said(served, await offerOf(keys, BUNDLE, { version: 4, stamp: 6, now_ms: T })),
  ],
  [
    "test_new_snapshot_version_mismatch",
    "policy mix_and_match",
    async () => said(served, { ...(await six()), timestamp: null }),
  ],
  [
    "test_new_timestamp_fast_forward_recovery",
    "taken",
    async () => {
      const far = (await offered(served, { timestamp: await stamped(2 ** 48) })).trust;
      expect(await said(far, { timestamp: await stamped(6) })).toBe("timestamp rollback");
      const rotated = { ...keys, timestamp: pick([0]) };
      const again = await offerOf(rotated, OTHER, { version: 6, stamp: 1, now_ms: T });
      return said(far, { ...again, roots: [await rootBy(rotated, 2, keys.root)] });
    },
  ],
  [
    "test_new_snapshot_fast_forward_recovery, test_new_targets_fast_forward_recovery",
    "taken",
    async () => {
      const far = (await offered(served, await offerOf(keys, OTHER, { version: 2 ** 48, stamp: 6, now_ms: T }))).trust;
      expect(await said(far, await offerOf(keys, OTHER, { version: 7, now_ms: T }))).toBe("policy rollback");
      const rotated = { ...keys, policy: pick([1, 2]), timestamp: pick([0]) };
      const again = await offerOf(rotated, OTHER, { version: 1, now_ms: T });
      return said(far, { ...again, roots: [await rootBy(rotated, 2, keys.root)] });
    },
  ],
  // test_keys.py
  [
    "test_snapshot_does_not_meet_threshold",
    "policy under_threshold",
    async () => {
      const document = rootOf(keys, 2, T + YEAR, { root: 2, policy: 3, timestamp: 1 });
      const { trust } = await offered(served, { roots: [await sign("root", document, keys.root)] });
      return said(trust, await six());
    },
  ],
  [
    "test_snapshot_has_too_few_keys",
    "root malformed",
    async () => {
      const document = rootOf(keys, 2, T + YEAR, { root: 2, policy: 4, timestamp: 1 });
      return said(served, { roots: [await sign("root", document, keys.root)] });
    },
  ],
  [
    "test_duplicate_keys",
    "policy duplicate_signer",
    async () => {
      const again = Array.from({ length: 9 }, (_, n) => renamed(pick([0])[0]!, `again-${n}`));
      const document = rootOf({ ...keys, policy: [...again, ...pick([1, 2])] }, 2, T + YEAR, {
        root: 2,
        policy: 3,
        timestamp: 1,
      });
      const { trust } = await offered(served, { roots: [await sign("root", document, keys.root)] });
      expect(trust.root.version).toBe(2);
      return said(trust, { ...(await six()), policy: await sign("policy", policyOf(OTHER, 6, T), again) });
    },
  ],
  [
    "test_duplicate_sig_keyids",
    "policy duplicate_signer",
    async () => {
      const { policy, ...rest } = await six();
      return said(served, {
        ...rest,
        policy: { ...policy, signatures: [...policy.signatures, policy.signatures[0]!] },
      });
    },
  ],
  [
    "test_keytype_and_scheme[ed25519]",
    "root bad_signature",
    async () => {
      const three = { ...keys, root: [...keys.root, pick([0])[0]!] };
      const of = (version: number) => rootOf(three, version, T + YEAR, { root: 4, policy: 2, timestamp: 1 });
      const { said: first, trust } = await offered(served, { roots: [await sign("root", of(2), three.root)] });
      expect(first).toBe("taken");
      const { payload, signatures } = await sign("root", of(3), three.root);
      const spoilt = signatures.map((one, n) => (n === 3 ? { ...one, signature: signatures[0]!.signature } : one));
      return said(trust, { roots: [{ payload, signatures: spoilt }] });
    },
  ],
  [
    "test_invalid_sig_in_valid_metadata",
    "taken",
    async () => {
      const two = { ...keys, timestamp: [...keys.timestamp, pick([0])[0]!] };
      const { trust } = await offered(served, { roots: [await rootBy(two, 2, keys.root)] });
      const document = timestampOf(served.policy!.document, 6, T);
      const { payload, signatures } = await sign("timestamp", document, two.timestamp);
      const as = (text: string) => ({ payload, signatures: [signatures[0]!, { ...signatures[1]!, signature: text }] });
      expect(await said(trust, { timestamp: as("") })).toBe("taken");
      return said(trust, { timestamp: as(signatures[0]!.signature) });
    },
  ],
  // test_file_download.py
  [
    "test_repository_substitutes_target_file, test_multiple_changes_to_target",
    "bundle mix_and_match",
    async () => said(served, { ...(await six()), bundle: OTHER.map((byte, n) => (n === 100 ? byte ^ 1 : byte)) }),
  ],
  [
    "test_download_with_unknown_hash_algorithm",
    "policy malformed",
    async () => {
      const { bundle } = policyOf(OTHER, 6, T);
      const { sha256: digest, ...rest } = bundle;
      const document = { ...policyOf(OTHER, 6, T), bundle: { ...rest, "unknown-hash": digest } };
      const timestamp = await sign("timestamp", timestampOf(document, 6, T), keys.timestamp);
      return said(served, { timestamp, policy: await sign("policy", document, keys.policy), bundle: OTHER });
    },
  ],
];

/** What python-tuf's own tests add (tests/test_updater_top_level_update.py, tests/test_trusted_metadata_set.py). */
const client: readonly Case[] = [
  [
    "test_max_root_rotations",
    "root too_large",
    async () =>
      said(served, {
        roots: await Promise.all(Array.from({ length: MAX_ROOTS + 1 }, (_, n) => rootBy(keys, n + 2, keys.root))),
      }),
  ],
  [
    "test_intermediate_root_incorrectly_signed",
    "root root_not_endorsed",
    async () => {
      const roots = [await rootBy({ ...keys, root: pick([1, 2]) }, 2, pick([1, 2])), await rootBy(keys, 3, keys.root)];
      return said(served, { roots });
    },
  ],
  [
    "test_intermediate_root_expired",
    "taken",
    async () => said(served, { roots: [await rootBy(keys, 2, keys.root, T - 1), await rootBy(keys, 3, keys.root)] }),
  ],
  [
    "test_new_root_same_version",
    "root equivocation",
    async () => said(served, { roots: [await rootBy(keys, 1, keys.root, T + 2 * YEAR)] }),
  ],
  [
    "test_new_root_nonconsecutive_version",
    "root root_skipped",
    async () => said(served, { roots: [await rootBy(keys, 2, keys.root), await rootBy(keys, 4, keys.root)] }),
  ],
  [
    "test_expired_timestamp_version_rollback, test_expired_timestamp_snapshot_rollback",
    "policy rollback",
    async () => {
      const late = T + 18 * DAY_MS;
      expect(await said(served, { timestamp: await stamped(4, {}, late) }, late)).toBe("timestamp rollback");
      return said(served, await offerOf(keys, BUNDLE, { version: 4, stamp: 6, now_ms: late }), late);
    },
  ],
  [
    "test_update_timestamp_snapshot_ver_below_current",
    "policy rollback",
    async () => {
      const { document } = served.policy!;
      const naming = (policy: object) => stamped(6, { policy });
      const other = `sha256:${"A".repeat(43)}`;
      expect(await said(served, { timestamp: await naming({ version: 5, sha256: other }) })).toBe(
        "policy equivocation",
      );
      return said(served, { timestamp: await naming({ version: document.version - 1, sha256: other }) });
    },
  ],
  [
    "test_update_snapshot_version_diverge_timestamp_snapshot_version",
    "policy mix_and_match",
    async () => {
      const document = policyOf(OTHER, 6, T);
      const { policy } = timestampOf(document, 6, T);
      const timestamp = await sign(
        "timestamp",
        timestampOf(document, 6, T, { policy: { ...policy, version: 7 } }),
        keys.timestamp,
      );
      return said(served, { ...(await six()), timestamp });
    },
  ],
  [
    "test_new_timestamp_unsigned",
    "timestamp unknown_key",
    async () =>
      said(served, { timestamp: await sign("timestamp", timestampOf(served.policy!.document, 6, T), pick([0])) }),
  ],
];

describe("cases of the suite", () => {
  test.each(suite)("%s: %s", async (_, expected, run) => expect(await run()).toBe(expected));
});

describe("cases of python-tuf's client", () => {
  test.each(client)("%s: %s", async (_, expected, run) => expect(await run()).toBe(expected));
});
