import type { Charged, Delegation, StepEffect } from "../vocabulary/run.ts";
import { entityForm } from "../trust/keys.ts";
import type { CanonicalRequest } from "../vocabulary/types.ts";
import { amountText, readAmount } from "./amount.ts";
import { chargesOf } from "./budgets.ts";
import { chargedUnder } from "./delegation.ts";
import { byText } from "./input.ts";

const MAX_AMOUNTS = 32;

/** What an allowed step changes. `labels`: those of the run and those that this step's data bring. */
export const effectOf = (
  { action, subject }: CanonicalRequest,
  charged: readonly Charged[],
  chain: readonly Delegation[],
  labels: readonly string[],
  homes: readonly string[],
): StepEffect => ({
  amounts: amountsIn(action.properties ?? {}),
  charges: chargesOf(chargedUnder(charged, chain), action, entityForm(subject.type, subject.id)),
  homes: sorted(homes),
  labels: sorted(labels),
});

function amountsIn(properties: Readonly<Record<string, unknown>>): StepEffect["amounts"] {
  const found: { amount: string; property: string }[] = [];
  for (const property of Object.keys(properties).sort(byText)) {
    const units = readAmount(properties[property]);
    if (units !== null && found.push({ amount: amountText(units), property }) === MAX_AMOUNTS) break;
  }
  return found;
}

const sorted = (names: readonly string[]): readonly string[] =>
  names.length < 2 ? names : [...new Set(names)].sort(byText);
