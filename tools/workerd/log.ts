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

/** Left out for a reader, or laid out already. */
const HIDDEN = [
  "event",
  "region",
  "t_ms",
  "outcome",
  "reason",
  "decision_id",
  "duration_ms",
  "items",
  "allowed",
  "request_id",
  "traceparent",
];

/** `12:04:09.118 eu  deny  policy_denied eu.1.s0.42 1.9 ms pep=local`: lines of `src/observe/decision-log.ts`. */
function pretty(region: string, entry: Entry, color: boolean): string {
  const { event, t_ms, outcome, reason, decision_id, duration_ms, items, allowed } = entry;
  const what = word(outcome ?? event);
  const rest = Object.entries(entry)
    .filter(([name, value]) => !HIDDEN.includes(name) && value !== null && value !== "")
    .map(([name, value]) => `${name}=${word(value)}`);
  return [
    paint(color, "gray", new Date(typeof t_ms === "number" ? t_ms : Date.now()).toISOString().slice(11, 23)),
    region.padEnd(3),
    paint(color, what === "allow" ? "green" : what === "mixed" ? "yellow" : "red", what.padEnd(5)),
    word(reason),
    typeof items === "number" && items > 1 ? `${word(allowed)} of ${items}` : "",
    word(decision_id),
    typeof duration_ms === "number" ? `${duration_ms.toFixed(1)} ms` : "",
    paint(color, "gray", rest.join(" ")),
  ]
    .filter((part) => part !== "")
    .join(" ");
}

const word = (value: unknown): string => {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
};

const paint = (color: boolean, tone: "red" | "green" | "yellow" | "gray", text: string): string =>
  color && text !== "" ? styleText(tone, text, { validateStream: false }) : text;
