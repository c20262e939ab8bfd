import { sha256 } from "../../src/base/digest.ts";
import {
  checkArchive,
  placeOfOrigin,
  rootText,
  type ArchiveCheck,
  type ArchiveProblem,
} from "../../src/lineage/archive.ts";
import { bundlePath, tilePath } from "../../src/lineage/tile-path.ts";
import type { TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { trustCheckpoint, type Cosigner } from "../../src/lineage/trusted-checkpoint.ts";
import { ed25519 } from "../evidence/ed25519.ts";
import { hexDigest, LOOSE_FILES, manifestText, readFile, readmeText, type Manifest } from "./archive-dir.ts";

export type ArchiveReport = {
  /** `unreadable`: the directory holds no finished archive. */
  readonly status: "verified" | "failed" | "unreadable";
  readonly origin: string | null;
  readonly size: number;
  readonly root: string | null;
  readonly cosigners: readonly Cosigner[];
  readonly marks: ArchiveCheck["marks"];
  readonly problems: readonly Problem[];
  readonly problems_total: number;
};

type Problem = Omit<ArchiveProblem, "code"> & {
  /** `untrusted`: the checkpoint, under the policy. `changed`: another file than the manifest says. */
  readonly code: ArchiveProblem["code"] | "untrusted" | "changed" | "unreadable";
};

/** Checks an archive offline, under a policy that the caller got elsewhere. */
export async function verifyArchive(dir: string, policy: TlogPolicy): Promise<ArchiveReport> {
  const manifest = readManifest(dir);
  const note = readFile(dir, "checkpoint");
  if (manifest === null) return unreadable("manifest.json", "is no manifest of an archive: was it finished?");
  if (note === null) return unreadable("checkpoint", "is not there");
  const problems: Problem[] = [];
  const add = (code: Problem["code"], file: string, message: string): void =>
    void problems.push({ code, file, message });
  for (const name of LOOSE_FILES) {
    const bytes = readFile(dir, name);
    if (bytes === null) add("missing", name, "is not there");
    else if (hexDigest(bytes) !== manifest.files[name]) add("changed", name, "is not the file that the manifest names");
  }
  if (Buffer.from(readFile(dir, "README.md") ?? "").toString() !== readmeText(manifest))
    add("changed", "README.md", "is not that of the manifest: one of them was changed");

  const trusted = await trustCheckpoint(note, policy, ed25519);
  if (!trusted.ok) {
    add("untrusted", "checkpoint", `${trusted.error.code}: ${trusted.error.message}`);
    return { ...NOTHING, status: "failed", problems, problems_total: problems.length };
  }
  const { checkpoint, cosigners } = trusted.value;
  const place = placeOfOrigin(checkpoint.origin);
  if (
    place === null ||
    checkpoint.origin !== manifest.origin ||
    place.region !== manifest.region ||
    place.log_epoch !== manifest.log_epoch ||
    checkpoint.size !== manifest.size ||
    rootText(checkpoint) !== manifest.root
  )
    add("changed", "manifest.json", `is not about ${checkpoint.origin} at size ${checkpoint.size}`);
  const checked = await checkArchive(
    checkpoint,
    {
      tile: (level, index, width) => readFile(dir, tilePath({ level, index, width })),
      bundle: (index, width) => readFile(dir, bundlePath({ index, width })),
    },
    place ?? { region: "", log_epoch: 0 },
    sha256,
  );
  const total = problems.length + checked.problems_total;
  return {
    status: total === 0 ? "verified" : "failed",
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: rootText(checkpoint),
    cosigners,
    marks: checked.marks,
    problems: [...problems, ...checked.problems],
    problems_total: total,
  };
}

/** 0 verified, 1 failed, 2 unreadable. */
export const archiveExitCode = ({ status }: ArchiveReport): 0 | 1 | 2 =>
  status === "verified" ? 0 : status === "failed" ? 1 : 2;

export function archiveReportText(report: ArchiveReport): string {
  const { status, origin, size, root, cosigners, marks, problems, problems_total } = report;
  const found = problems.map(({ code, file, message }) => `  ${code}: ${file} ${message}`);
  const more = problems_total > problems.length ? [`  and ${problems_total - problems.length} more`] : [];
  if (origin === null) return [status.toUpperCase(), ...found].join("\n");
  const by = cosigners.map(
    ({ witness, timestamp_s }) => `${witness} at ${new Date(timestamp_s * 1_000).toISOString()}`,
  );
  return [
    `${status.toUpperCase()}  log ${origin}, ${size} entries`,
    `  root      ${root}`,
    `  cosigned  ${by.join(", ") || "by nobody: the policy asks for none"}`,
    ...Object.entries(marks).map(([source, mark]) => `  ${source.padEnd(9)} 1-${mark}`),
    ...found,
    ...more,
  ].join("\n");
}

const NOTHING = { origin: null, size: 0, root: null, cosigners: [], marks: {} } as const;

const unreadable = (file: string, message: string): ArchiveReport => ({
  ...NOTHING,
  status: "unreadable",
  problems: [{ code: "unreadable", file, message }],
  problems_total: 1,
});

/** `null` where there is none, or its text is not exactly what this writes: a changed byte must not go unseen. */
function readManifest(dir: string): Manifest | null {
  const text = Buffer.from(readFile(dir, "manifest.json") ?? "").toString();
  let value: Partial<Manifest>;
  try {
    value = JSON.parse(text) as Partial<Manifest>;
  } catch {
    return null;
  }
  const files = value.files as Partial<Manifest["files"]> | undefined;
  if (
    value.v !== 1 ||
    value.type !== "interlock-log-archive" ||
    [value.origin, value.region, value.root].some((member) => typeof member !== "string") ||
    [value.log_epoch, value.size].some((member) => !Number.isSafeInteger(member)) ||
    LOOSE_FILES.some((name) => typeof files?.[name] !== "string")
  )
    return null;
  return manifestText(value as Manifest) === text ? (value as Manifest) : null;
}
