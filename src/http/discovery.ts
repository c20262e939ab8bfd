import type { Handler } from "./access.ts";
import type { Room } from "./deps.ts";
import { json, refuse, unavailable } from "./reply.ts";
import { ROUTES, type Operation } from "./routes.ts";
import { twice } from "../objects/deadline.ts";

const READ_MS = 2_000;
const CACHEABLE = { "Cache-Control": "public, max-age=60" } as const;

const ENDPOINTS: readonly (readonly [member: string, operation: Operation])[] = [
  ["access_evaluation_endpoint", "evaluate"],
  ["access_evaluations_endpoint", "evaluateMany"],
  ["search_subject_endpoint", "searchSubjects"],
  ["search_resource_endpoint", "searchResources"],
  ["search_action_endpoint", "searchActions"],
  ["access_request_endpoint", "submitAccessRequest"],
  ["jwks_uri", "keys"],
];

const CAPABILITIES = ["urn:openid:authzen:capability:access-request"] as const;

/**
 * AuthZEN metadata. `identifier` is what the client built the URL from: it must find exactly that under
 * `policy_decision_point`, or it discards the document (the mix-up defence). Empty members are left out.
 */
function metadata(room: Room, identifier: string, types: readonly string[]): Metadata {
  const out: Record<string, string | readonly string[]> = { policy_decision_point: identifier };
  for (const [member, operation] of ENDPOINTS) {
    out[member] = room.region.pdp + ROUTES.find((route) => route.operation === operation)!.path;
  }
  out["capabilities"] = CAPABILITIES;
  return types.length === 0 ? out : { ...out, obligations_supported: types };
}

type Metadata = Readonly<Record<string, string | readonly string[]>>;

/** Signed metadata by identifier, for the material under which they were signed; per room, and a room has two. */
const signed = new WeakMap<Room, Map<string, { readonly material: string; readonly jwt: string }>>();

async function discovery(room: Room, identifier: string): Promise<Response> {
  const issued = await issuedObligations(room);
  const plain = metadata(room, identifier, issued.types);
  const jwt = await signedMetadata(room, identifier, issued.policy, plain);
  // Without a signature the document still stands; a client that insists on one sees that it is missing.
  return json(jwt === null ? plain : { ...plain, signed_metadata: jwt }, 200, jwt === null ? undefined : CACHEABLE);
}

/** Nothing where the authority does not answer: nothing is allowed then for long. */
async function issuedObligations(room: Room): Promise<{ readonly policy: string; readonly types: readonly string[] }> {
  try {
    return await twice(READ_MS, () => room.authority().obligations());
  } catch {
    return { policy: "", types: [] };
  }
}

async function signedMetadata(room: Room, identifier: string, policy: string, plain: Metadata): Promise<string | null> {
  try {
    const digest = room.peps.material ?? (await twice(READ_MS, () => room.authority().material())).digest;
    const material = `${digest} ${policy}`;
    let known = signed.get(room);
    if (known === undefined) signed.set(room, (known = new Map()));
    const cached = known.get(identifier);
    if (cached?.material === material) return cached.jwt;
    const jwt = await twice(READ_MS, () => room.authority().signMetadata(plain));
    known.set(identifier, { material, jwt });
    return jwt;
  } catch {
    return null;
  }
}

export const discoveryHandlers = {
  discover: (room) => discovery(room, room.region.pdp),
  discoverRegion: (room, _arrival, _request, params) =>
    params["region"] === room.region.name
      ? discovery(room, `${room.region.pdp}/${room.region.name}`)
      : refuse(
          { status: 404, code: "not_found", detail: `this is region ${room.region.name}; ask the other region itself` },
          "problem",
        ),
  keys: async (room) => {
    try {
      return json(await twice(READ_MS, () => room.authority().jwks()), 200, CACHEABLE);
    } catch {
      return refuse(unavailable("the region's keys cannot be read; retry"), "problem");
    }
  },
} as const satisfies Readonly<Record<string, Handler>>;
