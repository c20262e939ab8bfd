import { randomUUID } from "node:crypto";
import { CompactSign, generateKeyPair, importJWK, type JWK } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { borderProblems } from "../support/border.ts";
import {
  allowsAfter,
  ask,
  asking,
  askFor,
  becomes,
  LEASE_MS,
  revoke,
  secretsOf,
  startFederation,
  subjectOf,
  Watch,
  type Federation,
} from "../support/federation.ts";
import type { Crossing } from "../support/links.ts";
import { until } from "../support/log.ts";
import { claimsOf, raw } from "../support/http.ts";
import { seeded, seedOf } from "../support/random.ts";
import type { TestRegion } from "../support/region.ts";
import { signingKeyOf } from "../support/stored.ts";

/**
 * What somebody on the wire, a stranger, or a member with another role can do with messages between regions: nothing.
 * Everything genuine that is used here was sent by the regions themselves.
 */
let fed: Federation;
let pull: string;
let push: string;
let head: string;

beforeAll(async () => {
  fed = await startFederation();
  for (const region of fed.all) await becomes(region, ["anybody", "anything"], "allow");
  await revoke(fed.us, subjectOf("us-ann"), "all");
  // Who is fresh polls nobody: everybody is asked until it does.
  const genuine = async (test: (crossing: Crossing) => boolean): Promise<string> => {
    const found = await until(async () => {
      for (const region of fed.all) await askFor(region, "anybody", "anything");
      return fed.links.crossings.findLast(test) ?? null;
    }, "a genuine message");
    return found.body.toString();
  };
  pull = await genuine(({ from, to, head }) => from === "us" && to === "eu" && head.startsWith("POST /sync/v1/pull"));
  push = await genuine(({ from, to, head }) => from === "us" && to === "eu" && head.startsWith("POST /sync/v1/push"));
  head = await genuine(
    ({ from, to, kind, body }) =>
      from === "us" && to === "eu" && kind === "answer" && body.toString().split(".").length === 3,
  );
}, 120_000);
afterAll(() => fed.close());
beforeEach(async () => {
  fed.links.heal();
  // Nothing is on its way any more: all know the same of all.
  await until(
    async () => {
      const marks = await Promise.all(fed.all.map(async (region) => eventsOf(await known(region))));
      return marks.every((one) => one === marks[0]);
    },
    "all know the same",
    30_000,
  );
  for (const region of fed.all) await becomes(region, ["anybody", "anything"], "allow");
}, 60_000);

type Told = { readonly status: number; readonly text: string };

async function send(
  region: TestRegion,
  kind: "pull" | "push" | "request",
  body: string | Uint8Array,
  type = "application/jose",
): Promise<Told> {
  const answer = await fetch(`${region.url}/sync/v1/${kind}`, {
    method: "POST",
    headers: { "content-type": type },
    body: body as BodyInit,
  });
  return { status: answer.status, text: await answer.text() };
}

/** What a region knows of every origin's events, and its own revision. */
async function known(region: TestRegion): Promise<unknown> {
  const token = await until(
    async () => (await ask(region, asking("anybody", "anything")))?.consistency ?? null,
    `what ${region.name} knows`,
  );
  return JSON.parse(Buffer.from(token, "base64url").toString()) as unknown;
}

const eventsOf = (token: unknown): string =>
  JSON.stringify(Object.entries((token as { e: Record<string, unknown> }).e).sort(([a], [b]) => (a < b ? -1 : 1)));

async function signed(key: JWK | CryptoKey, typ: string, kid: string, claims: object): Promise<string> {
  const signing = key instanceof CryptoKey ? key : await importJWK(key, "Ed25519");
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "Ed25519", kid, typ })
    .sign(signing);
}

const PULL = "interlock-sync-pull+jws";
const KID = "us.1.authority.1";

