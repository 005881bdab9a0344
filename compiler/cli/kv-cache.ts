/**
 * What a module's states keep for each token: numbers and bytes, as formulas of the sizes that are open.
 *
 * A paged cache keeps rows, one a token, whose parts have dtypes of their own and may be scaled by blocks; a scale
 * counts as the 4 bytes that it takes. The page table, 4 bytes for each page of rows, is told apart: it is not what a
 * cache is compared by.
 */
import type { Bindings, DTypeRef, PagedPart, Type, TypedModule } from "../check/typed.ts";
import { add, ceildiv, constant, mul, substitute, symbol, type Dim } from "../types/dim.ts";
import { dtypes, storedAs } from "../types/dtype.ts";

export interface CacheState {
  /** `attn.kv`: from the module that holds it. */
  readonly path: string;
  readonly page: Dim;
  /** Of one token's row. */
  readonly numbers: Dim;
  readonly bytes: Dim;
}

/** Sizes and dtypes by the names that a module has for them. */
interface Names {
  readonly dims: ReadonlyMap<string, Dim>;
  readonly dtypes: ReadonlyMap<string, DTypeRef>;
}

/** The paged states of a module and of the modules that it holds. A dtype that is not known counts `A_bytes`. */
export function cacheStates(
  module: TypedModule,
  names: Names = { dims: new Map(), dtypes: new Map() },
  prefix = "",
): readonly CacheState[] {
  const own = module.states.flatMap(({ name, type }) => stateOf(type, names, prefix + name));
  const held = module.params.flatMap(({ name, type }) =>
    type.kind === "module"
      ? cacheStates(type.module, boundNames(type.bindings, names), `${prefix}${name}.`)
      : [],
  );
  return [...own, ...held];
}

export function sumOf(sizes: readonly Dim[]): Dim {
  return add(constant(0), ...sizes);
}

function stateOf(type: Type, { dims, dtypes: bound }: Names, path: string): readonly CacheState[] {
  if (type.kind !== "paged") return [];
  const size = (dim: Dim): Dim => substitute(dim, dims);
  return [
    {
      path,
      page: size(type.page),
      numbers: sumOf(type.parts.map(({ width }) => size(width))),
      bytes: sumOf(type.parts.map((part) => bytesOf(part, size(part.width), bound))),
    },
  ];
}

function bytesOf({ dtype, scale }: PagedPart, width: Dim, bound: ReadonlyMap<string, DTypeRef>): Dim {
  const stored = dtype.kind === "param" ? (bound.get(dtype.name) ?? dtype) : dtype;
  const each =
    stored.kind === "dtype" ? constant(dtypes[storedAs(stored.dtype)].bytes) : symbol(`${stored.name}_bytes`);
  const scales =
    scale === undefined
      ? constant(0)
      : mul(constant(dtypes.f32.bytes), ceildiv(width, constant(scale.block[0] ?? 1)));
  return add(mul(each, width), scales);
}

/** What a held module's names are to the module that is asked about. */
function boundNames({ dims, dtypes: types }: Bindings, outer: Names): Names {
  return {
    dims: new Map([...dims].map(([name, dim]) => [name, substitute(dim, outer.dims)])),
    dtypes: new Map(
      [...types].map(([name, type]) => [
        name,
        type.kind === "param" ? (outer.dtypes.get(type.name) ?? type) : type,
      ]),
    ),
  };
}
