import { isObject, type JsonValue } from "../../base/json.ts";
import { err, ok, type Result } from "../../base/result.ts";

/** Who acts, as an `act` claim says it (RFC 8693 section 4.1). */
export type Actor = {
  /** The actor's namespace; `null`: that of the token's issuer. */
  readonly issuer: string | null;
  readonly sub: string;
};

/** The outermost actor acts now. Those within acted before: they are told, they may deny, they never grant. */
export type Actors = { readonly current: Actor | null; readonly prior: readonly Actor[] };

const MAX_ACTORS = 8;
const MAX_TEXT = 1_024;

export function readActors(act: JsonValue | undefined): Result<Actors, string> {
  const actors: Actor[] = [];
  for (let next: JsonValue | undefined = act; next !== undefined; next = next["act"]) {
    if (!isObject(next)) return err("an act is not an object");
    if (actors.length === MAX_ACTORS) return err(`more than ${MAX_ACTORS} actors`);
    const { sub, iss } = next;
    if (!isText(sub)) return err("an actor has no sub");
    if (iss !== undefined && !isText(iss)) return err("an actor's iss is not a text");
    actors.push({ issuer: iss ?? null, sub });
  }
  const [current = null, ...prior] = actors;
  return ok({ current, prior });
}

const isText = (value: JsonValue | undefined): value is string =>
  typeof value === "string" && value !== "" && value.length <= MAX_TEXT;
