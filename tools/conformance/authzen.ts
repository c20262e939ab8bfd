import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose";
import { messageOf, Problem } from "../problem.ts";

/**
 * Runs the certification cases of AuthZEN 1.0 (openid/authzen, `certification/`) against a running PDP. The region
 * needs the pack `authzen-certification`.
 */
type Json = { readonly [member: string]: unknown };

type Expectation = {
  readonly status: number;
  readonly decision?: boolean;
  /** One per item; `null`: either. */
  readonly evaluations?: readonly (boolean | null)[];
  readonly resultsInclude?: readonly Json[];
  readonly resultsExactly?: readonly Json[];
  readonly resultsArray?: boolean;
  /** Every result has this entity type. */
  readonly type?: string;
  readonly echoRequestId?: string;
  readonly contentType?: string;
  readonly required?: readonly string[];
  readonly httpsUrls?: boolean;
  /** Prose in the file; present: verify `signed_metadata` where the answer has it. */
  readonly signedMetadata?: string;
  /** Prose in the file; present: follow `page.next_token` to the end. */
  readonly page?: string;
};

type Case = {
  readonly ref: string;
  readonly level: string;
  readonly endpoint?: string;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly body?: unknown;
  readonly rawBody?: string;
  readonly repeat?: number;
  readonly expect: Expectation;
};

export type CaseFile = { readonly defaultPathPrefix: string; readonly cases: readonly Case[] };

export type ConformanceResult = {
  readonly total: number;
  readonly passed: number;
  readonly failures: readonly { readonly ref: string; readonly level: string; readonly problems: readonly string[] }[];
};

export function readCases(value: unknown): CaseFile {
  const file = value as Partial<CaseFile> | null;
  if (!Array.isArray(file?.cases)) {
    throw new Problem(
      'The case file has no array "cases"',
      "Give the certification cases of AuthZEN (certification-cases.json).",
      2,
    );
  }
  return { defaultPathPrefix: file.defaultPathPrefix ?? "/access/v1/", cases: file.cases };
}

/** `token`: credential of a PEP with the scopes `evaluate` and `search`; none where the region runs with --open. */
export async function runAuthzenConformance(
  baseUrl: string,
  file: CaseFile,
  token: string | null,
): Promise<ConformanceResult> {
  const pdp: Pdp = { url: baseUrl.replace(/\/+$/, ""), prefix: file.defaultPathPrefix, token };
  const failures: { ref: string; level: string; problems: readonly string[] }[] = [];
  for (const one of file.cases) {
    const problems: string[] = [];
    for (let round = 0; round < (one.repeat ?? 1) && problems.length === 0; round++) {
      problems.push(...(await attempt(pdp, one)));
    }
    if (problems.length > 0) failures.push({ ref: one.ref, level: one.level, problems });
  }
  return { total: file.cases.length, passed: file.cases.length - failures.length, failures };
}

type Pdp = { readonly url: string; readonly prefix: string; readonly token: string | null };
type Reply = { readonly status: number; readonly headers: Headers; readonly text: string; readonly json: Json | null };

async function attempt(pdp: Pdp, one: Case): Promise<readonly string[]> {
  try {
    const reply = await ask(pdp, one, one.body);
    return [...problemsOf(reply, one.expect), ...(await deeperProblems(pdp, one, reply))];
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause !== undefined ? messageOf(cause.cause) : messageOf(cause);
    return [`no answer: ${inner}`];
  }
}

