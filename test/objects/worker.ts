export { LineageShard } from "../../durable-objects/lineage-shard.ts";
export { RegionLog } from "../../durable-objects/region-log.ts";
export { TrustAuthority } from "../../durable-objects/trust-authority.ts";
export { Witness } from "../../durable-objects/witness.ts";

export default { fetch: (): Response => new Response("objects under test") };
