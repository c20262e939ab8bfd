import { epochOf, mintNonce, NONCE_LIFE_MS } from "../credentials/attestation/nonce.ts";
import { NONCE_EPOCH_MS, type IdentitySources } from "../credentials/sources/compile.ts";
import type { Handler } from "./access.ts";
import type { Room } from "./deps.ts";
import { json, refuse, unavailable } from "./reply.ts";
import { requireCaller } from "./self-guard.ts";

/** Nonces of this region, for whoever asks a verifier for an attestation result (docs/identity.md). */
const handler =
  (answer: (sources: IdentitySources, room: Room, now_ms: number) => object): Handler =>
  async (room, arrival, request) => {
    const who = await requireCaller(room, request, arrival.started_ms);
    if (!who.ok) return refuse(who.error, "text");
    const keys = await room.peps.loaded(arrival.started_ms);
    if (keys === null) return refuse(unavailable("the region's key material cannot be read; retry"), "text");
    return json(answer(keys.identity(room.region.name), room, room.now()), 200, { "Cache-Control": "no-store" });
  };

export const nonceHandlers = {
  challenge: handler(({ nonces }, room, now_ms) => ({
    nonce: mintNonce(nonces, now_ms, room.random),
    expires_at_ms: now_ms + NONCE_LIFE_MS,
  })),
  epochNonce: handler((sources, _room, now_ms) => {
    const [nonce, previous] = sources.epochNonces(now_ms);
    const changes_at_ms = (epochOf(now_ms, NONCE_EPOCH_MS) + 1) * NONCE_EPOCH_MS;
    return { nonce, previous: previous ?? null, epoch_ms: NONCE_EPOCH_MS, changes_at_ms };
  }),
} as const satisfies Readonly<Record<string, Handler>>;
