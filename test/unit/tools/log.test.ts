import { expect, test } from "vitest";
import { lineSink, type LogMode } from "../../../tools/workerd/log.ts";

const LINE = JSON.stringify({
  event: "decision",
  region: "eu",
  decision_id: "eu.1.s0.42",
  outcome: "deny",
  reason: "policy_denied",
  items: 1,
  allowed: 0,
  pep: "local",
  request_id: null,
  traceparent: null,
  duration_ms: 1.94,
  t_ms: 1_700_000_000_118,
});

function shown(mode: LogMode, line: string): readonly string[] {
  const lines: string[] = [];
  lineSink(mode, (text) => lines.push(text), false)("eu", line);
  return lines;
}

test("pretty lays out a decision", () => {
  expect(shown("pretty", LINE)).toEqual(["22:13:20.118 eu  deny  policy_denied eu.1.s0.42 1.9 ms pep=local"]);
});

test("pretty says how many items of a batch were allowed", () => {
  const batch = JSON.stringify({
    ...(JSON.parse(LINE) as object),
    outcome: "mixed",
    reason: null,
    items: 3,
    allowed: 2,
  });
  expect(shown("pretty", batch)).toEqual(["22:13:20.118 eu  mixed 2 of 3 eu.1.s0.42 1.9 ms pep=local"]);
});

test("pretty shows a fault with what was thrown", () => {
  const fault = JSON.stringify({
    event: "fault",
    region: "eu",
    where: "evaluate",
    error: "Error: no",
    request_id: null,
    t_ms: 0,
  });
  expect(shown("pretty", fault)).toEqual(["00:00:00.000 eu  fault where=evaluate error=Error: no"]);
});

test("json passes lines on, off keeps only what is no log line", () => {
  expect(shown("json", LINE)).toEqual([LINE]);
  expect(shown("off", LINE)).toEqual([]);
  expect(shown("off", "workerd: something broke")).toEqual(["eu workerd: something broke"]);
});
