import { err, ok } from "../base/result.ts";
import {
  isSourceKind,
  SOURCE_BODIES,
  SOURCE_KINDS,
  sourceIdProblem,
  type SourceKind,
} from "../credentials/sources/schema.ts";
import type { Result } from "../base/result.ts";
import type { Handler } from "./access.ts";
import { body, done, door, type Call } from "./admin.ts";
import { bad, type Problem } from "./reply.ts";

type Named = { readonly kind: SourceKind; readonly id: string };

/** Registered sources of identity (docs/operations/workloads.md). */
export const identityHandlers = {
  putSource: door("putSource", async (call) => {
    const named = namedBy(call);
    if (!named.ok) return named;
    const { kind, id } = named.value;
    const wrong = sourceIdProblem(kind, id);
    if (wrong !== null) return err(bad(wrong));
    const input = await body(call, SOURCE_BODIES[kind]);
    if (!input.ok) return input;
    return done(await call.ask((stub) => stub.putSource({ kind, id, body: input.value, actor: call.admin.id })));
  }),
  listSources: door("listSources", async ({ ask }) => {
    const asked = await ask((stub) => stub.listSources());
    return asked.ok ? ok({ status: 200, body: { sources: asked.value } }) : asked;
  }),
  readSource: door("readSource", async (call) => {
    const named = namedBy(call);
    return named.ok ? done(await call.ask((stub) => stub.readSource(named.value.kind, named.value.id))) : named;
  }),
  removeSource: door("removeSource", async (call) => {
    const named = namedBy(call);
    if (!named.ok) return named;
    return done(await call.ask((stub) => stub.removeSource(named.value.kind, named.value.id, call.admin.id)));
  }),
} as const satisfies Readonly<Record<string, Handler>>;

function namedBy({ params }: Call): Result<Named, Problem> {
  const { kind = "", id = "" } = params;
  return isSourceKind(kind) ? ok({ kind, id }) : err(bad(`kind: one of ${SOURCE_KINDS.join(", ")} is required`));
}
