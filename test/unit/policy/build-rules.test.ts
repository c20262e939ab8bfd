import { describe, expect, test } from "vitest";
import { buildPacks } from "../../../tools/policy/build.ts";
import { packsFolder, type PackFiles } from "./pack-fixture.ts";

async function problemsOf(files: PackFiles): Promise<string> {
  const [built] = await buildPacks(await packsFolder({ p: files }));
  return built!.problems.map(({ message }) => message).join("\n");
}

const SCHEMA = `entity User = { zone: String, nick?: String };
entity Doc = { zone: String, labels: Set<String>, schema: String, size: Long, note?: String };
entity Other;
type Past = { any: Bool, count: Long, sum: decimal, last_ms?: Long };
action read, approve appliesTo { principal: [User], resource: [Doc], context: { action: { pages?: Long } } };
action write appliesTo {
  principal: [User],
  resource: [Doc],
  context: { interlock: { history: { reads: Past }, identity: { kind: String }, approvals: { count: Long } } },
};
action elsewhere appliesTo { principal: [User], resource: [Other], context: {} };`;

const USER = { type: "User", attributes: "request", identity: "pep-asserted" };
const DOC = { type: "Doc", attributes: "pack" };
const ACTIONS = { read: {}, write: {}, approve: {} };
const HISTORY = { reads: { action: "read" } };

const pack = (over: object): PackFiles => ({
  schema: SCHEMA,
  manifest: { subjects: { user: USER }, resources: { doc: DOC }, actions: ACTIONS, history: HISTORY, ...over },
});
const subject = (over: object) => pack({ subjects: { user: { ...USER, ...over } } });
const doc = (over: object) => pack({ resources: { doc: { ...DOC, ...over } }, zones: { a: { region: "eu" } } });
const read = (over: object) => pack({ actions: { ...ACTIONS, read: over } });
const budget = (over: object) => pack({ budgets: [{ id: "b", actions: ["read"], per: "run", max: "5", ...over }] });

