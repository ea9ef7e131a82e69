import { parametersOf, parseType, type Type } from "./type.ts";

/**
 * Functions by name, with their overloads. One line an overload: name, id (cel-go's, for the standard ones), receiver
 * if there is one, parameters, result. Overloads stand in cel-go's order: where an operand's type is open, the first that
 * can be meant closes it.
 */

export interface Overload {
  readonly id: string;
  /** The first parameter stands before the dot. */
  readonly receiver: boolean;
  readonly parameters: readonly Type[];
  readonly result: Type;
  /** Names of type parameters, each call's own. */
  readonly typeParameters: readonly string[];
}

export type Signatures = ReadonlyMap<string, readonly Overload[]>;

const STANDARD = `
!_ logical_not (bool) -> bool
_&&_ logical_and (bool, bool) -> bool
_||_ logical_or (bool, bool) -> bool
_?_:_ conditional (bool, A, A) -> A
@not_strictly_false not_strictly_false (bool) -> bool
-_ negate_double (double) -> double
-_ negate_int64 (int) -> int
_+_ add_bytes (bytes, bytes) -> bytes
_+_ add_double (double, double) -> double
_+_ add_duration_duration (duration, duration) -> duration
_+_ add_duration_timestamp (duration, timestamp) -> timestamp
_+_ add_timestamp_duration (timestamp, duration) -> timestamp
_+_ add_int64 (int, int) -> int
_+_ add_list (list(A), list(A)) -> list(A)
_+_ add_string (string, string) -> string
_+_ add_uint64 (uint, uint) -> uint
_-_ subtract_double (double, double) -> double
_-_ subtract_duration_duration (duration, duration) -> duration
_-_ subtract_int64 (int, int) -> int
_-_ subtract_timestamp_duration (timestamp, duration) -> timestamp
_-_ subtract_timestamp_timestamp (timestamp, timestamp) -> duration
_-_ subtract_uint64 (uint, uint) -> uint
_*_ multiply_double (double, double) -> double
_*_ multiply_int64 (int, int) -> int
_*_ multiply_uint64 (uint, uint) -> uint
_/_ divide_double (double, double) -> double
_/_ divide_int64 (int, int) -> int
_/_ divide_uint64 (uint, uint) -> uint
_%_ modulo_int64 (int, int) -> int
_%_ modulo_uint64 (uint, uint) -> uint
_==_ equals (A, A) -> bool
_!=_ not_equals (A, A) -> bool
@in in_list (A, list(A)) -> bool
@in in_map (A, map(A, B)) -> bool
_[_] index_list (list(A), int) -> A
_[_] index_map (map(A, B), A) -> B
_[_] optional_list_index_int (optional(list(A)), int) -> optional(A)
_[_] optional_map_index_value (optional(map(A, B)), A) -> optional(B)
_[?_] list_optindex_optional_int (list(A), int) -> optional(A)
_[?_] optional_list_optindex_optional_int (optional(list(A)), int) -> optional(A)
_[?_] map_optindex_optional_value (map(A, B), A) -> optional(B)
_[?_] optional_map_optindex_optional_value (optional(map(A, B)), A) -> optional(B)
size size_bytes (bytes) -> int
size bytes_size bytes.() -> int
size size_list (list(A)) -> int
size list_size list(A).() -> int
size size_map (map(A, B)) -> int
size map_size map(A, B).() -> int
size size_string (string) -> int
size string_size string.() -> int
type type (A) -> type(A)
dyn to_dyn (A) -> dyn
bool bool_to_bool (bool) -> bool
bool string_to_bool (string) -> bool
bytes bytes_to_bytes (bytes) -> bytes
bytes string_to_bytes (string) -> bytes
double double_to_double (double) -> double
double int64_to_double (int) -> double
double string_to_double (string) -> double
double uint64_to_double (uint) -> double
duration duration_to_duration (duration) -> duration
duration string_to_duration (string) -> duration
int int64_to_int64 (int) -> int
int double_to_int64 (double) -> int
int duration_to_int64 (duration) -> int
int string_to_int64 (string) -> int
int timestamp_to_int64 (timestamp) -> int
int uint64_to_int64 (uint) -> int
string string_to_string (string) -> string
string bool_to_string (bool) -> string
string bytes_to_string (bytes) -> string
string double_to_string (double) -> string
string duration_to_string (duration) -> string
string int64_to_string (int) -> string
string timestamp_to_string (timestamp) -> string
string uint64_to_string (uint) -> string
timestamp timestamp_to_timestamp (timestamp) -> timestamp
timestamp int64_to_timestamp (int) -> timestamp
timestamp string_to_timestamp (string) -> timestamp
uint uint64_to_uint64 (uint) -> uint
uint double_to_uint64 (double) -> uint
uint int64_to_uint64 (int) -> uint
uint string_to_uint64 (string) -> uint
contains contains_string string.(string) -> bool
endsWith ends_with_string string.(string) -> bool
startsWith starts_with_string string.(string) -> bool
matches matches (string, string) -> bool
matches matches_string string.(string) -> bool
getFullYear timestamp_to_year timestamp.() -> int
getFullYear timestamp_to_year_with_tz timestamp.(string) -> int
getMonth timestamp_to_month timestamp.() -> int
getMonth timestamp_to_month_with_tz timestamp.(string) -> int
getDayOfYear timestamp_to_day_of_year timestamp.() -> int
getDayOfYear timestamp_to_day_of_year_with_tz timestamp.(string) -> int
getDayOfMonth timestamp_to_day_of_month timestamp.() -> int
getDayOfMonth timestamp_to_day_of_month_with_tz timestamp.(string) -> int
getDate timestamp_to_day_of_month_1_based timestamp.() -> int
getDate timestamp_to_day_of_month_1_based_with_tz timestamp.(string) -> int
getDayOfWeek timestamp_to_day_of_week timestamp.() -> int
getDayOfWeek timestamp_to_day_of_week_with_tz timestamp.(string) -> int
getHours timestamp_to_hours timestamp.() -> int
getHours timestamp_to_hours_with_tz timestamp.(string) -> int
getHours duration_to_hours duration.() -> int
getMinutes timestamp_to_minutes timestamp.() -> int
getMinutes timestamp_to_minutes_with_tz timestamp.(string) -> int
getMinutes duration_to_minutes duration.() -> int
getSeconds timestamp_to_seconds timestamp.() -> int
getSeconds timestamp_to_seconds_with_tz timestamp.(string) -> int
getSeconds duration_to_seconds duration.() -> int
getMilliseconds timestamp_to_milliseconds timestamp.() -> int
getMilliseconds timestamp_to_milliseconds_with_tz timestamp.(string) -> int
getMilliseconds duration_to_milliseconds duration.() -> int
`;

