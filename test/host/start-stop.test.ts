import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "../../tools/workerd/port.ts";
import { alive, interlock, untilGone, type RunningCommand } from "../support/command.ts";
import { until } from "../support/log.ts";

let base: string;
let port: number;
const started: RunningCommand[] = [];

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), "interlock-host-"));
  port = await freePort();
});

afterEach(async () => {
  const workerd = workerdPid();
  for (const command of started.splice(0)) {
    command.kill("SIGKILL");
    await command.ended;
  }
  if (workerd !== null) await untilGone(workerd);
  rmSync(base, { recursive: true, force: true });
});

const READY = /Ctrl-C stops/;

async function serve(...more: readonly string[]): Promise<RunningCommand> {
  const command = interlock("serve", "--region", "eu", "--port", String(port), "--data", base, "--log", "off", ...more);
  started.push(command);
  await command.until(READY);
  return command;
}

/** As the lock names it. */
function workerdPid(): number | null {
  const path = join(base, "eu", "lock");
  if (!existsSync(path)) return null;
  return (JSON.parse(readFileSync(path, "utf8")) as { workerd: { pid: number } | null }).workerd?.pid ?? null;
}

const credential = (command: RunningCommand): string => /PEP credential: +(\S+)/.exec(command.stdout())![1]!;

/** What it says of itself may be a second old. */
const healthy = (): Promise<unknown> =>
  until(async () => (await fetch(`http://127.0.0.1:${port}/health`)).status === 200, "a healthy region");

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s stops the region, frees its directory and ends with 0",
  async (signal) => {
    const command = await serve();
    const workerd = workerdPid()!;
    expect(alive(workerd)).toBe(true);
    await healthy();
    command.kill(signal);
    expect(await command.ended).toBe(0);
    expect(alive(workerd)).toBe(false);
    expect(existsSync(join(base, "eu", "lock"))).toBe(false);
  },
);

test("a second start on the same directory is refused and says who holds it", async () => {
  const first = await serve();
  const second = interlock("serve", "--region", "eu", "--port", String(await freePort()), "--data", base);
  expect(await second.ended).toBe(1);
  expect(second.stderr()).toContain(`in use by process ${first.pid}`);
  expect(second.stderr()).toContain("--data");
  await healthy();
});

test("--clean leaves a running region alone", async () => {
  await serve();
  const second = interlock("serve", "--region", "eu", "--port", String(await freePort()), "--data", base, "--clean");
  expect(await second.ended).toBe(1);
  expect(second.stderr()).toContain("--clean leaves it alone");
  await healthy();
});

test("a port in use is named before anything starts", async () => {
  const server = createServer().listen(port, "127.0.0.1");
  const command = interlock("serve", "--region", "eu", "--port", String(port), "--data", base);
  expect(await command.ended).toBe(1);
  expect(command.stderr()).toContain(`Port ${port} for region eu is in use`);
  expect(existsSync(join(base, "eu", "lock"))).toBe(false);
  server.close();
});

test("kill -9 of the launcher takes workerd along, and the next start takes the directory over", async () => {
  const first = await serve();
  const pep = credential(first);
  const workerd = workerdPid()!;
  first.kill("SIGKILL");
  await first.ended;
  expect(await untilGone(workerd)).toBe(true);
  expect(existsSync(join(base, "eu", "lock"))).toBe(true);
  const second = await serve();
  expect(credential(second)).toBe(pep);
  await healthy();
});

test("a region whose workerd is killed says so and ends with 1", async () => {
  const command = await serve();
  process.kill(workerdPid()!, "SIGKILL");
  expect(await command.ended).toBe(1);
  expect(command.stderr()).toContain("Region eu ended by itself (signal SIGKILL)");
  expect(existsSync(join(base, "eu", "lock"))).toBe(false);
});

test("a restart keeps keys, credentials and membership; --clean starts anew", async () => {
  const first = await serve();
  const pep = credential(first);
  const membership = readFileSync(join(base, "roots", "membership.json"), "utf8");
  first.kill("SIGTERM");
  await first.ended;

  const second = await serve();
  expect(credential(second)).toBe(pep);
  expect(readFileSync(join(base, "roots", "membership.json"), "utf8")).toBe(membership);
  second.kill("SIGTERM");
  await second.ended;

  const third = await serve("--clean");
  expect(credential(third)).not.toBe(pep);
  await healthy();
});

test("secrets are readable by their owner only, and no secret is in the generated configuration", async () => {
  await serve();
  const mode = (path: string): number => statSync(path).mode & 0o777;
  for (const folder of [join(base, "eu", "keys"), join(base, "roots")]) {
    expect(mode(folder)).toBe(0o700);
    // The policy's roles have a folder of their own there: with their keys, and with what they signed, which is public.
    const inside = readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => ({
      path: join(entry.parentPath, entry.name),
      direct: entry.parentPath === folder,
      folder: entry.isDirectory(),
    }));
    const secret = inside.filter(
      (one) => one.direct || (!one.folder && readFileSync(one.path, "utf8").includes('"d":')),
    );
    expect(secret.length).toBeGreaterThan(0);
    for (const one of secret) expect([one.path, mode(one.path)]).toEqual([one.path, one.folder ? 0o700 : 0o600]);
  }
  const config = readFileSync(join(base, "eu", "run", "config.capnp"), "utf8");
  expect(config).not.toContain(readFileSync(join(base, "eu", "keys", "region.key"), "utf8").trim());
  expect(config).not.toContain(
    (JSON.parse(readFileSync(join(base, "eu", "keys", "admin.jwk"), "utf8")) as { d: string }).d,
  );
});

test("other shards than the log was begun with are refused", async () => {
  const first = await serve("--shards", "2");
  first.kill("SIGTERM");
  await first.ended;
  const second = interlock("serve", "--region", "eu", "--port", String(port), "--data", base, "--shards", "3");
  expect(await second.ended).toBe(2);
  expect(second.stderr()).toContain("a log with 2 shards");
});

test("the shim runs the command under whatever Node starts it", () => {
  const text = execFileSync(process.execPath, [join(import.meta.dirname, "../../tools/interlock.mjs"), "--help"], {
    encoding: "utf8",
  });
  expect(text).toContain("interlock fleet");
});
