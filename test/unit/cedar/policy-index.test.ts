import * as fc from "fast-check";
import { expect, test } from "vitest";
import { entity, type EntityUid, record } from "../../../src/cedar/index.ts";
import type { CompiledPolicy } from "../../../src/cedar/compiled-policy.ts";
import { compilePolicy } from "../../../src/cedar/policies.ts";
import { PolicyIndex } from "../../../src/cedar/policy-index.ts";
import { inScope } from "../../../src/cedar/scope.ts";
import { stored, uid } from "./fixtures.ts";

const TYPES = ["User", "Team", "Doc"] as const;
const uids = fc.record({ type: fc.constantFrom(...TYPES), id: fc.constantFrom("a", "b", "c") });
const actions = fc.record({ type: fc.constant("Action"), id: fc.constantFrom("r", "w", "all", "any") });

const entityScope = fc.oneof(
  fc.constant({ op: "All" }),
  uids.map((entity) => ({ op: "==", entity })),
  uids.map((entity) => ({ op: "in", entity })),
  fc.constantFrom(...TYPES).map((entity_type) => ({ op: "is", entity_type })),
  fc.tuple(fc.constantFrom(...TYPES), uids).map(([entity_type, entity]) => ({ op: "is", entity_type, in: { entity } })),
);
const actionScope = fc.oneof(
  fc.constant({ op: "All" }),
  actions.map((entity) => ({ op: "==", entity })),
  actions.map((entity) => ({ op: "in", entity })),
  fc.array(actions, { maxLength: 4 }).map((entities) => ({ op: "in", entities })),
);
const policies = fc
  .array(fc.record({ principal: entityScope, action: actionScope, resource: entityScope }), { maxLength: 40 })
  .map((list) => list.map((scope, i) => compilePolicy(`p${i}`, i, { effect: "permit", conditions: [], ...scope })));

/** Edges only upwards in this order, so that every hierarchy is acyclic. */
const ORDER = ["User:a", "User:b", "Doc:a", "Doc:b", "Doc:c", "User:c", "Team:a", "Team:b", "Team:c"];
const rank = ({ type, id }: EntityUid) => ORDER.indexOf(`${type}:${id}`);
const stores = fc.array(fc.tuple(uids, uids), { maxLength: 20 }).map((edges) => {
  const parents = new Map<number, EntityUid[]>();
  for (const [below, above] of edges) {
    if (rank(below) < rank(above)) parents.set(rank(below), [...(parents.get(rank(below)) ?? []), above]);
  }
  const entities = [...parents].map(([at, above]) => {
    const [type, id] = ORDER[at]!.split(":") as [string, string];
    return { uid: uid(type, id), attributes: record([]), parents: above };
  });
  const groups = [
    { uid: uid("Action", "r"), attributes: record([]), parents: [uid("Action", "all")] },
    { uid: uid("Action", "all"), attributes: record([]), parents: [uid("Action", "any")] },
  ];
  return stored([...entities, ...groups]);
});

test("the index finds exactly the policies whose scope the request meets, in order", () => {
  fc.assert(
    fc.property(policies, stores, uids, actions, uids, (list, store, principal, action, resource) => {
      const rt = {
        principal: entity(principal),
        action: entity(action),
        resource: entity(resource),
        context: record([]),
        store,
      };
      const naive = list.filter(({ scope }: CompiledPolicy) => inScope(scope, rt));
      expect(new PolicyIndex(list).matching(rt).map(({ id }) => id)).toEqual(naive.map(({ id }) => id));
    }),
    { numRuns: 1_000 },
  );
});
