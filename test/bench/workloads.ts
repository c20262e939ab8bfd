import { Agent, request } from "node:http";
import { mint } from "../unit/credentials/maker.ts";
import { claimsOf } from "../support/http.ts";
import { startRegion, type TestRegion } from "../support/region.ts";
import { ear, keys, now_s, proven, question, registerAll } from "../support/workloads.ts";

/**
 * What full verification costs: durable decisions with WIT, proof, attestation result and delegation, each with a proof
 * of its own, beside decisions that rest on the PEP's word alone. Same region, same client, turn by turn.
 *
 * `node test/bench/workloads.ts [--quick]`; prints a table and JSON.
 */
const quick = process.argv.includes("--quick");
const ROUNDS = quick ? 1 : 5;
const REQUESTS = quick ? 64 : 2_000;
const CALLERS = [1, 64];

type Row = { readonly name: string; readonly c: number; readonly rps: number; readonly p50_ms: number };

const region = await startRegion({
  packs: ["sovereign", "workloads", "treasury"],
  env: { INTERLOCK_LOG: "off" },
  untouched: true,
});
try {
  await registerAll(region, String(claimsOf(region.pep)["sub"]).split("/")[1]!);
  const pep = (): string =>
    JSON.stringify({
      subject: { type: "agent", id: "invoice-reader" },
      action: { name: "invoice.read" },
      resource: { type: "invoice", id: "INV-881" },
    });
  const full = (): string => {
    const delegation = mint(
      keys.delegator,
      { alg: "EdDSA", kid: "delegator-1", typ: "interlock-delegation+jwt" },
      {
        iss: "https://payroll.example",
        aud: region.pdp,
        sub: "agent/planner",
        delegator: "user/alice",
        scopes: ["unseal"],
        iat: now_s() - 60,
        nbf: now_s() - 60,
        exp: now_s() + 3_600,
        depth: 0,
        jti: `eu.1.${"A".repeat(22)}`,
      },
    );
    return JSON.stringify(question({ ...proven(), attestation: [ear()], delegations: [delegation] }, "enclave"));
  };
  const taken = new Map<string, Row[]>();
  for (let round = 0; round < ROUNDS; round++)
    for (const c of CALLERS)
      for (const [name, make] of [["PEP only", pep] as const, ["WIT, WPT, EAR, delegation", full] as const]) {
        const row = await load(region, name, c, Array.from({ length: REQUESTS }, make));
        taken.set(`${name} ${c}`, [...(taken.get(`${name} ${c}`) ?? []), row]);
      }
  const rows = [...taken.values()].map((of) => of.sort((a, b) => a.rps - b.rps)[of.length >> 1]!);
  const base = (c: number): number => rows.find((row) => row.c === c)!.rps;
  console.log("| durable decision | callers | /s | p50 ms | of PEP only |\n| --- | --- | --- | --- | --- |");
  for (const { name, c, rps, p50_ms } of rows)
    console.log(`| ${name} | ${c} | ${rps.toFixed(0)} | ${p50_ms.toFixed(2)} | ${(rps / base(c)).toFixed(2)} |`);
  console.log(JSON.stringify({ rounds: ROUNDS, requests: REQUESTS, rows }));
} finally {
  await region.remove();
}

/** Every body once. Throws where an answer is no allow: a deny would be cheaper. */
async function load(at: TestRegion, name: string, c: number, bodies: readonly string[]): Promise<Row> {
  const agent = new Agent({ keepAlive: true, maxSockets: c });
  const took: number[] = [];
  const left = [...bodies];
  const began = performance.now();
  const caller = async (): Promise<void> => {
    for (let body = left.pop(); body !== undefined; body = left.pop()) {
      const sent = performance.now();
      const answer = await send(at, agent, body);
      took.push(performance.now() - sent);
      if (!answer.startsWith('{"decision":true')) throw new Error(`${name}: ${answer}`);
    }
  };
  await Promise.all(Array.from({ length: c }, caller));
  const seconds = (performance.now() - began) / 1_000;
  agent.destroy();
  return { name, c, rps: bodies.length / seconds, p50_ms: took.sort((a, b) => a - b)[took.length >> 1]! };
}

function send(at: TestRegion, agent: Agent, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${at.pep}`, "content-type": "application/json" };
    const path = "/access/v1/evaluation";
    const out = request({ host: "127.0.0.1", port: at.port, path, method: "POST", agent, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => (text += part));
      answer.on("end", () => resolve(text));
    });
    out.on("error", reject);
    out.end(body);
  });
}
