import type { AdminResult } from "../../src/objects/admin.ts";
import type { RevocationView } from "../../src/objects/revocations.ts";
import type { AcceptRequestMessage, RequestView } from "../../src/objects/requests.ts";
import type { Region } from "../../src/region/config.ts";
import type { RequestBody } from "../../src/sync/messages.ts";
import { pepKey, regionKey } from "../../src/trust/keys.ts";
import { severity } from "../../src/trust/levels.ts";
import type { Pseudonyms } from "../pseudonyms.ts";
import { recordAct } from "./admin-acts.ts";
import type { AdminRows } from "./admin-rows.ts";
import type { RequestRow, RequestRows, Verdict } from "./request-rows.ts";
import type { Revocations } from "./revocations.ts";
import type { Standing } from "./standing.ts";
import type { AuthorityStore } from "./store.ts";
import type { EventWriter } from "./writer.ts";

/** Requests of one region that wait for an administrator; it is told to come again where there are more. */
const MAX_PENDING = 1_000;
/** Keys that the authority knows by name, among which it looks for what is meant. */
const MAX_KNOWN = 2_000;

export type RequestsRoom = {
  readonly rows: RequestRows;
  readonly acts: AdminRows;
  readonly store: AuthorityStore;
  readonly writer: EventWriter;
  readonly standing: Standing;
  readonly revocations: Revocations;
  readonly pseudonyms: Pseudonyms;
};

/** What other regions ask about keys that are at home here. Nothing is done by it unless this region's own rule says so. */
export class Requests {
  readonly #region: Region;
  readonly #room: RequestsRoom;

  constructor(region: Region, room: RequestsRoom) {
    this.#region = region;
    this.#room = room;
  }

  /**
   * `null`: that region has too many that wait. `accepted` where its event counts here anyway, or where this region
   * says as much of the key already.
   */
  take(from: string, body: RequestBody): Verdict | null {
    const { rows, standing } = this.#room;
    const kinds = standing.federation()?.may_revoke[from] ?? [];
    if (kinds.includes("*") || kinds.includes(body.kind)) return "accepted";
    if (this.#says(body.key, body.level)) return "accepted";
    const id = `${from}.${body.id}`;
    const known = rows.request(id);
    if (known === null) {
      if (rows.pending(from) >= MAX_PENDING) return null;
      rows.addRequest({ ...body, id, origin: from }, Date.now());
      return "pending";
    }
    // Accepted, and lifted here since: this region has decided otherwise.
    return known.state === "accepted" ? "refused" : known.state;
  }

  #says(pseudonym: string, level: RequestRow["level"]): boolean {
    const entry = this.#room.store.entry(pseudonym, this.#region.name);
    return entry !== null && severity(entry.state) >= severity(level);
  }

  list(
    after: number,
    limit: number,
    key: string | null,
  ): { readonly requests: readonly RequestView[]; readonly next: number | null } {
    const { rows, pseudonyms } = this.#room;
    const named = key === null ? null : pseudonyms.of(key).map(({ text }) => text);
    const found = rows.requests(after, limit + 1, named);
    const page = found.slice(0, limit);
    const known = this.#known();
    return {
      requests: page.map((row) => this.#describe(row, key ?? known.get(row.key) ?? null)),
      next: found.length > limit ? page.at(-1)!.n : null,
    };
  }

  async accept(
    message: AcceptRequestMessage,
  ): Promise<AdminResult<{ readonly request: RequestView; readonly revocation: RevocationView }>> {
    const { rows, pseudonyms, revocations } = this.#room;
    const { id, key, reason, actor, wait } = message;
    const row = rows.request(id);
    if (row === null) return unknown(id);
    if (!pseudonyms.of(key).some(({ text }) => text === row.key))
      return { ok: false, code: "conflict", message: `request ${id} is about another key than ${key}` };
    if (row.state === "refused") return { ok: false, code: "conflict", message: `request ${id} was refused` };
    const level = row.level === "revoked" ? {} : { level: row.level };
    const made = await revocations.revoke({ key, from: row.from, reason, actor, wait, ...level });
    if (!made.ok) return made;
    const by = { state: "accepted", actor, reason, revocation: made.value.id } as const;
    rows.decide(id, by, Date.now());
    return { ok: true, value: { request: this.#describe(rows.request(id)!, key), revocation: made.value } };
  }

  refuse(id: string, reason: string, actor: string): AdminResult<RequestView> {
    const { rows, acts, writer } = this.#room;
    const row = rows.request(id);
    if (row === null) return unknown(id);
    if (row.state === "accepted")
      return { ok: false, code: "conflict", message: `request ${id} was accepted: restore ${row.revocation ?? "it"}` };
    if (row.state === "pending") {
      const t_ms = Date.now();
      recordAct(acts, writer, { what: "request_refused", actor, reason, t_ms }, () =>
        rows.decide(id, { state: "refused", actor, reason, revocation: null }, t_ms),
      );
    }
    return { ok: true, value: this.#describe(rows.request(id)!, null) };
  }

  /** Canonical keys that this authority has in clear, by pseudonym: PEPs, the region, and what it has entered itself. */
  #known(): ReadonlyMap<string, string> {
    const { store, pseudonyms } = this.#room;
    const own = store
      .revocations(this.#region.name, 0, MAX_KNOWN)
      .flatMap(({ clear }) => (clear === null ? [] : clear));
    const peps = store.peps().map(({ id }) => pepKey(this.#region.name, id));
    const keys = [regionKey(this.#region.name), ...peps, ...own].slice(0, MAX_KNOWN);
    return new Map(keys.flatMap((key) => pseudonyms.of(key).map(({ text }) => [text, key] as const)));
  }

  #describe(row: RequestRow, matches: string | null): RequestView {
    const { n: _n, origin, ...said } = row;
    const stands = this.#room.store.entry(row.key, origin)?.state ?? null;
    return { ...said, from_region: origin, matches, stands };
  }
}

const unknown = (id: string): AdminResult<never> => ({
  ok: false,
  code: "not_found",
  message: `no request ${id} came to this region`,
});
