export { LineageShard } from "../../durable-objects/lineage-shard.ts";
export { TrustAuthority } from "../../durable-objects/trust-authority.ts";

export default { fetch: (): Response => new Response("objects under test") };
