import { base64url, fromBase64url, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { digestOf } from "../../src/base/digest.ts";
import { isObject, parseJson } from "../../src/base/json.ts";
import { decide, regionChecks } from "../../src/decision/decide.ts";
import type { CanonicalRequest } from "../../src/vocabulary/types.ts";
import type { ReasonCode } from "../../src/vocabulary/reasons.ts";
import type { Continuity } from "../../src/objects/decide.ts";
import type { SearchAnswer, SearchMessage } from "../../src/objects/shard.ts";
import type { LoadedPolicy } from "../../src/policy/load.ts";
import { candidateRequest, searchCandidates } from "../../src/policy/search.ts";
import { nodeSha256 } from "../platform.ts";
import type { ParsedFacts } from "./facts-reader.ts";
import { describeRunState } from "./run-state.ts";
import type { Turn } from "./turn.ts";

const IMPLICIT = { id: "", kind: "implicit", status: "open", members: [], version: 0 } as const;

/**
 * Finds what would be allowed if it were asked now: every candidate goes through the same kernel as a decision, so a
 * revoked subject is not found. A search is a question about the future and gives no permission, therefore it leaves
 * no record.
 */
export function search(
  turn: Turn,
  /** In force now; the turn's own is of the last decision. */
  policy: LoadedPolicy,
  message: SearchMessage,
  facts: ParsedFacts,
): SearchAnswer {
  const t_ms = turn.now();
  const shared = {
    facts: facts.facts,
    facts_digest: facts.digest,
    policy,
    trust: turn.liveTrust(),
    condition: turn.liveCondition(),
    run: IMPLICIT,
    run_digest: describeRunState(IMPLICIT).digest,
    region: turn.region,
    at_least: null,
    t_ms,
    trust_digest: turn.trustDigest,
  };
  const question = digestOf(
    `${message.kind}\0${message.request}\0${message.page.limit ?? ""}\0${policy.digest}`,
    nodeSha256,
  );
  const offset = message.page.token === null || message.page.token === "" ? 0 : readToken(message.page.token, question);
  if (offset === null) return { ok: false, code: "bad_page_token" };

  const problem = regionChecks(shared);
  if (problem !== null) return nothingFound(problem.reason, turn.continuity());

  const request = JSON.parse(message.request) as CanonicalRequest;
  const found = searchCandidates(policy, message.kind, request).filter((candidate) => {
    const asked = candidateRequest(message.kind, request, candidate);
    const searched = message.kind === "action" ? null : message.kind;
    // Digests are not part of what a search answers.
    return decide({ ...shared, request: asked, input_digest: "", searched }).core.decision === "allow";
  });
  const limit = message.page.limit ?? found.length;
  const page = found.slice(offset, offset + limit);
  const more = offset + page.length < found.length;
  return {
    ok: true,
    results: page.map((candidate) =>
      message.kind === "action"
        ? { name: candidate }
        : { type: message.kind === "subject" ? request.subject.type : request.resource.type, id: candidate },
    ),
    next_token: more
      ? writeToken(offset + page.length, question)
      : offset > 0 || message.page.limit !== null
        ? ""
        : null,
    total: found.length,
    reason: null,
    continuity: turn.continuity(),
  };
}

/** Everything is denied, for a reason that is not one of policy. */
export const nothingFound = (reason: ReasonCode, continuity: Continuity): SearchAnswer => ({
  ok: true,
  results: [],
  next_token: null,
  total: 0,
  reason,
  continuity,
});

/**
 * A page token says where to go on, and for which question: the request and limit must be the same, and so must the
 * policy. It is not secret and needs no signature, since any offset could be asked for anyway.
 */
const writeToken = (offset: number, question: string): string =>
  base64url(utf8(JSON.stringify({ o: offset, q: question })));

function readToken(token: string, question: string): number | null {
  const bytes = token.length <= 256 ? fromBase64url(token) : null;
  const text = bytes === null ? null : fromUtf8(bytes);
  const json = text === null ? null : parseJson(text);
  if (json?.ok !== true || !isObject(json.value)) return null;
  const { o, q } = json.value;
  return typeof o === "number" && Number.isSafeInteger(o) && o >= 0 && q === question ? o : null;
}
