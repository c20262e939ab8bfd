import type { Bundle } from "../../src/policy/bundle.ts";
import type { Random } from "./random.ts";
import { renamed, variantOf } from "./variant-pack.ts";

/** Who plays in S1 (SCENARIOS), and for what amounts. */
export type Cast = {
  readonly home: string;
  readonly guest: string;
  readonly treasurer: string;
  readonly controller: string;
  readonly orchestrator: string;
  readonly reader: string;
  /** At home in the guest region. */
  readonly quoter: string;
  readonly quoter_home: string;
  readonly payer: string;
  readonly invoice: string;
  readonly account: string;
  readonly pair: string;
  /** Above it somebody else approves. */
  readonly approval_above: number;
  readonly a_step: number;
  readonly a_run: number;
  readonly large: number;
  readonly small: number;
  readonly cut: "silent" | "refused";
  /** Whether the steps after the quote are prepared before it comes back. */
  readonly early: boolean;
};

export const SCENARIO: Cast = {
  home: "eu",
  guest: "us",
  treasurer: "alice@bank.example",
  controller: "bob@bank.example",
  orchestrator: "treasury-orchestrator",
  reader: "invoice-reader",
  quoter: "fx-quoter",
  quoter_home: "fx-quoter-eu",
  payer: "payer",
  invoice: "INV-881",
  account: "ACC-EU-1",
  pair: "EUR/USD",
  approval_above: 10_000,
  a_step: 20_000,
  a_run: 25_000,
  large: 18_400,
  small: 6_000,
  cut: "silent",
  early: true,
};

/** Other names, limits, regions, order and cuts; the same flow. */
export function anotherCast(random: Random): Cast {
  const name = (stem: string): string => `${stem}-${random.int(0, 0xffff).toString(36)}`;
  const [home, guest] = random.chance(0.5) ? (["eu", "us"] as const) : (["us", "eu"] as const);
  const a_step = random.int(20, 900) * 100;
  const a_run = a_step + random.int(1, Math.floor(a_step / 200)) * 50;
  const small = random.int(1, Math.floor((a_run - a_step) / 2)) + random.int(0, 9_999) / 10_000;
  const large = a_step - random.int(0, Math.floor(a_step / 4));
  return {
    home,
    guest,
    treasurer: `${name("ann")}@bank.example`,
    controller: `${name("ben")}@bank.example`,
    orchestrator: name("desk"),
    reader: name("read"),
    quoter: name("rate"),
    quoter_home: name("near"),
    payer: name("pay"),
    invoice: name("INV"),
    account: name("ACC"),
    pair: random.pick(["EUR/USD", "EUR/GBP", "EUR/JPY"]),
    approval_above: random.int(Math.ceil(small), large - 1),
    a_step,
    a_run,
    large,
    small: Math.round(small * 100) / 100,
    cut: random.chance(0.5) ? "silent" : "refused",
    early: random.chance(0.5),
  };
}

/** The treasury pack as this cast's bank would have written it, and the sovereign one. */
export function packsFor(cast: Cast): Promise<Bundle> {
  const to = new Map<string, string>([
    ...(["home", "guest"] as const).map((role): [string, string] => [SCENARIO[role], cast[role]]),
    ...(["treasurer", "controller"] as const).map((role): [string, string] => [SCENARIO[role], cast[role]]),
    ...(["orchestrator", "reader", "quoter", "quoter_home", "payer", "invoice", "account"] as const).map(
      (role): [string, string] => [SCENARIO[role], cast[role]],
    ),
    ["pii:eu", `pii:${cast.home}`],
    ["20000.0", `${cast.a_step}.0`],
    ["10000.0", `${cast.approval_above}.0`],
  ]);
  return variantOf("treasury", (_, text) => renamed(text, to));
}
