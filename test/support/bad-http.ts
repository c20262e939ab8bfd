import { asked, authorized, harmless, wire, type BadCase, type World } from "./bad-request.ts";

/** Credentials that are none here, ids and routes that lead nowhere, and bytes that are no HTTP request. */

const EVALUATION = "/access/v1/evaluation";
const STATUS = "/admin/v1/status";
const named =
  (name: string) =>
  ({ tokens }: World): string =>
    `Bearer ${tokens[name]!}`;

const credentials: readonly BadCase[] = [
  ...[EVALUATION, STATUS].flatMap((path) => [
    authorized(path, "no credential", () => null, 401, /required/),
    authorized(path, "an empty Authorization", () => "", 401),
    authorized(path, "Basic", () => "Basic YWxpY2U6c2VjcmV0", 401, /Bearer/),
    authorized(path, "Bearer and nothing", () => "Bearer", 401),
    authorized(path, "Bearer and garbage", () => "Bearer ../../x", 401, /compact JWS/),
    authorized(path, "two credentials", ({ region }) => `Bearer ${region.pep} ${region.admin}`, 401),
    authorized(path, "a credential of 5,000 characters", () => `Bearer ${"a".repeat(5_000)}`, 401, /longer than 4096/),
    authorized(path, "alg none", named("alg none"), 401, /alg is not Ed25519/),
    authorized(path, "signed by a stranger", named("stranger"), 401, /no (admin )?key of this region/),
  ]),
  authorized(EVALUATION, "a stranger under our kid", named("pep, stranger"), 401, /signature does not verify/),
  authorized(STATUS, "a stranger under our kid", named("admin, stranger"), 401, /signature does not verify/),
  authorized(EVALUATION, "an administrator's", ({ region }) => `Bearer ${region.admin}`, 401),
  authorized(
    EVALUATION,
    "other claims under a good signature",
    named("pep, other claims"),
    401,
    /signature does not verify/,
  ),
  authorized(EVALUATION, "another signature", named("pep, other signature"), 401, /signature/),
  authorized(EVALUATION, "another region's PEP", ({ other }) => `Bearer ${other.pep}`, 401),
  authorized(EVALUATION, "an expired one", named("pep, expired"), 401, /expired/),
  authorized(EVALUATION, "one without the scope", named("pep, search only"), 403, /scope evaluate/),
  authorized(STATUS, "a PEP's", ({ region }) => `Bearer ${region.pep}`, 401),
  authorized(STATUS, "another region's administrator", ({ other }) => `Bearer ${other.admin}`, 401),
  authorized(STATUS, "an expired one", named("admin, expired"), 401, /expired/),
  authorized(STATUS, "one for another audience", named("admin, other audience"), 401, /audience/),
  authorized(STATUS, "one that lives for a year", named("admin, a year"), 401, /lifetime/),
  authorized(STATUS, "one without the scope", named("admin, lineage only"), 403, /scope status:read/),
];

const DECISIONS = "/lineage/v1/decisions";
const routes: readonly BadCase[] = [
  ...[
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e/%2e%2e/health",
    "%E2%9C%93",
    "%00",
    "%ff",
    "%zz",
    "__proto__",
    "eu.1.s0.0",
    "eu.1.s0.01",
    "eu.1.s0.-1",
    "eu.1.s0.1e3",
    "eu.1.s0.999999999999999",
    "eu.1.s0.9999999999999999999",
    "eu.1.s9.1",
    "eu.2.s0.1",
    "EU.1.s0.1",
    "{decision}/1",
    "{decision}/99999",
    "{decision}/100000",
    "{decision}/00",
    "{decision}/0/0",
    "{decision}%0a",
    "{otherDecision}",
    `eu.1.s0.${"1".repeat(3_000)}`,
  ].map((id) => asked("GET", `${DECISIONS}/${id}`, 404, /no such (decision|route)/)),
  ...["..%2F..", "%ff", "eu.1.short", `eu.1.${"A".repeat(22)}`, "{otherRun}"].flatMap((id) => [
    asked("GET", `/runs/v1/runs/${id}`, 404),
    asked("GET", `/lineage/v1/runs/${id}`, 404),
  ]),
  ...["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "before=0", "wish=1"].map((query) =>
    asked("GET", `/lineage/v1/runs/{run}?${query}`, 400, /limit|before|wish/),
  ),
  asked("GET", EVALUATION, 405, /use POST/),
  asked("DELETE", "/admin/v1/revocations", 405, /use POST, GET/),
  asked("PUT", "/runs/v1/runs", 405),
  asked("PATCH", "/health", 405),
  asked("POST", "/.well-known/jwks.json", 405),
  asked("GET", "/", 404, /no such route/),
  asked("GET", "/access/v2/evaluation", 404, /no such route/),
  asked("GET", "/admin/v1/status/../../..//etc/passwd", 404),
  asked("GET", "/.well-known/authzen-configuration/us", 404),
];

const HEAD =
  "POST /access/v1/evaluation HTTP/1.1\nHost: eu\nAuthorization: Bearer {pep}\nContent-Type: application/json\nX-Request-ID: {id}\n";

const protocol: readonly BadCase[] = [
  wire("bytes that are no HTTP", "\u0000\u0001\u0002 nonsense\n\n", 400),
  wire("an HTTP/0.9 request", "GET /health\n\n", 400),
  wire("another protocol version", "GET /health HTTP/9.9\n\n", 400),
  wire("a TLS hello", "\u0016\u0003\u0001\u0000\u00a5\u0001\u0000\u0000\u00a1\u0003\u0003\n\n", 400),
  wire("a header of 1 MB", `GET /health HTTP/1.1\nHost: eu\nX-Big: ${"a".repeat(1_000_000)}\n\n`, 431),
  wire("a header without a colon", "GET /health HTTP/1.1\nHost: eu\nnonsense\n\n", 400),
  wire("a length that is no number", `${HEAD}Content-Length: many\n\n{good}`, 400),
  wire("a negative length", `${HEAD}Content-Length: -1\n\n{good}`, 400),
  wire("two lengths", `${HEAD}Content-Length: {length}\nContent-Length: 5\n\n{good}`, 400),
  wire(
    "a length and chunks, which hold nothing",
    `${HEAD}Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n`,
    400,
    {
      says: /empty/,
    },
  ),
  wire("an unknown transfer coding", `${HEAD}Transfer-Encoding: zebra\n\n{good}`, 400),
  wire("chunks that are none", `${HEAD}Transfer-Encoding: chunked\n\nzz\n{good}\n0\n\n`, 400, { says: /broke off/ }),
  wire("a length beyond all bounds", `${HEAD}Content-Length: 99999999999\n\n`, 413, { says: /larger than/ }),
  wire("half a request, and silence", `${HEAD}Content-Length: {length}\n\n{"subject":`, null),
  wire("half a header, and silence", "POST /access/v1/evaluation HTTP/1.1\nHost:", null),
  harmless(
    wire("garbage after a good request", `${HEAD}Content-Length: {length}\n\n{good}\u0000\u0001 garbage\n\n`, 200, {}),
  ),
  harmless(
    wire(
      "a good request twice at once",
      `${HEAD}Content-Length: {length}\n\n{good}${HEAD}Content-Length: {length}\n\n{good}`,
      200,
      {},
    ),
  ),
];

export const BAD_HTTP: readonly BadCase[] = [...credentials, ...routes, ...protocol];
