import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { authorize, compilePolicySet, entityStore, EntityRef, type Request } from "../../src/cedar/index.ts";
import { readUid } from "../../src/cedar/value-json.ts";
import { Schema } from "./cedar-schema.ts";
import { parseLossless, policiesFromText } from "./cedar-text.ts";

/** One request of a test file, with what the reference answers. */
type Case = {
  readonly description?: string;
  readonly principal?: unknown;
  readonly action?: unknown;
  readonly resource?: unknown;
  readonly context?: unknown;
  readonly decision: string;
  readonly reason: readonly string[];
  readonly errors: readonly string[];
};

/** A test file of cedar-integration-tests; the three names are paths relative to the corpus's root. */
type Suite = {
  readonly policies: string;
  readonly entities: string;
  readonly schema: string;
  readonly requests: readonly Case[];
};

export type ConformanceReport = { readonly total: number; readonly passed: number; readonly failures: string[] };

/**
 * Runs every test file under a folder laid out like cedar-integration-tests, in reference mode.
 *
 * `total` counts requests. A request passes when decision, reasons and errors all equal the expected sets; a test file
 * that cannot be read or compiled fails all of its requests. `failures` has one line per failed request.
 */
export async function runCedarConformance(dir: string): Promise<ConformanceReport> {
  const report = { total: 0, passed: 0, failures: [] as string[] };
  for (const file of jsonFiles(dir)) {
    const suite = suiteOf(readFileSync(file, "utf8"));
    if (suite === null) continue;
    report.total += suite.requests.length;
    const failures = runSuite(suite, (path) => readFileSync(locate(dir, file, path), "utf8"));
    report.passed += suite.requests.length - failures.length;
    report.failures.push(...failures.map((failure) => `${file}: ${failure}`));
  }
  return report;
}

function jsonFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json") && !name.endsWith(".entities.json"))
    .sort()
    .map((name) => join(dir, name));
}

/** A test file, or null for any other JSON file, such as entities or a schema. */
function suiteOf(text: string): Suite | null {
  const json = parseLossless(text) as Partial<Suite> | null;
  return typeof json === "object" && Array.isArray(json?.requests) ? (json as Suite) : null;
}

/** The first folder, from the test file upwards to `root` and then `root`'s parents, that holds the path. */
function locate(root: string, file: string, path: string): string {
  const tried = [join(root, path)];
  for (let at = dirname(file); at !== dirname(at); at = dirname(at)) tried.push(join(at, path));
  return tried.find(isFile) ?? join(root, path);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The failures of one test file, at most one per request. */
function runSuite(suite: Suite, read: (path: string) => string): string[] {
  try {
    const schema = new Schema(read(suite.schema));
    const actions = new Set(schema.actions.map(({ uid }) => (uid as EntityRef).key));
    const listed = (parseLossless(read(suite.entities)) as unknown[]).map((json) => schema.entity(json));
    const store = entityStore([...schema.actions, ...listed.filter(({ uid }) => !actions.has((uid as EntityRef).key))]);
    if (!store.ok) throw new Error(store.error);
    const policies = compilePolicySet(policiesFromText(read(suite.policies)));
    if (!policies.ok) throw new Error(`${policies.error.policyId}: ${policies.error.message}`);
    return suite.requests.flatMap((request, i) => {
      const asked = requestOf(request, schema);
      const { decision, reasons, errors } = authorize(policies.value, store.value, asked);
      const got = show(
        decision,
        reasons,
        errors.map(({ policyId }) => policyId),
      );
      const want = show(request.decision.toLowerCase(), request.reason, request.errors);
      return got === want ? [] : [`request ${i} (${request.description ?? ""}): expected ${want}, got ${got}`];
    });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    return suite.requests.map((_, i) => `request ${i}: ${message}`);
  }
}

function requestOf(request: Case, schema: Schema): Request {
  const action = uidOf(request.action, "action");
  return {
    principal: uidOf(request.principal, "principal"),
    action,
    resource: uidOf(request.resource, "resource"),
    context: schema.context(action, request.context ?? {}),
  };
}

/** A uid that was left out equals no entity that a policy or an entity file could name. */
function uidOf(json: unknown, what: string): EntityRef {
  return json === undefined || json === null ? new EntityRef("", what) : readUid(json, what);
}

const show = (decision: string, reasons: readonly string[], errors: readonly string[]): string =>
  `${decision} reasons=[${[...new Set(reasons)].sort().join()}] errors=[${[...new Set(errors)].sort().join()}]`;
