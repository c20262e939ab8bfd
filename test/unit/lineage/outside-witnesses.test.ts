import { describe, expect, test } from "vitest";
import { witnessing } from "../../../src/trust/witnessing.ts";
import { base64url } from "../../../src/base/bytes.ts";
import { formatVerifierKey } from "../../../src/lineage/note-key.ts";
import { readOutsideWitnesses } from "../../../src/lineage/outside-witnesses.ts";
import { isQuorum, parsePolicy } from "../../../src/lineage/tlog-policy.ts";
import type { Membership } from "../../../src/trust/membership.ts";
import { sha } from "./build.ts";
import { keyOf, witnessKey } from "./log-build.ts";

const vkey = (name: string): string => formatVerifierKey(witnessKey(name).key);
const one = (name = "auditor", more: object = {}) => ({
  name,
  vkey: vkey(`${name}.example/w`),
  url: `https://${name}.example/w`,
  ...more,
});
const read = (configuration: unknown) =>
  readOutsideWitnesses(typeof configuration === "string" ? configuration : JSON.stringify(configuration), sha);

describe("INTERLOCK_WITNESSES", () => {
  test("is nobody where it is empty, one of them by default, or as many as it says", () => {
    expect(read("")).toEqual({ ok: true, value: { threshold: 0, witnesses: [] } });
    const three = [one("a"), one("b"), one("c")];
    for (const [threshold, needed] of [
      [undefined, 1],
      ["any", 1],
      [2, 2],
      ["all", 3],
    ] as const)
      expect(read({ threshold, witnesses: three })).toMatchObject({ ok: true, value: { threshold: needed } });
    expect(read({ witnesses: [one("a", { url: "http://127.0.0.1:9/w" })] })).toMatchObject({
      ok: true,
      value: { witnesses: [{ name: "outside:a", url: "http://127.0.0.1:9/w" }] },
    });
  });

  test.each<[string, unknown, RegExp]>([
    ["no JSON", "{", /^INTERLOCK_WITNESSES: /],
    ["a duplicate member", '{"witnesses":[],"witnesses":[]}', /duplicate|twice/i],
    ["no witness", { witnesses: [] }, /witnesses/],
    ["an unknown member", { witnesses: [one("a", { key: "" })] }, /key/],
    ["another unknown member", { witnesses: [one()], quorum: 1 }, /quorum/],
    ["a threshold of none", { threshold: 0, witnesses: [one()] }, /threshold/],
    ["a threshold of more than there are", { threshold: 2, witnesses: [one()] }, /2 of 1/],
    ["a name with a space", { witnesses: [one("a", { name: "a b" })] }, /name/],
    ["one name twice", { witnesses: [one("a"), one("a", { vkey: vkey("b") })] }, /name or its key/],
    ["one key twice", { witnesses: [one("a"), one("b", { vkey: vkey("a.example/w") })] }, /name or its key/],
    ["no key", { witnesses: [one("a", { vkey: "x" })] }, /^INTERLOCK_WITNESSES: a: /],
    ["a log's key", { witnesses: [one("a", { vkey: formatVerifierKey(keyOf("log.example/x").key) })] }, /cosignature/],
    ["http", { witnesses: [one("a", { url: "http://a.example/w" })] }, /https/],
    [
      "a host that only begins like this machine",
      { witnesses: [one("a", { url: "http://localhost.evil/w" })] },
      /https/,
    ],
    ["credentials", { witnesses: [one("a", { url: "https://u:p@a.example/w" })] }, /https/],
    ["a query", { witnesses: [one("a", { url: "https://a.example/w?x" })] }, /https/],
    ["a slash at the end", { witnesses: [one("a", { url: "https://a.example/w/" })] }, /https/],
    ["no url", { witnesses: [one("a", { url: "a.example" })] }, /https/],
  ])("is refused with %s", (_, configuration, why) => {
    expect(read(configuration)).toEqual({ ok: false, error: expect.stringMatching(why) });
  });
});

describe("the quorum", () => {
  const jwk = (role: string, region: string) => ({
    kid: `${region}.1.${role}.1`,
    x: base64url(keyOf(`${region}.${role}`).key.public_key),
  });
  const membership = (...regions: readonly string[]): Membership =>
    ({
      regions: regions.map((region) => ({
        region,
        pdp: `https://${region}.pdp.example`,
        endpoint: `https://${region}.pdp.example`,
        log_epoch: 1,
        state: "active",
        keys: [jwk("log", region), jwk("witness", region)],
      })),
    }) as unknown as Membership;
  const outside = (threshold: number | "any" | "all", ...names: readonly string[]) => {
    const configured = read({ threshold, witnesses: names.map((name) => one(name)) });
    if (!configured.ok) throw new Error(configured.error);
    return configured.value;
  };
  const policyOf = (members: Membership, region: string, epoch: number, others?: Parameters<typeof witnessing>[4]) => {
    const told = witnessing(members, region, epoch, sha, others)!;
    const policy = parsePolicy(told.policy, sha);
    if (!policy.ok) throw new Error(policy.error.message);
    return { ...told, quorum: (...cosigned: readonly string[]) => isQuorum(policy.value, new Set(cosigned)) };
  };

  test("takes the peers' and, beside it, that of the witnesses outside", () => {
    const { quorum, targets, policy } = policyOf(membership("eu", "us", "ap"), "eu", 1, outside("any", "a", "b"));
    expect(targets.map(({ url }) => url)).toEqual([
      "https://us.pdp.example/witness/v1",
      "https://ap.pdp.example/witness/v1",
      "https://a.example/w",
      "https://b.example/w",
    ]);
    expect(policy.trimEnd().split("\n").slice(-4)).toEqual([
      "group peers any us ap",
      "group outside any outside:a outside:b",
      "group peers-and-outside all peers outside",
      "quorum peers-and-outside",
    ]);
    expect(quorum("us", "outside:b")).toBe(true);
    expect([quorum("us", "ap"), quorum("outside:a", "outside:b")]).toEqual([false, false]);
  });

  test("is theirs alone for a region without peers, the peers' alone without them, and none without either", () => {
    expect(policyOf(membership("eu"), "eu", 1, outside(2, "a", "b")).quorum("outside:a", "outside:b")).toBe(true);
    expect(policyOf(membership("eu"), "eu", 1, outside(2, "a", "b")).quorum("outside:a")).toBe(false);
    expect(policyOf(membership("eu", "us"), "eu", 1).policy).toContain("quorum peers\n");
    expect(policyOf(membership("eu"), "eu", 1).policy).toContain("quorum none\n");
  });

  test("does not count a peer's own key as one outside", () => {
    const us = keyOf("us.witness").key;
    const known = outside("all", "a");
    const [a] = known.witnesses;
    const twice = { threshold: 2, witnesses: [a!, { ...a!, name: "outside:us", key: { ...us, type: 4 } }] };
    const { quorum, targets } = policyOf(membership("eu", "us"), "eu", 1, twice);
    expect(targets).toHaveLength(2);
    expect(quorum("us", "outside:a")).toBe(true);
    expect(quorum("us")).toBe(false);
  });
});
