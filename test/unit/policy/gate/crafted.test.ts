import { expect, test } from "vitest";
import bundleJson from "../../../../policies/bundle.json" with { type: "json" };
import type { PolicyJson } from "../../../../src/cedar/index.ts";
import { packDigest, type Bundle, type BundledPolicy, type ValidPack } from "../../../../src/policy/bundle.ts";
import { loadPolicy, type LoadedPolicy } from "../../../../src/policy/evaluate.ts";
import { widened } from "../../../../src/policy/gate/widened.ts";

/** Bundles that no builder made: who has one key of the policy role may sign any bytes that a region loads. */

const SHIPPED = bundleJson as unknown as Bundle;
const packOf = (name: string): ValidPack => SHIPPED.packs.find((pack) => pack.name === name) as ValidPack;

function policyOf(...packs: readonly ValidPack[]): LoadedPolicy {
  const sealed = packs.map((pack) => ({ ...pack, digest: packDigest(pack) }));
  const policy = loadPolicy(
    { v: 1, packs: sealed },
    sealed.map(({ name }) => name),
  );
  expect(policy.problem).toBeNull();
  return policy;
}

const irreversible = (before: LoadedPolicy, after: LoadedPolicy): string =>
  widened(before, after)
    .filter((one) => one.irreversible)
    .map(({ pack, action, why }) => `${pack}/${action}: ${why.join("; ")}`)
    .join("\n");

const with_ = (pack: ValidPack, policy: Partial<PolicyJson>): ValidPack => {
  const json = {
    effect: "permit",
    principal: { op: "All" },
    action: { op: "All" },
    resource: { op: "All" },
    conditions: [],
    ...policy,
  } as PolicyJson;
  const added: BundledPolicy = { id: "crafted", json, file: "treasury/policies.cedar", line: 1 };
  return { ...pack, policies: [...pack.policies, added] };
};

const treasury = packOf("treasury");
const uid = (type: string, id: string) => ({ type: `Treasury::${type}`, id });
const EXECUTE = uid("Action", "payment.execute");
const OTHER = uid("Action", "fx.quote");

test.each<readonly [string, Partial<PolicyJson>]>([
  ["beside All", { action: { op: "All", entity: OTHER } }],
  ["beside what == names", { action: { op: "==", entity: EXECUTE, entities: [OTHER] } }],
  [
    "beside a resource",
    { resource: { op: "==", entity: uid("Account", "ACC-EU-1"), entities: [uid("Nothing", "x")] } },
  ],
])("a member that the engine passes over says nothing of whom a permit is for: %s", (_, policy) => {
  expect(irreversible(policyOf(treasury), policyOf(with_(treasury, policy)))).toContain(
    "treasury/payment.execute: permit crafted is new or changed",
  );
});

test("an action that the entities put in a group is in it, whatever the schema says", () => {
  const reads = uid("Action", "reads");
  const before = with_(treasury, { action: { op: "in", entity: reads } });
  const entities = treasury.entities.map((entity) => {
    const named = "__entity" in entity.uid ? entity.uid.__entity : entity.uid;
    return named.type === EXECUTE.type && named.id === EXECUTE.id
      ? { ...entity, parents: [...entity.parents, reads] }
      : entity;
  });
  expect(entities).not.toEqual(treasury.entities);
  const found = irreversible(policyOf(before), policyOf({ ...before, entities }));
  expect(found).toContain("treasury/payment.execute: its schema is changed");
});

test("a permit that goes and had no value for some requests denied them", () => {
  const sum = (body: PolicyJson["conditions"][number]["body"]) =>
    with_(treasury, { action: { op: "==", entity: EXECUTE }, conditions: [{ kind: "when", body }] });
  const scopes = { ".": { left: { Var: "principal" }, attr: "scopes" } };
  const counted = { ".": { left: { ".": { left: { Var: "context" }, attr: "interlock" } }, attr: "t_ms" } };
  const more = { "+": { left: counted, right: { Value: 1 } } };
  const without = policyOf(treasury);
  expect(irreversible(policyOf(sum({ ">": { left: more, right: { Value: 0 } } })), without)).toContain(
    "treasury/payment.execute: permit crafted is gone or changed, and denied where it had no value",
  );
  for (const body of [
    { decimal: [{ ".": { left: { Var: "principal" }, attr: "limit" } }] },
    { ".": { left: { ".": { left: { Var: "principal" }, attr: "manager" } }, attr: "active" } },
    { getTag: { left: { Var: "principal" }, right: { Value: "t" } } },
  ])
    expect(irreversible(policyOf(sum(body)), without)).toContain("permit crafted is gone");
  // What has a value for every request only permitted.
  for (const body of [
    { contains: { left: scopes, right: { Value: "x" } } },
    { lessThan: [{ ".": { left: { Var: "resource" }, attr: "limit" } }, { decimal: [{ Value: "1.0" }] }] },
  ])
    expect(irreversible(policyOf(sum(body)), without)).toBe("");
});

