import { bearer, chunked, post, raw, READ } from "./http.ts";
import type { TestRegion } from "./region.ts";

/** What a bad request is tried in: a region, what its neighbour issued, and what was forged. */
export type World = {
  readonly region: TestRegion;
  readonly other: TestRegion;
  /** A decision and a run of `region`, a run and a decision of `other`. */
  readonly ids: Readonly<Record<"decision" | "run" | "otherDecision" | "otherRun", string>>;
  readonly tokens: Readonly<Record<string, string>>;
};

/** `null`: the region closed the connection, or waits for the rest of the request. */
export type Heard = { readonly status: number; readonly text: string; readonly requestId: string | null } | null;

export type BadCase = {
  readonly name: string;
  readonly send: (world: World, requestId: string) => Promise<Heard>;
  /** 200: a decision that is a deny with `says` in it, or harmless where `harmless` says so. */
  readonly status: number | null;
  readonly says: RegExp;
  readonly harmless?: boolean;
  /** The request never became one, so that there is no id to give back. */
  readonly no_echo?: boolean;
};

const ANY = /./s;

const heard = async (answer: Response): Promise<Heard> => ({
  status: answer.status,
  text: await answer.text(),
  requestId: answer.headers.get("x-request-id"),
});

type Token = (world: World) => string | null;
const PEP: Token = ({ region }) => region.pep;
const ADMIN: Token = ({ region }) => region.admin;

/** A case that posts `body` (a text as it is) to `path` with the credential that belongs there. */
export const posted = (
  path: string,
  name: string,
  body: unknown,
  status: number,
  says: RegExp = ANY,
  headers: Record<string, string> = {},
): BadCase => ({
  name: `${path}: ${name}`,
  status,
  says,
  send: async (world, id) => {
    const token = (path.startsWith("/admin") ? ADMIN : PEP)(world);
    const url = world.region.url + path.replace("{run}", world.ids.run);
    return heard(await post(url, token, body, { "x-request-id": id, ...headers }));
  },
});

/** A case that asks by another method; `{decision}` and `{run}` stand for ids of the region. */
export const asked = (method: string, path: string, status: number, says: RegExp = ANY): BadCase => ({
  name: `${method} ${path}`,
  status,
  says,
  send: async (world, id) => {
    const { decision, run, otherDecision, otherRun } = world.ids;
    const token = (path.startsWith("/admin") ? ADMIN : PEP)(world)!;
    const named = path
      .replace("{decision}", decision)
      .replace("{run}", run)
      .replace("{otherDecision}", otherDecision)
      .replace("{otherRun}", otherRun);
    const headers = { ...bearer(token), "x-request-id": id };
    return heard(await fetch(world.region.url + named, { method, headers, redirect: "manual" }));
  },
});

/** A case with another `Authorization`; none where `authorization` gives `null`. */
export const authorized = (
  path: string,
  name: string,
  authorization: (world: World) => string | null,
  status: number,
  says: RegExp = ANY,
): BadCase => ({
  name: `${path}: ${name}`,
  status,
  says,
  send: async (world, id) => {
    const value = authorization(world);
    const headers = { "x-request-id": id, ...(value === null ? {} : { authorization: value }) };
    const url = world.region.url + path;
    if (path.startsWith("/access")) return heard(await post(url, null, READ, headers));
    return heard(await fetch(url, { headers }));
  },
});

export const chunks = (name: string, parts: readonly string[], status: number, says: RegExp): BadCase => ({
  name: `/access/v1/evaluation, chunked: ${name}`,
  status,
  says,
  send: ({ region }, id) =>
    chunked(
      `${region.url}/access/v1/evaluation`,
      { ...bearer(region.pep), "content-type": "application/json", "x-request-id": id },
      parts,
    ),
});

/** A case written to the wire as it is. `{pep}`, `{id}` and `{good}` (a good body, with `{length}`) are filled in. */
export const wire = (
  name: string,
  text: string,
  status: number | null,
  more: Pick<BadCase, "harmless" | "no_echo"> & { readonly says?: RegExp } = { no_echo: true },
): BadCase => ({
  name: `wire: ${name}`,
  status,
  says: more.says ?? ANY,
  ...more,
  send: async ({ region }, id) => {
    const good = JSON.stringify(READ);
    const bytes = text
      .replaceAll("\n", "\r\n")
      .replaceAll("{pep}", region.pep)
      .replaceAll("{id}", id)
      .replaceAll("{length}", String(good.length))
      .replaceAll("{good}", good);
    const answer = await raw(region.port, Buffer.from(bytes, "latin1"), status === null ? 250 : 1_500);
    if (answer === null) return null;
    const requestId = /^x-request-id: *(.*)$/im.exec(answer.headers)?.[1]?.trim() ?? null;
    return { status: answer.status, text: answer.body, requestId };
  },
});

/** The same, expected to be answered like a good request. */
export const harmless = (bad: BadCase): BadCase => ({ ...bad, status: 200, harmless: true });
