import { expect, test } from "vitest";
import { sha256 } from "../../../src/base/digest.ts";
import { packDigest, type Bundle, type ValidPack } from "../../../src/policy/bundle.ts";
import { loadPolicy } from "../../../src/policy/load.ts";
import { probesOf } from "../../../src/policy/probe-set.ts";
import { Gate } from "../../../src/replay/gate.ts";

/**
 * A bundle as large as one may be, of a pack with many thousand entries: the authority looks at it beside its leases,
 * and shards ask their policies beside decisions. What grew with the square of the directory took minutes in one turn,
 * so the time that a test may take is bound enough.
 */

const ENTITIES = 9_000;
const named = (count: number, letter: string) => Array.from({ length: count }, (_, at) => `${letter}${at}`);
const owner = (of: string) => ({ ".": { left: { Var: of }, attr: "owner" } });

function large(version: string, effect: "permit" | "forbid"): ValidPack {
  const actions = named(300, "a");
  const applies = { appliesTo: { principalTypes: ["B::U"], resourceTypes: ["B::R"] } };
  const shape = { type: "Record", attributes: { owner: { type: "String" } } };
  const content = {
    manifest: {
      v: 1,
      name: "large",
      version,
      description: "Large.",
      layer: "application",
      subjects: { user: { type: "B::U", attributes: "pack", identity: "pep-asserted" } },
      resources: { thing: { type: "B::R", attributes: "request" } },
      actions: Object.fromEntries(actions.map((action) => [action, {}])),
    },
    policies: actions.flatMap((id, at) =>
      (["permit", at === 0 ? effect : "forbid"] as const).map((one, n) => ({
        id: `${id}-${n}`,
        file: "large/policies.cedar",
        line: 1,
        json: {
          effect: one,
          principal: { op: "All" },
          action: { op: "==", entity: { type: "B::Action", id } },
          resource: { op: "All" },
          conditions: [{ kind: "when", body: { "==": { left: owner("principal"), right: owner("resource") } } }],
        },
      })),
    ),
    schema: {
      text: "",
      json: {
        B: {
          entityTypes: { U: { shape }, R: { shape } },
          actions: Object.fromEntries(actions.map((action) => [action, applies])),
        },
      },
    },
    entities: named(ENTITIES, "u").map((id) => ({
      uid: { type: "B::U", id },
      attrs: { owner: `${id}'s` },
      parents: [],
    })),
  } as unknown as ValidPack;
  return { ...content, name: "large", status: "valid", digest: packDigest(content), validated_by: { cedar_wasm: "" } };
}

const loaded = (pack: ValidPack) => loadPolicy({ v: 1, packs: [pack] } satisfies Bundle, ["large"]);

test("is looked at, and what it newly allows is named", () => {
  const [before, after] = [large("1", "forbid"), large("2", "permit")];
  const gate = new Gate("eu", { policy: loaded(before), tests: {} }, { policy: loaded(after), tests: {} }, sha256);
  let slices = 0;
  for (const _ of gate.ask()) slices++;
  expect(slices).toBeGreaterThan(20);
  const { newly_allowed, questions } = gate.report(0);
  expect(questions.asked).toBeGreaterThan(100);
  expect(newly_allowed).toMatchObject([{ pack: "large", action: "a0" }]);
  // Asked about those that are in the directory, and with what it says of them.
  const asked = probesOf(after).map(({ request }) => request);
  expect(new Set(asked.map(({ subject }) => subject.id)).size).toBeGreaterThan(50);
  expect(JSON.stringify(asked)).toMatch(/"owner":"u[0-9]+'s"/);
});
