import { createSender, type Answer, type Limits } from "./send.ts";

/**
 * For the one who enforces steps: redeems permits, renews holds, tells outcomes, listens to halts, and verifies permits
 * that may be accepted without redeeming. Fails closed like the rest: what is not a clear allow is `decision: false`.
 *
 * @example
 * const enforcer = createEnforcer({ url, credential, audiences: ["door"] });
 * const { decision, hold, valid_until_ms } = await enforcer.redeem(permit);
 * const stop = enforcer.onHalt({ hold }, ({ event }) => event === "halt" && abort());
 * // Renew well before `valid_until_ms`: a hold that is not renewed in time is over.
 * await enforcer.renew(hold);
 * await enforcer.outcome(hold, "completed");
 */
export type EnforcerOptions = Limits & {
  url: string;
  credential: string;
  /** Whose permits are accepted without redeeming: the PEP's id and its audiences. */
  audiences?: readonly string[];
  /** Identifier of the PDP, where that is not the origin of `url`. */
  pdp?: string;
  /** The freshness bound of the federation. */
  delta_ms?: number;
  /** The obligations that are honoured, by type. */
  obligations?: readonly string[];
};
/** An allow of a redeemed permit has a hold. */
export type Held = Answer & { hold?: string };
export type Outcome = "completed" | "failed";
export type HoldEvent = {
  event: "listening" | "halt" | "renewed" | "ended";
  at: number;
  hold?: string;
  run?: string;
  step?: string;
  reason?: string;
  detail?: string | null;
  valid_until_ms?: number;
  outcome?: Outcome;
};
export type Permit = {
  jti: string;
  aud: string;
  sub: { type: string; id: string };
  action: string;
  resource: { type: string; id: string };
  run: string;
  step: string;
  exp_ms: number;
};
export type Verified = { valid: true; permit: Permit } | { valid: false; reason: "permit_invalid" | "permit_expired" };

type Jwk = { kid: string; x?: string; kty: string; crv?: string };
const KEYS_MS = 300_000;
const UNKNOWN_KID_MS = 1_000;
const SKEW_MS = 5_000;
const INVALID: Verified = { valid: false, reason: "permit_invalid" };

export function createEnforcer(options: EnforcerOptions) {
  const { url, credential, audiences = [], delta_ms = 2_000, obligations = [], fetch: send = fetch } = options;
  const base = url.replace(/\/$/, "");
  const pdp = options.pdp ?? new URL(base).origin;
  const sender = createSender({ ...options, obligations });
  const keys = keySet(`${base}/.well-known/jwks.json`, send);

  const held = async (path: string, body: object): Promise<Held> => {
    const { answer, headers } = await sender(path, JSON.stringify(body));
    const hold = headers?.get("interlock-hold") ?? "";
    if (!answer.decision) return answer;
    return hold === "" ? { ...answer, decision: false, reason: "no_hold", valid_until_ms: 0 } : { ...answer, hold };
  };

  return {
    /** A retry finds the hold that was given; another one who tries hears `permit_reused`. */
    redeem: (permit: string): Promise<Held> =>
      held("/access/v1/permits/redeem", { permit, idempotency_key: crypto.randomUUID() }),

    renew: (hold: string): Promise<Held> => held(`/access/v1/holds/${encodeURIComponent(hold)}/renew`, {}),

    /** Whether the region has it. */
    outcome: async (hold: string, outcome: Outcome): Promise<boolean> => {
      const { status } = await sender(
        `/access/v1/holds/${encodeURIComponent(hold)}/outcome`,
        JSON.stringify({ outcome }),
      );
      return status === 200;
    },

    /** For a resource that cannot reach the region: only permits that were issued for use without redeeming. */
    async verifyPermit(permit: string, now_ms = Date.now()): Promise<Verified> {
      const [protectedPart, payloadPart, signaturePart, more] = permit.split(".");
      const [header, payload] = [jsonOf(protectedPart), jsonOf(payloadPart)];
      const signature = bytesOf(signaturePart);
      if (header === null || payload === null || signature === null || more !== undefined) return INVALID;
      const { alg, typ, kid } = header;
      if (alg !== "Ed25519" || typ !== "interlock-permit+jwt" || typeof kid !== "string") return INVALID;
      if (Object.keys(header).length !== 3 || !/\.shard-[0-9]+\.[0-9]+$/.test(kid)) return INVALID;
      const key = await keys(kid, now_ms);
      const signed = new TextEncoder().encode(`${protectedPart}.${payloadPart}`);
      if (key === null || !(await crypto.subtle.verify("Ed25519", key, signature, signed))) return INVALID;
      const claims = payload as Permit & { v: unknown; iss: unknown; offline?: unknown; iat_ms: number };
      const life_ms = claims.exp_ms - claims.iat_ms;
      const good = claims.v === 1 && claims.iss === pdp && claims.offline === true && audiences.includes(claims.aud);
      // Not a number is not in order either.
      if (!good || !(life_ms > 0 && life_ms <= delta_ms) || !(claims.iat_ms <= now_ms + SKEW_MS)) return INVALID;
      return now_ms < claims.exp_ms ? { valid: true, permit: claims } : { valid: false, reason: "permit_expired" };
    },

    /** Listens until it is stopped, over lost connections too; of what ended meanwhile it hears when it is back. */
    onHalt(of: { hold: string } | { run: string }, listener: (event: HoldEvent) => void): () => void {
      const stopped = new AbortController();
      void listen(`${base}/access/v1/halts?${new URLSearchParams(of).toString()}`, {
        credential,
        send,
        listener,
        stopped,
      });
      return () => stopped.abort();
    },
  };
}

