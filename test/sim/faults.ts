import type { MembershipView, RegionView } from "../../src/sync/view.ts";
import type { Message } from "./authority.ts";
import type { SimEvent } from "./storage.ts";
import { DELTA_MS, NAMES, type World } from "./world.ts";

/** One kind of trouble, begun at some time of the history; what ends it is put on the queue too. */
export type Fault = (world: World) => void;

const others = (region: string): readonly string[] => NAMES.filter((name) => name !== region);
const anyRegion = (world: World): string => world.random.pick(NAMES.filter((name) => !world.gone.has(name)));

/** Some links carry nothing for a while: both ways, one way, or a whole region cut off. */
const partition: Fault = (world) => {
  const { random } = world;
  const region = anyRegion(world);
  const peers = random.chance(0.4) ? others(region) : others(region).filter(() => random.chance(0.5));
  const way = random.int(0, 2);
  const links: string[] = [];
  for (const peer of peers) {
    if (way !== 1) links.push(`${region}>${peer}`);
    if (way !== 2) links.push(`${peer}>${region}`);
  }
  world.trace(`cut ${links.join(" ")}`);
  for (const link of links) world.cut.add(link);
  world.later(random.int(100, 3 * DELTA_MS), () => {
    for (const link of links) world.cut.delete(link);
  });
};

/** Longer than the pause between two looks at it: a shorter one nobody can tell from time passing. */
const clockStep: Fault = (world) => {
  const { random } = world;
  const region = anyRegion(world);
  const step = random.chance(0.5) ? -random.int(200, 2_000) : random.int(300, 3_000);
  const all = random.chance(0.5);
  world.trace(`clock of ${region} steps by ${step}`);
  if (all || random.chance(0.5)) world.authority(region).clock.step(step);
  for (const shard of world.shards(region)) if (all || random.chance(0.5)) shard.clock.step(step);
};

/** The host may come back with another time. */
function rebootClock(world: World, region: string): void {
  if (!world.random.chance(0.3)) return;
  const step = world.random.int(-600, 600);
  world.trace(`clock of ${region} comes back by ${step}`);
  world.authority(region).clock.step(step);
}

const crashAuthority: Fault = (world) => {
  const region = anyRegion(world);
  world.trace(`${region} crashes`);
  world.authority(region).crash();
  rebootClock(world, region);
  world.later(world.random.int(1, 250), () => begin(world, region));
};

const crashShard: Fault = (world) => {
  const shard = world.random.pick(world.shards(anyRegion(world)));
  world.trace(`shard ${shard.region}.${shard.index} crashes`);
  shard.crash();
  world.later(world.random.int(1, 100), () => {
    if (!world.gone.has(shard.region)) shard.start();
  });
};

const crashRegion: Fault = (world) => {
  const region = anyRegion(world);
  stop(world, region);
  rebootClock(world, region);
  world.later(world.random.int(1, 400), () => begin(world, region));
};

function stop(world: World, region: string): void {
  world.trace(`region ${region} stops`);
  world.authority(region).crash();
  for (const shard of world.shards(region)) shard.crash();
}

export function begin(world: World, region: string): void {
  if (world.gone.has(region)) return;
  for (const shard of world.shards(region)) if (!shard.up) shard.start();
  const authority = world.authority(region);
  if (authority.up) return;
  world.trace(`${region} starts`);
  authority.start();
}

/** The whole region comes back from a copy of its disks that was made earlier. */
const restore: Fault = (world) => {
  const region = anyRegion(world);
  const copy = world.authority(region).storage.copy();
  const shards = world.shards(region).map((shard) => shard.backUp());
  world.trace(`back-up of ${region}`);
  world.later(world.random.int(50, 2 * DELTA_MS), () => {
    if (world.gone.has(region)) return;
    stop(world, region);
    world.trace(`restore ${region}`);
    world.restore(region, copy, shards);
    world.later(world.random.int(1, 100), () => begin(world, region));
  });
};

/** From some seq on, some regions are told another history. */
const fork: Fault = (world) => {
  const { random } = world;
  const liar = anyRegion(world);
  if (!lies(world, liar)) return;
  const authority = world.authority(liar);
  const { mark } = authority.storage.record.own;
  const first = mark.seq + random.int(0, 1);
  if (first === 0) return;
  const victims = new Set(others(liar).filter(() => random.chance(0.5)));
  world.trace(`${liar} forks at ${first} towards ${[...victims].join(" ")}`);
  const bent = (hash: string | null, seq: number): string | null => (seq >= first && hash !== null ? `${hash}'` : hash);
  const bend = (event: SimEvent): SimEvent =>
    event.origin !== liar || event.seq < first
      ? event
      : {
          ...event,
          digest: bent(event.digest, event.seq)!,
          jws: bent(event.jws, event.seq)!,
          prev: bent(event.prev, event.seq - 1),
          entry: { ...event.entry, state: "restored" },
        };
  authority.twist = (to, message): Message => {
    if (!victims.has(to)) return message;
    if (message.type === "push") return { ...message, events: message.events.map(bend) };
    if (message.type !== "head") return message;
    const { body } = message;
    return {
      ...message,
      events: message.events.map(bend),
      body: { ...body, hash: bent(body.hash, body.seq) },
      jws: `${message.jws}'`,
    };
  };
};

