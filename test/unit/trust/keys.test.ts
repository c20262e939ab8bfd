import { describe, expect, it } from "vitest";
import vectors from "../../../docs/vectors/trust-keys.json" with { type: "json" };
import { homeInKey, KEY_KINDS, parseKey, pepKey, resourceKey, subjectKey } from "../../../src/trust/keys.ts";

describe("canonical keys", () => {
  it("has a vector for every kind", () => {
    expect(new Set(vectors.map((vector) => vector.kind))).toEqual(new Set(KEY_KINDS));
  });

  it.each(vectors)("reads $key", ({ kind, key, home }) => {
    const parsed = parseKey(key);
    if (!parsed.ok) throw new Error(parsed.error);
    expect(parsed.value.kind).toBe(kind);
    expect(`${parsed.value.kind}:${parsed.value.form}`).toBe(key);
    expect(homeInKey(parsed.value)).toBe(home);
  });

  it.each([
    "", ":", "subject", "subject:", "subject:agent", "subject:/x", "subject:agent/", "Subject:agent/x", "thing:x",
    "subject:a%2fb/x", "subject:agent/\u0000", "subject:agent/a\nb", "subject:agent/\ud800", `subject:agent/${"x".repeat(2_048)}`,
    "key:short", "key:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9X=", "issuer:has space", "issuer:https://a#b",
    "trust-domain:UPPER", "pep:eu", "pep:EU/x", "pep:eu/a/b", "image:sha256:XYZ", "image:latest", "run:eu.1.short",
    "run:eu.0.AAAAAAAAAAAAAAAAAAAAAA", "permit:1.AAAAAAAAAAAAAAAAAAAAAA", "pod:not-a-uid", "region:EU", "region:",
    "session:no-hash", "credential:#x", "__proto__:x", "constructor:x",
  ])("refuses %j and names the form", (text) => {
    const parsed = parseKey(text);
    expect(parsed.ok).toBe(false);
    expect(parsed.ok ? "" : parsed.error).toMatch(/form|kind/);
  }); // prettier-ignore

  it("escapes the type, so that no two entities share a key", () => {
    expect(subjectKey("a/b", "c")).toBe("subject:a%2Fb/c");
    expect(subjectKey("a", "b/c")).toBe("subject:a/b/c");
    expect(resourceKey("a%2Fb", "c")).toBe("resource:a%252Fb/c");
    expect(parseKey(subjectKey("a/b%", "é/ü")).ok).toBe(true);
    expect(parseKey(pepKey("eu", "gateway-1")).ok).toBe(true);
  });
});
