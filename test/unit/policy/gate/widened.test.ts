import { beforeAll, expect, test } from "vitest";
import bundleJson from "../../../../policies/bundle.json" with { type: "json" };
import type { Bundle } from "../../../../src/policy/bundle.ts";
import { loadPolicy, type LoadedPolicy } from "../../../../src/policy/evaluate.ts";
import { widened } from "../../../../src/policy/gate/widened.ts";
import { replaced, variantOf, type Edit } from "../../../support/variant-pack.ts";

/** Shipped packs against what somebody made of them: whatever may let an irreversible step through is found. */

const SHIPPED = bundleJson as unknown as Bundle;
const of = (bundle: Bundle, ...packs: readonly string[]): LoadedPolicy => loadPolicy(bundle, packs);

async function mutant(pack: string, edit: Edit): Promise<LoadedPolicy> {
  const policy = of(await variantOf(pack, edit), "sovereign", pack);
  if (policy.problem !== null) throw new Error(policy.problem);
  return policy;
}

const inFile =
  (file: string, from: RegExp, to: string): Edit =>
  (leaf, text) =>
    leaf === file ? replaced(text, from, to) : text;
const appended =
  (file: string, more: string): Edit =>
  (leaf, text) =>
    leaf === file ? text + more : text;

type Manifest = { actions: Record<string, Record<string, unknown>>; [name: string]: unknown };
const inManifest =
  (change: (manifest: Manifest) => void): Edit =>
  (leaf, text) => {
    if (leaf !== "pack.json") return text;
    const manifest = JSON.parse(text) as Manifest;
    change(manifest);
    return JSON.stringify(manifest);
  };

const irreversible = (before: LoadedPolicy | null, after: LoadedPolicy): readonly string[] =>
  widened(before, after)
    .filter((one) => one.irreversible)
    .map(({ pack, action, why }) => `${pack}/${action}: ${why.join("; ")}`);

