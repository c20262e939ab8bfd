import type { z } from "zod";
import { adminIssuer, type Administrator } from "../credentials/admin.ts";
import type { AdminResult } from "../objects/admin.ts";
import type { AuthorityRpc } from "../objects/authority.ts";
import type { LogStatus } from "../objects/log.ts";
import { faultText, logLine } from "../observe/decision-log.ts";
import type { ErasureTarget } from "../objects/erasure.ts";
import { IRREVOCABLE, irrevocable, issuerKey, keyKey, parseKey, subjectKey } from "../trust/keys.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { Handler } from "./access.ts";
import { requireAdmin, restsOn } from "./admin-guard.ts";
import type { Arrival, Room } from "./deps.ts";
import { bad, json, refuse, unavailable, type Problem } from "./reply.ts";
import { ROUTES, type Operation } from "./routes.ts";
import {
  dropEpochBody,
  eraseBody,
  freezeBody,
  journalBody,
  listRevocationsQuery,
  membershipBody,
  readRevocationQuery,
  reasonBody,
  sealEpochBody,
  registerPepBody,
  restoreBody,
  revokeBody,
  unfreezeBody,
} from "./schemas/admin.ts";
import { readBody, readQuery } from "./schema-input.ts";
import { withDeadline } from "../objects/deadline.ts";

/** Longer than the authority waits for regions that do not confirm (`wait: all`): it then says how far it is. */
const ADMIN_MS = 12_000;
const LOG_MS = 2_000;
const DEFAULT_REVOCATIONS = 100;

export type Call = {
  readonly room: Room;
  readonly request: Request;
  readonly admin: Administrator;
  readonly params: Readonly<Record<string, string>>;
  /** Asks the authority; the error is a problem ready to answer with. */
  readonly ask: <T>(call: (stub: AuthorityRpc) => Promise<T>) => Promise<Result<T, Problem>>;
};

type Answer = Result<{ readonly status: 200 | 201 | 202; readonly body: unknown }, Problem>;

/** Authenticates, then answers. The scope is the route table's. */
export function door(operation: Operation, answer: (call: Call) => Promise<Answer>): Handler {
  const scope: string = ROUTES.find((route) => route.operation === operation)!.scope ?? "";
  return async (room, arrival, request, params) => {
    const admin = await requireAdmin(room, request, scope, arrival.started_ms);
    if (!admin.ok) return refuse(admin.error, "problem");
    const answered = await answer({ room, request, params, admin: admin.value, ask: asker(room, arrival, operation) });
    return answered.ok ? json(answered.value.body, answered.value.status) : refuse(answered.error, "problem");
  };
}

const asker =
  (room: Room, arrival: Arrival, where: string): Call["ask"] =>
  async (call) => {
    try {
      return ok(await withDeadline(call(room.authority()), ADMIN_MS));
    } catch (thrown) {
      const fault = { event: "fault", region: room.region.name, where, error: faultText(thrown) } as const;
      logLine(room.log, { ...fault, request_id: arrival.request_id, t_ms: room.now() });
      return err(
        unavailable(
          "the trust authority does not answer; whether it took effect is unknown: ask again",
          "authority_unavailable",
        ),
      );
    }
  };

async function logStatus(room: Room): Promise<LogStatus | null> {
  try {
    return await withDeadline(room.regionLog().status(), LOG_MS);
  } catch {
    return null;
  }
}

export const body = <S extends Parameters<typeof readBody>[2]>({ request, room }: Call, schema: S) =>
  readBody(request, room.max_body_bytes, schema);

export const done = <T>(asked: Result<AdminResult<T>, Problem>, status: 200 | 201 | 202 = 200): Answer => {
  if (!asked.ok) return asked;
  return asked.value.ok
    ? ok({ status, body: asked.value.value })
    : err(adminProblem(asked.value.code, asked.value.message));
};

const shown = <T>(asked: Result<T, Problem>): Answer => (asked.ok ? ok({ status: 200, body: asked.value }) : asked);

