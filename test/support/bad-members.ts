import { asked, harmless, posted, type BadCase } from "./bad-request.ts";
import { READ } from "./http.ts";

/** JSON objects whose members are missing, of another type, out of range, or not known. */

const EVALUATION = "/access/v1/evaluation";
const EVALUATIONS = "/access/v1/evaluations";
const SEARCH = "/access/v1/search/subject";
const RUNS = "/runs/v1/runs";
const REVOCATIONS = "/admin/v1/revocations";
const PEPS = "/admin/v1/peps";

const NODE = { id: "a", action: "read" };

const brief = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 20)}… (${text.length})` : text;
};

/** Every wrong type at `subject`, `action`, `resource` and each of their members. */
const wrongTypes: readonly BadCase[] = (["subject", "action", "resource"] as const).flatMap((entity) => [
  ...[undefined, null, "alice", 7, true, []].map((value) =>
    posted(EVALUATION, `${entity} ${brief(value)}`, { ...READ, [entity]: value }, 400, new RegExp(`^${entity}: `)),
  ),
  ...(entity === "action" ? ["name"] : ["type", "id"]).flatMap((member) =>
    [undefined, null, "", 7, false, {}, ["a"], "x".repeat(1_025)].map((value) => {
      const body = { ...READ, [entity]: { ...READ[entity], [member]: value } };
      return posted(
        EVALUATION,
        `${entity}.${member} ${brief(value)}`,
        body,
        400,
        new RegExp(`^${entity}\\.${member}: `),
      );
    }),
  ),
  ...["text", 7, []].map((value) => {
    const body = { ...READ, [entity]: { ...READ[entity], properties: value } };
    return posted(
      EVALUATION,
      `${entity}.properties ${brief(value)}`,
      body,
      400,
      new RegExp(`^${entity}\\.properties: `),
    );
  }),
]);

const withOptions = (interlock: unknown) => ({ ...READ, context: { interlock } });
const option = (name: string, value: unknown, says = new RegExp(`^context\\.interlock\\.${name}`)): BadCase =>
  posted(EVALUATION, `interlock.${name} ${brief(value)}`, withOptions({ [name]: value }), 400, says);
const denied = (name: string, interlock: object, reason: RegExp): BadCase =>
  posted(EVALUATION, name, withOptions(interlock), 200, reason);

const options: readonly BadCase[] = [
  posted(EVALUATION, "context text", { ...READ, context: "x" }, 400, /^context: /),
  posted(EVALUATION, "context array", { ...READ, context: [] }, 400, /^context: /),
  posted(EVALUATION, "interlock text", withOptions("x"), 400, /^context\.interlock: /),
  posted(EVALUATION, "interlock array", withOptions([]), 400, /^context\.interlock: /),
  option("wish", 1, /interlock\.wish: is not a known member/),
  option("permit", {}, /^context\.interlock\.permit: audience/),
  ...["", 7, {}, ["x"], "x".repeat(131_073)].map((value) => option("pass", value)),
  ...["x", {}, [""], [7], Array.from({ length: 17 }, () => "x")].map((value) => option("step_receipts", value)),
  ...["", "a b", "x".repeat(65), 7, {}].map((value) => option("step", value)),
  ...["x", {}, ["x"], [7], ["eu.1.s0.1", "eu.1.s0.1"], Array.from({ length: 65 }, (_, i) => `eu.1.s0.${i + 1}`)].map(
    (value) => option("parents", value),
  ),
  ...[0, -1, 1.5, "1", {}].map((value) => option("state_version", value)),
  ...[{ step: "a" }, { parents: ["eu.1.s0.1"] }, { state_version: 1 }].map((members) =>
    posted(EVALUATION, `without run: ${brief(members)}`, withOptions(members), 400, /send run beside it/),
  ),
  ...[7, "", {}, "x".repeat(1_025)].map((value) => option("run", value)),
  ...[7, "", "a b", "ключ", "x".repeat(129), "a\u0000"].map((value) => option("idempotency_key", value)),
  ...[0, -1, 1.5, 30_001, "5", 1e15].map((value) => option("deadline_ms", value)),
  ...["yes", 1, {}].flatMap((value) => [option("dry_run", value), option("explain", value)]),
  ...["full", true].map((value) => option("evidence", value)),
  ...["x", 7, { since: 1 }, { at_least: 7 }, { at_least: "" }].map((value) => option("consistency", value)),
  denied("a consistency token that is none", { consistency: { at_least: "AAAA" } }, /consistency_unsatisfied/),
  denied("a run id that is none", { run: "../../etc/passwd" }, /run_unknown/),
  denied("a run nobody opened", { run: `eu.1.${"A".repeat(22)}` }, /run_unknown/),
  denied("a run of another region", { run: `us.1.${"A".repeat(22)}` }, /run_unknown/),
];

const items = (evaluations: unknown, more: object = {}): object => ({ ...READ, ...more, evaluations });

const batches: readonly BadCase[] = [
  posted(EVALUATIONS, "1,001 items", items(Array.from({ length: 1_001 }, () => ({}))), 400, /at most 1000 items/),
  ...["all", {}, 7, { 0: {} }].map((value) =>
    posted(EVALUATIONS, `evaluations ${brief(value)}`, items(value), 400, /^evaluations: an array/),
  ),
  ...["all", 7, []].map((value) =>
    posted(
      EVALUATIONS,
      `semantic ${brief(value)}`,
      items([{}], { options: { evaluations_semantic: value } }),
      400,
      /^options\.evaluations_semantic: one of/,
    ),
  ),
  posted(EVALUATIONS, "options array", items([{}], { options: [] }), 400, /^options/),
  ...[null, 7, "x", [], { subject: 7 }, { resource: { type: "record" } }, { context: [] }].map((item) =>
    posted(
      EVALUATIONS,
      `item ${brief(item)}`,
      items([item]),
      200,
      /"decision":false,"context":\{"error":\{"status":400,"message":"\S/,
    ),
  ),
  posted(
    EVALUATIONS,
    "item with a key of its own",
    items([{ context: { interlock: { idempotency_key: "a" } } }]),
    200,
    /idempotency_key: is for the whole request/,
  ),
];

const searches: readonly BadCase[] = [
  posted(SEARCH, "no subject", { ...READ, subject: undefined }, 400, /^subject: /),
  posted(SEARCH, "no subject type", { ...READ, subject: {} }, 400, /^subject\.type: /),
  ...["x", 7, []].map((page) => posted(SEARCH, `page ${brief(page)}`, { ...READ, page }, 400, /^page: /)),
  ...[0, -1, 1.5, "1"].map((limit) =>
    posted(SEARCH, `limit ${brief(limit)}`, { ...READ, page: { limit } }, 400, /^page\.limit: /),
  ),
  ...["AAAA", "../..", "x".repeat(4_096), 7, "x".repeat(4_097)].map((token) =>
    posted(SEARCH, `token ${brief(token)}`, { ...READ, page: { token } }, 400, /^page\.token: /),
  ),
  posted(SEARCH, "a run", { ...READ, context: { interlock: { run: "x" } } }, 400, /run: is not supported in a search/),
];

const alice = READ.subject;
const runs: readonly BadCase[] = [
  posted(RUNS, "nothing", {}, 400, /principal/),
  posted(RUNS, "principal text", { principal: "alice" }, 400, /principal/),
  posted(RUNS, "principal.id number", { principal: { type: "user", id: 7 } }, 400, /principal\.id/),
  posted(RUNS, "a member not known", { principal: alice, wish: {} }, 400, /wish: not a known member/),
  posted(RUNS, "principal with more", { principal: { ...alice, role: "admin" } }, 400, /principal\.role/),
  posted(RUNS, "101 members", { principal: alice, members: Array.from({ length: 101 }, () => alice) }, 400, /members/),
  posted(RUNS, "members object", { principal: alice, members: {} }, 400, /members/),
  ...(
    [
      ["an empty plan", { plan: { nodes: [] } }, /^plan\.nodes: /],
      [
        "257 nodes",
        { plan: { nodes: Array.from({ length: 257 }, (_, i) => ({ id: `n${i}`, action: "a" })) } },
        /^plan/,
      ],
      ["a circle", { plan: { nodes: [{ id: "a", action: "x", after: ["a"] }] } }, /^plan: the plan goes in a circle/],
      ["an edge to nowhere", { plan: { nodes: [{ id: "a", action: "x", after: ["b"] }] } }, /^plan: node a comes/],
      ["a budget of everything", { budgets: [{ id: "b", actions: ["*"], max: "all" }] }, /^budgets\[0\]\.max: /],
      ["a star in a scope", { budgets: [{ id: "b", actions: ["a*b"], max: 1 }] }, /^budgets\[0\]\.actions\[0\]: /],
      ["a window of nothing", { budgets: [{ id: "b", actions: ["*"], max: 1, window_ms: 0 }] }, /window_ms: /],
      ["a label with a space", { labels: ["a b"] }, /^labels\[0\]: /],
      [
        "a delegation to oneself",
        { delegations: [{ delegate: alice, scopes: ["*"], expires_ms: 9e12 }] },
        /themselves/,
      ],
      ["half a parent", { parent_run: `eu.1.${"A".repeat(22)}` }, /sent together/],
    ] as const
  ).map(([name, more, says]) => posted(RUNS, name, { principal: alice, ...more }, 400, says)),
  posted(`${RUNS}/{run}/amend`, "no plan", {}, 400, /^plan: /),
  posted(`${RUNS}/{run}/amend`, "version 0", { plan: { nodes: [NODE] }, state_version: 0 }, 400, /^state_version: /),
  posted(
    `${RUNS}/{run}/delegations`,
    "no delegator",
    { delegate: alice, scopes: ["*"], expires_ms: 9e12 },
    400,
    /^delegator: /,
  ),
  posted(
    `${RUNS}/{run}/delegations`,
    "an id of one's own",
    { delegator: alice, id: "x" },
    400,
    /id: not a known member|delegate: /,
  ),
  posted(`${RUNS}/{run}/steps/eu.1.s0.1/outcome`, "no word", { outcome: "maybe" }, 400, /^outcome: /),
  posted(`${RUNS}/{run}/steps/nonsense/outcome`, "no step", { outcome: "failed" }, 404, /no such step/),
  posted(`${RUNS}/{run}/steps/eu.1.s0.999999999/outcome`, "a step to come", { outcome: "failed" }, 404, /no such step/),
  posted(
    `${RUNS}/eu.1.${"A".repeat(22)}/amend`,
    "a run nobody opened",
    { plan: { nodes: [NODE] } },
    404,
    /no such run/,
  ),
  posted("/runs/v1/runs/{run}/close", "a member not known", { forced: true }, 400, /forced: not a known member/),
];

const revocation = (name: string, change: object, says: RegExp): BadCase =>
  posted(REVOCATIONS, name, { key: "subject:user/mallory", reason: "test", ...change }, 400, says);
const pep = (name: string, change: object, says: RegExp): BadCase =>
  posted(PEPS, name, { id: "bad", scopes: ["evaluate"], ...change }, 400, says);

const administration: readonly BadCase[] = [
  revocation("a member not known", { forced: true }, /forced: not a known member/),
  revocation("no key", { key: undefined }, /^key: /),
  revocation("an unknown kind", { key: "wish:alice" }, /^key: unknown key kind/),
  revocation("a kind without a form", { key: "subject:" }, /^key: /),
  revocation("a form of another kind", { key: "image:alice" }, /^key: .*image:sha256/),
  ...["\u0000", "\n", "\u2028", "\ud800"].map((bad) =>
    revocation(`key with ${brief(bad)}`, { key: `subject:user/a${bad}b` }, /key: |lone surrogate/),
  ),
  revocation("a key too long", { key: `subject:user/${"x".repeat(3_000)}` }, /^key: /),
  revocation("a __proto__ kind", { key: "__proto__:x" }, /^key: unknown key kind/),
  ...["never", 7, null].map((from) => revocation(`from ${brief(from)}`, { from }, /^from: /)),
  ...["everywhere", true].map((wait) => revocation(`wait ${brief(wait)}`, { wait }, /^wait: /)),
  ...["", 7, "x".repeat(257), undefined].map((reason) =>
    revocation(`reason ${brief(reason)}`, { reason }, /^reason: /),
  ),
  ...["", "a b", "../x", "ü", "x".repeat(129), 7].map((id) => pep(`id ${brief(id)}`, { id }, /^id: /)),
  ...[[], ["root"], ["evaluate", "evaluate"], "evaluate", [7]].map((scopes) =>
    pep(`scopes ${brief(scopes)}`, { scopes }, /^scopes/),
  ),
  ...[0, -1, 1.5, 1e9, "60"].map((ttl_s) => pep(`ttl_s ${brief(ttl_s)}`, { ttl_s }, /^ttl_s: /)),
  posted("/admin/v1/freeze", "no reason", {}, 400, /^reason: /),
  posted("/admin/v1/unfreeze", "a member not known", { reason: "x", force: 1 }, 400, /force: not a known/),
  posted(`${REVOCATIONS}/eu.1.999999/restore`, "an id nobody has", { reason: "x" }, 404, /no revocation eu\.1\.999999/),
  posted(`${REVOCATIONS}/__proto__/restore`, "an id that is none", { reason: "x" }, 404, /no revocation/),
  posted(`${REVOCATIONS}/eu.1.1/restore`, "an event of another kind", { reason: "x" }, 404, /no revocation/),
  asked("GET", `${REVOCATIONS}/us.1.1`, 404, /no revocation/),
  asked("GET", `${REVOCATIONS}?limit=0`, 400, /limit/),
  asked("GET", `${REVOCATIONS}?limit=1001`, 400, /limit/),
  asked("GET", `${REVOCATIONS}?after=-1`, 400, /after/),
  asked("GET", `${REVOCATIONS}?after=1&after=2`, 400, /after: stands twice/),
  asked("GET", `${REVOCATIONS}?wish=1`, 400, /wish/),
];

export const BAD_MEMBERS: readonly BadCase[] = [
  ...wrongTypes,
  ...options,
  ...batches,
  ...searches,
  ...runs,
  ...administration,
  harmless(
    posted(
      EVALUATION,
      "members not known, outside ours",
      { ...READ, wish: [1], subject: { ...READ.subject, x: 1 } },
      200,
    ),
  ),
];
