import type { Bundle } from "../../src/policy/bundle.ts";
import type { Cut } from "./links.ts";
import type { Random } from "./random.ts";
import { renamed, replaced, variantOf } from "./variant-pack.ts";

/** Who plays in S2 (SCENARIOS), on what, and within which limits. */
export type Cast = {
  readonly home: string;
  readonly peer: string;
  /** Of the service account `system:serviceaccount:ops:<agent>`. */
  readonly agent: string;
  readonly on_call: string;
  /** Not on call. */
  readonly off_call: string;
  /** For whom the agent works where somebody else has to agree. */
  readonly requester: string;
  readonly cluster: string;
  readonly namespace: string;
  readonly max_replicas: number;
  /** Changes that the pack grants one run. */
  readonly changes: number;
  /** How old an attestation may be, and how old the one is that is refused. */
  readonly attested_ms: number;
  readonly stale_s: number;
  readonly replicas: number;
  readonly within: number;
  readonly beyond: number;
  readonly attested_image: string;
  readonly loose_image: string;
  /** Whether the change window is closed before everything else, or after it. */
  readonly closed: "first" | "last";
  /** How the peer is lost for a while, where it is: a proven key is at home in every region, and so denied. */
  readonly cut: Cut | null;
};

export const SCENARIO: Cast = {
  home: "eu",
  peer: "us",
  agent: "sre-agent",
  on_call: "carol",
  off_call: "dan",
  requester: "erin",
  cluster: "prod-eu",
  namespace: "payments",
  max_replicas: 10,
  changes: 10,
  attested_ms: 300_000,
  stale_s: 360,
  replicas: 4,
  within: 6,
  beyond: 40,
  attested_image: "registry.example/payments@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  loose_image: "app:latest",
  closed: "last",
  cut: null,
};

export const workloadOf = ({ agent }: Pick<Cast, "agent">): string => `spiffe://prod.example/ns/ops/sa/${agent}`;

/** Other names, limits, order and cuts; the same flow. */
export function anotherCast(random: Random): Cast {
  const name = (stem: string): string => `${stem}-${random.int(0, 0xffff).toString(36)}`;
  const [home, peer] = random.chance(0.5) ? (["eu", "us"] as const) : (["us", "eu"] as const);
  const max_replicas = random.int(6, 60);
  const replicas = random.int(2, max_replicas);
  const minutes = random.int(1, 20);
  const namespace = name("shop");
  const hex = Array.from({ length: 64 }, () => random.int(0, 15).toString(16)).join("");
  return {
    home,
    peer,
    agent: name("ops-agent"),
    on_call: name("cleo"),
    off_call: name("dirk"),
    requester: name("emil"),
    cluster: name("prod"),
    namespace,
    max_replicas,
    changes: random.int(3, 9),
    attested_ms: minutes * 60_000,
    stale_s: minutes * 60 + random.int(30, 120),
    replicas,
    within: random.int(Math.ceil(replicas / 2), Math.min(Math.floor((replicas * 3) / 2), max_replicas)),
    beyond: max_replicas + random.int(1, 1_000),
    attested_image: `registry.example/${namespace}@sha256:${hex}`,
    loose_image: `registry.example/${namespace}:${random.pick(["latest", "v1", "stable"])}`,
    closed: random.pick(["first", "last"]),
    cut: random.pick(["silent", "refused"]),
  };
}

/** `open` at every hour, `closed` for some hours at least, whatever the time of day is. */
export type Window = "open" | "closed";

function hoursOf(window: Window, now: Date): readonly [string, string] {
  if (window === "open") return ["0h", "24h"];
  return now.getUTCHours() < 12 ? ["18h", "22h"] : ["2h", "6h"];
}

/** Version 8 scales nothing any more. */
export function packsFor(cast: Cast, version: 7 | 8, window: Window): Promise<Bundle> {
  const [from, until] = hoursOf(window, new Date());
  const to = new Map([
    [SCENARIO.home, cast.home],
    [SCENARIO.peer, cast.peer],
    [workloadOf(SCENARIO), workloadOf(cast)],
    [SCENARIO.on_call, cast.on_call],
    [SCENARIO.off_call, cast.off_call],
    [SCENARIO.cluster, cast.cluster],
    [SCENARIO.namespace, cast.namespace],
    [SCENARIO.attested_image, cast.attested_image],
    ["7.0.0", `${version}.0.0`],
    ["6h", from],
    ["20h", until],
  ]);
  return variantOf("kubernetes-sre", (leaf, text) => {
    const named = renamed(text, to);
    if (leaf === "limits.cedar") return replaced(named, /replicas > 10\b/, `replicas > ${cast.max_replicas}`);
    if (leaf === "policies.cedar" && version === 8) return replaced(named, /@id\("scale"\)\npermit[^;]*;\n/, "");
    if (leaf !== "pack.json") return named;
    const aged = replaced(named, /"max_age_ms": 300000/, `"max_age_ms": ${cast.attested_ms}`);
    return replaced(aged, /"max": "10"/, `"max": "${cast.changes}"`);
  });
}
