import type { EvidenceProblem, EvidenceReport, SeqRange } from "../../src/lineage/evidence-report.ts";

/** The verdicts for a person to read: each on its own line, then what is wrong and where. */
export function reportText(report: EvidenceReport): string {
  if (report.status === "unreadable") return ["UNREADABLE", ...report.problems.map(problemLine)].join("\n");
  const { info, integrity, anchored, unanchored, gaps, erased, problems, problems_total } = report;
  const more = problems_total - problems.length;
  return [
    `${report.status.toUpperCase()}  ${info === null ? "" : headline(info)}`,
    `  integrity   ${integrity.ok ? "ok: every leaf, hash and chain edge" : `FAILED: ${count(problems, "integrity")}`}`,
    `  anchored    ${anchoredText(anchored)}`,
    `  unanchored  ${unanchored.records === 0 ? "none" : `${unanchored.records} records (${ranges(unanchored.seq)})`}`,
    `  gaps        ${gapsText(gaps, headBy(report))}`,
    `  erased      ${erasedText(erased)}`,
    ...(info === null
      ? []
      : [`  payloads    ${info.opened} opened, ${info.undisclosed} not shown, ${info.unreadable} unreadable`]),
    ...problems.map(problemLine),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ].join("\n");
}

function headline(info: NonNullable<EvidenceReport["info"]>): string {
  const run = info.run ?? (info.run_hash === null ? "no run" : `a run that is not named (${info.run_hash})`);
  const time = info.first_t_ms === null ? "" : `, ${timeText(info.first_t_ms)} to ${timeText(info.last_t_ms ?? 0)}`;
  const steps = `${info.allows} allowed, ${info.denies} denied, ${info.withheld} withheld`;
  return `${run}: ${info.records} records of region ${info.region} (${steps})${time}`;
}

function anchoredText({
  trusted,
  distrust,
  records,
  seq,
  size,
  origin,
  cosigners,
}: EvidenceReport["anchored"]): string {
  if (!trusted)
    return `none: ${distrust === null ? "no checkpoint" : `the policy does not trust the checkpoint (${distrust})`}`;
  const by = cosigners.map(({ witness, timestamp_s }) => `${witness} at ${timeText(timestamp_s * 1000)}`).join(", ");
  const signed = `checkpoint of ${size} leaves of ${origin}, cosigned by ${by === "" ? "nobody" : by}`;
  return `${records} records${records === 0 ? "" : ` (${ranges(seq)})`}: ${signed}`;
}

function gapsText({ complete, missing, head_t_ms, head_seq }: EvidenceReport["gaps"], by: string): string {
  if (complete) return `none: the run had ${head_seq} records at ${timeText(head_t_ms ?? 0)}${by}`;
  return missing.length > 0 ? `INCOMPLETE: ${ranges(missing)} missing` : "INCOMPLETE";
}

/** Who says it, where that is not the run's own log. */
const headBy = ({ info, gaps: { head_log_epoch } }: EvidenceReport): string =>
  info === null || head_log_epoch === info.log_epoch ? "" : `, as the log of epoch ${head_log_epoch} says`;

function erasedText({ records, seq, proven, reappeared }: EvidenceReport["erased"]): string {
  const back = reappeared === 0 ? "" : `; ${reappeared} payloads are here although they were erased`;
  return records === 0 ? `none${back}` : `${records} payloads (${ranges(seq)}), ${proven} by an erasure leaf${back}`;
}

function problemLine({ code, where, index, sseq, field, message }: EvidenceProblem): string {
  const leaf = [index === null ? [] : [`index ${index}`], sseq === null ? [] : [`sseq ${sseq}`]].flat();
  const place = [where, field === where ? "" : field].filter((part) => part !== "").join(" ");
  return `  ${code}: ${place}${leaf.length === 0 ? "" : ` (${leaf.join(", ")})`} ${message}`;
}

const MAX_RANGES = 8;

function ranges(list: readonly SeqRange[]): string {
  const shown = list.slice(0, MAX_RANGES).map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  return shown.join(", ") + (list.length > MAX_RANGES ? ", …" : "");
}

const count = (problems: readonly EvidenceProblem[], verdict: EvidenceProblem["verdict"]): string => {
  const found = problems.filter((problem) => problem.verdict === verdict).length;
  return found === 1 ? "1 fault" : `${found} faults`;
};

/** A hostile file may hold times that no calendar has. */
function timeText(t_ms: number): string {
  const date = new Date(t_ms);
  return Number.isNaN(date.getTime()) ? `${t_ms} ms` : date.toISOString();
}
