import type { EpochView } from "../../src/objects/epochs.ts";
import type { LogState, RegionLogRpc, UntoldRead } from "../../src/objects/log.ts";

/** Leaves in one message. */
const PAGE = 64;
const AGAIN_MS = 1_000;
const AGAIN_MAX_MS = 60_000;

/** What the log of the running epoch gives. */
export type CarryPort = {
  readonly log_epoch: number;
  readonly state: () => LogState;
  readonly epochs: () => Promise<readonly EpochView[]>;
  readonly logOf: (epoch: EpochView) => Pick<RegionLogRpc, "untoldReads" | "readsTold">;
  readonly carry: (
    log_epoch: number,
    reads: readonly UntoldRead[],
  ) => Promise<readonly { readonly id: number; readonly sseq: number }[]>;
  /** Whether all reads of that epoch are told; kept over restarts. */
  readonly isDone: (log_epoch: number) => boolean;
  readonly setDone: (log_epoch: number) => void;
  readonly pause: (ms: number) => Promise<void>;
};

/**
 * Reads that were made while a log had ended get their leaf in the running one: in this log with a note of it, in one
 * transaction, then the other log hears which leaf it is. An epoch is done when its log has none left and takes none.
 * Ends when all are, or when this log ends; what it did not come to is left to the next epoch's.
 */
export async function carryReads(port: CarryPort): Promise<void> {
  for (let wait_ms = AGAIN_MS; ; wait_ms = Math.min(2 * wait_ms, AGAIN_MAX_MS)) {
    const state = port.state();
    if (state === "sealed" || state === "halted") return;
    if (state === "waiting") wait_ms = AGAIN_MS / 2;
    else if (await carryAll(port)) return;
    await port.pause(wait_ms);
  }
}

/** Whether nothing is left to do. */
async function carryAll(port: CarryPort): Promise<boolean> {
  let done = true;
  try {
    const past = (await port.epochs()).filter(
      ({ log_epoch, dropped }) => log_epoch < port.log_epoch && dropped === null && !port.isDone(log_epoch),
    );
    for (const epoch of past) done = (await carryOne(port, epoch)) && done;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : "unknown";
    console.warn(JSON.stringify({ level: "warn", event: "reads_not_carried", message }));
    return false;
  }
  return done;
}

async function carryOne(port: CarryPort, epoch: EpochView): Promise<boolean> {
  for (;;) {
    const reads = await port.logOf(epoch).untoldReads(PAGE);
    // It runs with the configuration of before, and may take reads yet.
    if (reads === null) return false;
    if (reads.length === 0) {
      port.setDone(epoch.log_epoch);
      return true;
    }
    const state = port.state();
    if (state === "sealed" || state === "halted") return false;
    const told = await port.carry(epoch.log_epoch, reads);
    await port.logOf(epoch).readsTold(port.log_epoch, told);
  }
}
