/** What a call or a held module makes of the rigid names of its function or module. */
import type { Bindings, DTypeRef } from "../check/typed.ts";
import type { Dim } from "../types/dim.ts";
import { axesIn, elementType, nameOf, type Lowering, type Scope } from "./frame.ts";
import type { ElementType, RaggedRows } from "./value.ts";

export interface BoundScope extends Scope {
  readonly dims: Map<string, Dim>;
  readonly ragged: Map<string, RaggedRows>;
}

/** The callee's scope from the caller's. */
export function boundScope(cx: Lowering, caller: Scope, bindings: Bindings): BoundScope {
  const dims = new Map([...bindings.dims].map(([name, dim]) => [name, nameOf(caller, dim)]));
  const dtypes = new Map(
    [...bindings.dtypes].map(([name, ref]) => [name, boundType(caller, bindings, name, ref)]),
  );
  const pack = bindings.pack === undefined ? [] : axesIn(cx, caller, bindings.pack);
  const ragged = new Map<string, RaggedRows>();
  for (const [own, theirs] of bindings.ragged) {
    // An instance that the callee itself dispatches has no rows yet: the caller gets them when it returns.
    const rows = caller.ragged.get(theirs);
    if (rows !== undefined) ragged.set(own, rows);
  }
  return { dims, dtypes, pack, ragged };
}

function boundType(caller: Scope, bindings: Bindings, name: string, ref: DTypeRef): ElementType {
  const bound = elementType(caller, ref);
  return {
    dtype: bound.dtype,
    scale: bindings.scales.get(name) ?? bound.scale,
    written: bound.written && !bindings.unwritten.has(name),
  };
}
