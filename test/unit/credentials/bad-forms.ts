import { base64url, utf8 } from "../../../src/base/bytes.ts";
import { mint, mintHmac, type Json, type Maker } from "./maker.ts";
import { respelled } from "./tokens.ts";

/** One kind of token in its good form, and what verifies it. */
export type GoodForm = {
  readonly maker: Maker;
  readonly header: Json;
  readonly claims: Json;
};

/** A text that no verifier may take for the good token, and which check is to say so. */
export type BadForm = { readonly name: string; readonly says: RegExp; readonly text: (good: GoodForm) => string };

const parts = ({ maker, header, claims }: GoodForm): [string, string, string] =>
  mint(maker, header, claims).split(".") as [string, string, string];
const withHeader =
  (change: Json) =>
  ({ maker, header, claims }: GoodForm): string =>
    mint(maker, { ...header, ...change }, claims);
const json = (value: Json): string => JSON.stringify(value);
const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
const STRANGE = /header has a member that is not accepted/;

/** The canonical text followed by bits that mean nothing, in a segment of which some bits are unused. */
const respelledPayload = ({ maker, header, claims }: GoodForm): string => {
  for (let pad = 0; ; pad++) {
    const [h, p, s] = mint(maker, header, { ...claims, pad: "x".repeat(pad) }).split(".") as [string, string, string];
    if (p.length % 4 !== 0) return `${h}.${respelled(p)}.${s}`;
  }
};

export const BAD_FORMS: readonly BadForm[] = [
  {
    name: "alg none",
    says: /not a compact JWS/,
    text: ({ header, claims }) => unsigned({ ...header, alg: "none" }, claims),
  },
  {
    name: "alg none and a signature",
    says: /alg is not accepted/,
    text: withHeader({ alg: "none" }),
  },
  { name: "no alg", says: /alg is not accepted/, text: withHeader({ alg: undefined }) },
  { name: "an alg of another case", says: /alg is not accepted/, text: withHeader({ alg: "es256" }) },
  {
    name: "HMAC with the public key as its secret",
    says: /alg is not accepted/,
    text: ({ maker, header, claims }) => mintHmac(json(maker.jwk), { ...header, alg: "HS256" }, claims),
  },
  { name: "ES256K", says: /alg is not accepted/, text: withHeader({ alg: "ES256K" }) },
  {
    name: "an accepted alg that the key is not for",
    says: /signature does not verify|made the attestation result's signature|alg is not the WIT's|not accepted of its/,
    text: withHeader({ alg: "PS384" }),
  },
  { name: "the signature cut off", says: /not a compact JWS/, text: (good) => `${parts(good).slice(0, 2).join(".")}.` },
  { name: "no third segment", says: /not a compact JWS/, text: (good) => parts(good).slice(0, 2).join(".") },
  { name: "five segments", says: /not a compact JWS/, text: (good) => `${parts(good).join(".")}.e30.e30` },
  {
    name: "another payload under the signature",
    says: /signature/,
    text: (good) => {
      const [h, , s] = parts(good);
      return `${h}.${base64url(utf8(json({ ...good.claims, more: 1 })))}.${s}`;
    },
  },
  {
    name: "a space in a segment",
    says: /not a compact JWS/,
    text: (good) => {
      const [h, p, s] = parts(good);
      return `${h}.${p.slice(0, 8)} ${p.slice(8)}.${s}`;
    },
  },
  { name: "a line break at the end", says: /not a compact JWS/, text: (good) => `${parts(good).join(".")}\n` },
  { name: "a space in front", says: /not a compact JWS/, text: (good) => ` ${parts(good).join(".")}` },
  { name: "padding", says: /not a compact JWS/, text: (good) => `${parts(good).join(".")}==` },
  {
    name: "the alphabet of plain base64",
    says: /not a compact JWS/,
    text: (good) => parts(good).join(".").replace(/.$/, "+"),
  },
  { name: "a payload in another spelling", says: /not canonical base64url/, text: respelledPayload },
  {
    name: "a signature of an impossible length",
    says: /not canonical base64url/,
    text: (good) => {
      const [h, p, s] = parts(good);
      return `${h}.${p}.${s.slice(0, Math.floor((s.length - 1) / 4) * 4 + 1)}`;
    },
  },
  {
    name: "a member twice in the header",
    says: /names the same member twice/,
    text: ({ maker, header, claims }) => mint(maker, json(header).replace("{", '{"alg":"none",'), claims),
  },
  {
    name: "a member twice in the payload",
    says: /names the same member twice/,
    text: ({ maker, header, claims }) => mint(maker, header, json(claims).replace("{", '{"exp":1,"exp":2,')),
  },
  {
    name: "a member twice by an escape",
    says: /names the same member twice/,
    text: ({ maker, header, claims }) => mint(maker, header, json(claims).replace("{", '{"zz":1,"\\u007az":2,')),
  },
  {
    name: "longer than 16 KiB",
    says: /longer than 16384/,
    text: ({ maker, header, claims }) => mint(maker, header, { ...claims, fill: "x".repeat(13_000) }),
  },
  {
    name: "a header longer than 2 KiB",
    says: /header is longer/,
    text: withHeader({ kid: "k".repeat(2_000) }),
  },
  {
    name: "nested 40 deep",
    says: /nested deeper/,
    text: ({ maker, header, claims }) => mint(maker, header, json(claims).replace("{", `{"deep":${nested(40)},`)),
  },
  { name: "a list for a payload", says: /not a JSON object/, text: ({ maker, header }) => mint(maker, header, "[]") },
  { name: "no JSON", says: /is not valid JSON$/, text: ({ maker, header }) => mint(maker, header, "{secret}") },
  {
    name: "a lone surrogate",
    says: /lone surrogate/,
    text: ({ maker, header, claims }) => mint(maker, header, json(claims).replace("{", '{"s":"\\ud800",')),
  },
  { name: "a jku", says: STRANGE, text: withHeader({ jku: "https://evil.example/keys" }) },
  { name: "an x5u", says: STRANGE, text: withHeader({ x5u: "https://evil.example/cert" }) },
  { name: "an x5c", says: STRANGE, text: withHeader({ x5c: ["AA=="] }) },
  { name: "a crit", says: STRANGE, text: withHeader({ crit: ["exp"] }) },
  { name: "b64 false", says: STRANGE, text: withHeader({ b64: false, crit: ["b64"] }) },
  { name: "a member of its own", says: STRANGE, text: withHeader({ "x-\u0007\u202e": 1 }) },
  { name: "a member with a long name", says: STRANGE, text: withHeader({ ["n".repeat(600)]: 1 }) },
  { name: "another typ", says: /typ is not/, text: withHeader({ typ: "secevent+jwt" }) },
  { name: "a typ that is null", says: /typ is not/, text: withHeader({ typ: null }) },
  { name: "empty", says: /not a compact JWS/, text: () => "" },
];

const unsigned = (header: Json, claims: Json): string =>
  `${base64url(utf8(json(header)))}.${base64url(utf8(json(claims)))}.`;
