import { sha256 } from "../../src/base/digest.ts";
import type { CoverageRange } from "../../src/lineage/coverage.ts";
import type { TlogPolicy } from "../../src/lineage/tlog-policy.ts";
import { verifyCoverage, type CoverageReport } from "../../src/lineage/verify-coverage.ts";
import { ed25519 } from "./ed25519.ts";

/** A coverage statement: verified, and told in the words of `interlock verify`. */

export const verifyCoverageText = (text: string, policy: TlogPolicy, since_ms = 0): Promise<CoverageReport> =>
  verifyCoverage(text, policy, { sha: sha256, verify: ed25519 }, { since_ms });

export function coverageReportText({ status, coverage, cosigners, problems }: CoverageReport): string {
  const found = problems.map(({ code, message }) => `  ${code}: ${message}`);
  if (coverage === null) return ["UNREADABLE", ...found].join("\n");
  const by = cosigners.map(({ witness, timestamp_s }) => `${witness} at ${timeText(timestamp_s * 1_000)}`).join(", ");
  const size = coverage.anchored === null ? 0 : coverage.anchored.last + 1;
  const { gaps, erased, retention_days, incidents, sources } = coverage;
  const lines = [
    [
      "anchored",
      size === 0 ? "none" : `${size} leaves (${rangeText(coverage.anchored!)}): cosigned by ${by || "nobody"}`,
    ],
    ["unanchored", coverage.unanchored === null ? "none" : rangeText(coverage.unanchored)],
    [
      "gaps",
      gaps.length === 0 ? "none" : `INCOMPLETE: ${gaps.map((gap) => `${gap.source} ${rangeText(gap)}`).join(", ")}`,
    ],
    [
      "erased",
      erased === null ? "unknown: the authority did not answer" : erased === 0 ? "none" : `${erased} payloads`,
    ],
    [
      "retention",
      retention_days === null ? "payloads are kept until they are erased" : `payloads, ${retention_days} days`,
    ],
    ["halted", coverage.halted ?? "no"],
    [
      "incidents",
      incidents.length === 0 ? "none" : incidents.map(({ what, t_ms }) => `${what} at ${timeText(t_ms)}`).join(", "),
    ],
    ...sources.map(({ source, mark, head }) => [source, sourceText(mark, head)]),
    ...(coverage.reads_pending === 0 ? [] : [["reads", `${coverage.reads_pending} wait for their leaf`]]),
  ];
  return [
    `${status.toUpperCase()}  region ${coverage.region}, log ${coverage.origin}, ${timeText(coverage.t_ms)}`,
    ...lines.map(([name, text]) => `  ${name!.padEnd(10)}  ${text}`),
    ...found,
  ].join("\n");
}

const rangeText = ({ first, last }: CoverageRange): string => (first === last ? `${first}` : `${first}-${last}`);

function sourceText(mark: number, head: number | null): string {
  if (head === null) return `1-${mark} in the log; the source did not answer`;
  return head > mark ? `1-${mark} in the log, ${head - mark} on the way` : `1-${mark} in the log, all of it`;
}

function timeText(t_ms: number): string {
  const date = new Date(t_ms);
  return Number.isNaN(date.getTime()) ? `${t_ms} ms` : date.toISOString();
}
