import { expect, test } from "vitest";
import {
  headSchema,
  pullSchema,
  pushSchema,
  relaySchema,
  snapshotSchema,
  SYNC_TYP,
} from "../../../src/sync/messages.ts";
import { Region } from "./harness.ts";

const digest = `sha256:${"A".repeat(43)}`;
const mark = { incarnation: 1, seq: 3, hash: digest };
const jws = "e30.e30.AA";
const envelope = { v: 1, iss: "us", aud: "eu" };
const GOOD = {
  pull: [
    pullSchema,
    { ...envelope, nonce: "n".repeat(22), membership: 1, have: mark, applied: mark, seen: { ap: mark } },
  ],
  head: [
    headSchema,
    {
      ...envelope,
      nonce: "n".repeat(22),
      ready: true,
      ...mark,
      from_seq: 1,
      events: [jws],
      more: false,
      membership: 1,
      policy: digest,
      secret_id: "s1",
      key_check: "A".repeat(43),
      seen: {},
      asof_ms: 1,
    },
  ],
  relay: [relaySchema, { ...envelope, nonce: "n".repeat(22), origin: "ap", from_seq: 1, events: [], more: false }],
  push: [pushSchema, { ...envelope, events: [jws] }],
  snapshot: [
    snapshotSchema,
    { v: 1, origin: "us", incarnation: 1, seq: 3, head_hash: digest, secret_id: "s1", pages: [digest], count: 1 },
  ],
} as const;

test.each(Object.entries(GOOD))("%s: strict, every member needed, no other version", (_, [schema, good]) => {
  expect(schema.safeParse(good).success).toBe(true);
  expect(schema.safeParse({ ...good, more_of_it: 1 }).success).toBe(false);
  expect(schema.safeParse({ ...good, v: 2 }).success).toBe(false);
  for (const member of Object.keys(good)) {
    const { [member as keyof typeof good]: _, ...rest } = good;
    expect([member, schema.safeParse(rest).success]).toEqual([member, false]);
  }
});

test.each([
  ["a negative seq", { have: { ...mark, seq: -1 } }],
  ["a seq that is no whole number", { have: { ...mark, seq: 1.5 } }],
  ["incarnation 0", { have: { ...mark, incarnation: 0 } }],
  ["a hash that is none", { have: { ...mark, hash: "x" } }],
  ["a short nonce", { nonce: "n" }],
  ["a nonce that would break a line", { nonce: `${"n".repeat(20)}\n` }],
  ["a region that is none", { iss: "US" }],
])("a pull with %s is refused", (_, change) => {
  expect(pullSchema.safeParse({ ...GOOD.pull[1], ...change }).success).toBe(false);
});

test("no typ is another's", () => {
  expect(new Set(Object.values(SYNC_TYP)).size).toBe(Object.keys(SYNC_TYP).length);
});

test("what the core sends fits the wire", () => {
  const eu = new Region();
  eu.feed({ type: "request", origins: ["us"] });
  const [pull] = eu.of("pull");
  expect(pullSchema.safeParse({ v: 1, iss: "eu", aud: "us", ...pull!.body }).error).toBeUndefined();
  eu.pull("us");
  const [answer] = eu.of("answer");
  const head = { v: 1, iss: "eu", aud: "us", ...answer!.body, key_check: "A".repeat(43), events: [] };
  expect(headSchema.safeParse(head).error).toBeUndefined();
});
