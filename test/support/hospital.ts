import type { Bundle } from "../../src/policy/bundle.ts";
import type { Cut } from "./links.ts";
import type { Random } from "./random.ts";
import { renamed, replaced, variantOf } from "./variant-pack.ts";

/** Who plays in S3 (SCENARIOS), where, and within which limits. */
export type Cast = {
  /** Where the ward is, where the patients' consents are at home, and where no PHI goes. */
  readonly home: string;
  readonly consents: string;
  readonly abroad: string;
  readonly doctor: string;
  readonly assistant: string;
  readonly patient: string;
  /** A patient whom the doctor does not treat. */
  readonly stranger: string;
  readonly model_near: string;
  readonly model_abroad: string;
  /** Records a run may read in a minute. */
  readonly records: number;
  /** How long an emergency lasts. */
  readonly emergency_s: number;
  /** In what is said about patients, and so in nothing that goes abroad. */
  readonly canary: string;
  /** How the consents' home is lost while one is withdrawn there; `null`: it is not. */
  readonly cut: Cut | null;
  /** In which the rows about single steps come. */
  readonly order: readonly number[];
};

export const ROWS = 6;

export const SCENARIO: Cast = {
  home: "de",
  consents: "fr",
  abroad: "us",
  doctor: "dr.weber@klinik.example",
  assistant: "ward-assistant",
  patient: "P-204",
  stranger: "P-777",
  model_near: "llm-summarize-fr",
  model_abroad: "llm-summarize-us",
  records: 20,
  emergency_s: 900,
  canary: "canary-P-204-4c19f2e7",
  cut: null,
  order: Array.from({ length: ROWS }, (_, row) => row),
};

function shuffled<T>(random: Random, from: readonly T[]): readonly T[] {
  const left = [...from];
  return from.map(() => left.splice(random.int(0, left.length - 1), 1)[0]!);
}

/** Other names, limits, regions, order and cuts; the same flow. */
export function anotherCast(random: Random): Cast {
  const name = (stem: string): string => `${stem}-${random.int(0x10000, 0xfffff).toString(36)}`;
  const [home, consents, abroad] = shuffled(random, ["de", "fr", "us"]) as readonly [string, string, string];
  return {
    home,
    consents,
    abroad,
    doctor: `${name("dr")}@klinik.example`,
    assistant: name("ward"),
    patient: name("P"),
    stranger: name("Q"),
    model_near: name("model"),
    model_abroad: name("model"),
    records: random.int(3, 45),
    emergency_s: random.int(3, 6),
    canary: name("canary"),
    cut: random.pick(["silent", "refused"]),
    order: shuffled(random, SCENARIO.order),
  };
}

/** The pack as this cast's hospital would have written it, and the sovereign one. */
export function packsFor(cast: Cast): Promise<Bundle> {
  const roles = [
    "home",
    "consents",
    "abroad",
    "doctor",
    "assistant",
    "patient",
    "stranger",
    "model_near",
    "model_abroad",
  ] as const;
  const to = new Map([
    ...roles.map((role): [string, string] => [SCENARIO[role], cast[role]]),
    ["900", String(cast.emergency_s)],
    ["15m", `${cast.emergency_s}s`],
  ]);
  return variantOf("hospital-mcp", (leaf, text) => {
    const named = renamed(text, to);
    return leaf === "pack.json" ? replaced(named, /"max": "20"/, `"max": "${cast.records}"`) : named;
  });
}
