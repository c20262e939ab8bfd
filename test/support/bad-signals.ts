import { asked, posted, type BadCase, type World } from "./bad-request.ts";
import { AUDIENCE, CAEP, ISSUER, Transmitter } from "./ssf.ts";

/** Security Event Tokens that are none, and messages between regions that are none. */
const STREAM = "bad-sets";
const EVENTS = `/ssf/v1/events/${STREAM}`;
const SET_TYPE = { "content-type": "application/secevent+jwt" };
const REVOKED = `${CAEP}session-revoked`;
const ALICE = { format: "iss_sub", iss: ISSUER, sub: "alice" };

/** The registration, and SETs that the transmitter or somebody else signed: by name, for `World.tokens`. */
export async function badSets(): Promise<{ readonly stream: object; readonly sets: World["tokens"] }> {
  const [idp, stranger] = await Promise.all([Transmitter.make("ES256"), Transmitter.make("ES256")]);
  const now_s = Math.floor(Date.now() / 1_000);
  const sub_id = ALICE;
  const claims = { iss: ISSUER, aud: AUDIENCE, iat: now_s, jti: "bad-1", sub_id, events: { [REVOKED]: {} } };
  const sign = (change: object, header: object = {}): Promise<string> =>
    idp.signText(JSON.stringify({ ...claims, ...change }), header);
  const good = await sign({});
  const [head, body, signature] = good.split(".") as [string, string, string];
  const none = Buffer.from(JSON.stringify({ alg: "none", kid: idp.jwk.kid, typ: "secevent+jwt" })).toString(
    "base64url",
  );
  return {
    stream: {
      id: STREAM,
      issuer: ISSUER,
      audience: AUDIENCE,
      jwks: { keys: [idp.jwk] },
      events: [REVOKED],
      subjects: [{ format: "iss_sub", to: "subject:user" }],
    },
    sets: {
      "set: alg none": `${none}.${body}.`,
      "set: no signature": `${head}.${body}.`,
      "set: another signature": `${head}.${body}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`,
      "set: a stranger's": await stranger.signText(JSON.stringify(claims)),
      "set: another typ": await sign({}, { typ: "JWT" }),
      "set: another issuer": await sign({ iss: "https://other.example" }),
      "set: another audience": await sign({ aud: "https://us.pdp.example/ssf" }),
      "set: with sub": await sign({ sub: "alice" }),
      "set: with exp": await sign({ exp: now_s + 60 }),
      "set: no jti": await sign({ jti: undefined }),
      "set: a year old": await sign({ iat: now_s - 366 * 86_400 }),
      "set: of tomorrow": await sign({ iat: now_s + 86_400 }),
      "set: no event": await sign({ events: {} }),
      "set: two events": await sign({ events: { [REVOKED]: {}, [`${CAEP}session-presented`]: {} } }),
      "set: an event nobody asked for": await sign({ events: { [`${CAEP}credential-change`]: {} } }),
      "set: no subject": await sign({ sub_id: undefined }),
      "set: a subject of no rule": await sign({ sub_id: { format: "email", email: "alice@example.com" } }),
      "set: another issuer's subject": await sign({ sub_id: { ...ALICE, iss: "https://other.example" } }),
      "set: a subject that cannot be a key": await sign({ sub_id: { ...ALICE, sub: "a\u0000b" } }),
    },
  };
}

/** The SET of that name, pushed as it should be. */
const pushed = (name: string, says: RegExp): BadCase => {
  const one = posted(EVENTS, name, "", 400, says, SET_TYPE);
  return {
    ...one,
    send: (world, id) => posted(EVENTS, name, world.tokens[name]!, 400, says, SET_TYPE).send(world, id),
  };
};

const text = (name: string, body: string | Uint8Array, status: number, says: RegExp, headers: object = {}): BadCase =>
  posted(EVENTS, name, body, status, says, { ...SET_TYPE, ...headers });