describe("a message that is not what it should be changes nothing", () => {
  test.each<readonly [string, () => Promise<readonly (readonly ["pull" | "push", string | Uint8Array, string?])[]>]>([
    [
      "for another region",
      async () => [
        ["pull", claimed(pull, "ap")],
        ["push", claimed(push, "ap")],
      ],
    ],
    [
      "of another kind",
      async () => [
        ["pull", push],
        ["pull", head],
        ["push", pull],
        ["push", head],
      ],
    ],
    [
      "by a stranger's key",
      async () => {
        const { privateKey } = await generateKeyPair("Ed25519");
        const fresh = { ...claimsOf(pull), nonce: randomUUID() };
        const event = (claimsOf(push)["events"] as string[])[0]!;
        return [
          ["pull", await signed(privateKey, PULL, KID, fresh)],
          ["pull", await signed(privateKey, PULL, "zz.1.authority.1", { ...fresh, iss: "zz" })],
          ["pull", await signed(privateKey, PULL, "eu.1.authority.1", { ...fresh, iss: "eu" })],
          ["push", await signed(privateKey, "interlock-sync-push+jws", KID, { ...claimsOf(push), events: [event] })],
        ];
      },
    ],
    [
      "by us, but not by its authority",
      async () => {
        const shard = signingKeyOf(fed.us.dataDir, "lineage-shard");
        const claims = { ...claimsOf(pull), nonce: randomUUID() };
        return [
          ["pull", await signed(shard, PULL, "us.1.shard-0.1", claims)],
          ["pull", await signed(shard, PULL, KID, claims)],
        ];
      },
    ],
    [
      "by us, with what no schema knows",
      async () => {
        const key = signingKeyOf(fed.us.dataDir, "trust-authority");
        const claims = { ...claimsOf(pull), nonce: randomUUID() };
        const of = (change: object): Promise<string> => signed(key, PULL, KID, { ...claims, ...change });
        return [
          ["pull", await of({ extra: 1 })],
          ["pull", await of({ v: 2 })],
          ["pull", await of({ nonce: "short" })],
          ["pull", await of({ seen: { us: { incarnation: 1, seq: -1, hash: null } } })],
          ["push", await signed(key, "interlock-sync-push+jws", KID, { v: 1, iss: "us", aud: "eu", events: [] })],
          [
            "push",
            await signed(key, "interlock-sync-push+jws", KID, { v: 1, iss: "us", aud: "eu", events: ["a.b.c"] }),
          ],
        ];
      },
    ],
    [
      "that is no message",
      async () => [
        ["pull", ""],
        ["push", "{}"],
        ["pull", `${pull} `],
        ["pull", `\n${pull}`],
        ["push", `${push}.${push}`],
        ["pull", new Uint8Array([0xff, 0xfe, 0x2e])],
        ["pull", pull, "application/json"],
        ["push", push, "text/plain"],
      ],
    ],
  ])("%s", async (_, make) => {
    const before = await known(fed.eu);
    for (const [kind, body, type] of await make()) {
      const { status, text } = await send(fed.eu, kind, body, type);
      expect({ status, problem: (JSON.parse(text) as { code: string }).code }).toEqual({
        status: 400,
        problem: type === undefined ? "input_invalid" : "content_type",
      });
    }
    expect(await known(fed.eu)).toEqual(before);
    expect(await askFor(fed.eu, "anybody", "anything")).not.toBe("revoked");
  });

  test("sent to a region that it was not made for", async () => {
    const before = await known(fed.ap);
    for (const [kind, text] of [
      ["pull", pull],
      ["push", push],
    ] as const) {
      expect((await send(fed.ap, kind, text)).status).toBe(400);
    }
    expect(await known(fed.ap)).toEqual(before);
  });

  test("with any bit flipped", async () => {
    const random = seeded(seedOf());
    const before = await known(fed.eu);
    for (const [kind, text] of [
      ["pull", pull],
      ["push", push],
    ] as const) {
      for (let n = 0; n < 40; n++) {
        const bytes = Buffer.from(text);
        // In each of the three parts: its text is ASCII, so the highest bit makes it something else than UTF-8.
        const at = random.int(0, bytes.length - 1);
        bytes[at] = bytes[at]! ^ (1 << random.int(0, 7));
        const { status } = await send(fed.eu, kind, new Uint8Array(bytes));
        expect({ seed: random.seed, at, status }).toEqual({ seed: random.seed, at, status: 400 });
      }
    }
    expect(await known(fed.eu)).toEqual(before);
  });

  test("longer than any message", async () => {
    const before = await known(fed.eu);
    // Refused by its stated length, before a byte of it has come.
    const stated = `POST /sync/v1/push HTTP/1.1\r\nHost: eu\r\nContent-Type: application/jose\r\nContent-Length: 4194305\r\n\r\n`;
    expect((await raw(fed.eu.port, stated, 10_000))?.status).toBe(413);
    expect((await send(fed.eu, "push", push + "A".repeat(4_194_304 - push.length))).status).toBe(400);
    expect(await known(fed.eu)).toEqual(before);
  });
});

