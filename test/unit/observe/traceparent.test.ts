import { expect, test } from "vitest";
import { readTraceparent } from "../../../src/observe/traceparent.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const GOOD = `00-${TRACE}-${SPAN}-01`;

test.each([
  [GOOD, GOOD],
  [`00-${TRACE}-${SPAN}-00`, `00-${TRACE}-${SPAN}-00`],
  [`cc-${TRACE}-${SPAN}-01`, GOOD],
  [`cc-${TRACE}-${SPAN}-01-what-comes-later`, GOOD],
])("%s is read", (header, read) => expect(readTraceparent(header)).toBe(read));

test.each([
  null,
  "",
  "00",
  `ff-${TRACE}-${SPAN}-01`,
  `00-${TRACE}-${SPAN}-01-extra`,
  `00-${TRACE}-${SPAN}-01-`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${"0".repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${"0".repeat(16)}-01`,
  `00-${TRACE.slice(1)}-${SPAN}-01`,
  `00-${TRACE}-${SPAN}`,
  ` ${GOOD}`,
  `${GOOD}\n`,
  `${GOOD}, ${GOOD}`,
  `cc-${TRACE}-${SPAN}-01-${"x".repeat(300)}`,
])("%j is dropped", (header) => expect(readTraceparent(header)).toBeNull());