const signals: readonly BadCase[] = [
  text("a SET as JSON", "{}", 400, /application\/secevent\+jwt is required/, { "content-type": "application/json" }),
  text("nothing", "", 400, /"err":/),
  text("garbage", "a.b.c", 400, /"err":/),
  text("four parts", "a.b.c.d", 400, /"err":/),
  text("a JSON serialization", '{"payload":"e30","signatures":[]}', 400, /"err":/),
  text("bytes that are not UTF-8", Buffer.from([0xff, 0xfe, 0x2e, 0x2e]), 400, /UTF-8/),
  text("17 KB", `${"a".repeat(17_000)}.b.c`, 413, /larger than/),
  text("packed", "a.b.c", 400, /only identity/, { "content-encoding": "gzip" }),
  posted("/ssf/v1/events/nobody", "an unknown stream", "a.b.c", 404, /no such stream/, SET_TYPE),
  posted("/ssf/v1/events/__proto__", "a stream that is none", "a.b.c", 404, /no such stream/, SET_TYPE),
  pushed("set: alg none", /"err":/),
  pushed("set: no signature", /"err":/),
  pushed("set: another signature", /"err":/),
  pushed("set: a stranger's", /"err":/),
  pushed("set: another typ", /"err":/),
  pushed("set: another issuer", /invalid_issuer/),
  pushed("set: another audience", /invalid_audience/),
  pushed("set: with sub", /sub/),
  pushed("set: with exp", /exp/),
  pushed("set: no jti", /jti/),
  pushed("set: a year old", /older than 30 days/),
  pushed("set: of tomorrow", /in the future/),
  pushed("set: no event", /event/),
  pushed("set: two events", /event/),
  pushed("set: an event nobody asked for", /access_denied/),
  pushed("set: no subject", /sub_id/),
  pushed("set: a subject of no rule", /access_denied/),
  pushed("set: another issuer's subject", /"err":/),
  pushed("set: a subject that cannot be a key", /"err":/),
];

const STREAMS = "/admin/v1/ssf/streams";
const streams: readonly BadCase[] = [
  posted(STREAMS, "nothing said", {}, 400, /id: /),
  posted(STREAMS, "an unknown member", { id: "x", surprise: 1 }, 400, /surprise: not a known member/),
  posted(STREAMS, "an array", [], 400, /JSON object/),
  asked("GET", `${STREAMS}/nobody`, 404, /no/),
  asked("DELETE", `${STREAMS}/nobody`, 404, /no/),
];

const JOSE = { "content-type": "application/jose" };
const messages: readonly BadCase[] = ["pull", "push", "request"].flatMap((kind) => {
  const path = `/sync/v1/${kind}`;
  return [
    posted(path, "a message as JSON", {}, 400, /application\/jose is required/),
    posted(path, "nothing", "", 400, /./, JOSE),
    posted(path, "garbage", "a.b.c", 400, /not a message of a member/, JOSE),
    posted(path, "bytes that are not UTF-8", Buffer.from([0xff, 0xfe]), 400, /UTF-8/, JOSE),
    posted(path, "a PEP's credential", "eyJhbGciOiJFZDI1NTE5In0.e30.AA", 400, /not a message of a member/, JOSE),
    asked("GET", path, 405),
  ];
});

const REQUESTS = "/admin/v1/requests";
const requests: readonly BadCase[] = [
  posted(`${REQUESTS}/us.x/accept`, "no key", { reason: "x" }, 400, /key: /),
  posted(`${REQUESTS}/us.x/accept`, "a key that is none", { reason: "x", key: "alice" }, 400, /unknown key kind/),
  posted(`${REQUESTS}/us.x/accept`, "nobody asked", { reason: "x", key: "subject:user/a" }, 404, /no request us\.x/),
  posted(`${REQUESTS}/__proto__/refuse`, "nobody asked", { reason: "x" }, 404, /no request/),
  posted(`${REQUESTS}/us.x/refuse`, "no reason", {}, 400, /reason: /),
  asked("GET", `${REQUESTS}?limit=0`, 400, /limit/),
];

export const BAD_SIGNALS: readonly BadCase[] = [...signals, ...streams, ...messages, ...requests];
