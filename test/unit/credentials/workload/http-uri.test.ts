import { expect, test } from "vitest";
import { normalHttpUri } from "../../../../src/credentials/workload/http-uri.ts";

test.each([
  ["https://a.example", "https://a.example/"],
  ["HTTPS://A.Example:443/", "https://a.example/"],
  ["http://a.example:80/x?q#f", "http://a.example/x"],
  ["http://a.example:443/x", "http://a.example:443/x"],
  ["https://a.example:/x", "https://a.example/x"],
  ["https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"],
  ["https://a.example/%7ejo/%2f/%c3%a9", "https://a.example/~jo/%2F/%C3%A9"],
  ["https://a.example/a/./b/../c", "https://a.example/a/c"],
  ["https://a.example/a/b/..", "https://a.example/a/"],
  ["https://a.example/a/.", "https://a.example/a/"],
  ["https://a.example/../../a", "https://a.example/a"],
  ["https://a.example/%2e%2e/a", "https://a.example/a"],
  ["https://a.example/a//b", "https://a.example/a//b"],
])("%s is %s", (text, normal) => {
  expect(normalHttpUri(text)).toBe(normal);
});

test.each([
  "",
  "/x",
  "//a.example/x",
  "ftp://a.example/",
  "https:///x",
  "https://me@a.example/",
  "https://a.example\\x",
  "https://a.example/a\\b",
  "https://a.example/a b",
  "https://a.example/a\n",
  " https://a.example/",
  "https://a.example:65536/",
  "https://a.example:x/",
  "https://a.example/%",
  "https://a.example/%zz",
  "https://ä.example/",
  "https://a.example/ä",
  `https://a.example/${"x".repeat(2_048)}`,
])("%j is none", (text) => {
  expect(normalHttpUri(text)).toBeNull();
});
