import { createServer, type AddressInfo } from "node:net";
import { codeOf, messageOf, Problem } from "../problem.ts";
import { socketAddress } from "./config.ts";

/** Throws a `Problem` where `host:port` cannot be bound, and says whether a region of ours answers there. */
export async function assurePortFree(host: string, port: number, region: string): Promise<void> {
  try {
    await bind(host, port);
  } catch (cause) {
    const at = socketAddress(host, port);
    if (codeOf(cause) === "EADDRINUSE") {
      const who = (await answersHealth(at)) ? "another region that answers there" : "another process";
      throw new Problem(
        `Port ${port} for region ${region} is in use by ${who} (${at})`,
        `Stop it, or choose another port (--port, or --regions ${region}:PORT for a fleet).`,
      );
    }
    throw new Problem(
      `Region ${region} cannot listen on ${at}: ${messageOf(cause)}`,
      "Choose another address with --host and --port.",
    );
  }
}

/** A port that was free a moment ago; for tests. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  return bind(host, 0);
}

function bind(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => {
      const bound = (server.address() as AddressInfo).port;
      server.close(() => resolve(bound));
    });
  });
}

async function answersHealth(at: string): Promise<boolean> {
  try {
    const answer = await fetch(`http://${at}/health`, { signal: AbortSignal.timeout(500) });
    return (answer.headers.get("content-type") ?? "").includes("json");
  } catch {
    return false;
  }
}
