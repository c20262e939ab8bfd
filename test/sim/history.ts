import type { Bug } from "./bugs.ts";
import { begin, FAULTS } from "./faults.ts";
import { seeded } from "../support/random.ts";
import type { Dependency } from "./shard.ts";
import { Violation } from "./truth.ts";
import { DELTA_MS, NAMES, World } from "./world.ts";

export type Outcome = {
  readonly seed: number;
  readonly violation: string | null;
  readonly allows: number;
  readonly denies: number;
  readonly barriers: number;
  /** Faults of the history, for the trace. */
  readonly faults: readonly string[];
};

type FaultName = keyof typeof FAULTS;

/** How often each kind of trouble comes, out of their sum. */
const WEIGHTS: Readonly<Record<FaultName, number>> = {
  partition: 10,
  clockStep: 5,
  crashAuthority: 7,
  crashShard: 3,
  crashRegion: 3,
  restore: 4,
  fork: 3,
  lie: 3,
  rotateKey: 2,
  remove: 1,
  drain: 1,
  activate: 1,
  compact: 4,
};
const BAG: readonly FaultName[] = (Object.keys(WEIGHTS) as FaultName[]).flatMap((name) =>
  Array.from({ length: WEIGHTS[name] }, () => name),
);

/** One history of five regions. The same seed gives the same history. */
export function runHistory(seed: number, bug: Bug | null, tracing = false): Outcome {
  const plan = seeded(seed ^ 0x5bd1e995);
  const faults = Array.from({ length: plan.int(0, 4) }, () => plan.pick(BAG));
  const joining = faults.includes("activate") ? plan.pick(NAMES) : null;
  const world = new World(seed, bug, tracing, {
    ask: faults.includes("restore") ? "all" : "one",
    // Mostly they have met before: a start costs as much as the rest of a short history.
    met: plan.chance(0.8),
    joining,
  });
  let violation: string | null = null;
  try {
    live(world, faults);
  } catch (problem) {
    if (!(problem instanceof Violation)) throw problem;
    violation = problem.message;
  }
  const { allows, denies, barriers } = world.truth;
  return { seed, violation, allows, denies, barriers, faults };
}

function live(world: World, faults: readonly FaultName[]): void {
  const { random } = world;
  const length = random.int(1.5 * DELTA_MS, 3 * DELTA_MS);
  const busy = [random.pick(NAMES)];
  while (random.chance(0.35)) busy.push(random.pick(NAMES));
  const homes = NAMES.filter(() => random.chance(0.5));
  if (homes.length === 0) homes.push(random.pick(NAMES));
  for (const region of new Set(busy)) requests(world, region, homes, length);
  world.runUntil(50);
  writes(world, homes, length);
  for (const name of faults) {
    world.at(random.int(50, length), () => {
      world.trace(`fault: ${name}`);
      FAULTS[name](world);
    });
  }
  world.runUntil(length);
  if (random.chance(0.12)) heal(world);
  else world.runUntil(length + 2 * world.wait_ms);
  for (const name of NAMES) {
    for (const shard of world.shards(name)) {
      if (shard.up && !world.gone.has(name) && shard.open > 0 && !world.isBusy(name)) {
        throw new Violation(`answer: shard ${name}.${shard.index} owes ${shard.open} answers`);
      }
    }
  }
  world.assertHonestTrusted();
}

/** Keys that rest on one home, and now and then one that rests on all. */
function dependency(world: World, homes: readonly string[]): Dependency {
  const { random } = world;
  if (random.chance(0.15)) return { key: "any", origins: NAMES };
  const home = random.pick(homes);
  return { key: `${home}.${random.int(1, 2)}`, origins: [home] };
}

function requests(world: World, region: string, homes: readonly string[], end: number): void {
  const pause = world.random.int(20, 70);
  const ask = (): void => {
    if (world.gone.has(region)) return;
    world.ask(region, dependency(world, homes));
    const next = world.now + pause * (0.5 + world.random.next());
    if (next < end) world.at(next, ask);
  };
  world.after(world.random.next() * pause, ask);
}

function writes(world: World, homes: readonly string[], end: number): void {
  const { random } = world;
  for (let n = random.int(1, 4); n > 0; n--) {
    const on = dependency(world, homes);
    // Mostly at home; a region may also revoke what is homed elsewhere, and then only its own word counts.
    const origin = on.origins.length > 1 || random.chance(0.15) ? random.pick(NAMES) : on.origins[0]!;
    const homed = on.origins.includes(origin);
    const burst = random.chance(0.2) ? random.int(2, 6) : 1;
    const at = random.int(50, end);
    for (let i = 0; i < burst; i++) {
      const key = i === 0 ? on.key : `${origin}.more${i}`;
      world.at(at + i, () => revoke(world, origin, key, homed));
    }
    if (random.chance(0.3)) {
      world.at(at + random.int(50, 2 * DELTA_MS), () => {
        if (!world.gone.has(origin) && world.truth.write(on.key, origin) !== undefined) {
          world.authority(origin).write(on.key, "restored", homed);
        }
      });
    }
  }
}

function revoke(world: World, origin: string, key: string, homed: boolean): void {
  if (world.gone.has(origin) || world.view.regions[origin]!.state === "joining") return;
  if (world.truth.write(key, origin) === undefined) world.watch(world.authority(origin).write(key, "revoked", homed));
}

/** All trouble ends; then everybody must come to hold the same, and allow again. */
function heal(world: World): void {
  world.trace("heal");
  world.cut.clear();
  world.network = { loss: 0, duplicates: 0, slow: 0, inside_slow: 0 };
  for (const name of NAMES) begin(world, name);
  // An operator looks at the clocks.
  for (const name of NAMES) world.authority(name).feed({ type: "reset_clock" });
  const end = world.now + 15 * DELTA_MS;
  // A restore may still be on its way.
  for (const name of NAMES) if (!world.gone.has(name)) requests(world, name, [name], end);
  // The only region that had been told of the newest membership may have lost it.
  for (const name of NAMES) if (!world.gone.has(name)) world.authority(name).takeView(world.view);
  // What was begun before may still change something: a restore, the end of a crash.
  world.runUntil(Math.max(world.now, world.busy_until) + 20);
  world.cut.clear();
  let open = world.unconverged();
  while (open !== null && world.now < end) {
    world.runUntil(world.now + 40);
    open = world.unconverged();
  }
  world.assertHonestTrusted();
  if (open !== null) throw new Violation(`convergence: ${open}`);
}
