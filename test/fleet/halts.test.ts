import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HoldEvent } from "../../src/client/index.ts";
import {
  becomes,
  clientOf,
  DELTA_MS,
  revoke,
  startFederation,
  subjectOf,
  type Federation,
} from "../support/federation.ts";
import { bearer, PASSING, post } from "../support/http.ts";
import { until } from "../support/log.ts";
import { enforcerOf, Heard, keep, newPep, openFor, ticketFor, type Ticket } from "../support/permits.ts";
import type { TestRegion } from "../support/region.ts";
import { unfreeze } from "../support/unfreeze.ts";

/**
 * Holds and halts between three real regions. All clocks are this machine's, and it may be busy: asserted is what comes,
 * in which order, and what must never be seen; how fast it came is printed.
 */
let fed: Federation;
let door: string;
let exit: string;

beforeAll(async () => {
  fed = await startFederation();
  door = await newPep(fed.eu, "door", ["doors"]);
  exit = await newPep(fed.eu, "exit");
}, 120_000);
afterAll(() => fed.close());

beforeEach(async () => {
  fed.links.heal();
  for (const region of fed.all) await becomes(region, ["anybody", "anything"], "allow");
}, 60_000);

/** A hold lives for a second and a half: a machine that stands still for longer ends it, and the step is taken anew. */
const TIMED = { retry: 2 };
let unique = 0;
const named = (stem: string): string => `${stem}-${++unique}`;

const enforcer = () => enforcerOf(fed.eu, door, ["door", "doors"]);

async function held(
  of: readonly [string, string],
  run?: string,
): Promise<Ticket & { readonly hold: string; readonly valid_ms: number }> {
  return until(async () => {
    const ticket = await ticketFor(fed.eu, of, { audience: "doors" }, run);
    const answer = await enforcer().redeem(ticket.permit);
    if (answer.hold !== undefined) return { ...ticket, hold: answer.hold, valid_ms: answer.valid_until_ms };
    if (!PASSING.has(answer.reason ?? "")) throw new Error(`not redeemed: ${answer.reason}`);
    return null;
  }, "a hold");
}

/** A hold that is renewed and listened to, as a resource does while a step runs. */
async function running(of: readonly [string, string]) {
  const ticket = await held(of);
  const keeping = keep(enforcer(), ticket.hold);
  const heard = new Heard();
  const stop = enforcer().onHalt({ hold: ticket.hold }, heard.listener);
  await heard.first("listening");
  await heard.first("renewed");
  return { ...ticket, keeping, heard, stop };
}

type Kind = "SSE" | "WebSocket";
const latencies: { readonly what: string; readonly kind: Kind; readonly ms: number }[] = [];
afterAll(() => {
  for (const kind of ["SSE", "WebSocket"] as const) {
    const all = latencies
      .filter((one) => one.kind === kind)
      .map(({ ms }) => ms)
      .sort((a, b) => a - b);
    if (all.length > 0)
      console.info(
        `halt after the revocation left the administrator, ${kind}: ${all.join(", ")} ms (median ${all[all.length >> 1]})`,
      );
  }
});

/** A listener over a WebSocket; Node's takes headers. */
async function socketTo(region: TestRegion, query: string, credential: string) {
  const heard = new Heard();
  const url = `${region.url.replace("http", "ws")}/access/v1/halts?${query}`;
  const Socket = WebSocket as unknown as new (url: string, options: object) => WebSocket;
  const socket = new Socket(url, { headers: bearer(credential) });
  const pongs: string[] = [];
  socket.addEventListener("message", ({ data }) => {
    if (data === "pong") pongs.push(data);
    else heard.listener(JSON.parse(data as string) as HoldEvent);
  });
  const closed = new Promise<void>((resolve) => socket.addEventListener("close", () => resolve()));
  await heard.first("listening");
  return { socket, heard, closed, pongs };
}