const PAY = "treasury/payment.execute: ";
const WIDER: readonly (readonly [what: string, pack: string, edit: Edit, found: string])[] = [
  [
    "a forbid weakened",
    "treasury",
    inFile("limits.cedar", /decimal\("10000\.0"\)/, 'decimal("99999.0")'),
    PAY + "forbid large-payment is gone or changed",
  ],
  [
    "a forbid removed",
    "treasury",
    inFile("limits.cedar", /@id\("step-limit"\)[^;]*;/, ""),
    PAY + "forbid step-limit is gone or changed",
  ],
  [
    "a forbid of a group removed",
    "treasury",
    inFile("limits.cedar", /@id\("currency-differs"\)[^;]*;/, ""),
    PAY + "forbid currency-differs is gone or changed",
  ],
  [
    "a forbid that an approval may lift now",
    "treasury",
    inFile("limits.cedar", /@reason\("limits_are_in_eur"\)/, '@reason("limits_are_in_eur")\n@step_up("approval")'),
    PAY + "forbid currency-of-limits is gone or changed",
  ],
  [
    "a permit added",
    "treasury",
    appended("policies.cedar", '@id("anybody") permit (principal, action, resource is Treasury::Account);'),
    PAY + "permit anybody is new or changed",
  ],
  [
    "a permit without its condition",
    "treasury",
    inFile("policies.cedar", /\nwhen \{ principal\.scopes\.contains\("payment\.execute"\) \}/, ""),
    PAY + "permit execute-payment is gone or changed; permit execute-payment is new or changed",
  ],
  [
    "an obligation dropped",
    "treasury",
    inFile("policies.cedar", /@obligation\("notification:treasury-desk"\)\n/, ""),
    PAY + "permit execute-payment is gone or changed; permit execute-payment is new or changed",
  ],
  [
    "who may approve it",
    "treasury",
    inFile(
      "policies.cedar",
      /@id\("approve-payment"\)([^;]*)\["treasurer", "controller"\]/,
      '@id("approve-payment")$1["treasurer", "controller", "intern"]',
    ),
    PAY + "it rests on payment.approve",
  ],
  [
    "what it has to follow",
    "treasury",
    inFile("policies.cedar", /\nwhen \{ principal\.scopes\.contains\("fx\.quote"\) \}/, ""),
    PAY + "it rests on fx.quote",
  ],
  [
    "the delegation is not asked for",
    "treasury",
    inManifest(({ actions }) => delete actions["payment.execute"]!["delegation"]),
    PAY + "actions.payment.execute.delegation is changed",
  ],
  [
    "the approval lives longer",
    "treasury",
    inManifest(
      ({ actions }) => (actions["payment.execute"]!["approval"] = { action: "payment.approve", ttl_s: 90_000 }),
    ),
    PAY + "actions.payment.execute.approval is changed",
  ],
  [
    "it needs no run",
    "treasury",
    inManifest(({ actions }) => delete actions["payment.execute"]!["run"]),
    PAY + "it needs no run any more",
  ],
  [
    "an older quote does",
    "treasury",
    inManifest((manifest) => (manifest["history"] = { fx_quote: { action: "fx.quote", within_ms: 3_600_000 } })),
    PAY + "history is changed",
  ],
  [
    "an edge between zones",
    "treasury",
    inManifest((manifest) => (manifest["edges"] = [{ from: "us", to: "eu" }])),
    PAY + "edges is changed",
  ],
  [
    "somebody's limit in the directory",
    "treasury",
    inFile("entities.json", /"20000\.0"/, '"999999.0"'),
    'Treasury::Agent::"payer"',
  ],
  [
    "the action leaves the group that is forbidden something",
    "treasury",
    inFile("schema.cedarschema", /action "payment\.execute" in \[payment\]/, 'action "payment.execute"'),
    PAY + "its schema is changed: whom and what it applies to, its groups or its context",
  ],
  [
    "the mark dropped, and nothing else",
    "treasury",
    inManifest(({ actions }) => delete actions["payment.execute"]!["irreversible"]),
    PAY + "it is not marked irreversible any more",
  ],
  [
    "the mark dropped with a wider permit",
    "kubernetes-sre",
    (leaf, text) =>
      inManifest(({ actions }) => delete actions["delete"]!["irreversible"])(
        leaf,
        inFile("policies.cedar", /resource is Sre::Pod/, "resource")(leaf, text),
      ),
    "kubernetes-sre/delete: it is not marked irreversible any more; permit restart is new or changed",
  ],
  [
    "no attestation of who deletes",
    "kubernetes-sre",
    inManifest((manifest) => {
      const { "service-account": account } = manifest["subjects"] as Record<string, Record<string, unknown>>;
      delete account!["attestation"];
    }),
    "kubernetes-sre/delete: subjects.service-account is changed",
  ],
  [
    "a budget raised",
    "kubernetes-sre",
    inManifest((manifest) => ((manifest["budgets"] as { max: string }[])[0]!.max = "1000")),
    "kubernetes-sre/delete: budgets is changed",
  ],
  ["the change window", "kubernetes-sre", inFile("entities.json", /"20h"/, '"23h"'), 'Sre::Cluster::"prod-eu"'],
  [
    "what is read is not labelled, so mail may carry it",
    "hospital-mcp",
    inManifest((manifest) => {
      const { patient } = manifest["resources"] as Record<string, Record<string, unknown>>;
      delete patient!["labels"];
    }),
    "hospital-mcp/mailer.send: the labels of hospital-mcp's patient are changed",
  ],
  [
    "what is read moves no data, so mail may carry it",
    "hospital-mcp",
    inManifest(({ actions }) => (actions["ehr.search"]!["data"] = "none")),
    "hospital-mcp/mailer.send: which way data move in hospital-mcp's ehr.search is changed",
  ],
  [
    "where labelled data may go",
    "hospital-mcp",
    inManifest((manifest) => (manifest["labels"] = { phi: { may_flow_to: "any" } })),
    "hospital-mcp/mailer.send: where data labelled phi may go is changed",
  ],
  [
    "the consent is not looked at",
    "hospital-mcp",
    inManifest((manifest) => {
      const { patient } = manifest["resources"] as Record<string, Record<string, unknown>>;
      delete patient!["depends"];
    }),
    "hospital-mcp/notes.append: resources.patient is changed",
  ],
  [
    "the tool is not pinned",
    "hospital-mcp",
    inManifest(({ actions }) => delete actions["notes.append"]!["pinned"]),
    "hospital-mcp/notes.append: actions.notes.append.pinned is changed",
  ],
];