type Listening = {
  credential: string;
  send: typeof fetch;
  listener: (event: HoldEvent) => void;
  stopped: AbortController;
};

async function listen(url: string, { credential, send, listener, stopped }: Listening): Promise<void> {
  const { signal } = stopped;
  let last = "";
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const headers = { Authorization: `Bearer ${credential}`, ...(last === "" ? {} : { "Last-Event-ID": last }) };
      const response = await send(url, { headers, redirect: "error", signal });
      const reader = response.status === 200 ? response.body?.pipeThrough(new TextDecoderStream()).getReader() : null;
      let text = "";
      for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
        failures = 0;
        text += part.value;
        const blocks = text.split("\n\n");
        text = blocks.pop() ?? "";
        for (const block of blocks) last = tell(block, listener) ?? last;
      }
    } catch {
      // Cut off, or stopped.
    }
    if (!signal.aborted) await new Promise((go) => setTimeout(go, Math.min(50 * 2 ** failures, 5_000)));
  }
}

/** The number of the event, where it has one. */
function tell(block: string, listener: (event: HoldEvent) => void): string | null {
  const fields = new Map(block.split("\n").map((line) => line.split(/: (.*)/s, 2) as [string, string]));
  const [event, data] = [fields.get("event"), fields.get("data")];
  if (event !== undefined && data !== undefined)
    listener({ ...(JSON.parse(data) as HoldEvent), event: event as HoldEvent["event"] });
  return fields.get("id") ?? null;
}

/** Keys of the region's shards: kept for five minutes, and looked up again where a permit names one that is not known. */
function keySet(url: string, send: typeof fetch) {
  let kept = new Map<string, Jwk>();
  let at_ms = -Infinity;
  const imported = new Map<string, CryptoKey>();
  return async (kid: string, now_ms: number): Promise<CryptoKey | null> => {
    const age = now_ms - at_ms;
    if (age < 0 || age > KEYS_MS || (!kept.has(kid) && age > UNKNOWN_KID_MS)) {
      try {
        const response = await send(url, { redirect: "error", signal: AbortSignal.timeout(6_000) });
        const { keys } = await response.json<{ keys: Jwk[] }>();
        kept = new Map(keys.map((jwk) => [jwk.kid, jwk]));
        at_ms = now_ms;
      } catch {
        // A resource that is cut off goes on with the keys that it has.
      }
    }
    const jwk = kept.get(kid);
    if (jwk?.kty !== "OKP" || jwk.crv !== "Ed25519" || jwk.x === undefined) return null;
    const name = `${kid} ${jwk.x}`;
    const { kty, crv, x } = jwk;
    const key =
      imported.get(name) ?? (await crypto.subtle.importKey("jwk", { kty, crv, x }, "Ed25519", false, ["verify"]));
    imported.set(name, key);
    return key;
  };
}

function bytesOf(part: string | undefined): Uint8Array<ArrayBuffer> | null {
  if (part === undefined || !/^[A-Za-z0-9_-]+$/.test(part)) return null;
  try {
    const text = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(text, (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}

function jsonOf(part: string | undefined): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytesOf(part) ?? new Uint8Array()),
    );
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
