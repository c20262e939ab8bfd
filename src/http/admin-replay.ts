import { err, ok } from "../base/result.ts";
import type { Handler } from "./access.ts";
import { body, done, door } from "./admin.ts";
import { startReplayBody } from "./schemas/replay.ts";

/** The region decides its own records again, all since a time (docs/replay.md). */
export const replayHandlers = {
  startReplay: door("startReplay", async (call) => {
    const input = await body(call, startReplayBody);
    if (!input.ok) return input;
    const { since, reason } = input.value;
    const from_ms = since === undefined ? 0 : Date.parse(since);
    return done(await call.ask((stub) => stub.startReplay({ from_ms, reason, actor: call.admin.id })), 202);
  }),
  readReplay: door("readReplay", async ({ ask }) => {
    const asked = await ask((stub) => stub.replayView());
    if (!asked.ok) return asked;
    if (asked.value === null)
      return err({ status: 404, code: "not_found", detail: "no replay was asked for in this log epoch" });
    return ok({ status: 200, body: asked.value });
  }),
} as const satisfies Readonly<Record<string, Handler>>;
