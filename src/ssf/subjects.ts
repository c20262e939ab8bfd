import { isObject, type JsonObject, type JsonValue } from "../base/json.ts";
import { err, ok, type Result } from "../base/result.ts";
import { bindsDecisions, parseKey, resourceKey, subjectKey } from "../trust/keys.ts";
import type { SignalStream, SubjectRule } from "./stream.ts";

/**
 * Whom a signal is about: subject identifiers of RFC 9493 and SSF 1.0, and complex subjects, as canonical keys. What a
 * stream may name, and how, its registration says. Values are compared byte for byte; nothing is normalized.
 */

/** Of each format, the member that names its issuer (or none) and the one that holds the value. */
const FORMATS: Readonly<Record<SubjectRule["format"], readonly [issuer: string | null, value: string]>> = {
  account: [null, "uri"],
  email: [null, "email"],
  iss_sub: ["iss", "sub"],
  opaque: [null, "id"],
  phone_number: [null, "phone_number"],
  did: [null, "url"],
  uri: [null, "uri"],
  jwt_id: ["iss", "jti"],
  saml_assertion_id: ["issuer", "assertion_id"],
};

export type Target = {
  readonly keys: readonly string[];
  /** What was not taken as it was said, for whoever reads the status. */
  readonly notes: readonly string[];
};

/** `unmapped`: well-formed, but the stream's rules know no such subject. */
export type SubjectProblem = { readonly unmapped: boolean; readonly message: string };

const malformed = (message: string): Result<never, SubjectProblem> => err({ unmapped: false, message });
const unmapped = (message: string): Result<never, SubjectProblem> => err({ unmapped: true, message });

/**
 * Keys of the subject. `aims` are the members of a complex subject that the event is about, the first one present
 * counts. A member that has no rule, or whose key no decision rests on, is widened to the user that encloses it:
 * rather too much is denied than too little. Members that would narrow the subject further are left out, which widens
 * it too.
 */
export function targetOf(
  sub_id: JsonObject,
  stream: SignalStream,
  aims: readonly string[],
): Result<Target, SubjectProblem> {
  if (sub_id["format"] !== "complex") {
    const keys = keysOf("subject", sub_id, stream);
    return keys.ok ? ok({ keys: keys.value, notes: keys.value.flatMap(recordedOnly) }) : keys;
  }
  const members = Object.keys(sub_id).filter((member) => member !== "format");
  if (members.length === 0) return malformed("sub_id: a complex subject has at least one member");
  for (const member of members) {
    const value = sub_id[member];
    if (!isObject(value) || typeof value["format"] !== "string" || value["format"] === "complex")
      return malformed(`sub_id.${member} is not a simple subject`);
  }
  const candidates = [...aims, ...stream.subjects.map(({ member }) => member)];
  const aim = candidates.find((member) => members.includes(member));
  if (aim === undefined) return unmapped(`no rule of this stream names ${members.join(", ")}`);
  return enclosing(sub_id, members, aim, stream);
}

/** Members that are a part of what the user does: a session, a device, an application. */
const WITHIN_USER: ReadonlySet<string> = new Set(["session", "device", "application"]);

function enclosing(
  sub_id: JsonObject,
  members: readonly string[],
  aim: string,
  stream: SignalStream,
): Result<Target, SubjectProblem> {
  const notes = stream.critical_subject_members
    .filter((member) => member !== aim && members.includes(member))
    // Whose session or device it is does not narrow it.
    .filter((member) => member !== "user" || !WITHIN_USER.has(aim))
    .map((member) => `critical member ${member} does not narrow the subject here: widened to the whole ${aim}`);
  const own = keysOf(aim, sub_id[aim] as JsonObject, stream);
  if (!own.ok && !own.error.unmapped) return own;
  if (own.ok && own.value.some(binds)) return ok({ keys: own.value, notes });
  const held = own.ok ? own.value : [];
  const user =
    WITHIN_USER.has(aim) && members.includes("user") ? keysOf("user", sub_id["user"] as JsonObject, stream) : null;
  if (user !== null && !user.ok && !user.error.unmapped) return user;
  if (user?.ok !== true) return own.ok ? ok({ keys: held, notes: [...notes, ...held.flatMap(recordedOnly)] }) : own;
  const why = own.ok ? "no decision rests on its key" : "no rule names it";
  return ok({ keys: [...new Set([...held, ...user.value])], notes: [...notes, `${aim} widened to user: ${why}`] });
}