function adminProblem(code: Extract<AdminResult<unknown>, { ok: false }>["code"], detail: string): Problem {
  switch (code) {
    case "not_found":
      return { status: 404, code, detail };
    case "invalid":
      return bad(detail);
    case "unchecked":
      return { status: 503, code, detail };
    default:
      return { status: 409, code, detail };
  }
}

/** The one thing that the body names. */
function targetOf(
  { subject, decision_id, run, older_than }: z.output<typeof eraseBody>,
  now_ms: number,
): Result<ErasureTarget, Problem> {
  if (subject !== undefined) {
    const wrong = irrevocable(subject.type, subject.id);
    if (wrong !== null) return err(bad(`subject.${wrong}: ${IRREVOCABLE}`));
    return ok({ kind: "subject", key: subjectKey(subject.type, subject.id) });
  }
  if (decision_id !== undefined) return ok({ kind: "decision", id: decision_id });
  if (run !== undefined) return ok({ kind: "run", run });
  // What will be decided later is not there to be erased.
  if (older_than! > now_ms) return err(bad("older_than: lies in the future"));
  return ok({ kind: "older_than", t_ms: older_than! });
}

/**
 * Why revoking the key would leave nobody who could lift it again; `null` where somebody stays. The issuer of all
 * administrators is no key that could be stolen, so revoking it helps in no case.
 */
export async function locksOut({ room, ask }: Call, key: string, force: boolean): Promise<Problem | null> {
  const problem = (detail: string): Problem => ({ status: 409, code: "locks_out", detail });
  if (key === issuerKey(adminIssuer(room.region.pdp)))
    return problem(
      "this would shut out every administrator for good; revoke what was stolen (key:<thumbprint> or credential:<issuer>#<jti>), or freeze the region",
    );
  const keys = room.admin_keys.map(({ thumbprint }) => keyKey(thumbprint));
  if (force || !keys.includes(key)) return null;
  const others = keys.filter((other) => other !== key);
  for (const other of others) {
    const asked = await ask((stub) => stub.anyRevoked([other]));
    if (!asked.ok) return asked.error;
    if (!asked.value) return null;
  }
  return problem(
    "this is the last admin key that is not revoked: nobody would be let in until another one is configured (INTERLOCK_ADMIN_JWKS); to do so all the same, say force",
  );
}