describe("a genuine message that comes again", () => {
  test("is answered, and changes nothing", async () => {
    const before = await known(fed.eu);
    for (let n = 0; n < 3; n++) {
      expect((await send(fed.eu, "push", push)).status).toBe(202);
      // Who replays a pull gets an answer to a nonce for which nobody waits.
      const { status, text } = await send(fed.eu, "pull", pull);
      expect(status).toBe(200);
      expect(claimsOf(text)).toMatchObject({ aud: "us", nonce: claimsOf(pull)["nonce"] });
    }
    expect(await known(fed.eu)).toEqual(before);
  });

  test("as the answer to another poll gives no lease", async () => {
    const watch = new Watch(fed.eu, "us-ben", "eu-r1");
    await until(async () => watch.answers.some(({ decision }) => decision), "an allow");
    // Of us to eu, made for an earlier nonce.
    fed.links.rewrite = ({ from, to, kind, body }) =>
      from === "us" && to === "eu" && kind === "answer" && body.length > 500 ? Buffer.from(head) : body;
    const since_ms = Date.now();
    await becomes(fed.eu, ["us-ben", "eu-r1"], "sync_stale");
    const answers = await watch.stop();
    expect(allowsAfter(answers, since_ms + LEASE_MS)).toEqual([]);
    fed.links.heal();
    await becomes(fed.eu, ["us-ben", "eu-r1"], "allow");
  });

  test("and one that was damaged on the way gives none", async () => {
    const watch = new Watch(fed.eu, "us-ben", "eu-r1");
    await until(async () => watch.answers.some(({ decision }) => decision), "an allow");
    fed.links.rewrite = ({ from, to, kind, body }) => {
      if (from !== "us" || to !== "eu" || kind !== "answer" || body.length < 500) return body;
      const damaged = Buffer.from(body);
      damaged[body.length >> 1]! ^= 1;
      return damaged;
    };
    const since_ms = Date.now();
    await becomes(fed.eu, ["us-ben", "eu-r1"], "sync_stale");
    expect(allowsAfter(await watch.stop(), since_ms + LEASE_MS)).toEqual([]);
    fed.links.heal();
    await becomes(fed.eu, ["us-ben", "eu-r1"], "allow");
  });
});

test("events that arrive in another order are put in order, and one that is ahead denies until the rest is there", async () => {
  const { eu, us, links } = fed;
  links.part("us", "eu");
  await becomes(eu, ["us-cid", "eu-r2"], "sync_stale");
  const sent: string[] = [];
  for (const id of ["us-cid", "us-dan"]) {
    const already = links.crossings.length;
    await revoke(us, subjectOf(id), "accepted");
    sent.push(await until(async () => links.crossings.slice(already).map(singlePush).find(Boolean) ?? null, "a push"));
  }
  const [first, second] = sent as [string, string];
  const before = await known(eu);
  expect((await send(eu, "push", second)).status).toBe(202);
  expect(await known(eu)).toEqual(before);
  for (const text of [first, second, first]) expect((await send(eu, "push", text)).status).toBe(202);
  const events = (of: unknown): number => (of as { e: { us: [number, number] } }).e.us[1];
  await until(async () => events(await known(eu)) === events(before) + 2, "both are applied");
  // Applied, and still no lease: a push brings none.
  expect(["sync_stale", "trust_lease_expired"]).toContain(await askFor(eu, "us-eve", "eu-r2"));
  links.heal();
  await becomes(eu, ["us-eve", "eu-r2"], "allow");
  for (const id of ["us-cid", "us-dan"]) await becomes(eu, [id, "eu-r2"], "revoked");
});

test("nothing that left a region meanwhile names anybody, and all of it is listed in docs/sync.md", () => {
  expect(fed.links.crossings.length).toBeGreaterThan(100);
  expect(borderProblems(fed.links.crossings, secretsOf(fed))).toEqual([]);
});

/** The message, where us pushes one event to eu. */
function singlePush({ from, to, head, body }: Crossing): string | null {
  if (from !== "us" || to !== "eu" || !head.startsWith("POST /sync/v1/push")) return null;
  const text = body.toString();
  return (claimsOf(text)["events"] as string[]).length === 1 ? text : null;
}

/** The same claims for another audience, under the signature that was made for the first. */
function claimed(jws: string, aud: string): string {
  const [header, , signature] = jws.split(".");
  const claims = Buffer.from(JSON.stringify({ ...claimsOf(jws), aud })).toString("base64url");
  return `${header}.${claims}.${signature}`;
}
