import type { PolicyOutcome, PolicyView } from "../../src/objects/policy.ts";
import type { Enrolment, PepView } from "../../src/objects/authority.ts";
import type { EpochStatus } from "../../src/objects/epochs.ts";
import type { RevocationView } from "../../src/objects/revocations.ts";
import type { DriftView } from "../../src/objects/drift.ts";
import type { ErasureView } from "../../src/objects/erasure.ts";
import type { PepScope } from "../../src/vocabulary/types.ts";
import type { FreezeView } from "../../src/objects/freeze.ts";
import type { KeysView } from "../../src/objects/keys.ts";
import type { ReplayView } from "../../src/objects/replay.ts";
import type { RequestView } from "../../src/objects/requests.ts";
import type { SourceView } from "../../src/objects/identity.ts";
import type { EquivocationProof, PeersView } from "../../src/objects/peers.ts";
import { messageOf, Problem, Unreachable } from "../problem.ts";

/** What `GET /admin/v1/status` and the other calls below give back is what the authority gives: `src/objects`. */
export type Registered = PepView & { readonly credential: string };

export type RevokeRequest = {
  readonly key: string;
  readonly from: string;
  readonly reason: string;
  readonly wait: string;
  readonly level?: string;
  readonly until?: string;
  readonly force?: true;
  readonly idempotency_key?: string;
};

/** `bundle`: base64url. */
export type PolicyOffer = {
  readonly roots?: readonly unknown[];
  readonly timestamp?: unknown;
  readonly policy?: unknown;
  readonly bundle?: string;
  /** Digest of the region's report. */
  readonly acknowledge?: string;
  readonly dry_run?: true;
};

/** `gate`: of this offer. */
export type PolicyAnswer = PolicyView & {
  readonly outcome: PolicyOutcome;
  readonly refusal: { readonly code: string; readonly role: string; readonly detail: string } | null;
};

export type StoppedRun = RevocationView & {
  readonly run: { readonly id: string; readonly home: string; readonly status: string };
};

/**
 * The admin routes of one region over HTTP (docs/routes.md). Every refusal becomes a `Problem` that says which
 * region, what it answered, and what to do.
 */
