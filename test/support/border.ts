import { readFileSync } from "node:fs";
import type { Crossing } from "./links.ts";

/**
 * What a message between regions may hold, as docs/sync.md lists it (section "What crosses a border"), and what one
 * does hold (G8). Everything is looked at as it stands and with every JWS in it opened.
 */
const DOCS = new URL("../../docs/sync.md", import.meta.url);

export type Listed = ReadonlyMap<string, ReadonlySet<string>>;

/** Rows `| name | member, member |` of the section: what travels → its members. */
export function listedInDocs(): Listed {
  const section = /\n## What crosses a border\n([\s\S]*?)\n## /.exec(readFileSync(DOCS, "utf8"))?.[1] ?? "";
  const rows = [...section.matchAll(/^\| `([^`]+)` +\|([^|]+)\|/gm)];
  return new Map(
    rows.map(([, name, members]) => [name!, new Set([...members!.matchAll(/`([^`]+)`/g)].map((m) => m[1]!))]),
  );
}

type Jws = { readonly header: Record<string, unknown>; readonly claims: Record<string, unknown> };

function opened(text: string): Jws | null {
  const [header, claims, signature, more] = text.split(".");
  if (signature === undefined || more !== undefined) return null;
  try {
    return { header: json(header!), claims: json(claims!) };
  } catch {
    return null;
  }
}

const json = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;

/** Every text in the crossing: its head, its body, and the header and claims of each JWS in it, to the innermost. */
export function textsIn({ head, body }: Pick<Crossing, "head" | "body">): readonly string[] {
  const texts = [head, body.toString()];
  const open = (value: unknown): void => {
    if (typeof value === "string") {
      const jws = opened(value);
      if (jws === null) return;
      texts.push(JSON.stringify(jws));
      open(jws.claims);
    } else if (typeof value === "object" && value !== null) {
      // A membership: General JSON.
      const { payload } = value as { payload?: unknown };
      if (typeof payload === "string") texts.push(Buffer.from(payload, "base64url").toString());
      Object.values(value).forEach(open);
    }
  };
  open(body.toString());
  try {
    open(JSON.parse(body.toString()));
  } catch {
    // No JSON.
  }
  return texts;
}

/** What of the crossing the docs do not list; empty where all of it is. */
export function unlisted(crossing: Crossing, listed: Listed): readonly string[] {
  const { head, body, kind } = crossing;
  const text = body.toString();
  const found = namesBeyond(`${kind} headers`, headersOf(head), listed);
  if (/^(POST \/witness\/v1\/add-checkpoint|GET \/witness\/v1\/[^/ ]+\/checkpoint)\n/.test(head) && isNote(text))
    return found;
  if (/^GET \/\.well-known\/interlock\/membership(\?after=[0-9]+)?\n/.test(head) && text === "") return found;
  if (kind === "request" && !/^POST \/sync\/v1\/(pull|push|request|policy|state)\n/.test(head))
    return [...found, `request: ${head.split("\n")[0]}`];
  const jws = opened(text);
  if (kind === "request" && jws === null) return [...found, "a request that is no signed message"];
  if (jws !== null) return [...found, ...message(jws, listed)];
  // Answers that are no message: nothing, a refusal, a note's signatures, or a membership.
  const problem = Number(head.slice(0, 3)) >= 400;
  if (text === "" || problem || isSignatures(text) || isCheckpoint(text) || isMembership(text)) return found;
  return [...found, `answer: ${text.slice(0, 80)}`];
}

/**
 * What of all that left any region names one of `names`, tells of a caller, or is not listed in docs/sync.md; empty
 * where it is as G8 says. Every crossing counts, also one that a cut swallowed.
 */