describe("a halt", () => {
  test.each(["eu", "us", "ap"] as const)(
    "reaches both kinds of listener in eu when %s revokes",
    TIMED,
    async (where) => {
      const region = fed[where];
      for (const round of [1, 2, 3]) {
        const id = named(`halted-${where}-${round}`);
        const step = await running([id, "eu-r1"]);
        const socket = await socketTo(fed.eu, `hold=${step.hold}`, door);
        const { view, sent_ms } = await revoke(region, subjectOf(id), "all");
        expect(["confirmed", "lease_expired"]).toContain(view.status["eu"]);
        // What is confirmed was told before.
        const [sse, ws] = [await step.heard.first("halt"), await socket.heard.first("halt")];
        for (const halt of [sse, ws]) expect(halt).toMatchObject({ hold: step.hold, run: step.run, reason: "revoked" });
        latencies.push({ what: where, kind: "SSE", ms: sse.heard_ms - sent_ms });
        latencies.push({ what: where, kind: "WebSocket", ms: ws.heard_ms - sent_ms });
        expect(sse.at - sent_ms).toBeLessThan(10_000);
        expect(["revoked", "hold_ended"]).toContain(await step.keeping.done);
        expect((await enforcer().renew(step.hold)).reason).toBe("hold_ended");
        step.stop();
        socket.socket.close();
      }
    },
  );

  test("comes with a freeze, with a stopped run, with a closed one; and not for those who go on", TIMED, async () => {
    const other = await running([named("eu-other"), "eu-r2"]);
    for (const turn of ["stopped", "closed"] as const) {
      const step = await running([named(`eu-${turn}`), "eu-r2"]);
      if (turn === "stopped") await clientOf(fed.eu).stopRun(step.run, { reason: "test", wait: "local" });
      else await post(`${fed.eu.url}/runs/v1/runs/${step.run}/close`, fed.eu.pep, {});
      const halt = await step.heard.first("halt");
      expect([turn, ["revoked", "run_closed", "ancestor_revoked"].includes(halt.reason!)]).toEqual([turn, true]);
      await step.keeping.done;
      step.stop();
    }
    expect(other.heard.events.map(({ event }) => event)).not.toContain("halt");
    expect((await enforcer().renew(other.hold)).decision).toBe(true);
    await clientOf(fed.eu).freeze("test");
    expect(await other.heard.first("halt")).toMatchObject({ reason: "region_frozen" });
    await other.keeping.done;
    await unfreeze(fed.eu, "test");
    // Given back is not resumed.
    expect((await enforcer().renew(other.hold)).reason).toBe("hold_ended");
    other.stop();
  });

  test("is told to the audience and to who asked for the step, over the run, and to nobody else", TIMED, async () => {
    const step = await running([named("eu-seen"), "eu-r3"]);
    const mine = await socketTo(fed.eu, `run=${step.run}`, fed.eu.pep);
    const strange = new Heard();
    const stop = enforcerOf(fed.eu, exit).onHalt({ run: step.run }, strange.listener);
    await strange.first("listening");
    expect(await mine.heard.first("renewed")).toMatchObject({ hold: step.hold, step: step.claims.step });
    await step.keeping.stop();
    expect(await enforcer().outcome(step.hold, "completed")).toBe(true);
    expect(await mine.heard.first("ended")).toMatchObject({ outcome: "completed" });
    expect(await step.heard.first("ended")).toMatchObject({ outcome: "completed" });
    mine.socket.send("ping");
    await until(async () => mine.pongs.length === 1, "a pong");
    expect(strange.events.map(({ event }) => event)).toEqual(["listening"]);
    mine.socket.close();
    await mine.closed;
    stop();
    step.stop();
  });

  test("that was missed is heard by who comes back", async () => {
    const run = await openFor(fed.eu, "eu-back");
    const step = await held(["eu-back", "eu-r4"], run);
    await revoke(fed.eu, subjectOf("eu-back"), "local");
    const late = new Heard();
    const stop = enforcer().onHalt({ hold: step.hold }, late.listener);
    expect(await late.first("halt")).toMatchObject({ hold: step.hold, reason: "revoked" });
    stop();
    const socket = await socketTo(fed.eu, `run=${run}&last_event_id=0`, door);
    expect(await socket.heard.first("halt")).toMatchObject({ hold: step.hold });
    socket.socket.close();
  });

  test("is the last that a PEP hears whose own credential is revoked", async () => {
    const leaving = await newPep(fed.eu, "leaving", ["exits"]);
    const ticket = await ticketFor(fed.eu, ["eu-leave", "eu-r5"], { audience: "exits" });
    const answer = await enforcerOf(fed.eu, leaving).redeem(ticket.permit);
    const socket = await socketTo(fed.eu, `hold=${answer.hold}`, leaving);
    await clientOf(fed.eu).revoke({ key: "pep:eu/leaving", from: "issue", reason: "test", wait: "local" });
    // workerd lets go of the connection some seconds after the closing handshake.
    await until(async () => socket.socket.readyState >= WebSocket.CLOSING, "a close");
    const again = await fetch(`${fed.eu.url}/access/v1/halts?hold=${answer.hold}`, { headers: bearer(leaving) });
    expect(again.status).toBe(403);
  });
});

describe("a hold in a region that is cut off from the home of a key", () => {
  test("is not renewed beyond Δ, and its listener is told", TIMED, async () => {
    const id = named("us-cut");
    const step = await running([id, "eu-r6"]);
    fed.links.part("eu", "us");
    const cut_ms = Date.now();
    // us takes it away, and cannot say so.
    await revoke(fed.us, subjectOf(id), "accepted");
    const halt = await step.heard.first("halt");
    expect(["sync_stale", "hold_ended", "revoked"]).toContain(halt.reason);
    const why = await step.keeping.done;
    expect(["sync_stale", "hold_ended", "revoked"]).toContain(why);
    // What the last renewal promised was over Δ after the cut.
    expect(step.keeping.lastValid()).toBeLessThanOrEqual(cut_ms + DELTA_MS);
    expect((await enforcer().renew(step.hold)).reason).toBe("hold_ended");
    fed.links.heal();
    await becomes(fed.eu, [id, "eu-r6"], "revoked");
    expect((await enforcer().renew(step.hold)).reason).toBe("hold_ended");
    step.stop();
  });
});
