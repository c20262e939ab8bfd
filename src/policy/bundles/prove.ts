import { err, ok, type Result } from "../../base/result.ts";
import type { RootDocument } from "./documents.ts";
import { openEnvelope, unsignedBy } from "./envelope.ts";
import { refusal, type Refusal, type Role } from "./refusals.ts";
import type { Held, PolicyTrust } from "./state.ts";
import { adoptRoot, type UpdatePorts } from "./update.ts";

type Ports = Pick<UpdatePorts, "verify" | "sha256">;

/**
 * What was stored, verified again from the pinned root on: the deployment brings that one, so whoever can write the
 * storage and has no key cannot make a region decide by another policy. Of the stored documents only their envelopes
 * count. Versions and times are not looked at: they were when it was taken, and expiry is at every decision.
 */
export async function prove(
  stored: PolicyTrust,
  pinned: Held<RootDocument>,
  ports: Ports,
): Promise<Result<PolicyTrust, Refusal>> {
  // The deployment's word: what its keys did not sign is trusted no more.
  const isAdopted = pinned.version > stored.root.version;
  const root = isAdopted ? ok(pinned) : await follow(stored, pinned, ports);
  if (!root.ok) return root;
  const trust = isAdopted ? await adoptRoot(stored, pinned, ports.verify) : { ...stored, root: root.value };
  const under = root.value.document;
  const timestamp = await again("timestamp", trust.timestamp, under, ports);
  if (!timestamp.ok) return timestamp;
  const policy = await again("policy", trust.policy, under, ports);
  if (!policy.ok) return policy;
  const previous =
    trust.previous === "baseline" ? ok(trust.previous) : await again("policy", trust.previous, under, ports);
  if (!previous.ok) return previous;
  const named = timestamp.value?.document.policy;
  const is = policy.value;
  if (named !== undefined && is !== null && (named.version !== is.version || named.sha256 !== is.sha256))
    return err(refusal("mix_and_match", "policy", `the timestamp names version ${named.version} (${named.sha256})`));
  return ok({ ...trust, timestamp: timestamp.value, policy: is, previous: previous.value });
}

/** From the pinned root to the stored one, each endorsed by the one before. */
async function follow(
  { root: last, chain = [] }: PolicyTrust,
  pinned: Held<RootDocument>,
  { verify, sha256 }: Ports,
): Promise<Result<Held<RootDocument>, Refusal>> {
  let root = pinned;
  for (const envelope of [...chain, last.envelope]) {
    const opened = openEnvelope("root", envelope, sha256);
    if (!opened.ok) return opened;
    const next = opened.value;
    if (next.version < root.version || next.sha256 === root.sha256) continue;
    if (next.version !== root.version + 1)
      return err(refusal("root_skipped", "root", `version ${next.version} after version ${root.version}`));
    const why = (await unsignedBy(root.document, next, verify)) ?? (await unsignedBy(next.document, next, verify));
    if (why !== null) return err(refusal("root_not_endorsed", "root", why.detail));
    const { version, document } = next;
    root = { version, sha256: next.sha256, document, envelope };
  }
  if (root.version === last.version && root.sha256 === last.sha256) return ok(root);
  return err(
    refusal("mix_and_match", "root", `the pinned one leads to version ${root.version}, not to the stored one`),
  );
}

async function again<D>(
  role: Exclude<Role, "root">,
  held: Held<D> | null,
  root: RootDocument,
  { verify, sha256 }: Ports,
): Promise<Result<Held<D> | null, Refusal>> {
  if (held === null) return ok(null);
  const opened = openEnvelope(role, held.envelope, sha256);
  if (!opened.ok) return opened;
  const { version, document, sha256: digest, envelope } = opened.value;
  if (version !== held.version || digest !== held.sha256)
    return err(refusal("mix_and_match", role, "the stored document is not the one that was signed"));
  const unsigned = await unsignedBy(root, opened.value, verify);
  return unsigned === null ? ok({ version, sha256: digest, document: document as D, envelope }) : err(unsigned);
}
