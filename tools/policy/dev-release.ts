import type { PolicyView } from "../../src/objects/policy.ts";
import type { AdminClient } from "../region/admin-client.ts";
import type { DevPolicy } from "../region/policy-roots.ts";
import { buildArtefact } from "./artefact.ts";
import { offerBody } from "./release.ts";
import { documentIn, policyDocument, signDocument, timestampDocument } from "./sign.ts";

const DAY_MS = 86_400_000;

export type DevReleaseOptions = {
  /** Folder of packs; that of the checkout where none is given. */
  readonly directory?: string;
  /** Bytes instead of a folder. */
  readonly bundle?: Uint8Array;
  readonly not_before_ms?: number;
  readonly timestamp_ms?: number;
  /** Where the bundle is what was signed last, only the timestamp is made anew. */
  readonly renew?: true;
};

/** Signs the next version with the throw-away keys of a local fleet. */
export async function devSign(dev: DevPolicy, options: DevReleaseOptions, now_ms: number): Promise<number> {
  const { release, keys } = dev;
  const bundle = options.bundle ?? (await buildArtefact(options.directory));
  const before = release.document("policy");
  const stamped = release.document("timestamp");
  const last = before === null ? null : documentIn("policy", before, "policy.json");
  const signed = release.bundle();
  const renewed = options.renew === true && signed !== null && Buffer.from(signed).equals(bundle) ? last : null;
  const version = renewed?.version ?? (last?.version ?? 0) + 1;
  const stamp = stamped === null ? 1 : documentIn("timestamp", stamped, "timestamp.json").version + 1;
  const document = policyDocument(bundle, {
    version,
    expires_ms: now_ms + 90 * DAY_MS,
    not_before_ms: options.not_before_ms ?? now_ms,
  });
  const policy = renewed === null ? await signDocument("policy", document, keys.policy) : before!;
  const named = documentIn("policy", policy, "policy.json");
  const lifetime = options.timestamp_ms ?? DAY_MS;
  const timestamp = await signDocument("timestamp", timestampDocument(named, stamp, now_ms, lifetime), keys.timestamp);
  release.writeBundle(bundle);
  release.write("policy", policy);
  release.write("timestamp", timestamp);
  return version;
}

/** Brings what was signed to every region; each says how it stands. */
export const devPublish = (dev: DevPolicy, regions: readonly AdminClient[]): Promise<readonly PolicyView[]> =>
  Promise.all(regions.map(async (client) => client.putPolicy(offerBody(dev.release.offerFor(await client.policy())))));