export function borderProblems(crossings: readonly Crossing[], names: readonly string[]): readonly string[] {
  const listed = listedInDocs();
  const problems = new Set<string>();
  for (const crossing of crossings) {
    const texts = textsIn(crossing).join("\n");
    for (const name of names) if (texts.includes(name)) problems.add(`${name} in ${texts.slice(0, 200)}`);
    for (const beyond of unlisted(crossing, listed)) problems.add(beyond);
    if (/traceparent|authorization/i.test(texts)) problems.add("a header that tells of a caller");
  }
  return [...problems];
}

function message({ header, claims }: Jws, listed: Listed): readonly string[] {
  const typ = String(header["typ"]);
  const found = [
    ...namesBeyond("JWS header", Object.keys(header), listed),
    ...namesBeyond(typ, Object.keys(claims), listed),
  ];
  const entries = claims["entries"];
  if (Array.isArray(entries))
    for (const entry of entries) found.push(...namesBeyond("entry", Object.keys(entry as object), listed));
  const statement = claims["statement"] as { readonly packs: readonly object[] } | undefined;
  if (statement !== undefined) {
    found.push(...namesBeyond("statement", Object.keys(statement), listed));
    for (const pack of statement.packs) found.push(...namesBeyond("pack", Object.keys(pack), listed));
  }
  const states = claims["states"];
  if (Array.isArray(states))
    for (const state of states) found.push(...namesBeyond("state", Object.keys(state as object), listed));
  const events = claims["events"];
  if (Array.isArray(events)) {
    for (const event of events) {
      const inner = typeof event === "string" ? opened(event) : null;
      found.push(...(inner === null ? ["an event that is no JWS"] : message(inner, listed)));
    }
  } else if (typeof events === "object" && events !== null) {
    for (const body of Object.values(events)) found.push(...namesBeyond("event", Object.keys(body as object), listed));
  }
  return found;
}

const namesBeyond = (what: string, names: readonly string[], listed: Listed): readonly string[] =>
  names.filter((name) => !listed.get(what)?.has(name)).map((name) => `${what}: ${name}`);

const headersOf = (head: string): readonly string[] =>
  head
    .split("\n")
    .slice(1)
    .filter((name, i) => i % 2 === 0 && name !== "")
    .map((name) => name.toLowerCase());

const HASH = /^[A-Za-z0-9+/]{43}=$/;
const SIGNATURE = /^— \S+ [A-Za-z0-9+/]+=*$/;
const isSignatures = (text: string): boolean =>
  text
    .trimEnd()
    .split("\n")
    .every((line) => SIGNATURE.test(line));

/** C2SP tlog-witness: old size, proof hashes, and the checkpoint: origin, size, root, signatures. */
function isNote(text: string): boolean {
  if (text === "") return true;
  const [head, checkpoint, signatures] = text.split("\n\n");
  const [old, ...proof] = (head ?? "").split("\n");
  return (
    /^old [0-9]+$/.test(old!) &&
    proof.every((line) => HASH.test(line)) &&
    isCheckpoint(`${checkpoint ?? ""}\n\n${signatures ?? ""}`)
  );
}

function isCheckpoint(text: string): boolean {
  const [body, signatures] = text.split("\n\n");
  const [origin, size, root, ...extensions] = body!.split("\n");
  return (
    /^[a-z0-9.-]+\/[a-z0-9-]+\/[0-9]+$/.test(origin!) &&
    /^[0-9]+$/.test(size ?? "") &&
    HASH.test(root ?? "") &&
    extensions.length === 0 &&
    isSignatures(signatures ?? "")
  );
}

const namesOf = (value: object): string => Object.keys(value).sort().join();

/** One membership as it was signed, or a page of them. */
function isMembership(text: string): boolean {
  const isSigned = (value: object): boolean => namesOf(value) === "payload,signatures";
  try {
    const value = JSON.parse(text) as object & { memberships?: readonly { readonly jws: object }[] };
    if (isSigned(value)) return true;
    return (
      namesOf(value) === "memberships,next,region" &&
      value.memberships!.every((one) => namesOf(one) === "accepted_at_ms,jws,version" && isSigned(one.jws))
    );
  } catch {
    return false;
  }
}