async function ask(pdp: Pdp, one: Case, body: unknown): Promise<Reply> {
  const method = one.method ?? "POST";
  const answer = await fetch(pdp.url + (one.path ?? pdp.prefix + (one.endpoint ?? "")), {
    method,
    headers: {
      ...(pdp.token === null ? {} : { authorization: `Bearer ${pdp.token}` }),
      ...(method === "GET" ? {} : { "content-type": one.contentType ?? "application/json" }),
      ...one.headers,
    },
    ...(method === "GET" ? {} : { body: one.rawBody ?? JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
    redirect: "error",
  });
  const text = await answer.text();
  let json: Json | null = null;
  try {
    json = JSON.parse(text) as Json;
  } catch {
    // Stays null; where JSON is expected the checks say so.
  }
  return { status: answer.status, headers: answer.headers, text, json };
}

/** What the answer itself gets wrong. */
function problemsOf({ status, headers, text, json }: Reply, expect: Expectation): string[] {
  if (status !== expect.status) return [`status ${status}, expected ${expect.status}: ${text.slice(0, 160)}`];
  if (expect.status !== 200) return [];
  const problems: string[] = [];
  const say = (problem: string): void => void problems.push(problem);
  if (json === null) return [`the body is not JSON: ${text.slice(0, 160)}`];
  if (expect.decision !== undefined && json["decision"] !== expect.decision) {
    say(`decision ${String(json["decision"])}, expected ${expect.decision}`);
  }
  if (expect.evaluations !== undefined && !sameEvaluations(json["evaluations"], expect.evaluations)) {
    say(`evaluations ${brief(json["evaluations"])}, expected ${brief(expect.evaluations)}`);
  }
  const results = Array.isArray(json["results"]) ? (json["results"] as readonly Json[]) : null;
  const wantsResults = expect.resultsInclude ?? expect.resultsExactly ?? expect.resultsArray;
  if (wantsResults !== undefined && results === null) say(`results is not an array: ${text.slice(0, 160)}`);
  for (const wanted of expect.resultsInclude ?? []) {
    if (results !== null && !results.some((result) => sameElement(result, wanted)))
      say(`results lack ${brief(wanted)}`);
  }
  if (expect.resultsExactly !== undefined && brief(results) !== brief(expect.resultsExactly)) {
    say(`results ${brief(results)}, expected ${brief(expect.resultsExactly)}`);
  }
  if (expect.type !== undefined && results?.some((result) => result["type"] !== expect.type) === true) {
    say(`a result is not of type ${expect.type}`);
  }
  if (expect.echoRequestId !== undefined && headers.get("x-request-id") !== expect.echoRequestId) {
    say(`X-Request-ID ${headers.get("x-request-id") ?? "missing"}, expected ${expect.echoRequestId}`);
  }
  if (expect.contentType !== undefined && !(headers.get("content-type") ?? "").startsWith(expect.contentType)) {
    say(`content type ${headers.get("content-type") ?? "missing"}, expected ${expect.contentType}`);
  }
  for (const member of expect.required ?? []) if (!json[member]) say(`${member} is missing`);
  if (expect.httpsUrls === true) {
    for (const [member, value] of Object.entries(json)) {
      const isUrl = member === "policy_decision_point" || member.endsWith("_endpoint");
      if (isUrl && !String(value).startsWith("https://")) say(`${member} is not an https URL: ${String(value)}`);
    }
  }
  return problems;
}

/** What further requests show: pages, and the signature over the metadata. */
async function deeperProblems(pdp: Pdp, one: Case, reply: Reply): Promise<string[]> {
  if (reply.status !== 200 || reply.json === null) return [];
  if (one.expect.page !== undefined) return pageProblems(pdp, one, reply.json);
  if (one.expect.signedMetadata !== undefined) return signedMetadataProblems(pdp, reply.json);
  return [];
}

const MAX_PAGES = 100;

async function pageProblems(pdp: Pdp, one: Case, first: Json): Promise<string[]> {
  const seen = new Set<string>();
  let current = first;
  for (let pages = 1; pages <= MAX_PAGES; pages++) {
    for (const result of (current["results"] as readonly Json[] | undefined) ?? []) {
      const text = brief(result);
      if (seen.has(text)) return [`${text} is on two pages`];
      seen.add(text);
    }
    const page = current["page"] as { readonly next_token?: unknown } | undefined;
    if (page === undefined || page.next_token === "") return [];
    if (typeof page.next_token !== "string") return ["page has no next_token text"];
    const body = one.body as Json;
    const next = await ask(pdp, one, { ...body, page: { ...(body["page"] as Json), token: page.next_token } });
    if (next.status !== 200 || next.json === null)
      return [`page ${pages + 1}: status ${next.status}: ${next.text.slice(0, 160)}`];
    current = next.json;
  }
  return [`more than ${MAX_PAGES} pages`];
}

/** RFC-style JWT checks and precedence: the signed values must be the ones served beside them. */
async function signedMetadataProblems(pdp: Pdp, metadata: Json): Promise<string[]> {
  const jwt = metadata["signed_metadata"];
  if (jwt === undefined) return [];
  if (typeof jwt !== "string") return ["signed_metadata is not a text"];
  const answer = await fetch(`${pdp.url}/.well-known/jwks.json`, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) return [`/.well-known/jwks.json answers ${answer.status}`];
  try {
    if (decodeProtectedHeader(jwt).alg === "none") return ["signed_metadata is not signed"];
    const keys = createLocalJWKSet((await answer.json()) as JSONWebKeySet);
    const { payload } = await jwtVerify(jwt, keys, { issuer: String(metadata["policy_decision_point"]) });
    if ("signed_metadata" in payload) return ["signed_metadata is nested in itself"];
    return Object.entries(metadata)
      .filter(([member, value]) => member !== "signed_metadata" && brief(payload[member]) !== brief(value))
      .map(([member]) => `signed_metadata and metadata differ in ${member}`);
  } catch (cause) {
    return [`signed_metadata does not verify: ${messageOf(cause)}`];
  }
}

function sameEvaluations(given: unknown, wanted: readonly (boolean | null)[]): boolean {
  if (!Array.isArray(given) || given.length !== wanted.length) return false;
  return wanted.every((want, i) => {
    const decision = (given[i] as Json | null)?.["decision"];
    return typeof decision === "boolean" && (want === null || decision === want);
  });
}

/** The official suite compares whole elements, so a member more is a failure too. */
const sameElement = (given: Json, wanted: Json): boolean =>
  Object.keys(given).length === Object.keys(wanted).length &&
  Object.entries(wanted).every(([member, value]) => given[member] === value);

const brief = (value: unknown): string => (JSON.stringify(value) ?? "nothing").slice(0, 400);
