import { AGREEMENT_KINDS } from "../resources/index.ts";
import type { AdequateCountry, ModelTarget } from "./program.ts";
import { type Validity, validAt, validity } from "./validity.ts";

/** Where a target processes requests and under which terms, worked out once. */
export interface Processing {
  /** Its own country and those of its subprocessors, each once, its own first. */
  readonly countries: readonly string[];
  /** Kinds of agreements that are in force with whoever runs it. */
  agreements(now: number): readonly string[];
  /** Kinds of agreements that are in force with every one of its subprocessors; all kinds where it has none. */
  subprocessorAgreements(now: number): readonly string[];
  /** Those of its countries that a safeguard or an adequacy decision covers now. */
  safeguardedCountries(now: number): readonly string[];
}

export function processingOf(model: ModelTarget, adequate: readonly AdequateCountry[]): Processing {
  const { subprocessors = [], agreements = [], safeguards = [] } = model;
  const countries = [...new Set([model.country, ...subprocessors.map(({ country }) => country)])];
  const contracts = agreements.map(({ kind, subprocessor, validFrom, validUntil }) => ({
    kind,
    subprocessor,
    period: validity(validFrom, validUntil),
  }));
  const covered = [
    ...safeguards.map(({ country, validFrom, validUntil }) => ({ country, period: validity(validFrom, validUntil) })),
    ...adequate.map(({ country, from, to }) => ({ country, period: validity(from, to) })),
  ].filter(({ country }) => countries.includes(country));
  const inForce = (kind: string, subprocessor: string | undefined, now: number): boolean =>
    contracts.some(
      (contract) => contract.kind === kind && contract.subprocessor === subprocessor && validAt(contract.period, now),
    );
  return {
    countries,
    agreements: (now) => AGREEMENT_KINDS.filter((kind) => inForce(kind, undefined, now)),
    subprocessorAgreements: (now) =>
      AGREEMENT_KINDS.filter((kind) => subprocessors.every(({ name }) => inForce(kind, name, now))),
    safeguardedCountries: (now) => countries.filter((country) => isCovered(covered, country, now)),
  };
}

function isCovered(
  covered: readonly { readonly country: string; readonly period: Validity }[],
  country: string,
  now: number,
): boolean {
  return covered.some((each) => each.country === country && validAt(each.period, now));
}
