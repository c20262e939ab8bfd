import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { linesOf } from "../../../tools/replay/lines.ts";

const dir = mkdtempSync(join(tmpdir(), "interlock-lines-"));
afterAll(() => rmSync(dir, { recursive: true }));

async function read(text: string): Promise<readonly string[]> {
  const path = join(dir, "lines");
  writeFileSync(path, text);
  const lines: string[] = [];
  for await (const line of linesOf(path)) lines.push(line);
  return lines;
}

describe("lines of a file of records", () => {
  it("end at a line feed, and at nothing else that JSON has in a string", async () => {
    const values = ["\u2028", "\u2029", "\u0085", "\u000b", "a\r", "", "\u{1F511}".repeat(50_000), "last"];
    const lines = values.map((value) => JSON.stringify({ value }));
    expect(await read(lines.join("\n"))).toEqual(lines);
    expect(await read(lines.join("\n") + "\n")).toEqual(lines);
  });
  it("are none in an empty file, and may be empty", async () => {
    expect(await read("")).toEqual([]);
    expect(await read("\n\na\n")).toEqual(["", "", "a"]);
  });
});
