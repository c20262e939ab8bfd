import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { verifySet } from "../../../src/ssf/set.ts";
import { vectors } from "../base/vectors.ts";
import { EVENTS, RISC, Transmitter } from "../../support/ssf.ts";

/**
 * The SETs that stand as examples in CAEP 1.0, SSF 1.0 (`*-set.json`) and in the drafts of RFC 8417 and RFC 8935,
 * signed by a transmitter that was registered with their own issuer and audience. Each is taken or refused as its text says.
 */
type Expected =
  | {
      readonly is: "lower";
      readonly level: string;
      readonly keys: readonly string[];
      readonly notes?: readonly string[];
    }
  | { readonly is: "none" | "verification" | "stream_updated" }
  | { readonly is: "refused"; readonly err: string; readonly says: string };

const USER_99 = "subject:user/99beb27c-c1c2-4955-882a-e0dc4996fcbc";
const TENANT = (whole: string): string =>
  `critical member tenant does not narrow the subject here: widened to the whole ${whole}`;
const EXPECTED: Readonly<Record<string, Expected>> = {
  "caep-003": {
    is: "lower",
    level: "revoked",
    keys: ["session:https://idp.example.com/123456789/#dMTlD|1600802906337.16|16008.16"],
    notes: ["session: recorded, no decision rests on keys of this kind yet"],
  },
  "caep-004": {
    is: "lower",
    level: "revoked",
    keys: ["session:https://idp.example.com/123456789/#dMTlD|1600802906337.16|16008.16", USER_99],
    notes: [TENANT("session"), "session widened to user: no decision rests on its key"],
  },
  "caep-005": {
    is: "lower",
    level: "revoked",
    keys: ["subject:user/jane.smith@example.com"],
    notes: [TENANT("user")],
  },
  "caep-006": {
    is: "lower",
    level: "revoked",
    keys: ["credential:https://idp.example.com/987654321/#f61t6e20zdo3px56gepu8rzlsp4c1dpc0fx7"],
  },
  "caep-007": {
    is: "lower",
    level: "revoked",
    keys: ["credential:https://idp.example.com/987654321/#f61t6e20zdo3px56gepu8rzlsp4c1dpc0fx7"],
  },
  "caep-008": {
    is: "lower",
    level: "revoked",
    keys: ["credential:https://idp.example.com/987654321/#_a75adf55-01d7-dbd8372ebdfc"],
  },
  "caep-009": { is: "none" },
  "caep-010": { is: "none" },
  "caep-011": {
    is: "lower",
    level: "degraded",
    keys: ["subject:user/jane.smith@example.com"],
    notes: ["the direction is not stated: taken for a decrease"],
  },
  "caep-012": {
    is: "lower",
    level: "quarantined",
    keys: ["subject:device/e9297990-14d2-42ec-a4a9-4036db86509a"],
    notes: [TENANT("device")],
  },
  "caep-013": { is: "none" },
  "caep-014": { is: "none" },
  "caep-015": { is: "none" },
  "ssf-020": { is: "verification" },
  "ssf-021": { is: "none" },
  "ssf-022": { is: "lower", level: "revoked", keys: ["subject:user/+1 206 555 0123"] },
  "ssf-023": { is: "lower", level: "revoked", keys: ["subject:user/user@example.com"] },
  "ssf-024": { is: "lower", level: "revoked", keys: ["subject:user/jane.smith@example.com"] },
  "ssf-025": { is: "lower", level: "revoked", keys: ["subject:user/foo@example2.com"] },
  // Its iat lies in the year 2451, and a receiver cannot place its format.
  "ssf-026": { is: "refused", err: "invalid_request", says: "the SET was issued in the future" },
  "ssf-035": { is: "verification" },
  "ssf-036": { is: "stream_updated" },
};

const SUBJECTS = [
  { format: "opaque", to: "session" },
  { format: "email", to: "subject:user" },
  { format: "phone_number", to: "subject:user" },
  { format: "iss_sub", issuer: "https://idp.example.com/3456789/", to: "subject:user" },
  { format: "jwt_id", to: "credential" },
  { format: "saml_assertion_id", to: "credential" },
  { member: "session", format: "opaque", to: "session" },
  { member: "user", format: "iss_sub", to: "subject:user" },
  {
    member: "user",
    format: "iss_sub",
    issuer: "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/",
    to: "subject:user",
  },
  { member: "device", format: "iss_sub", to: "subject:device" },
];

