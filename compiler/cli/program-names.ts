/** The names that `--dims` may give a value: one that the program does not have is a slip of the pen, never ignored. */
import type { TypedFn } from "../check/typed.ts";
import type { Compiled } from "./api.ts";
import { takesPack } from "../lower/entry-pack.ts";
import { rowSizes } from "../lower/ragged-border.ts";
import type { DimArguments } from "./arguments.ts";
import { usageError } from "./exit-code.ts";

/** Throws a usage error for the first name that no function of the file has as a size or a dtype. */
export function checkNames({ program, graph }: Compiled, given: DimArguments): void {
  if (program === undefined || graph === undefined) return;
  const known = new Set([
    ...program.dimValues.keys(),
    ...program.fns.flatMap(functionNames),
    ...program.modules.flatMap(({ typeParams, dims, fns }) => [
      ...typeParams.map(({ name }) => name),
      ...dims,
      ...fns.flatMap(functionNames),
    ]),
    ...(given.pack ?? []).filter((axis) => typeof axis === "string"),
    ...graph.graph.inputs.flatMap(({ name, role }) => (role === "state" ? cacheNames(name) : [])),
  ]);
  const all = [...program.fns, ...program.modules.flatMap(({ fns }) => fns)];
  if (given.pack !== undefined && !all.some(takesPack))
    throw usageError(`--dims ...: no function of ${program.file} takes any leading axes`);
  for (const name of [...given.dims.keys(), ...given.dtypes.keys()]) {
    if (known.has(name)) continue;
    const names = [...known].join(", ");
    throw usageError(
      `--dims ${name}: ${program.file} has no size and no dtype of that name; it has ${names || "none"}`,
    );
  }
}

function functionNames(fn: TypedFn): readonly string[] {
  const { typeParams, dims, freeDims } = fn;
  return [...typeParams.map(({ name }) => name), ...dims, ...freeDims, ...rowSizes(fn)];
}

/** A paged cache `kv` brings two sizes of its own: how many pages there are, and how many a sequence may have. */
function cacheNames(input: string): readonly string[] {
  const stem = input.replace(/\.[a-z]+$/, "").replace(/\./g, "_");
  return [`${stem}_pages`, `${stem}_slots`];
}