test("a pack under another name does not take the labels along that let no mail out", () => {
  const hospital = packOf("hospital-mcp");
  const { manifest } = hospital;
  if (manifest.layer !== "application") throw new Error("not an application pack");
  const { patient, ...resources } = manifest.resources;
  const { labels: _, ...unlabelled } = patient!;
  const actions = (names: (name: string) => boolean) =>
    Object.fromEntries(Object.entries(manifest.actions).filter(([name]) => names(name)));
  // Mail in one pack, and reading in another that is there under a new name afterwards.
  const mail: ValidPack = {
    ...hospital,
    name: "mail",
    manifest: { ...manifest, name: "mail", actions: actions((name) => name === "mailer.send") },
  };
  const reading = { ...manifest, actions: actions((name) => name !== "mailer.send") };
  const before = policyOf(mail, { ...hospital, name: "reads", manifest: { ...reading, name: "reads" } });
  const after = policyOf(mail, {
    ...hospital,
    name: "looks",
    manifest: { ...reading, name: "looks", resources: { ...resources, patient: unlabelled } },
  });
  expect(irreversible(before, after)).toContain("mail/mailer.send: the labels of pack reads are gone");
});

test.each([
  ["action", "actions", "ehr.search"],
  ["subject type", "subjects", "agent"],
] as const)("an %s that the labels' pack lists no more brings none along, and mail may go out", (_, kind, gone) => {
  const hospital = packOf("hospital-mcp");
  const { manifest } = hospital;
  if (manifest.layer !== "application") throw new Error("not an application pack");
  const { patient, ...resources } = manifest.resources;
  const { labels: _labels, ...unlabelled } = patient!;
  const part = (name: string, actions: readonly string[], changes: Partial<typeof manifest> = {}): ValidPack => ({
    ...hospital,
    name,
    manifest: {
      ...manifest,
      name,
      actions: Object.fromEntries(Object.entries(manifest.actions).filter(([one]) => actions.includes(one))),
      ...changes,
    },
  });
  const mail = part("mail", ["mailer.send"]);
  // It lets the same steps through, and knows nothing of labels.
  const open = part("open", ["ehr.search"], { resources: { ...resources, patient: unlabelled } });
  const labels = part("labels", ["ehr.search", "notes.append"]);
  if (labels.manifest.layer !== "application") throw new Error("not an application pack");
  expect(labels.manifest[kind]).toHaveProperty([gone]);
  const fewer = Object.fromEntries(Object.entries(labels.manifest[kind]).filter(([one]) => one !== gone));
  const after = { ...labels, manifest: { ...labels.manifest, [kind]: fewer } };
  expect(irreversible(policyOf(mail, open, labels), policyOf(mail, open, after))).toContain(
    "mail/mailer.send: the labels of pack labels are gone",
  );
});

test("who says what the labels are, and whether that has to be said, bears on what another pack sends", () => {
  const hospital = packOf("hospital-mcp");
  const { manifest, schema } = hospital;
  if (manifest.layer !== "application") throw new Error("not an application pack");
  const actions = (names: readonly string[]) =>
    Object.fromEntries(Object.entries(manifest.actions).filter(([one]) => names.includes(one)));
  const mail = {
    ...hospital,
    name: "mail",
    manifest: { ...manifest, name: "mail", actions: actions(["mailer.send"]) },
  };
  const patient = { ...manifest.resources["patient"]!, labels: "classes" };
  const reading = (changes: object, json = schema.json): ValidPack => ({
    ...hospital,
    name: "reads",
    schema: { ...schema, json },
    manifest: {
      ...manifest,
      name: "reads",
      actions: actions(["ehr.search"]),
      resources: { patient: { ...patient, ...changes } },
    },
  });
  const found = (after: ValidPack) => irreversible(policyOf(mail, reading({})), policyOf(mail, after));
  expect(found(reading({}))).toBe("");
  expect(found(reading({ attributes: "request" }))).toContain("mail/mailer.send: the labels of reads's patient are");
  const optional = JSON.parse(JSON.stringify(schema.json)) as Record<string, { entityTypes: Record<string, object> }>;
  optional["Hospital"]!.entityTypes["Patient"] = { shape: { type: "Record", attributes: {} } };
  expect(found(reading({}, optional as never))).toContain(
    "mail/mailer.send: labels of reads: the schema of Hospital::Patient is changed",
  );
});

test("a manifest of another name, under which no history would be found, is no policy", () => {
  const { manifest } = treasury;
  // Nothing that a forbid counts would have been there, and nothing in the report.
  const other = { ...treasury, manifest: { ...manifest, name: "other" } };
  const policy = loadPolicy({ v: 1, packs: [{ ...other, digest: packDigest(other) }] }, ["treasury"]);
  expect(policy.problem).toBe("pack treasury: its manifest is of another pack");
  expect(policyOf({ ...other, name: "other" }).problem).toBeNull();
});
