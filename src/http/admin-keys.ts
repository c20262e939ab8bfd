import { ok } from "../base/result.ts";
import type { Handler } from "./access.ts";
import { body, done, door } from "./admin.ts";
import { nextKeyBody, rotateShardKeysBody, switchKeyBody } from "./schemas/keys.ts";

/** The region's own keys (docs/operations/rotate-keys.md). */
export const keyHandlers = {
  ownKeys: door("ownKeys", async ({ ask }) => {
    const asked = await ask((stub) => stub.ownKeys());
    return asked.ok ? ok({ status: 200, body: asked.value }) : asked;
  }),
  nextKey: door("nextKey", async (call) => {
    const input = await body(call, nextKeyBody);
    if (!input.ok) return input;
    const { reason, idempotency_key } = input.value;
    const message = { reason, actor: call.admin.id, ...(idempotency_key === undefined ? {} : { idempotency_key }) };
    return done(await call.ask((stub) => stub.nextKey(message)), 201);
  }),
  switchKey: door("switchKey", async (call) => {
    const input = await body(call, switchKeyBody);
    if (!input.ok) return input;
    const { reason, force } = input.value;
    const message = { reason, actor: call.admin.id, ...(force === undefined ? {} : { force }) };
    return done(await call.ask((stub) => stub.switchKey(message)));
  }),
  rotateShardKeys: door("rotateShardKeys", async (call) => {
    const input = await body(call, rotateShardKeysBody);
    if (!input.ok) return input;
    const { reason, shard = null } = input.value;
    return done(await call.ask((stub) => stub.rotateShardKeys({ reason, shard, actor: call.admin.id })));
  }),
} as const satisfies Readonly<Record<string, Handler>>;
