import { Hono } from "hono";
import { PepAuthenticator } from "../../src/credentials/pep.ts";
import product, { LineageShard as Shard, RegionLog, TrustAuthority, Witness } from "../../src/index.ts";
import { authority, type Env } from "../../src/objects/address.ts";
import { readRegion } from "../../src/region/config.ts";

/**
 * The product and, in the same process, what it is measured against: a bare Hono echo, a bare RPC to an object, and
 * the same RPC behind the product's own PEP authentication.
 */
export { RegionLog, TrustAuthority, Witness };

export class LineageShard extends Shard {
  async ping(text: string): Promise<string> {
    return text;
  }
}

type Ping = { readonly ping: (text: string) => Promise<string> };

let peps: PepAuthenticator | null = null;

const baseline = new Hono<{ Bindings: Env }>()
  .post("/bench/echo", async (c) => c.json(await c.req.json()))
  .post("/bench/rpc", async (c) => {
    const text = await object(c.env).ping(await c.req.text());
    return c.body(text, 200, { "content-type": "application/json" });
  })
  .post("/bench/rpc-auth", async (c) => {
    const read = readRegion(c.env);
    if (!read.ok) return c.text(read.error, 503);
    const region = read.value;
    peps ??= new PepAuthenticator(region, () => authority(c.env, region).material());
    const who = await peps.authenticate(c.req.header("authorization") ?? null, Date.now());
    if (!who.ok) return c.text(who.error.message, 401);
    const text = await object(c.env).ping(await c.req.text());
    return c.body(text, 200, { "content-type": "application/json" });
  });

const object = (env: Env): Ping =>
  env.LINEAGE_SHARD.get(env.LINEAGE_SHARD.idFromName("bench/1/shard/0")) as unknown as Ping;

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    return new URL(request.url).pathname.startsWith("/bench/")
      ? baseline.fetch(request, env)
      : product.fetch(request, env);
  },
};