test.each(WIDER)("%s (%s)", async (_, pack, edit, found) => {
  const before = of(SHIPPED, "sovereign", pack);
  const after = await mutant(pack, edit);
  expect(irreversible(before, after).join("\n")).toContain(found);
});

const NARROWER: readonly (readonly [what: string, pack: string, edit: Edit])[] = [
  ["as it is, built again", "treasury", (_, text) => text],
  [
    "a forbid added",
    "treasury",
    appended("limits.cedar", '@id("stop") @reason("stop") forbid (principal, action, resource) when { 1 == 2 };'),
  ],
  ["a permit removed", "treasury", inFile("policies.cedar", /@id\("prepare-payment"\)[^;]*;/, "")],
  [
    "another name and reason",
    "treasury",
    inFile("limits.cedar", /@id\("step-limit"\)\n@reason\("[^"]*"\)/, '@id("s2")\n@reason("r2")'),
  ],
  [
    "another version and description",
    "treasury",
    inManifest((manifest) => Object.assign(manifest, { version: "9", description: "d" })),
  ],
  [
    "more of what is not irreversible",
    "treasury",
    inFile(
      "policies.cedar",
      /\["treasurer", "controller"\]\.contains\(principal\.role\) \};\n\n@id\("agent-reads/,
      'true };\n\n@id("agent-reads',
    ),
  ],
  ["more marks", "kubernetes-sre", inManifest(({ actions }) => (actions["set-image"]!["irreversible"] = true))],
  ["a run needed where none was", "kubernetes-sre", inManifest(({ actions }) => (actions["get"]!["run"] = "required"))],
];

test.each(NARROWER)("nothing irreversible by: %s (%s)", async (_, pack, edit) => {
  expect(irreversible(of(SHIPPED, "sovereign", pack), await mutant(pack, edit))).toEqual([]);
});

test("what is not irreversible is reported all the same", async () => {
  const after = await mutant("treasury", NARROWER.find(([what]) => what.startsWith("more of"))![2]);
  expect(widened(of(SHIPPED, "sovereign", "treasury"), after)).toEqual([
    {
      pack: "treasury",
      action: "invoice.read",
      irreversible: false,
      why: ["permit user-reads-invoice is new or changed"],
    },
  ]);
});

let none: LoadedPolicy;
beforeAll(() => {
  none = of(SHIPPED, "sovereign");
});

test("packs that come, go, and stand in for one another", () => {
  const both = of(SHIPPED, "sovereign", "treasury");
  expect(irreversible(none, both)).toEqual([
    PAY + "it was not covered before; where data labelled pii may go is changed",
  ]);
  // Else the next bundle would bring it back without the mark.
  expect(irreversible(both, none)).toEqual([PAY + "it is not marked irreversible any more"]);
  expect(irreversible(null, both)).toEqual([PAY + "nothing is in force before it"]);
  expect(irreversible(both, of(SHIPPED, "treasury"))).toEqual([PAY + "the sovereign pack sovereign is gone"]);
  expect(irreversible(null, none)).toEqual([]);
  expect(widened(both, both)).toEqual([]);
});

test("a sovereign forbid that is gone widens everything, and an expired hope is no policy", async () => {
  const before = of(SHIPPED, "sovereign", "treasury");
  const [sovereign, ...packs] = [...SHIPPED.packs].sort((a) => (a.name === "sovereign" ? -1 : 1));
  if (sovereign?.status !== "valid") throw new Error("no sovereign pack");
  const { packDigest } = await import("../../../../src/policy/bundle.ts");
  const fewer = { ...sovereign, policies: sovereign.policies.filter(({ id }) => id !== "foreign-data") };
  const after = of({ v: 1, packs: [...packs, { ...fewer, digest: packDigest(fewer) }] }, "sovereign", "treasury");
  expect(irreversible(before, after)).toEqual([PAY + "sovereign forbid sovereign/foreign-data is gone or changed"]);
  expect(widened(before, after).map(({ action }) => action)).toEqual([
    "fx.quote",
    "invoice.read",
    "payment.approve",
    "payment.execute",
    "payment.prepare",
    "run.open",
  ]);
  // A policy that does not load denies everything: what follows it is new.
  expect(irreversible(of(SHIPPED, "sovereign", "nowhere"), before)).toEqual([PAY + "nothing is in force before it"]);
});
