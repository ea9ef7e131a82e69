import type { AdequateCountry, PolicyProgram, ProgramRule } from "./program.ts";
import { isInForce } from "./rules.ts";
import { validAt, validity } from "./validity.ts";

/**
 * The program with the law as it is at a time, whenever it is asked: rules that are in force then have no dates any more,
 * and the others are gone; likewise countries. Everything else keeps its own dates.
 *
 * @param at  milliseconds since the epoch
 */
export function underLawOf(program: PolicyProgram, at: number): PolicyProgram {
  const { adequate, ...rest } = program;
  const countries = adequate?.filter(({ from, to }) => validAt(validity(from, to), at)).map(undatedCountry);
  return {
    ...rest,
    rules: program.rules.filter((rule) => isInForce(rule, at)).map(undatedRule),
    ...(countries === undefined ? {} : { adequate: countries }),
  };
}

function undatedRule({ effectiveFrom: _from, effectiveTo: _to, ...rule }: ProgramRule): ProgramRule {
  return rule;
}

function undatedCountry({ country }: AdequateCountry): AdequateCountry {
  return { country };
}
