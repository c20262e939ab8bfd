import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BundledPack } from "../../src/policy/bundle.ts";
import { buildPacks, POLICIES } from "../../tools/policy/build.ts";

/** `kubernetes-sre` as its authors publish it next: version 8, in which nothing is scaled any more. */
export async function sreV8(): Promise<BundledPack> {
  const folder = await mkdtemp(join(tmpdir(), "interlock-v8-"));
  try {
    const at = join(folder, "kubernetes-sre");
    await cp(join(POLICIES, "kubernetes-sre"), at, { recursive: true });
    const edit = async (leaf: string, from: string | RegExp, to: string): Promise<void> => {
      const text = await readFile(join(at, leaf), "utf8");
      const edited = text.replace(from, to);
      if (edited === text) throw new Error(`${leaf} has nothing like ${String(from)}`);
      await writeFile(join(at, leaf), edited);
    };
    await edit("pack.json", '"version": "7.0.1"', '"version": "8.0.0"');
    await edit("policies.cedar", /@id\("scale"\)\npermit[^;]*;\n/, "");
    const [built] = await buildPacks(folder);
    return built!.pack;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
