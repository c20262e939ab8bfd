import { err, ok } from "../base/result.ts";
import { parseKey } from "../trust/keys.ts";
import type { Handler } from "./access.ts";
import { body, done, door, locksOut } from "./admin.ts";
import { bad } from "./reply.ts";
import { reasonBody } from "./schemas/admin.ts";
import { acceptRequestBody, listRequestsQuery } from "./schemas/requests.ts";
import { readQuery } from "./schema-input.ts";

const DEFAULT_REQUESTS = 100;

/** What other regions ask about keys that are at home here. */
export const requestHandlers = {
  listRequests: door("listRequests", async ({ ask, request }) => {
    const query = readQuery(request, listRequestsQuery);
    if (!query.ok) return query;
    const { after = 0, limit = DEFAULT_REQUESTS, key } = query.value;
    const parsed = key === undefined ? null : parseKey(key);
    if (parsed?.ok === false) return err(bad(`key: ${parsed.error}`));
    const asked = await ask((stub) => stub.listRequests(after, limit, key ?? null));
    return asked.ok ? ok({ status: 200, body: asked.value }) : asked;
  }),
  acceptRequest: door("acceptRequest", async (call) => {
    const input = await body(call, acceptRequestBody);
    if (!input.ok) return input;
    const parsed = parseKey(input.value.key);
    if (!parsed.ok) return err(bad(`key: ${parsed.error}`));
    // Nobody outside shuts out this region's administrators by a request.
    const locked = await locksOut(call, input.value.key, false);
    if (locked !== null) return err(locked);
    const message = { ...input.value, id: call.params["id"] ?? "", actor: call.admin.id };
    return done(await call.ask((stub) => stub.acceptRequest(message)));
  }),
  refuseRequest: door("refuseRequest", async (call) => {
    const input = await body(call, reasonBody);
    if (!input.ok) return input;
    return done(
      await call.ask((stub) => stub.refuseRequest(call.params["id"] ?? "", input.value.reason, call.admin.id)),
    );
  }),
} as const satisfies Readonly<Record<string, Handler>>;
