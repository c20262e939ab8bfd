import { Command } from "commander";
import type { SourceKind } from "../../src/credentials/sources/schema.ts";
import { readJsonFile } from "./json-file.ts";
import { addTargetOptions, printJson, targetOf, type TargetFlags } from "./target.ts";

/** `interlock identity`: whose word a region takes about workloads (docs/operations/workloads.md). */
const KINDS: readonly (readonly [command: string, kind: SourceKind, what: string])[] = [
  ["add-domain", "trust-domain", "a SPIFFE or WIMSE trust domain, with its bundle or the URL of it"],
  ["add-issuer", "issuer", "an issuer of OAuth or OpenID Connect access tokens"],
  ["add-cluster", "cluster", "a Kubernetes cluster, and which workload each service account is"],
  ["add-verifier", "verifier", "a verifier of attestation results"],
  ["add-delegator", "delegator", "keys that sign delegations, and in whose place"],
  ["add-caller", "caller", "what the workloads of a PEP prove themselves to, and which may ask for themselves"],
];

type AddFlags = TargetFlags & { readonly subject?: readonly string[] };

/** The names of the command line, behind those of the file. What is no registration is left for the region to refuse. */
function withSubjects(body: unknown, subjects: readonly string[] = []): unknown {
  if (subjects.length === 0 || typeof body !== "object" || body === null) return body;
  const listed = "subjects" in body && Array.isArray(body.subjects) ? (body.subjects as readonly unknown[]) : [];
  return { ...body, subjects: [...new Set([...listed, ...subjects])] };
}

export function identityCommand(): Command {
  const command = new Command("identity").description("whose word a region takes about workloads");
  for (const [name, kind, what] of KINDS) {
    const add = command
      .command(name)
      .description(`register, or register anew, ${what}`)
      .argument("<id>", kind === "trust-domain" ? "the domain, e.g. prod.example" : "its name in this region")
      .argument("<file>", "JSON with the registration; - reads it from standard input");
    if (kind === "issuer")
      add.option("--subject <name...>", "a name that its tokens may give, or a prefix with * at its end; repeatable");
    addTargetOptions(add).action(async (id: string, file: string, flags: AddFlags) => {
      printJson(await targetOf(flags).client.putSource(kind, id, withSubjects(readJsonFile(file), flags.subject)));
    });
  }
  addTargetOptions(command.command("list").description("what is registered, and whether its keys are fresh")).action(
    async (flags: TargetFlags) => {
      printJson(await targetOf(flags).client.sources());
    },
  );
  addTargetOptions(
    command
      .command("remove")
      .description("take nobody's word any more; a revocation (trust-domain:…, issuer:…) counts at once and everywhere")
      .argument("<kind>", KINDS.map(([, kind]) => kind).join(", "))
      .argument("<id>"),
  ).action(async (kind: string, id: string, flags: TargetFlags) => {
    printJson(await targetOf(flags).client.removeSource(kind, id));
  });
  return command;
}
