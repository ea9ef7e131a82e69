/** ISO 3166-1 alpha-2 codes of the member states of the European Union (TEU Art. 52). */
const EU = [
  ["AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES"],
  ["FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU"],
  ["LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"],
].flat();

/** The European Economic Area: the Union, Iceland, Liechtenstein and Norway (EEA Agreement Art. 126). */
const EEA = [...EU, "IS", "LI", "NO"];

/** `countries.*` of rules. A class, so that a record is told by its constructor where it is dyn. */
export class CountriesView {
  readonly EU = EU;
  readonly EEA = EEA;
}

export const COUNTRIES = new CountriesView();
