import { expect, test } from "vitest";
import { isObject, type JsonObject } from "../../../src/base/json.ts";
import { actionPart, contextPart, entityPart, isInvalid, requestText } from "../../../src/http/canonical-request.ts";
import { readOptions } from "../../../src/http/interlock-options.ts";
import { evaluationBody } from "../../../src/http/schemas/authzen.ts";

/** The published schema and the reader on the evaluation path agree on what a request is. */
function reads(body: JsonObject): boolean {
  const context = body["context"];
  const options = readOptions(isObject(context) ? context["interlock"] : undefined, "call");
  if (isInvalid(options)) return false;
  const subject = entityPart(body["subject"], "subject");
  const resource = entityPart(body["resource"], "resource");
  return (
    typeof requestText(
      { subject, action: actionPart(body["action"]), resource, context: contextPart(context) },
      options,
    ) === "string"
  );
}

const base = { subject: { type: "u", id: "a" }, action: { name: "r" }, resource: { type: "t", id: "1" } };
const interlock = (options: unknown) => ({ ...base, context: { interlock: options } });

test.each<readonly [boolean, unknown]>([
  [true, base],
  [true, { ...base, extra: 1, context: { a: 1 } }],
  [true, { ...base, context: null }],
  [true, { ...base, subject: { ...base.subject, properties: null, x: 1 } }],
  [true, interlock(null)],
  [true, interlock({})],
  [
    true,
    interlock({ run: "r", deadline_ms: 1, explain: true, dry_run: false, evidence: "inline", idempotency_key: "k" }),
  ],
  [true, interlock({ consistency: { at_least: "t" } })],
  [true, interlock({ consistency: {} })],
  [true, interlock({ run: null, deadline_ms: null })],
  [false, {}],
  [false, { ...base, subject: null }],
  [false, { ...base, subject: { type: "u" } }],
  [false, { ...base, subject: { type: "u", id: "" } }],
  [false, { ...base, subject: { type: "u", id: "x".repeat(1_025) } }],
  [false, { ...base, subject: { ...base.subject, properties: [] } }],
  [false, { ...base, action: { name: 1 } }],
  [false, { ...base, context: [] }],
  [false, interlock([])],
  [false, interlock({ surprise: 1 })],
  [false, interlock({ run: "" })],
  [false, interlock({ deadline_ms: 0 })],
  [false, interlock({ deadline_ms: 30_001 })],
  [false, interlock({ deadline_ms: 1.5 })],
  [true, interlock({ explain: "counterfactual" })],
  [false, interlock({ explain: 1 })],
  [false, interlock({ explain: "all" })],
  [false, interlock({ evidence: "all" })],
  [false, interlock({ idempotency_key: "a b" })],
  [false, interlock({ consistency: { at_least: "" } })],
  [false, interlock({ consistency: { other: "" } })],
  [true, interlock({ run: "r", step: "quote.fx-1", parents: ["eu.1.s0.7", "eu.1.s0.9/2"], state_version: 3 })],
  [true, interlock({ run: "r", parents: [], step: null })],
  [true, interlock({ run: "r", parents: ["us.1.AAAAAAAAAAAAAAAAAAAAAA"] })],
  [false, interlock({ step: "x" })],
  [false, interlock({ parents: ["eu.1.s0.7"] })],
  [false, interlock({ state_version: 1 })],
  [false, interlock({ run: "r", step: "" })],
  [false, interlock({ run: "r", step: "a b" })],
  [false, interlock({ run: "r", step: "x".repeat(65) })],
  [false, interlock({ run: "r", parents: "eu.1.s0.7" })],
  [false, interlock({ run: "r", parents: ["nonsense"] })],
  [false, interlock({ run: "r", parents: ["eu.1.s0.7", "eu.1.s0.7"] })],
  [false, interlock({ run: "r", parents: Array.from({ length: 65 }, (_, i) => `eu.1.s0.${i + 1}`) })],
  [false, interlock({ run: "r", state_version: 0 })],
  [false, interlock({ run: "r", state_version: 1.5 })],
  [false, interlock({ run: "r", state_version: "1" })],
])("%j → %j", (good, body) => {
  expect(reads(body as JsonObject)).toBe(good);
  expect(evaluationBody.safeParse(body).success).toBe(good);
});