type Claims = Record<string, unknown>;
type Example = { readonly name: string; readonly title: string; readonly claims: Claims };

const caep = vectors("ssf-caep");
const rfc = vectors("set-rfc8417-8935-8936");

const examples: readonly Example[] = caep.missing
  ? []
  : readdirSync(caep.folder)
      .filter((file) => file.endsWith("-set.json"))
      .sort()
      .map((file) => {
        const { _title, value } = JSON.parse(readFileSync(join(caep.folder, file), "utf8")) as {
          _title: string | null;
          value: Claims;
        };
        return { name: file.slice(0, -"-set.json".length), title: _title ?? "", claims: value };
      });

const text = (name: string): string => readFileSync(join(rfc.folder, `${name}.txt`), "utf8");
/** The JSON of a figure; long lines are folded with a backslash there. */
const figure = (name: string): Claims =>
  JSON.parse(
    text(name)
      .slice(text(name).indexOf("{"))
      .replaceAll(/\\\n\s*/g, ""),
  ) as Claims;

/** What came of a SET, in the words of `EXPECTED`. */
function seen(verified: Awaited<ReturnType<typeof verifySet>>): Expected {
  if (!verified.ok) return { is: "refused", err: verified.error.err, says: verified.error.description };
  const { effect } = verified.value.signal;
  if (effect.kind !== "lower") return { is: effect.kind };
  const { level, keys, notes } = effect;
  return { is: "lower", level, keys, ...(notes.length === 0 ? {} : { notes }) };
}

let transmitter: Transmitter;
beforeAll(async () => {
  transmitter = await Transmitter.make();
});

const registered = (claims: Claims) =>
  transmitter.stream({
    issuer: claims["iss"],
    audience: Array.isArray(claims["aud"]) ? claims["aud"].at(-1) : claims["aud"],
    events: [...EVENTS, `${RISC}account-enabled`],
    subjects: SUBJECTS,
    critical_subject_members: ["tenant", "user"],
  });
const shortly = (claims: Claims): number => Math.min((claims["iat"] as number) * 1_000 + 1_000, Date.now());

describe.skipIf(caep.missing)(`examples of CAEP 1.0 and SSF 1.0${caep.note}`, () => {
  test("are all here", () => {
    expect(examples.map(({ name }) => name)).toEqual(Object.keys(EXPECTED));
  });

  test.each(examples)("$name $title", async ({ name, claims }) => {
    const verified = await verifySet(await transmitter.sign(claims), registered(claims), shortly(claims));
    expect(seen(verified)).toEqual(EXPECTED[name]);
  });

  test("no level is raised by any of them", () => {
    expect(new Set(Object.values(EXPECTED).map(({ is }) => is))).not.toContain("raise");
  });
});

describe.skipIf(rfc.missing)(`examples of RFC 8417 and RFC 8935${rfc.note}`, () => {
  test.each([
    ["token-fig01", "invalid_request", "sub,"],
    ["token-fig02", "invalid_request", "sub,"],
    ["token-fig03", "invalid_request", "sub_id"],
    ["token-fig04", "invalid_request", "sub_id"],
    ["token-fig05", "invalid_request", "sub_id"],
  ])("%s is a SET, and none that SSF allows", async (name, code, says) => {
    const claims = figure(name);
    const verified = await verifySet(await transmitter.sign(claims), registered(claims), shortly(claims));
    expect(verified).toMatchObject({ ok: false, error: { err: code, signed: true } });
    expect(verified.ok ? "" : verified.error.description).toContain(says);
  });

  test("the unsecured SET of RFC 8417 and the HS256 SET of RFC 8935 are not taken", async () => {
    const stream = transmitter.stream({ issuer: "https://scim.example.com" });
    const unsecured = text("token-fig06")
      .match(/eyJ0eXAi[\s\S]*?fX19\./)![0]
      .replaceAll(/\s/g, "");
    expect(await verifySet(unsecured, stream, Date.now())).toMatchObject({
      ok: false,
      error: { err: "invalid_request" },
    });
    const body = text("http-push-fig01").split("\n\n")[1]!;
    expect(await verifySet(body, stream, Date.now())).toMatchObject({ ok: false, error: { err: "invalid_request" } });
    const pushed = await verifySet(
      body.replaceAll(/\s/g, ""),
      transmitter.stream({ issuer: "https://idp.example.com/", jwks: { keys: [transmitter.jwk] } }),
      Date.now(),
    );
    expect(pushed).toMatchObject({ ok: false, error: { err: "invalid_key", signed: false } });
  });
});