const EXTENSIONS = `
optional.none optional_none () -> optional(A)
optional.of optional_of (A) -> optional(A)
optional.ofNonZeroValue optional_ofNonZeroValue (A) -> optional(A)
optional.unwrap optional_unwrap (list(optional(A))) -> list(A)
unwrapOpt optional_unwrapOpt list(optional(A)).() -> list(A)
hasValue optional_hasValue optional(A).() -> bool
value optional_value optional(A).() -> A
or optional_or_optional optional(A).(optional(A)) -> optional(A)
orValue optional_orValue_value optional(A).(A) -> A
cel.@mapInsert cel_map_insert_key_value (map(A, B), A, B) -> map(A, B)
cel.@mapInsert cel_map_insert_map (map(A, B), map(A, B)) -> map(A, B)
base64.encode base64_encode_bytes (bytes) -> string
base64.decode base64_decode_string (string) -> bytes
charAt string_char_at_int string.(int) -> string
indexOf string_index_of_string string.(string) -> int
indexOf string_index_of_string_int string.(string, int) -> int
lastIndexOf string_last_index_of_string string.(string) -> int
lastIndexOf string_last_index_of_string_int string.(string, int) -> int
lowerAscii string_lower_ascii string.() -> string
upperAscii string_upper_ascii string.() -> string
replace string_replace_string_string string.(string, string) -> string
replace string_replace_string_string_int string.(string, string, int) -> string
split string_split_string string.(string) -> list(string)
split string_split_string_int string.(string, int) -> list(string)
substring string_substring_int string.(int) -> string
substring string_substring_int_int string.(int, int) -> string
trim string_trim string.() -> string
format string_format string.(list(dyn)) -> string
reverse string_reverse string.() -> string
join list_join list(string).() -> string
join list_join_string list(string).(string) -> string
strings.quote strings_quote (string) -> string
slice list_slice list(A).(int, int) -> list(A)
flatten list_flatten list(list(A)).() -> list(A)
flatten list_flatten_int list(dyn).(int) -> list(dyn)
distinct list_distinct list(A).() -> list(A)
reverse list_reverse list(A).() -> list(A)
lists.range lists_range (int) -> list(int)
first list_first list(A).() -> optional(A)
last list_last list(A).() -> optional(A)
math.ceil math_ceil_double (double) -> double
math.floor math_floor_double (double) -> double
math.round math_round_double (double) -> double
math.trunc math_trunc_double (double) -> double
math.sqrt math_sqrt_double (double) -> double
math.sqrt math_sqrt_int (int) -> double
math.sqrt math_sqrt_uint (uint) -> double
math.isInf math_isInf_double (double) -> bool
math.isNaN math_isNaN_double (double) -> bool
math.isFinite math_isFinite_double (double) -> bool
`;

