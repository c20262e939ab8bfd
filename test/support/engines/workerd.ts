import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { COMPATIBILITY_DATE } from "../../../tools/workerd/config.ts";
import { output, scratch } from "./processes.ts";
import { asking, type Answer, type Engine } from "./script.ts";

/** workerd itself, which a region runs on, with the compatibility date of the regions. */
export const workerd: Engine = (script, question) =>
  scratch(async (dir) => {
    const worker = `export default { test() { ${script}\nconsole.log("said " + ${asking(question)}); } };`;
    writeFileSync(join(dir, "worker.js"), worker);
    writeFileSync(join(dir, "config.capnp"), CONFIG);
    const program = createRequire(import.meta.url).resolve("workerd/bin/workerd");
    const said = await output(program, ["test", join(dir, "config.capnp")], {});
    const line = said.split("\n").find((one) => one.includes("said {"));
    if (line === undefined) throw new Error(`workerd said nothing: ${said.slice(0, 500)}`);
    return JSON.parse(line.slice(line.indexOf("{"))) as Answer;
  });

const CONFIG = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  modules = [(name = "worker", esModule = embed "worker.js")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
))]);
`;
