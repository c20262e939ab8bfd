import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { base64url } from "../../src/base/bytes.ts";
import { err, ok, type Result } from "../../src/base/result.ts";
import { sha256 } from "../../src/base/digest.ts";
import { ENGINE } from "../../src/decision/engine.ts";
import type { PolicyView } from "../../src/objects/policy.ts";
import type { Envelope } from "../../src/policy/bundles/envelope.ts";
import { refusal, type Refusal, type Role } from "../../src/policy/bundles/refusals.ts";
import type { PolicyTrust } from "../../src/policy/bundles/state.ts";
import { pinnedRoot, takeOffer, trustOf, type Offer } from "../../src/policy/bundles/update.ts";
import { ed25519 } from "../evidence/ed25519.ts";
import { Problem } from "../problem.ts";
import { documentIn } from "./sign.ts";
import type { PolicyOffer } from "../region/admin-client.ts";

/**
 * A release directory: `roots/1.json …`, `policy.json`, `timestamp.json` and `bundle.json`. Nothing in it is secret, and
 * whoever carries it from one desk to the next need not be trusted.
 */
export class Release {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  path(role: Role, version = 0): string {
    return role === "root" ? join(this.#dir, "roots", `${version}.json`) : join(this.#dir, `${role}.json`);
  }

  roots(): readonly Envelope[] {
    return this.#rootPaths().map((path) => this.#read(path)!);
  }

  #rootPaths(): readonly string[] {
    const dir = join(this.#dir, "roots");
    if (!existsSync(dir)) return [];
    return readdirSync(dir)
      .flatMap((leaf) => /^([1-9][0-9]*)\.json$/.exec(leaf)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
      .map((version) => this.path("root", version));
  }

  document(role: "policy" | "timestamp"): Envelope | null {
    return this.#read(this.path(role));
  }

  bundle(): Uint8Array | null {
    const path = join(this.#dir, "bundle.json");
    return existsSync(path) ? new Uint8Array(readFileSync(path)) : null;
  }

  write(role: Role, envelope: Envelope, version = 0): string {
    const path = this.path(role, version);
    mkdirSync(join(this.#dir, "roots"), { recursive: true });
    return written(path, JSON.stringify(envelope, null, 2) + "\n");
  }

  writeBundle(bytes: Uint8Array): string {
    mkdirSync(this.#dir, { recursive: true });
    return written(join(this.#dir, "bundle.json"), bytes);
  }

  #read(path: string): Envelope | null {
    if (!existsSync(path)) return null;
    try {
      return JSON.parse(readFileSync(path, "utf8")) as Envelope;
    } catch {
      throw new Problem(`${path} is not JSON`, "Make it anew, or fetch it again.", 2);
    }
  }

  /** What the region lacks, as far as its own word goes: roots above its own, and the bundle unless it has it. */
  offerFor({ trust }: Pick<PolicyView, "trust">): Offer {
    const roots = this.#rootPaths().map((path) => {
      const envelope = this.#read(path)!;
      return { envelope, version: documentIn("root", envelope, path).version };
    });
    // A region that never took anything trusts the root that it is pinned to: the first.
    const above = trust?.root.version ?? roots[0]?.version ?? 0;
    return {
      roots: roots.flatMap(({ envelope, version }) => (version > above ? [envelope] : [])),
      timestamp: this.document("timestamp"),
      policy: this.document("policy"),
      bundle: this.bundle(),
    };
  }
}

/** Whoever is stopped on the way leaves what was there: a timestamp that is lost takes its version along. */
function written(path: string, content: string | Uint8Array): string {
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, content);
  renameSync(aside, path);
  return path;
}

/** The offer as the admin route takes it. */
export const offerBody = ({ roots, timestamp, policy, bundle }: Offer): PolicyOffer => ({
  ...(roots.length === 0 ? {} : { roots }),
  ...(timestamp === null ? {} : { timestamp }),
  ...(policy === null ? {} : { policy }),
  ...(bundle === null ? {} : { bundle: base64url(bundle) }),
});

/**
 * What the region will say to the release, by the same code and by what it trusts now: what it would trust then.
 * `first`: the root that a region which never took one is pinned to.
 */
export async function rollbackCheck(
  release: Release,
  view: PolicyView,
  now_ms: number,
): Promise<Result<PolicyTrust, Refusal>> {
  let { trust } = view;
  if (trust === null) {
    const [first] = release.roots();
    if (first === undefined) return err(refusal("missing", "root", "the release has no root"));
    const pinned = await pinnedRoot(first, { verify: ed25519, sha256 });
    if (!pinned.ok) return pinned;
    trust = trustOf(pinned.value);
  }
  const taken = await takeOffer(trust, release.offerFor(view), now_ms, {
    verify: ed25519,
    sha256,
    // Its own bundle, and those before, it knows by digest; here the release's is looked at as if it were new.
    has: (bundle) => release.bundle() === null && bundle === view.bundle,
    region: view.region,
    engine: ENGINE.slice(ENGINE.indexOf("/") + 1),
  });
  return taken.ok ? ok(taken.value.trust) : taken;
}