const ORDERED = ["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"];
const ID_NAMES: Readonly<Record<string, string>> = { int: "int64", uint: "uint64" };
const COMPARISONS = { "_<_": "less", "_<=_": "less_equals", "_>_": "greater", "_>=_": "greater_equals" };
const NUMBERS = ["double", "int", "uint"];

function comparisons(): string[] {
  return Object.entries(COMPARISONS).flatMap(([name, id]) =>
    ORDERED.map((type) => `${name} ${id}_${ID_NAMES[type] ?? type} (${type}, ${type}) -> bool`),
  );
}

/** int < double and the like: the evaluator knows them always, the type checker only where an environment says so. */
function mixedComparisons(): string[] {
  return Object.entries(COMPARISONS).flatMap(([name, id]) =>
    NUMBERS.flatMap((a) =>
      NUMBERS.filter((b) => b !== a).map(
        (b) => `${name} ${id}_${ID_NAMES[a] ?? a}_${ID_NAMES[b] ?? b} (${a}, ${b}) -> bool`,
      ),
    ),
  );
}

function numeric(): string[] {
  const lines: string[] = [];
  for (const name of ["math.@max", "math.@min"]) {
    const id = `math_${name.slice(5)}`;
    lines.push(...NUMBERS.map((type) => `${name} ${id}_${type} (${type}) -> ${type}`));
    for (const a of NUMBERS) {
      for (const b of NUMBERS) lines.push(`${name} ${id}_${a}_${b} (${a}, ${b}) -> ${a === b ? a : "dyn"}`);
    }
    lines.push(...NUMBERS.map((type) => `${name} ${id}_list_${type} (list(${type})) -> ${type}`));
  }
  for (const type of NUMBERS) {
    lines.push(`math.abs math_abs_${type} (${type}) -> ${type}`, `math.sign math_sign_${type} (${type}) -> ${type}`);
  }
  for (const type of ["int", "uint"]) {
    for (const name of ["bitAnd", "bitOr", "bitXor"]) {
      lines.push(`math.${name} math_${name}_${type}_${type} (${type}, ${type}) -> ${type}`);
    }
    lines.push(`math.bitNot math_bitNot_${type} (${type}) -> ${type}`);
    for (const name of ["bitShiftLeft", "bitShiftRight"]) {
      lines.push(`math.${name} math_${name}_${type}_int (${type}, int) -> ${type}`);
    }
  }
  return lines;
}

/** In cel-go's order: a list of no type is sorted as the first. */
const SORTED = ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];

function sorting(): string[] {
  return SORTED.flatMap((type) => [
    `sort list_${type}_sort list(${type}).() -> list(${type})`,
    `@sortByAssociatedKeys list_${type}_sortByAssociatedKeys list(A).(list(${type})) -> list(A)`,
  ]);
}

const LINE = /^(\S+) (\S+) (?:(.+)\.)?\((.*)\) -> (.+)$/;

function readLine(line: string): readonly [name: string, overload: Overload] {
  const [, name = "", id = "", receiver, parameters = "", result = ""] = LINE.exec(line) ?? [];
  const texts = [...(receiver === undefined ? [] : [receiver]), ...splitParameters(parameters)];
  const types = [...texts, result].map((text) => {
    const type = parseType(text);
    if (type === undefined) throw new Error(`not the signature of a function: ${line}`);
    return type;
  });
  return [name, overload(id, receiver !== undefined, types.slice(0, -1), types.at(-1) ?? { kind: "dyn" })];
}

/** At the commas that stand in no parentheses. */
function splitParameters(text: string): readonly string[] {
  return text === "" ? [] : text.split(/,\s*(?![^(]*\))/);
}

export function overload(id: string, receiver: boolean, parameters: readonly Type[], result: Type): Overload {
  const names = new Set<string>();
  const gather = (type: Type): void => {
    if (type.kind === "param") names.add(type.name);
    for (const inner of parametersOf(type)) gather(inner);
  };
  for (const type of [...parameters, result]) gather(type);
  return { id, receiver, parameters, result, typeParameters: [...names] };
}

function tableOf(lines: readonly string[]): Signatures {
  const table = new Map<string, Overload[]>();
  for (const line of lines) {
    const [name, declared] = readLine(line);
    const overloads = table.get(name);
    if (overloads === undefined) table.set(name, [declared]);
    else overloads.push(declared);
  }
  return table;
}

function linesOf(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "");
}

const BASE = [...linesOf(STANDARD), ...comparisons(), ...linesOf(EXTENSIONS), ...numeric(), ...sorting()];

/** The standard functions and those of cel-go's extensions. */
export const SIGNATURES: Signatures = tableOf(BASE);

/** The same, with comparisons between int, uint and double. */
export const SIGNATURES_MIXED: Signatures = tableOf([...BASE, ...mixedComparisons()]);
