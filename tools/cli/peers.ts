import { setTimeout as pause } from "node:timers/promises";
import { Command } from "commander";
import { compactVerify, importJWK } from "jose";
import type { EquivocationProof, PeersView } from "../../src/objects/peers.ts";
import { Problem } from "../problem.ts";
import { jsonOption, reasonOption } from "./stop.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** The other regions as one region sees them (docs/operations/sync-alarm.md). */

const EVERY_MS = 1_000;

export function peersCommand(): Command {
  const command = addTargetOptions(
    new Command("peers")
      .description("the other regions as this one sees them: fresh or why not, and how far each is")
      // Else the options of `peers proof` would be taken for this one's.
      .enablePositionalOptions()
      .option("--watch", "again every second, until Ctrl-C")
      .addOption(jsonOption()),
  ).action(async (flags: TargetFlags & { watch?: true; json?: true }) => {
    const { client } = targetOf(flags);
    for (;;) {
      const view = await client.peers();
      if (flags.json === true) printJson(view);
      else
        process.stdout.write((flags.watch === true && process.stdout.isTTY ? "\u001b[2J\u001b[H" : "") + table(view));
      if (flags.watch !== true) return;
      await pause(EVERY_MS);
    }
  });
  addTargetOptions(
    command
      .command("proof")
      .description("both signed statements of a region that showed two histories; verified before they are printed")
      .argument("<peer>", "the region that signed them"),
  ).action(async (peer: string, flags: TargetFlags) => {
    const proof = await targetOf(flags).client.peerProof(peer);
    printJson(proof);
    process.stderr.write(`${await verdict(proof)}\n`);
  });
  return command;
}

/** Whether the statements verify under the keys that come with them: compare those with the membership yourself. */
async function verdict({ origin, held, shown, keys }: EquivocationProof): Promise<string> {
  const signed = async (jws: string | null): Promise<boolean> => {
    for (const key of keys) {
      try {
        await compactVerify(jws ?? "", await importJWK(key, "Ed25519"));
        return true;
      } catch {
        // Another key, or none.
      }
    }
    return false;
  };
  const [a, b] = await Promise.all([signed(held.jws), signed(shown.jws)]);
  return a && b
    ? `Both statements are signed by ${origin}, and no honest region signs both.`
    : `NOT VERIFIED: ${a ? "" : "what is held"}${a || b ? "" : " and "}${b ? "" : "what was shown"} is not signed by a key of ${origin} that is listed here now.`;
}

const seconds = (ms: number | null): string => (ms === null ? "–" : `${(ms / 1_000).toFixed(1)} s`);

/** For reading; `--json` has everything. */
function table({ region, word, self, peers, lease_ms }: PeersView): string {
  const rows = [
    ["region", "member", "state", "heard", "applied", "effective", "confirmed", "leased", "failures"],
    ...peers.map((peer) => [
      peer.region,
      peer.member,
      peer.stale ?? "fresh",
      seconds(peer.heard_ms),
      `${peer.applied.incarnation}.${peer.applied.seq}`,
      String(peer.effective_seq),
      `${peer.confirmed_seq} of ${self.own.seq}`,
      seconds(peer.leased_for_ms),
      String(peer.failures),
    ]),
  ];
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at]!))
      .join("  ")
      .trimEnd(),
  );
  const notes = [
    self.stale === null ? null : `This region may allow nothing: ${self.stale}.`,
    self.halted === null ? null : `Its own chain is halted: ${self.halted}.`,
    self.unnumbered === 0 ? null : `${self.unnumbered} deny-ward writes apply here and wait for their number.`,
    self.clock.behind_ms === 0
      ? null
      : `The clock stands ${seconds(self.clock.behind_ms)} below its mark; if it is right now: interlock clock reset.`,
    ...peers.map((peer) =>
      peer.equivocation === null
        ? null
        : `${peer.region} showed two histories (${peer.equivocation.reason}): interlock peers proof ${peer.region}.`,
    ),
  ].filter((note) => note !== null);
  return [
    `${region}: ${word}, own events up to ${self.own.incarnation}.${self.own.seq}, membership ${self.membership}, lease ${seconds(lease_ms)}`,
    ...(peers.length === 0 ? [] : lines),
    ...notes,
    "",
  ].join("\n");
}

export function clockCommand(): Command {
  const command = new Command("clock").description("the region's clock mark");
  addTargetOptions(
    command
      .command("reset")
      .description("the clock was ahead and is right now: forget its mark; every lease is taken anew")
      .addOption(reasonOption())
      .addOption(jsonOption()),
  ).action(async (flags: TargetFlags & { reason: string }) => {
    printJson(await targetOf(flags).client.resetClock(flags.reason));
  });
  return command;
}

export function membershipCommand(): Command {
  const command = new Command("membership").description("the memberships that a region has held");
  addTargetOptions(
    command
      .command("show")
      .description("the membership in force: regions, homes of keys, who may revoke what; served to anyone")
      .addOption(jsonOption()),
  ).action(async (flags: TargetFlags) => {
    const { url } = targetOf(flags);
    printJson(await newestMembership(url));
  });
  return command;
}

type Page = {
  readonly memberships: readonly { readonly version: number; readonly jws: { readonly payload: string } }[];
  readonly next: number | null;
};

/** As the region says; `interlock region trust` verifies what the roots signed. */
async function newestMembership(url: string): Promise<unknown> {
  let newest: Page["memberships"][number] | null = null;
  let after: number | null = 0;
  while (after !== null) {
    const answer = await fetch(`${url}/.well-known/interlock/membership?after=${after}`);
    if (answer.status !== 200)
      throw new Problem(`${url} answered ${answer.status}`, "Is this address an Interlock region?");
    const page = JSON.parse(await answer.text()) as Page;
    newest = page.memberships.at(-1) ?? newest;
    after = page.next;
  }
  if (newest === null) throw new Problem("The region holds no membership", "Enrol it: docs/operations/enrol.md.");
  return JSON.parse(Buffer.from(newest.jws.payload, "base64url").toString("utf8"));
}
