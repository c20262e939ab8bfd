import { Command, Option } from "commander";
import type { DriftView } from "../../src/objects/drift.ts";
import { isRegionName } from "../../src/base/ids.ts";
import { Problem } from "../problem.ts";
import type { AdminClient } from "../region/admin-client.ts";
import { dataOption } from "./options.ts";
import { jsonOption } from "./stop.ts";
import { printJson, targetOf } from "./target.ts";

/**
 * `interlock drift compare`: what several regions say of themselves, side by side. A credential is valid in one region
 * only, so there is one for each. Exit code 1: they differ, or one says nothing yet.
 */
export function driftCompareCommand(): Command {
  return new Command("compare")
    .description("asks several regions and compares what they say of themselves: packs, probes and trust entries")
    .argument("<region...>", "names of regions of this machine, or addresses; two or more")
    .addOption(
      new Option(
        "--token <jwt>",
        "admin credential (policy:read) of a region that is given by its address; one for each, in their order",
      )
        .argParser((token: string, before: readonly string[] | undefined) => [...(before ?? []), token])
        .default([], "none"),
    )
    .addOption(dataOption())
    .addOption(jsonOption())
    .action(async (which: string[], flags: { token: readonly string[]; data: string; json?: true }) => {
      const views = await Promise.all(clientsOf(which, flags.token, flags.data).map((client) => client.drift()));
      const names = views.map(({ region }) => region);
      const twice = names.find((name, i) => names.indexOf(name) !== i);
      if (twice !== undefined)
        throw new Problem(`${twice} is given twice`, "Name two regions or more, each of them once.", 2);
      const found = compared(views);
      if (flags.json === true) printJson(found);
      else process.stdout.write(textOf(found));
      if (found.differs || found.silent.length > 0) process.exitCode = 1;
    });
}

function clientsOf(which: readonly string[], tokens: readonly string[], data: string): readonly AdminClient[] {
  if (which.length < 2)
    throw new Problem("One region has nothing to be compared with", "Give two names or addresses.", 2);
  const addresses = which.filter(isAddress);
  if (addresses.length !== tokens.length)
    throw new Problem(
      `There are ${addresses.length} addresses and ${tokens.length} credentials`,
      "A credential is valid in one region only: give one --token for each address, in their order.",
      2,
    );
  return which.map((one) => {
    const at = addresses.indexOf(one);
    if (at < 0 && !isRegionName(one)) throw new Problem(`${one} is neither a name nor an address`, EITHER, 2);
    if (at < 0) return targetOf({ region: one, data }).client;
    if (!URL.canParse(one)) throw new Problem(`${one} is no address`, EITHER, 2);
    if (addresses.lastIndexOf(one) !== at)
      throw new Problem(`${one} is given twice`, "Name two regions or more, each of them once.", 2);
    return targetOf({ regionUrl: one, token: tokens[at]!, data }).client;
  });
}

const EITHER = "Give the name of a region of this machine (eu), or an address (https://eu.example).";
const isAddress = (text: string): boolean => text.includes(":") || text.includes("/");

/** One thing that regions say: who says which value. Entries are compared after the same events only. */
export type ComparedRow = {
  readonly what: string;
  readonly verdict: "same" | "only" | "differs";
  readonly values: readonly { readonly value: string; readonly regions: readonly string[] }[];
};
export type Compared = {
  readonly differs: boolean;
  /** Regions that have not looked at their policy since they started. */
  readonly silent: readonly string[];
  readonly rows: readonly ComparedRow[];
};

/** By what each region says of itself, whatever they found of one another. */
export function compared(views: readonly DriftView[]): Compared {
  const said = new Map<string, Map<string, string[]>>();
  const say = (what: string, value: string, region: string): void => {
    const values = said.get(what) ?? new Map<string, string[]>();
    said.set(what, values.set(value, [...(values.get(value) ?? []), region]));
  };
  for (const { region, own, states } of views) {
    const [engine, probes] = [own?.engine ?? "", own?.probes ?? 0];
    for (const { name, version, digest, probe } of own?.packs ?? []) {
      say(`${name} ${version} content`, digest, region);
      // Answers of two engines, or to two lists of questions, are not compared.
      if (probe !== null) say(`${name} ${version} answers (${engine}, questions ${probes})`, probe, region);
    }
    for (const { origin, incarnation, seq, secret, count, sum } of states)
      say(`entries of ${origin} after ${incarnation}.${seq} (${secret})`, `${count} ${sum}`, region);
  }
  const rows = [...said].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, values]) => rowOf(what, values));
  return {
    differs: rows.some(({ verdict }) => verdict === "differs"),
    silent: views.filter(({ own }) => own === null).map(({ region }) => region),
    rows,
  };
}

function rowOf(what: string, said: ReadonlyMap<string, readonly string[]>): ComparedRow {
  const values = [...said].map(([value, regions]) => ({ value, regions }));
  const verdict = values.length > 1 ? "differs" : values[0]!.regions.length > 1 ? "same" : "only";
  return { what, verdict, values };
}

export function textOf({ rows, silent }: Compared): string {
  const lines = rows.map(({ what, verdict, values }) =>
    verdict === "differs"
      ? `DIFFERS  ${what}: ${values.map(({ value, regions }) => `${regions.join(", ")} ${value}`).join("; ")}`
      : `${verdict}  ${what}: ${values[0]!.regions.join(", ")}`,
  );
  const quiet = silent.map((region) => `SILENT  ${region} has decided nothing since its start: ask it for a decision`);
  return [...lines, ...quiet, ""].join("\n");
}
