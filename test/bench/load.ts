import { Agent, request } from "node:http";

/**
 * A closed loop of `connections` callers over keep-alive connections, for `seconds`. Runs in a process of its own
 * (`node load.ts JSON`), so that the load and the region each have a core.
 */
export type LoadPlan = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
};

export type LoadResult = {
  readonly rps: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly errors: number;
};

async function load(plan: LoadPlan): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: plan.connections });
  const body = Buffer.from(plan.body);
  const options = {
    method: "POST",
    agent,
    headers: { ...plan.headers, "content-type": "application/json", "content-length": String(body.length) },
  };
  const once = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const sent = request(plan.url, options, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode ?? 0));
      });
      sent.on("error", reject);
      sent.end(body);
    });
  const latencies: number[] = [];
  let errors = 0;
  const end = performance.now() + plan.seconds * 1_000;
  const caller = async (): Promise<void> => {
    while (performance.now() < end) {
      const started = performance.now();
      const status = await once().catch(() => 0);
      latencies.push(performance.now() - started);
      if (status !== 200) errors++;
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: plan.connections }, caller));
  const elapsed_s = (performance.now() - started) / 1_000;
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return { rps: latencies.length / elapsed_s, p50_ms: at(0.5), p99_ms: at(0.99), errors };
}

if (process.argv[2] !== undefined) {
  process.stdout.write(JSON.stringify(await load(JSON.parse(process.argv[2]) as LoadPlan)));
}
