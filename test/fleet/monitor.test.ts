import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromBase64url } from "../../src/base/bytes.ts";
import { sha256 } from "../../src/base/digest.ts";
import { verifyConsistency } from "../../src/lineage/merkle.ts";
import { formatVerifierKey } from "../../src/lineage/note-key.ts";
import { trustCheckpoint } from "../../src/lineage/trusted-checkpoint.ts";
import { parsePolicy } from "../../src/lineage/tlog-policy.ts";
import { interlock } from "../support/command.ts";
import { evaluate, READ } from "../support/http.ts";
import { checkpointIn, policiesOf, proofOf } from "../support/log.ts";
import { startRegions, type TestRegion } from "../support/region.ts";
import { checkpointNote, keyOf, leavesOf, tileFiles, verifyEd25519 } from "../unit/lineage/log-build.ts";

/** `interlock log monitor`, against regions and against a server that forges. */
let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interlock-monitor-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Ended = { readonly code: number | NodeJS.Signals; readonly out: string };
async function monitor(...args: readonly string[]): Promise<Ended> {
  const command = interlock("log", "monitor", ...args);
  const code = await command.ended;
  return { code, out: command.stdout() + command.stderr() };
}

describe("of a region", () => {
  let eu: TestRegion;
  let us: TestRegion;
  beforeAll(async () => {
    [eu, us] = (await startRegions(["eu", "us"], {
      packs: ["sovereign", "authzen-certification"],
      env: { INTERLOCK_LOG: "off" },
    })) as [TestRegion, TestRegion];
  });
  afterAll(() => Promise.all([eu.remove(), us.remove()]));

  test("with its policy: sound, and the next run goes on from the state", async () => {
    await proofOf(eu, (await evaluate(eu, READ)).id!, 30_000);
    writeFileSync(at("policy"), (await policiesOf(eu)).text);
    const args = [`${eu.url}/log`, "--once", "--policy", at("policy"), "--state", at("state")];
    const first = await monitor(...args);
    expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/sound: size \d+ \(\+\d+\), cosigned by us/) });
    const { note } = JSON.parse(readFileSync(at("state"), "utf8")) as { note: string };
    for (let i = 0; i < 3; i++) await proofOf(eu, (await evaluate(eu, READ)).id!, 30_000);
    const next = await monitor(...args);
    const grown = Number(/\(\+(\d+)\)/.exec(next.out)![1]);
    expect(next.code).toBe(0);
    expect(grown).toBeGreaterThanOrEqual(3);
    expect(grown).toBeLessThan(checkpointIn(note).size + 3);
    // The policy of another region does not know this log.
    writeFileSync(at("other"), (await policiesOf(us)).text);
    expect((await monitor(`${eu.url}/log`, "--once", "--policy", at("other"))).code).toBe(1);
  });

  test("asked wrongly: 2; nobody there: 1", async () => {
    expect((await monitor("eu", "--once")).code).toBe(2);
    expect((await monitor(`${eu.url}/log`, "--once", "--policy", at("none"))).code).toBe(2);
    writeFileSync(at("broken"), "{}");
    expect((await monitor(`${eu.url}/log`, "--once", "--state", at("broken"))).code).toBe(2);
    expect((await monitor("http://127.0.0.1:1/log", "--once")).code).toBe(1);
  });
});

describe("of a server that forges", () => {
  const log = keyOf("forged.example/log");
  const LEAVES = leavesOf(600);
  const FORK = LEAVES.with(10, leavesOf(1, "fork")[0]!);
  let note = "";
  let files: ReadonlyMap<string, Uint8Array> = new Map();
  let server: Server;
  let url: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const path = request.url!.slice("/log/".length);
      const body = path === "checkpoint" ? note : files.get(path);
      response.writeHead(body === undefined ? 404 : 200).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/log`;
    writeFileSync(at("forger"), `log ${formatVerifierKey(log.key)}\nquorum none\n`);
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const serve = async (size: number, leaves = LEAVES, tiles = leaves): Promise<void> => {
    note = await checkpointNote(log, leaves.slice(0, size));
    files = tileFiles(tiles.slice(0, size));
  };
  const once = (state: string): Promise<Ended> =>
    monitor(url, "--once", "--policy", at("forger"), "--state", at(state), "--proof", at(`${state}.proof`));

  test.each([
    ["of the same size", 300, 300],
    ["of a larger size", 300, 600],
    ["of a smaller size", 600, 300],
  ])("a split view %s: exit 1, and a file that proves it to anyone", async (_, size, forked) => {
    const name = `split-${size}-${forked}`;
    await serve(size);
    expect((await once(name)).code).toBe(0);
    await serve(forked, FORK);
    if (forked < size) files = tileFiles(LEAVES);
    const found = await once(name);
    expect(found).toMatchObject({ code: 1, out: expect.stringContaining("split_view") });
    const proof = JSON.parse(readFileSync(at(`${name}.proof`), "utf8")) as {
      notes: [string, string];
      begins: string | null;
      path: string[];
    };
    const policy = parsePolicy(readFileSync(at("forger")), sha256);
    if (!policy.ok) throw new Error(policy.error.message);
    const sides = proof.notes.map((one) => checkpointIn(one)).sort((a, b) => a.size - b.size);
    for (const one of proof.notes) expect((await trustCheckpoint(one, policy.value, verifyEd25519)).ok).toBe(true);
    const [older, newer] = [sides[0]!, sides[1]!];
    const begins = proof.begins === null ? newer.root : fromBase64url(proof.begins)!;
    expect(begins).not.toEqual(older.root);
    const path = proof.path.map((hash) => fromBase64url(hash)!);
    const proved = verifyConsistency(older.size, newer.size, path, begins, newer.root, sha256);
    expect(proved || older.size === newer.size).toBe(true);
    // The state stays what it was: the next look finds it again.
    expect((await once(name)).code).toBe(1);
  });

  test("tiles of another tree, a missing tile, a key that is not the log's: exit 1, and no proof is claimed", async () => {
    await serve(300, LEAVES, FORK);
    expect(await once("tiles")).toMatchObject({ code: 1, out: expect.stringContaining("unsound") });
    await serve(300);
    (files as Map<string, Uint8Array>).delete("tile/0/000");
    expect(await once("missing")).toMatchObject({ code: 1, out: expect.stringContaining("unreachable") });
    await serve(300);
    const impostor = keyOf(log.key.name, log.key.type, new Uint8Array(32).fill(9));
    note = await checkpointNote(impostor, LEAVES.slice(0, 300));
    expect(await once("key")).toMatchObject({ code: 1, out: expect.stringContaining("not to be trusted") });
  });

  test("an older checkpoint of the same history is no news; a state that was changed is refused", async () => {
    await serve(600);
    expect((await once("older")).code).toBe(0);
    note = await checkpointNote(log, LEAVES.slice(0, 300));
    expect(await once("older")).toMatchObject({ code: 0, out: expect.stringContaining("size 300 (+0)") });
    const state = JSON.parse(readFileSync(at("older"), "utf8")) as { tree: string };
    writeFileSync(at("older"), JSON.stringify({ ...state, tree: state.tree.replace(/.{4}$/, "AAAA") }));
    expect((await once("older")).code).toBe(1);
  });
});
