import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * The wires between the regions of a fleet, in this process: every region sends through a forward proxy of its own, so
 * that who sends is known by the proxy and to whom by the address. A wire is directed: `eu → us` carries what eu asks of
 * us and what eu answers to us. Each can be cut and delayed, and all that a region lets out is kept.
 */
export type Crossing = {
  readonly from: string;
  readonly to: string;
  readonly t_ms: number;
  readonly kind: "request" | "answer";
  /** Request line and header lines, or status and header lines. */
  readonly head: string;
  readonly body: Buffer;
  /** Whether it was let through. */
  readonly crossed: boolean;
};

/** `silent`: nothing comes of it, until the sender gives up. `refused`: the connection is closed at once. */
export type Cut = "silent" | "refused";

export class Links {
  readonly crossings: Crossing[] = [];
  readonly #proxies = new Map<string, { readonly server: Server; readonly address: string }>();
  readonly #regions = new Map<string, string>();
  readonly #cuts = new Map<string, Cut>();
  readonly #delays = new Map<string, number>();
  /** What arrives instead of a body that was let through; for whoever sits on the wire. */
  rewrite: ((what: Omit<Crossing, "t_ms" | "crossed">) => Buffer) | null = null;
  /** Connections of which nothing will come. */
  readonly #swallowed = new Set<Socket>();

  /** One proxy for each region that will be started. */
  static async open(regions: readonly string[]): Promise<Links> {
    const links = new Links();
    for (const region of regions) {
      // A request to a proxy names its host in the request line alone.
      const server = createServer({ requireHostHeader: false }, (request, response) => {
        links.#pass(region, request, response).catch(() => response.destroy());
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      links.#proxies.set(region, { server, address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
    }
    return links;
  }

  /** For `startRegions`. */
  readonly egress = (region: string): string => this.#proxies.get(region)!.address;

  /** Which region answers at `url`; one that is not named here is known by its address. */
  name(region: string, url: string): void {
    this.#regions.set(new URL(url).host, region);
  }

  cut(from: string, to: string, how: Cut = "silent"): void {
    this.#cuts.set(`${from} ${to}`, how);
  }

  /** Both wires between the two. */
  part(a: string, b: string, how: Cut = "silent"): void {
    this.cut(a, b, how);
    this.cut(b, a, how);
  }

  delay(from: string, to: string, ms: number): void {
    this.#delays.set(`${from} ${to}`, ms);
  }

  /** Every wire whole and without delay. */
  heal(): void {
    this.#cuts.clear();
    this.#delays.clear();
    this.rewrite = null;
    // What a cut swallowed is lost.
    for (const socket of this.#swallowed) socket.destroy();
    this.#swallowed.clear();
  }

  async close(): Promise<void> {
    for (const { server } of this.#proxies.values()) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #pass(from: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!);
    const to = this.#regions.get(url.host) ?? url.host;
    const body = await collect(request);
    const head = `${request.method} ${url.pathname}${url.search}\n${request.rawHeaders.join("\n")}`;
    const arrived = await this.#carry({ from, to, kind: "request", head, body }, response);
    if (arrived === null) return;
    const answer = await ask(url, request, arrived);
    const told = await collect(answer);
    const line = `${answer.statusCode}\n${answer.rawHeaders.join("\n")}`;
    const back = await this.#carry({ from: to, to: from, kind: "answer", head: line, body: told }, response);
    if (back === null) return;
    const { "content-length": _, "transfer-encoding": __, ...headers } = answer.headers;
    response.writeHead(answer.statusCode!, headers).end(back);
  }

  /** Keeps what left; what of it arrives, or `null`. */
  async #carry(what: Omit<Crossing, "t_ms" | "crossed">, response: ServerResponse): Promise<Buffer | null> {
    const wire = `${what.from} ${what.to}`;
    const how = this.#cuts.get(wire);
    this.crossings.push({ ...what, t_ms: Date.now(), crossed: how === undefined });
    if (how === "refused") response.destroy();
    if (how === "silent" && response.socket !== null) this.#swallowed.add(response.socket);
    if (how !== undefined) return null;
    const late = this.#delays.get(wire) ?? 0;
    if (late > 0) await sleep(late);
    return this.rewrite === null ? what.body : this.rewrite(what);
  }
}

async function collect(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A connection of its own: one that a killed region left behind is not used again. */
function ask(url: URL, { method, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { "transfer-encoding": _, connection: __, ...rest } = headers;
    const sent = httpRequest(
      url,
      { method: method!, headers: { ...rest, host: url.host, "content-length": body.length }, agent: false },
      resolve,
    );
    sent.on("error", reject);
    sent.end(body);
  });
}
