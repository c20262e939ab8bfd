import { ok } from "../base/result.ts";
import type { Handler } from "./access.ts";
import { body, done, door } from "./admin.ts";
import { reasonBody } from "./schemas/admin.ts";

/** The other regions as an administrator sees them, and this region's own clock. */
export const peerHandlers = {
  peers: door("peers", async ({ ask }) => {
    const asked = await ask((stub) => stub.peers());
    return asked.ok ? ok({ status: 200, body: asked.value }) : asked;
  }),
  peerProof: door("peerProof", async ({ ask, params }) =>
    done(await ask((stub) => stub.peerProof(params["region"] ?? ""))),
  ),
  drift: door("drift", async ({ ask }) => {
    const asked = await ask((stub) => stub.drift());
    return asked.ok ? ok({ status: 200, body: asked.value }) : asked;
  }),
  acknowledgeDrift: door("acknowledgeDrift", async (call) => {
    const input = await body(call, reasonBody);
    if (!input.ok) return input;
    const { reason } = input.value;
    const id = call.params["id"] ?? "";
    return done(await call.ask((stub) => stub.acknowledgeDrift({ id, reason, actor: call.admin.id })));
  }),
  resetClock: door("resetClock", async (call) => {
    const input = await body(call, reasonBody);
    if (!input.ok) return input;
    return done(await call.ask((stub) => stub.resetClock(input.value.reason, call.admin.id)));
  }),
} as const satisfies Readonly<Record<string, Handler>>;