describe("rules that name nothing, or that nobody could meet, are refused", () => {
  test.each<[string, PackFiles, RegExp]>([
    ["a zone that is no attribute", subject({ zone: "region" }), /subjects\.user\.zone: User has no attribute region/],
    ["a zone that may be absent", subject({ zone: "nick" }), /User\.nick is optional/],
    ["a zone of another type", doc({ zone: "size" }), /Doc\.size is not a String/],
    ["zones that nobody lists", subject({ zone: "zone" }), /entities have zones, and none is listed/],
    ["labels that may be absent", doc({ labels: "note" }), /Doc\.note is optional/],
    ["labels that are no set", doc({ labels: "schema" }), /Doc\.schema is not a Set<String>/],
    ["no label", doc({ labels: [] }), /resources\.doc\.labels/],
    [
      "a pin that the request could bring along",
      doc({ attributes: "request", pinned: { attribute: "schema", context: "c" } }),
      /only what the pack says can be pinned/,
    ],
    [
      "a consent of nobody",
      doc({ depends: [{ kind: "consent", type: "patient", of: { attribute: "patient" }, for: "treatment" }] }),
      /depends: Doc has no attribute patient/,
    ],
    [
      "a dependency of an unknown kind",
      doc({ depends: [{ kind: "weather", type: "patient", of: "id", for: "treatment" }] }),
      /depends/,
    ],
    ["an edge to nowhere", pack({ edges: [{ from: "a", to: "b" }], zones: { a: { region: "eu" } } }), /b is not one/],
    [
      "an edge within a zone",
      pack({ edges: [{ from: "a", to: "a" }], zones: { a: { region: "eu" } } }),
      /none is needed/,
    ],
    [
      "an edge twice",
      pack({
        zones: { a: { region: "eu" }, b: { region: "eu" } },
        edges: [
          { from: "a", to: "b" },
          { from: "a", to: "b" },
        ],
      }),
      /twice/,
    ],
    ["a zone without a region", pack({ zones: { a: {} } }), /zones\.a: member "region" is missing/],
    ["a label's rule with a region in its name", pack({ labels: { "pii:eu": { may_flow_to: "own" } } }), /labels/],
    [
      "an unknown label that counts as nothing known",
      pack({ unknown_label: "phi" }),
      /phi is not one of the pack's labels/,
    ],
    ["bearers that are not allowed", subject({ identity: { accept: ["service-account"] } }), /allow_bearer is not set/],
    ["nothing that would do", subject({ identity: { accept: [] } }), /subjects\.user\.identity/],
    [
      "a result about the key of a bearer",
      subject({
        identity: { accept: ["jwt-svid"], allow_bearer: true },
        attestation: { max_age_ms: 60_000, tiers: ["affirming"] },
      }),
      /a bearer proves no key that a result could be about/,
    ],
    [
      "an override that cannot be met",
      read({ subjects: { user: { identity: { accept: ["jwt-svid"] } } } }),
      /actions\.read\.subjects\.user\.identity: what it accepts are bearers/,
    ],
    [
      "an override of nobody",
      read({ subjects: { robot: {} } }),
      /subjects\.robot: not one of the pack's subject types/,
    ],
    ["data that are listed and do not move", read({ data: "out", unlabelled: ["pages"] }), /moves no data of the run/],
    ["listed properties that nothing types", read({ unlabelled: ["pages", "payee"] }), /the schema declares no payee/],
    ["an approval by an unknown action", read({ approval: { action: "bless", ttl_s: 5 } }), /bless is not one/],
    [
      "an approval that needs an approval",
      pack({
        actions: {
          ...ACTIONS,
          read: { approval: { action: "approve", ttl_s: 5 } },
          approve: { approval: { action: "read", ttl_s: 5 } },
        },
      }),
      /approve would need an approval itself/,
    ],
    [
      "an approval of something else",
      pack({
        resources: { doc: DOC, other: { type: "Other", attributes: "pack" } },
        actions: { ...ACTIONS, elsewhere: {}, read: { approval: { action: "elsewhere", ttl_s: 5 } } },
      }),
      /elsewhere does not apply to Doc/,
    ],
    [
      "a budget twice",
      pack({ budgets: ["b", "b"].map((id) => ({ id, actions: ["read"], per: "run", max: "5" })) }),
      /two/,
    ],
    ["a budget of other actions", budget({ actions: ["read", "fly.*"] }), /fly\.\* is none of the pack's actions/],
    ["a unit of nothing", budget({ unit: { property: "currency", value: "EUR" } }), /a unit needs a sum/],
    ["a window of a single step", budget({ per: "step", sum: "pages", window_ms: 1_000 }), /has no window/],
    ["a count of a single step", budget({ per: "step" }), /always one/],
    ["half a step", budget({ max: "2.5" }), /whole numbers/],
    ["a limit that is no decimal text", budget({ max: "1e3" }), /decimal text/],
    ["history of an unknown action", pack({ history: { reads: { action: "fly" } } }), /history\.reads: fly is not one/],
    ["history that no policy can see", pack({ history: { ...HISTORY, writes: { action: "write" } } }), /declares it/],
    [
      "a history entry that the manifest lacks",
      pack({ history: {} }),
      /context\.interlock\.history\.reads does not exist/,
    ],
    [
      "history as something else",
      { ...pack({}), schema: SCHEMA.replace("sum: decimal", "sum: Long") },
      /history\.reads\.sum is a decimal, not a long/,
    ],
    [
      "history that is taken for granted",
      { ...pack({}), schema: SCHEMA.replace("last_ms?", "last_ms") },
      /last_ms is not always there/,
    ],
    [
      "a step up that nobody can take",
      { ...pack({}), policies: '@step_up("approval") forbid (principal, action, resource);' },
      /no action of the manifest has an approval/,
    ],
  ])("%s", async (_what, files, expected) => {
    expect(await problemsOf(files)).toMatch(expected);
  });
});

test("a pack with all of it validates", async () => {
  const files = pack({
    subjects: {
      user: {
        ...USER,
        zone: "zone",
        identity: { accept: ["wit", "service-account"], allow_bearer: true },
        attestation: { max_age_ms: 300_000, tiers: ["affirming", "warning"], bound: true },
      },
    },
    resources: {
      doc: {
        ...DOC,
        zone: "zone",
        labels: "labels",
        pinned: { attribute: "schema", context: "tool_schema" },
        depends: [{ kind: "consent", type: "patient", of: "id", for: { context: "purpose" } }],
      },
    },
    actions: {
      ...ACTIONS,
      read: {
        data: "both",
        unlabelled: ["pages"],
        subjects: { user: { identity: "pep-asserted", attestation: null } },
        delegation: { required: false, max_depth: 8 },
        approval: { action: "approve", ttl_s: 60 },
        pinned: { digest: "sha256:x", context: "tool_schema" },
      },
    },
    zones: { a: { region: "eu" }, b: { region: "us" } },
    edges: [{ from: "a", to: "b" }],
    labels: { pii: { may_flow_to: "own" }, phi: { may_flow_to: ["de"] } },
    unknown_label: "phi",
    budgets: [
      { id: "pages", actions: ["*"], sum: "pages", unit: { property: "u", value: "A4" }, per: "step", max: "0.25" },
      { id: "rate", actions: ["read"], per: "subject", window_ms: 60_000, max: "20" },
    ],
    delegation: { required: true, max_depth: 2 },
  });
  expect(await problemsOf({ ...files, policies: '@step_up("approval") forbid (principal, action, resource);' })).toBe(
    "",
  );
});
