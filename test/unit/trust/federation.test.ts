import { describe, expect, it } from "vitest";
import { Federation, type FederationView } from "../../../src/trust/federation.ts";

const VIEW: FederationView = {
  version: 1,
  self: "eu",
  regions: [
    { region: "eu", state: "active" },
    { region: "us", state: "active" },
    { region: "in", state: "draining" },
    { region: "br", state: "joining" },
    { region: "jp", state: "removed" },
  ],
  domains: {
    "bank.example": "eu",
    "us.bank.example": "us",
    "agent/": "eu",
    "agent/fx-": "us",
    "*/in-": "in",
    "*/agent-of-": "us",
  },
  issuers: { "https://us.pdp.example": "us", "cluster.example": "in" },
  keys: { NzbLsXh8uDCcd6MNwXF4W7noWXFZAfHkxZsRGC9Xs5I: "us" },
  may_revoke: { us: ["subject"], in: ["*"] },
};
const federation = new Federation(VIEW);
/** `jp` was removed: it says nothing new, and what it said last is still asked for. */
const ALL = ["eu", "in", "jp", "us"];
const RUN = "us.1.AAAAAAAAAAAAAAAAAAAAAA";

describe("home of a key", () => {
  it.each([
    ["subject:user/alice@bank.example", ["eu"]],
    ["subject:user/alice@us.bank.example", ["us"]],
    ["subject:user/spiffe://us.bank.example/payer", ["us"]],
    ["subject:user/https://bank.example/a?b", ["eu"]],
    ["subject:user/alice", ALL],
    ["subject:user/alice@elsewhere.example", ALL],
    ["subject:agent/payer", ["eu"]],
    ["subject:agent/fx-quoter", ["us"]],
    // A beginning that names the type wins over one for any type, and any beginning over a domain.
    ["subject:agent/in-1", ["eu"]],
    ["subject:agent/x@us.bank.example", ["eu"]],
    ["resource:account/in-7", ["in"]],
    ["consent:patient/in-7", ["in"]],
    [`run:${RUN}`, ["us"]],
    [`permit:${RUN}`, ["us"]],
    ["pep:in/gateway", ["in"]],
    ["region:us", ["us"]],
    ["issuer:https://us.pdp.example", ["us"]],
    ["issuer:https://nobody.example", ALL],
    ["credential:https://us.pdp.example#1", ["us"]],
    ["session:https://x@bank.example/#1", ALL],
    ["trust-domain:cluster.example", ["in"]],
    ["key:NzbLsXh8uDCcd6MNwXF4W7noWXFZAfHkxZsRGC9Xs5I", ["us"]],
    ["image:sha256:" + "0".repeat(64), ALL],
    // What is no key at all rests on everybody.
    ["nonsense", ALL],
  ])("%s: %j", (key, homes) => {
    expect(federation.homes(key)).toEqual(homes);
    expect(federation.homes(key)).toEqual(homes);
  });

  it("names of a table's own machinery are no entries", () => {
    expect(federation.homes("subject:user/x@constructor")).toEqual(ALL);
    expect(federation.homes("issuer:__proto__")).toEqual(ALL);
  });

  it("is the region itself where there are no others", () => {
    const alone = new Federation({ ...VIEW, regions: [{ region: "eu", state: "active" }], domains: {} });
    expect(alone.homes("subject:user/alice")).toEqual(["eu"]);
  });
});

describe("whose entry counts", () => {
  it.each([
    ["eu", "resource:account/in-7", true],
    ["in", "resource:account/in-7", true],
    ["us", "resource:account/in-7", false],
    ["us", "subject:agent/in-1", true],
    ["in", "subject:agent/payer", true],
    // Unlisted: everybody's home.
    ["us", "resource:account/9", true],
    ["br", "resource:account/in-7", false],
    ["constructor", "subject:agent/payer", false],
  ])("of %s about %s: %s", (origin, key, binds) => expect(federation.binds(origin, key)).toBe(binds));
});
