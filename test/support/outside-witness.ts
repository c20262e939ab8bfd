import { createServer, type Server, type ServerResponse } from "node:http";
import { generateKeyPairSync, sign } from "node:crypto";
import type { AddressInfo } from "node:net";
import { sha256 } from "../../src/base/digest.ts";
import { verifierOf } from "../../src/lineage/cosignature.ts";
import { formatVerifierKey, parseVerifierKey, SIGNATURE_TYPE, verifierKey } from "../../src/lineage/note-key.ts";
import { witness, type WitnessState } from "../../src/lineage/witness.ts";
import { verifyEd25519 } from "./log.ts";

/**
 * A witness of somebody else: a process with a key of its own that speaks C2SP tlog-witness and nothing more, knows
 * only the log keys that it was given, and holds every request to the letter of the specification.
 */
export type OutsideWitness = {
  readonly name: string;
  readonly vkey: string;
  readonly url: string;
  /** What was not as the specification has it; empty for a log that keeps to it. */
  readonly faults: readonly string[];
  /** Sizes that it cosigned, in order. */
  readonly cosigned: readonly number[];
  trust(vkeys: readonly string[]): void;
  stop(): Promise<void>;
  /** Goes on with what it remembers, on the same port. */
  start(): Promise<void>;
};

const BASE64_HASH = "[A-Za-z0-9+/]{43}=";
/** old line, at most 63 proof lines, an empty line, and a checkpoint of three lines under at least one signature. */
const BODY = new RegExp(
  `^old (0|[1-9][0-9]*)\\n(${BASE64_HASH}\\n){0,63}\\n[^\\n+]+\\n(0|[1-9][0-9]*)\\n${BASE64_HASH}\\n\\n(— [^ \\n]+ [A-Za-z0-9+/]+=*\\n)+$`,
);

export async function startOutsideWitness(name = "witness.example/w1"): Promise<OutsideWitness> {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = new Uint8Array(publicKey.export({ format: "der", type: "spki" }).subarray(12));
  const key = verifierKey(name, SIGNATURE_TYPE.cosignature, raw, sha256);
  const signer = { key, sign: (message: Uint8Array) => new Uint8Array(sign(null, message, privateKey)) };
  const states = new Map<string, WitnessState>();
  const faults: string[] = [];
  const cosigned: number[] = [];
  let logs: readonly string[] = [];

  const logKeys = (origin: string) => {
    const keys = logs.flatMap((vkey) => {
      const log = parseVerifierKey(vkey, sha256);
      if (!log.ok) throw new Error(log.error.message);
      const verifier = log.value.name === origin ? verifierOf(log.value, verifyEd25519) : null;
      return verifier === null ? [] : [verifier];
    });
    return keys.length === 0 ? null : keys;
  };
  let turn: Promise<unknown> = Promise.resolve();
  const answer = async (body: Buffer, response: ServerResponse): Promise<void> => {
    const text = body.toString("utf8");
    if (!BODY.test(text)) faults.push(`body: ${JSON.stringify(text)}`);
    const origin = text.slice(text.indexOf("\n\n") + 2).split("\n")[0]!;
    const state = states.get(origin) ?? null;
    const reply = await witness(
      state,
      body,
      { logKeys, signers: [signer], sha: sha256 },
      Math.floor(Date.now() / 1_000),
    );
    if (reply.next_state !== null) {
      states.set(origin, reply.next_state);
      cosigned.push(reply.next_state.size);
    }
    response.writeHead(reply.status, { "content-type": reply.content_type }).end(reply.body);
  };
  const handler = (): Server =>
    createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        if (request.method !== "POST" || request.url !== "/w1/add-checkpoint") {
          faults.push(`${request.method} ${request.url}`);
          response.writeHead(404).end();
          return;
        }
        // One at a time: compare and store are atomic.
        turn = turn.then(() => answer(Buffer.concat(chunks), response));
      });
    });
  let server = handler();
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    name,
    vkey: formatVerifierKey(key),
    url: `http://127.0.0.1:${port}/w1`,
    faults,
    cosigned,
    trust(vkeys) {
      logs = vkeys;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    start() {
      server = handler();
      return listen(port);
    },
  };
}
