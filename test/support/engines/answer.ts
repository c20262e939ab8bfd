import { corpus } from "./corpus.ts";
import { replayed } from "./replayed.ts";
import type { Answer, Question } from "./script.ts";

/** The entry of the script that every engine runs. */
export function answer(text: string): string {
  const { fuzz_blocks, records } = JSON.parse(text) as Question;
  const locale = typeof Intl === "undefined" ? null : new Intl.NumberFormat().resolvedOptions().locale;
  const place = { locale, zone_minutes: new Date(0).getTimezoneOffset() };
  const said: Answer = { ...corpus({ fuzz_blocks }), replayed: replayed(records), place };
  return JSON.stringify(said);
}
