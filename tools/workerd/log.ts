import { styleText } from "node:util";

export const LOG_MODES = ["pretty", "json", "off"] as const;
export type LogMode = (typeof LOG_MODES)[number];

/** Takes one line that a region's process wrote. */
export type LineSink = (region: string, line: string) => void;

/**
 * The lines of all regions on one stream. The Worker writes one JSON line per decision; `json` passes lines on as
 * they are, `pretty` lays them out for reading, `off` keeps only what is not JSON: workerd's own complaints.
 */
export function lineSink(mode: LogMode, write: (text: string) => void, color: boolean): LineSink {
  return (region, line) => {
    if (line.trim() === "") return;
    const entry = parse(line);
    if (entry === null) write(mode === "json" ? line : `${paint(color, "yellow", region)} ${line}`);
    else if (mode === "json") write(line);
    else if (mode === "pretty") write(pretty(region, entry, color));
  };
}

type Entry = Readonly<Record<string, unknown>>;

function parse(line: string): Entry | null {
  if (!line.startsWith("{")) return null;
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return null;
  }
}

/** `12:04:09.118 eu allow – eu.1.s0.42 1.9 ms`, and what else the line says as `name=value`. */
function pretty(region: string, entry: Entry, color: boolean): string {
  const shown = new Set<string>();
  const take = (...names: readonly string[]): unknown => {
    for (const name of names) shown.add(name);
    return names.map((name) => entry[name]).find((value) => value !== undefined && value !== null);
  };
  take("region", "v", "level", "event");
  const time = clock(take("t", "t_ms", "time", "ts"));
  const outcome = word(take("outcome", "decision", "msg", "message") ?? entry["event"]);
  const reason = word(take("reason")) || "–";
  const id = word(take("decision_id", "id"));
  const ms = take("ms", "latency_ms", "duration_ms");
  const rest = Object.entries(entry)
    .filter(([name, value]) => !shown.has(name) && value !== null && value !== "")
    .map(([name, value]) => `${name}=${word(value)}`);
  const tone = outcome === "allow" ? "green" : outcome === "deny" ? "red" : "cyan";
  return [
    paint(color, "gray", time),
    region.padEnd(3),
    paint(color, tone, outcome.padEnd(5)),
    reason,
    id,
    typeof ms === "number" ? `${ms.toFixed(1)} ms` : "",
    paint(color, "gray", rest.join(" ")),
  ]
    .filter((part) => part !== "")
    .join(" ");
}

const word = (value: unknown): string => {
  if (value === undefined || value === null) return "";
  if (value === true) return "allow";
  if (value === false) return "deny";
  return typeof value === "string" ? value : JSON.stringify(value);
};

function clock(value: unknown): string {
  const date = new Date(typeof value === "number" || typeof value === "string" ? value : Date.now());
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(11, 23);
}

const paint = (color: boolean, tone: "red" | "green" | "yellow" | "cyan" | "gray", text: string): string =>
  color && text !== "" ? styleText(tone, text, { validateStream: false }) : text;
