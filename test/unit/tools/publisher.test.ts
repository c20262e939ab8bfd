import { expect, test } from "vitest";
import { Problem, Unreachable } from "../../../tools/problem.ts";
import { publishAgain } from "../../../tools/policy/publisher.ts";

/** `interlock policy refresh --every`: what ends it, and what does not. */
test("a region that is away is tried again within a minute, and what it refuses ends the publisher", async () => {
  const answers = [
    null,
    new Unreachable("away", "wait"),
    new Unreachable("503", "wait"),
    null,
    new Problem("401", "no"),
  ];
  const waited: number[] = [];
  const said: string[] = [];
  const step = async (): Promise<void> => {
    const answer = answers.shift();
    if (answer) throw answer;
  };
  const sleep = async (ms: number) => waited.push(ms);
  await expect(publishAgain(step, 3_600_000, { sleep, complain: (text) => said.push(text) })).rejects.toThrow("401");
  expect(waited).toEqual([3_600_000, 60_000, 60_000, 3_600_000]);
  expect(said).toEqual(["away; trying again in 60 s", "503; trying again in 60 s"]);
  expect(answers).toEqual([]);
});
