import { expect, test } from "vitest";
import { workerdConfig } from "../../../tools/workerd/config.ts";

const vars = {
  INTERLOCK_REGION: "eu",
  INTERLOCK_PDP: "https://eu.pdp.example",
  INTERLOCK_LOG_EPOCH: "1",
  INTERLOCK_SHARDS: "2",
  INTERLOCK_JURISDICTION: "",
  INTERLOCK_PACKS: "",
  INTERLOCK_OPEN: "",
  INTERLOCK_ROOTS: '{"k":"a\\b\n"}',
  INTERLOCK_ADMIN_JWKS: "é",
  INTERLOCK_REGION_KEY: "very-secret",
  INTERLOCK_FEDERATION_SECRETS: "very-secret too",
};
const text = (more: object = {}): string =>
  workerdConfig({ vars, host: "127.0.0.1", port: 8787, objects: "/data/eu/do", v8_flags: [], network: [], ...more });

test("values are escaped, byte by byte where they are not printable ASCII", () => {
  expect(text()).toContain(String.raw`(name = "INTERLOCK_ROOTS", text = "{\"k\":\"a\\b\x0a\"}")`);
  expect(text()).toContain(String.raw`(name = "INTERLOCK_ADMIN_JWKS", text = "\xc3\xa9")`);
});

test("a secret comes from the environment", () => {
  expect(text()).toContain('(name = "INTERLOCK_REGION_KEY", fromEnvironment = "INTERLOCK_REGION_KEY")');
  expect(text()).not.toContain("very-secret");
});

test("the region reaches no network but the one it is given", () => {
  expect(text()).toContain('(name = "internet", network = (allow = []))');
  expect(text({ network: ["local"] })).toContain('network = (allow = ["local"])');
  expect(text({ network: ["local", "public"] })).toContain(
    'network = (allow = ["local", "public"], tlsOptions = (trustBrowserCas = true))',
  );
});

test("an IPv6 address is bracketed, and flags are passed on", () => {
  expect(text({ host: "::1" })).toContain('address = "[::1]:8787"');
  expect(text({ v8_flags: ["--trace-gc", "--expose-gc"] })).toContain('v8Flags = ["--trace-gc", "--expose-gc"]');
});
