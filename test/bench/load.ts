import { connect } from "node:net";

/**
 * A closed loop of `connections` callers over keep-alive connections, for `seconds`. Runs in a process of its own
 * (`node load.ts JSON`), so that the load and the region each have a core, and speaks HTTP/1.1 on bare sockets: Node's
 * own client tops out near 4,000 requests a second here, which would flatter every ratio.
 */
export type LoadPlan = {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
};

export type LoadResult = {
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** Answers that were not 200, and connections that broke. */
  readonly errors: number;
};

const HEAD_END = Buffer.from("\r\n\r\n");

function load({ host, port, path, headers, body, connections, seconds }: LoadPlan): Promise<LoadResult> {
  const lines = Object.entries({
    host: `${host}:${port}`,
    ...headers,
    "content-length": String(Buffer.byteLength(body)),
  });
  const request = Buffer.from(
    `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body}`,
  );
  const latencies: number[] = [];
  let errors = 0;
  const started = performance.now();
  const end = started + seconds * 1_000;

  const caller = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ host, port, noDelay: true });
      let sent = 0;
      let got: Buffer = Buffer.alloc(0);
      const send = (): void => {
        sent = performance.now();
        socket.write(request);
      };
      socket.on("connect", send);
      socket.on("data", (chunk) => {
        got = got.length === 0 ? chunk : Buffer.concat([got, chunk]);
        const head = got.indexOf(HEAD_END);
        if (head === -1) return;
        const text = got.toString("latin1", 0, head);
        const length = /\r\ncontent-length: ([0-9]+)/i.exec(text)?.[1];
        if (length === undefined) {
          socket.destroy(new Error("an answer without Content-Length"));
          return;
        }
        if (got.length < head + 4 + Number(length)) return;
        got = Buffer.alloc(0);
        latencies.push(performance.now() - sent);
        if (!text.startsWith("HTTP/1.1 200")) errors++;
        if (performance.now() < end) send();
        else socket.end();
      });
      socket.on("error", () => errors++);
      socket.on("close", () => resolve());
    });

  return Promise.all(Array.from({ length: connections }, caller)).then(() => {
    const elapsed_s = (performance.now() - started) / 1_000;
    latencies.sort((a, b) => a - b);
    const at = (share: number): number =>
      latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
    return { rps: latencies.length / elapsed_s, p50_ms: at(0.5), p99_ms: at(0.99), errors };
  });
}

if (process.argv[2] !== undefined) {
  process.stdout.write(JSON.stringify(await load(JSON.parse(process.argv[2]) as LoadPlan)));
}
