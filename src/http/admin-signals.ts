import { ok } from "../base/result.ts";
import { streamBody } from "../ssf/stream.ts";
import type { Handler } from "./access.ts";
import { done, door, body } from "./admin.ts";

/** Shared Signals streams, registered by administrators. */
export const streamHandlers = {
  registerStream: door("registerStream", async (call) => {
    const input = await body(call, streamBody);
    if (!input.ok) return input;
    return done(await call.ask((stub) => stub.registerStream({ stream: input.value, actor: call.admin.id })), 201);
  }),
  listStreams: door("listStreams", async ({ ask }) => {
    const asked = await ask((stub) => stub.listStreams());
    return asked.ok ? ok({ status: 200, body: { streams: asked.value } }) : asked;
  }),
  readStream: door("readStream", async ({ ask, params }) =>
    done(await ask((stub) => stub.readStream(params["id"] ?? ""))),
  ),
  removeStream: door("removeStream", async ({ ask, params, admin }) =>
    done(await ask((stub) => stub.removeStream(params["id"] ?? "", admin.id))),
  ),
} as const satisfies Readonly<Record<string, Handler>>;
