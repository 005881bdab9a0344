/**
 * `weft report kv`: what caches keep of a token, at configurations beside each other.
 *
 * A configuration is `NAME: MODULE, SIZES.., layers=N, bits=N`; `layers` is 1 and `bits`, of each number of the cache
 * whatever its dtype is, is the dtype's own where they are not given.
 */
import type { TypedModule, TypedProgram } from "../check/typed.ts";
import { printDim } from "../types/dim-text.ts";
import { evaluate, symbols, type Dim } from "../types/dim.ts";
import { dtypes, storedAs } from "../types/dtype.ts";
import { parseDims, type DimArguments } from "./arguments.ts";
import { usageError } from "./exit-code.ts";
import { cacheStates, sumOf, type CacheState } from "./kv-cache.ts";
import { table } from "./table.ts";

export interface Configuration {
  readonly name: string;
  readonly module: string;
  readonly sizes: DimArguments;
  readonly layers: number;
  readonly bits: number | undefined;
}

/** A module's cache, of one layer. */
export interface CacheFormula {
  readonly module: string;
  readonly states: readonly CacheState[];
  readonly numbers: Dim;
  readonly bytes: Dim;
}

export interface CacheRow {
  readonly name: string;
  readonly module: string;
  readonly layers: number;
  readonly bits: number | undefined;
  /** Of a token, over all layers. */
  readonly numbers: number;
  readonly bytes: number;
  /** How the bytes come to be: `60 layers x (2 * Ck + 2 * Dr)`. */
  readonly arithmetic: string;
}

export interface CacheReport {
  readonly formulas: readonly CacheFormula[];
  readonly rows: readonly CacheRow[];
}

/** Throws a usage error. */
export function parseConfiguration(text: string): Configuration {
  const [, name, rest] = /^\s*([^:]+?)\s*:\s*(.+)$/.exec(text) ?? [];
  const [module = "", ...given] = (rest ?? "").split(",").map((piece) => piece.trim());
  if (name === undefined || !/^[A-Z][A-Za-z0-9_]*$/.test(module))
    throw usageError(`a configuration is NAME: MODULE, SIZE=VALUE, .., layers=N, bits=N, not '${text}'`);
  const own = (key: string): number | undefined => {
    const found = given.find((piece) => piece.replace(/\s/g, "").startsWith(`${key}=`));
    if (found === undefined) return undefined;
    const value = Number(found.slice(found.indexOf("=") + 1));
    if (!Number.isSafeInteger(value) || value < 1)
      throw usageError(`${name}: ${key} is a whole number from 1, in '${found}'`);
    return value;
  };
  const sizes = parseDims(given.filter((piece) => !/^(layers|bits)\s*=/.test(piece)));
  return { name, module, sizes, layers: own("layers") ?? 1, bits: own("bits") };
}

/** Throws a usage error for a module or a size that is not there. */
export function cacheReport(program: TypedProgram, configurations: readonly Configuration[]): CacheReport {
  const formulas = program.modules
    .map((module) => formulaOf(program, module))
    .filter(({ states }) => states.length > 0);
  return { formulas, rows: configurations.map((one) => rowOf(program, formulas, one)) };
}

function formulaOf(program: TypedProgram, module: TypedModule): CacheFormula {
  const states = cacheStates(module, { dims: program.dimValues, dtypes: new Map() });
  return {
    module: module.name,
    states,
    numbers: sumOf(states.map(({ numbers }) => numbers)),
    bytes: sumOf(states.map(({ bytes }) => bytes)),
  };
}

function rowOf(program: TypedProgram, formulas: readonly CacheFormula[], one: Configuration): CacheRow {
  const { name, module, sizes, layers, bits } = one;
  const formula = formulas.find((known) => known.module === module);
  if (formula === undefined) {
    const known = formulas.map((other) => other.module).join(", ");
    throw usageError(
      `${name}: ${program.file} has no module ${module} with a cache; it has ${known || "none"}`,
    );
  }
  const values = new Map(sizes.dims);
  for (const [param, type] of sizes.dtypes)
    values.set(`${param}_bytes`, dtypes[storedAs(typeof type === "string" ? type : type.dtype)].bytes);
  const asked = bits === undefined ? formula.bytes : formula.numbers;
  const open = [...symbols(asked)].filter((size) => !values.has(size));
  if (open.length > 0) throw usageError(`${name}: no size is given for ${open.join(", ")}`);
  const numbers = layers * evaluate(formula.numbers, values);
  const each = printDim(asked);
  return {
    name,
    module,
    layers,
    bits,
    numbers,
    bytes: bits === undefined ? layers * evaluate(formula.bytes, values) : (numbers * bits) / 8,
    arithmetic: `${layers} x (${each}) = ${layers} x ${evaluate(asked, values)}${bits === undefined ? "" : ` numbers of ${bits} bits`}`,
  };
}

export function cacheText(file: string, { formulas, rows }: CacheReport): string {
  const lines = [
    `${file}: what caches keep of a token, in one layer`,
    ...table(
      ["module", "numbers", "bytes", "page table, bytes"],
      formulas.map(({ module, states, numbers, bytes }) => [
        module,
        printDim(numbers),
        printDim(bytes),
        [...new Set(states.map(({ page }) => `4 / ${printDim(page)}`))].join(" + "),
      ]),
    ),
  ];
  const first = rows[0];
  if (first === undefined) return lines.join("\n");
  lines.push(
    "and at these configurations, over all layers, page tables left out:",
    ...table(
      ["", "cache", "numbers", "bytes a token", `of ${first.name}`, "tokens in 1 GiB", "bytes come from"],
      rows.map((row) => [
        row.name,
        row.module,
        amount(row.numbers),
        amount(row.bytes),
        row === first ? "" : against(row.bytes / first.bytes),
        amount(Math.floor(2 ** 30 / row.bytes)),
        row.arithmetic,
      ]),
    ),
  );
  return lines.join("\n");
}

/** `6.7%, 93.3% less` or `57.0x`. */
export function against(part: number): string {
  if (part >= 2) return `${part.toFixed(2)}x`;
  const percent = `${(100 * part).toFixed(1)}%`;
  return part < 1 ? `${percent}, ${(100 * (1 - part)).toFixed(1)}% less` : percent;
}

export function amount(count: number): string {
  return count.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

export function cacheJson({ formulas, rows }: CacheReport): unknown {
  return {
    formulas: formulas.map(({ module, states, numbers, bytes }) => ({
      module,
      numbers: printDim(numbers),
      bytes: printDim(bytes),
      states: states.map((state) => ({
        path: state.path,
        page: printDim(state.page),
        numbers: printDim(state.numbers),
        bytes: printDim(state.bytes),
      })),
    })),
    configurations: rows,
  };
}