export class AdminClient {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
  }

  status = (): Promise<Record<string, unknown>> => this.#call("GET", "status");
  enrolment = (): Promise<Enrolment> => this.#call("GET", "enrolment");
  putMembership = (jws: unknown): Promise<Enrolment> => this.#call("PUT", "membership", jws);
  policy = (): Promise<PolicyView> => this.#call("GET", "policy");
  putPolicy = (offer: PolicyOffer): Promise<PolicyAnswer> => this.#call("PUT", "policy", offer);
  startReplay = (body: { since?: string; reason: string }): Promise<ReplayView> => this.#call("POST", "replay", body);
  replay = (): Promise<ReplayView> => this.#call("GET", "replay");
  registerPep = (pep: {
    id: string;
    scopes: readonly PepScope[];
    audiences?: readonly string[];
    ttl_s: number;
  }): Promise<Registered> => this.#call("POST", "peps", pep);
  listPeps = (): Promise<unknown> => this.#call("GET", "peps");
  revoke = (body: RevokeRequest): Promise<RevocationView> => this.#call("POST", "revocations", body);
  revocation = (id: string, wait = "accepted"): Promise<RevocationView> =>
    this.#call("GET", `revocations/${encodeURIComponent(id)}?wait=${wait}`);
  stopRun = (run: string, body: Pick<RevokeRequest, "reason" | "wait">): Promise<StoppedRun> =>
    this.#call("POST", `runs/${encodeURIComponent(run)}/stop`, body);
  drift = (): Promise<DriftView> => this.#call("GET", "drift");
  acknowledgeDrift = (id: string, reason: string): Promise<DriftView> =>
    this.#call("POST", `drift/${encodeURIComponent(id)}/acknowledge`, { reason });
  peers = (): Promise<PeersView> => this.#call("GET", "peers");
  peerProof = (region: string): Promise<EquivocationProof> =>
    this.#call("GET", `peers/${encodeURIComponent(region)}/proof`);
  keys = (): Promise<KeysView> => this.#call("GET", "keys");
  nextKey = (body: { reason: string; idempotency_key?: string }): Promise<KeysView> =>
    this.#call("POST", "keys/next", body);
  switchKey = (body: { reason: string; force?: true }): Promise<KeysView> => this.#call("POST", "keys/switch", body);
  rotateShardKeys = (body: { reason: string; shard?: number }): Promise<KeysView> =>
    this.#call("POST", "keys/shards", body);
  resetClock = (reason: string): Promise<PeersView> => this.#call("POST", "clock/reset", { reason });
  revocations = (query: string): Promise<unknown> => this.#call("GET", `revocations${query}`);
  reads = (query: string): Promise<unknown> => this.#call("GET", `reads${query}`);
  restore = (id: string, reason: string, wait = "local"): Promise<RevocationView> =>
    this.#call("POST", `revocations/${encodeURIComponent(id)}/restore`, { reason, wait });
  requests = (query: string): Promise<{ requests: readonly RequestView[]; next: number | null }> =>
    this.#call("GET", `requests${query}`);
  acceptRequest = (id: string, body: { key: string; reason: string; wait: string }): Promise<unknown> =>
    this.#call("POST", `requests/${encodeURIComponent(id)}/accept`, body);
  refuseRequest = (id: string, reason: string): Promise<unknown> =>
    this.#call("POST", `requests/${encodeURIComponent(id)}/refuse`, { reason });
  erase = (body: object): Promise<ErasureView> => this.#call("POST", "erasures", body);
  erasure = (id: string): Promise<ErasureView> => this.#call("GET", `erasures/${encodeURIComponent(id)}`);
  erasures = (query: string): Promise<{ erasures: readonly ErasureView[]; next: number | null }> =>
    this.#call("GET", `erasures${query}`);
  enterErasures = (erasures: readonly ErasureView[]): Promise<{ erasures: readonly ErasureView[] }> =>
    this.#call("PUT", "erasures", { erasures });
  registerStream = (stream: unknown): Promise<unknown> => this.#call("POST", "ssf/streams", stream);
  streams = (): Promise<unknown> => this.#call("GET", "ssf/streams");
  stream = (id: string): Promise<unknown> => this.#call("GET", `ssf/streams/${encodeURIComponent(id)}`);
  putSource = (kind: string, id: string, body: unknown): Promise<SourceView> =>
    this.#call("PUT", `identity/sources/${kind}/${encodeURIComponent(id)}`, body);
  sources = (): Promise<{ sources: readonly SourceView[] }> => this.#call("GET", "identity/sources");
  removeSource = (kind: string, id: string): Promise<SourceView> =>
    this.#call("DELETE", `identity/sources/${encodeURIComponent(kind)}/${encodeURIComponent(id)}`);
  removeStream = (id: string): Promise<unknown> => this.#call("DELETE", `ssf/streams/${encodeURIComponent(id)}`);
  freeze = (reason: string, wait = "local"): Promise<FreezeView> => this.#call("POST", "freeze", { reason, wait });
  epoch = (): Promise<EpochStatus> => this.#call("GET", "epoch");
  sealEpoch = (reason: string, without?: readonly number[]): Promise<EpochStatus> =>
    this.#call("POST", "epoch/seal", { reason, without });
  nextEpoch = (reason: string): Promise<EpochStatus> => this.#call("POST", "epoch/next", { reason });
  dropEpoch = (log_epoch: number, body: { size: number; root: string; reason: string }): Promise<EpochStatus> =>
    this.#call("POST", `epochs/${log_epoch}/drop`, body);
  /** `mode` is still `frozen` where another administrator has to confirm it. */
  unfreeze = (reason: string, wait = "local"): Promise<FreezeView> => this.#call("POST", "unfreeze", { reason, wait });

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const url = `${this.#url}/admin/v1/${path}`;
    let answer: Response;
    let text: string;
    try {
      answer = await fetch(url, {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(15_000),
        redirect: "error",
      });
      text = await answer.text();
    } catch (cause) {
      const inner = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
      throw new Unreachable(
        `${this.#url} cannot be reached (${inner})`,
        "Is the region running? Name it with --region or --region-url.",
      );
    }
    if (!answer.ok) throw refusal(method, url, answer.status, text);
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new Problem(`${method} ${url} answered something that is not JSON`, "Is this address an Interlock region?");
    }
  }
}

const TODO: Readonly<Record<number, string>> = {
  400: "Correct what the message names.",
  401: "Give a valid admin credential of this region: --token, INTERLOCK_ADMIN_TOKEN, or --region with its data directory.",
  403: "Use a credential with the scope that this needs (docs/routes.md).",
  404: "Look at what there is: `interlock revocations`, `interlock pep list`.",
  422: "Nothing has changed. What each code means: docs/policy.md, What is refused.",
  409: "It is not as expected any more: look at `interlock status`, then try again.",
};

/** Where what there is of it is listed; else as above. */
function todoOf(status: number, url: string): string {
  if (status === 404 && url.includes("/admin/v1/drift/")) return "`interlock drift` lists what stands; it may be over.";
  return TODO[status] ?? "Look at the region's log and /health.";
}

function refusal(method: string, url: string, status: number, text: string): Problem {
  let detail = text.slice(0, 300);
  try {
    const problem = JSON.parse(text) as { code?: string; title?: string; detail?: string };
    detail = [problem.code, problem.detail ?? problem.title].filter((part) => part !== undefined).join(": ");
  } catch {
    // Text as it came.
  }
  const Kind = status >= 500 ? Unreachable : Problem;
  return new Kind(`${method} ${url} answered ${status}: ${detail}`, todoOf(status, url));
}