/** Heads from the past, an event from the future, signatures that do not verify, and slander about the others. */
const lie: Fault = (world) => {
  const { random } = world;
  const liar = anyRegion(world);
  if (!lies(world, liar)) return;
  const kind = random.pick(["replay", "future", "forge", "slander"] as const);
  world.trace(`${liar} lies: ${kind}`);
  const said: Message[] = [];
  world.authority(liar).twist = (to, message): Message => {
    if (kind === "forge") return random.chance(0.5) ? { ...message, forged: true } : message;
    if (kind === "replay") {
      said.push(message);
      const old = random.pick(said);
      if (message.type === "head" && old.type === "head" && random.chance(0.5)) {
        return { ...message, events: old.events, body: { ...old.body, nonce: message.body.nonce } };
      }
      return random.chance(0.3) ? old : message;
    }
    if (kind === "future" && message.type === "push") {
      const far = message.events.map((event) => ({
        ...event,
        seq: event.seq + random.int(1, 1_000),
        digest: `${event.digest}+`,
      }));
      return { ...message, events: far };
    }
    if (kind === "slander" && (message.type === "head" || message.type === "pull")) {
      const about = random.pick(others(liar));
      const mark = message.body.seen[about];
      if (mark === undefined || mark.seq === 0) return message;
      const seen = { ...message.body.seen, [about]: { ...mark, seq: mark.seq + random.int(0, 1), hash: "slander" } };
      return { ...message, body: { ...message.body, seen } } as Message;
    }
    return message;
  };
};

/** Of five, one at most lies. */
function lies(world: World, region: string): boolean {
  if (world.truth.liars.size > 0 || world.view.regions[region]!.state !== "active") return false;
  world.truth.liars.add(region);
  return true;
}

const changeRegion = (view: MembershipView, region: string, change: Partial<RegionView>): MembershipView => ({
  version: view.version + 1,
  regions: { ...view.regions, [region]: { ...view.regions[region]!, ...change } },
});

const some = (world: World): readonly string[] => {
  const told = NAMES.filter((name) => !world.gone.has(name) && world.random.chance(0.4));
  return told.length > 0 ? told : [anyRegion(world)];
};

/** The next key signs from the next event on; the old one stays listed. */
const rotateKey: Fault = (world) => {
  const region = anyRegion(world);
  const { keys } = world.view.regions[region]!;
  const from_seq = world.authority(region).storage.record.own.mark.seq + 1;
  const next = { kid: `${region}.k${keys.length + 1}`, from_seq, distrust_after: null };
  world.publish(changeRegion(world.view, region, { keys: [...keys, next] }), some(world));
};

/** A region stops for good, and the roots write down its last event. */
const remove: Fault = (world) => {
  const region = anyRegion(world);
  if (world.gone.size > 0 || world.view.regions[region]!.state !== "active" || world.truth.liars.size > 0) return;
  const { storage } = world.authority(region);
  // The last event that anybody has: one that is just back from a back-up may not know its own.
  let { mark } = storage.record.own;
  for (const name of NAMES) {
    const known = world.authority(name).storage.record.peers[region]?.mark;
    if (known !== undefined && known.incarnation === mark.incarnation && known.seq > mark.seq) mark = known;
  }
  // What had no number yet is gone with it, and so is what nobody else had.
  const held = NAMES.some(
    (name) => name !== region && world.authority(name).storage.held(region, mark.incarnation, mark.seq) === mark.hash,
  );
  if (storage.unnumbered.length > 0 || (mark.seq > 0 && !held)) return;
  stop(world, region);
  world.gone.add(region);
  world.publish(
    changeRegion(world.view, region, { state: "removed", final: { seq: mark.seq, hash: mark.hash } }),
    some(world),
  );
};

const drain: Fault = (world) => {
  const region = anyRegion(world);
  if (world.view.regions[region]!.state === "active")
    world.publish(changeRegion(world.view, region, { state: "draining" }), some(world));
};

/** A joining region that has caught up with everybody becomes active. */
const activate: Fault = (world) => {
  const region = NAMES.find((name) => world.view.regions[name]!.state === "joining");
  if (region !== undefined) world.publish(changeRegion(world.view, region, { state: "active" }), some(world));
};

/** An active origin drops the events that everybody has confirmed. */
const compact: Fault = (world) => {
  for (const name of NAMES) if (!world.gone.has(name) && !world.truth.liars.has(name)) world.authority(name).compact();
};

export const FAULTS = {
  partition,
  clockStep,
  crashAuthority,
  crashShard,
  crashRegion,
  restore,
  fork,
  lie,
  rotateKey,
  remove,
  drain,
  activate,
  compact,
} as const;