const binds = (key: string): boolean => {
  const parsed = parseKey(key);
  return parsed.ok && bindsDecisions(parsed.value.kind);
};
const recordedOnly = (key: string): string[] =>
  binds(key) ? [] : [`${key.slice(0, key.indexOf(":"))}: recorded, no decision rests on keys of this kind yet`];

/** Keys of one simple subject; several for `aliases`, which are names of one and the same. */
function keysOf(member: string, subject: JsonObject, stream: SignalStream): Result<readonly string[], SubjectProblem> {
  if (subject["format"] !== "aliases") {
    const key = keyOf(member, subject, stream);
    return key.ok ? ok([key.value]) : key;
  }
  const identifiers = subject["identifiers"];
  if (!Array.isArray(identifiers) || identifiers.length === 0)
    return malformed(`${member}: aliases without identifiers`);
  const keys = new Set<string>();
  for (const identifier of identifiers) {
    if (!isObject(identifier) || identifier["format"] === "aliases" || identifier["format"] === "complex")
      return malformed(`${member}: an alias is a simple subject`);
    const key = keyOf(member, identifier, stream);
    if (key.ok) keys.add(key.value);
    else if (!key.error.unmapped) return key;
  }
  return keys.size > 0 ? ok([...keys]) : unmapped(`no rule of this stream names any alias of ${member}`);
}

function keyOf(member: string, subject: JsonObject, stream: SignalStream): Result<string, SubjectProblem> {
  const format = subject["format"];
  if (typeof format !== "string") return malformed(`${member}: a subject has a format`);
  const known = Object.hasOwn(FORMATS, format) ? FORMATS[format as SubjectRule["format"]] : null;
  if (known === null) return unmapped(`${member}: format ${shown(format)} names nothing here`);
  const [issuerMember, valueMember] = known;
  const value = subject[valueMember];
  const issuer = issuerMember === null ? null : subject[issuerMember];
  if (!isText(value)) return malformed(`${member}: ${format} has no ${valueMember}`);
  if (issuer !== null && !isText(issuer)) return malformed(`${member}: ${format} has no ${issuerMember}`);
  const rule = stream.subjects.find(
    (one) =>
      one.member === member && one.format === format && (issuer === null || issuer === (one.issuer ?? stream.issuer)),
  );
  if (rule === undefined)
    return unmapped(
      `${member}: no rule of this stream takes ${format}${issuer === null ? "" : ` of ${shown(issuer)}`}`,
    );
  const key = canonical(rule, issuer ?? stream.issuer, value);
  const parsed = parseKey(key);
  return parsed.ok ? ok(key) : malformed(`${member}: ${parsed.error}`);
}

function canonical({ to }: SubjectRule, issuer: string, value: string): string {
  const kind = to.slice(0, to.includes(":") ? to.indexOf(":") : undefined);
  const type = to.slice(kind.length + 1);
  switch (kind) {
    case "subject":
      return subjectKey(type, value);
    case "resource":
      return resourceKey(type, value);
    case "session":
    case "credential":
      return `${kind}:${issuer}#${value}`;
    default:
      return `${kind}:${value}`;
  }
}

const isText = (value: JsonValue | undefined): value is string => typeof value === "string" && value !== "";
const shown = (text: string): string => JSON.stringify(text.slice(0, 64)).replaceAll(/[^ -~]/g, "?");