export const adminHandlers = {
  status: door("status", async ({ room, ask }) => {
    const asked = await ask((stub) => stub.status());
    // The log may be what is broken, and then this is where an operator looks.
    const log = await logStatus(room);
    return asked.ok ? ok({ status: 200, body: { ...asked.value, log } }) : asked;
  }),
  enrolment: door("enrolment", async ({ ask }) => shown(await ask((stub) => stub.enrolment()))),

  putMembership: door("putMembership", async (call) => {
    const input = await body(call, membershipBody);
    if (!input.ok) return input;
    return done(await call.ask((stub) => stub.putMembership(input.value, call.admin.id)));
  }),

  registerPep: door("registerPep", async (call) => {
    const input = await body(call, registerPepBody);
    if (!input.ok) return input;
    return done(
      await call.ask((stub) =>
        stub.registerPep({ ...input.value, audiences: input.value.audiences ?? [], actor: call.admin.id }),
      ),
      201,
    );
  }),
  listPeps: door("listPeps", async ({ ask }) => {
    const asked = await ask((stub) => stub.listPeps());
    return asked.ok ? ok({ status: 200, body: { peps: asked.value } }) : asked;
  }),

  revoke: door("revoke", async (call) => {
    const input = await body(call, revokeBody);
    if (!input.ok) return input;
    const { until, level, force, idempotency_key, ...rest } = input.value;
    const key = parseKey(rest.key);
    if (!key.ok) return err(bad(`key: ${key.error}`));
    if (level === undefined) {
      const locked = await locksOut(call, rest.key, force === true);
      if (locked !== null) return err(locked);
    }
    const message = {
      ...rest,
      ...(idempotency_key === undefined ? {} : { idempotency_key }),
      ...(level === undefined ? {} : { level }),
      ...(until === undefined ? {} : { until_ms: Date.parse(until) }),
      actor: call.admin.id,
    };
    return done(await call.ask((stub) => stub.revoke(message)), 201);
  }),
  listRevocations: door("listRevocations", async (call) => {
    const query = readQuery(call.request, listRevocationsQuery);
    if (!query.ok) return query;
    const { after = 0, limit = DEFAULT_REVOCATIONS } = query.value;
    return shown(await call.ask((stub) => stub.listRevocations(after, limit)));
  }),
  readRevocation: door("readRevocation", async ({ ask, params, request }) => {
    const query = readQuery(request, readRevocationQuery);
    if (!query.ok) return query;
    return done(await ask((stub) => stub.revocation(params["id"] ?? "", query.value.wait ?? "accepted")));
  }),
  restore: door("restore", async (call) => {
    const input = await body(call, restoreBody);
    if (!input.ok) return input;
    const { reason, wait } = input.value;
    return done(await call.ask((stub) => stub.restore(call.params["id"] ?? "", reason, call.admin.id, wait)));
  }),

  erase: door("erase", async (call) => {
    const input = await body(call, eraseBody);
    if (!input.ok) return input;
    const { ground, reason, idempotency_key = null } = input.value;
    const target = targetOf(input.value, call.room.now());
    if (!target.ok) return target;
    const order = { target: target.value, ground, reason, idempotency_key, actor: call.admin.id };
    return done(await call.ask((stub) => stub.erase(order)), 201);
  }),
  listErasures: door("listErasures", async (call) => {
    const query = readQuery(call.request, listRevocationsQuery);
    if (!query.ok) return query;
    const { after = 0, limit = DEFAULT_REVOCATIONS } = query.value;
    return shown(await call.ask((stub) => stub.listErasures(after, limit)));
  }),
  readErasure: door("readErasure", async ({ ask, params }) =>
    done(await ask((stub) => stub.erasure(params["id"] ?? ""))),
  ),
  reenterErasures: door("reenterErasures", async (call) => {
    const input = await body(call, journalBody);
    if (!input.ok) return input;
    const asked = await call.ask((stub) => stub.reenterErasures(input.value.erasures));
    if (asked.ok && asked.value.ok) return ok({ status: 200, body: { erasures: asked.value.value, next: null } });
    return done(asked);
  }),

  epochStatus: door("epochStatus", async ({ ask }) => shown(await ask((stub) => stub.epochStatus()))),
  sealEpoch: door("sealEpoch", async (call) => {
    const input = await body(call, sealEpochBody);
    if (!input.ok) return input;
    const { reason, without } = input.value;
    return done(await call.ask((stub) => stub.sealEpoch(reason, call.admin.id, without)));
  }),
  nextEpoch: door("nextEpoch", async (call) => {
    const input = await body(call, reasonBody);
    if (!input.ok) return input;
    return done(await call.ask((stub) => stub.nextEpoch(input.value.reason, call.admin.id)));
  }),
  dropEpoch: door("dropEpoch", async (call) => {
    const epoch = call.params["epoch"] ?? "";
    if (!/^[1-9][0-9]{0,8}$/.test(epoch)) return err(bad("epoch: a whole number from 1"));
    const input = await body(call, dropEpochBody);
    if (!input.ok) return input;
    const message = { ...input.value, log_epoch: Number(epoch), actor: call.admin.id };
    return done(await call.ask((stub) => stub.dropEpoch(message)));
  }),
  freeze: door("freeze", async (call) => {
    const input = await body(call, freezeBody);
    if (!input.ok) return input;
    const { reason, wait } = input.value;
    return done(await call.ask((stub) => stub.freeze(reason, call.admin.id, wait)));
  }),
  unfreeze: door("unfreeze", async (call) => {
    const input = await body(call, unfreezeBody);
    if (!input.ok) return input;
    const { id: actor, thumbprint: key } = call.admin;
    const another_key = call.room.admin_keys.length > 1;
    const rests_on = restsOn(call.admin);
    const asked = await call.ask((stub) => stub.unfreeze({ ...input.value, actor, key, another_key, rests_on }));
    // Frozen still: somebody else has to confirm it.
    const waits = asked.ok && asked.value.ok && asked.value.value.mode === "frozen";
    return done(asked, waits ? 202 : 200);
  }),
} as const satisfies Readonly<Record<string, Handler>>;
