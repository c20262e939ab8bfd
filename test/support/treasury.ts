import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bundle } from "../../src/policy/bundle.ts";
import { buildPacks, POLICIES } from "../../tools/policy/build.ts";
import type { Random } from "./random.ts";

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
export async function packsFor(cast: Cast): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), "interlock-treasury-"));
  try {
    for (const pack of ["sovereign", "treasury"])
      await cp(join(POLICIES, pack), join(folder, pack), { recursive: true });
    const at = join(folder, "treasury");
    // What the cases of the scenario's own names say is not this cast's.
    await writeFile(join(at, "golden.json"), '{ "v": 1, "cases": [] }\n');
    for (const leaf of await readdir(at)) {
      const path = join(at, leaf);
      await writeFile(path, renamed(await readFile(path, "utf8"), cast));
    }
    const built = await buildPacks(folder);
    const problem = built.flatMap(({ problems }) => problems)[0];
    if (problem !== undefined) throw new Error(`${problem.file}:${problem.line}: ${problem.message}`);
    return { v: 1, packs: built.map(({ pack }) => pack) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function renamed(text: string, cast: Cast): string {
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
  // Whole JSON and Cedar strings only: a name inside of another is another name.
  return text.replaceAll(/"([^"\\]*)"/g, (whole, inner: string) => {
    const other = to.get(inner);
    return other === undefined ? whole : `"${other}"`;
  });
}
