/** Sizes as numbers, for decisions: a symbol counts as `unknownSize`. One object for a run of a pass; it remembers. */
import { evaluate, symbols, type Dim } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { typeOf } from "../tensor/refs.ts";
import type { LoopAxis, Ref, TensorType } from "../tensor/ir.ts";
import { unknownSize } from "./cost.ts";

export class Sizes {
  readonly #known = new WeakMap<Dim, number>();

  of(dim: Dim): number {
    if (dim.kind === "const") return dim.value;
    let value = this.#known.get(dim);
    if (value === undefined) {
      value = evaluate(dim, new Map([...symbols(dim)].map((name) => [name, unknownSize])));
      this.#known.set(dim, value);
    }
    return value;
  }

  points(axes: readonly LoopAxis[]): number {
    let points = 1;
    for (const axis of axes) points *= this.of(axis.extent);
    return points;
  }

  bytes(type: TensorType): number {
    let bytes: number = dtypes[type.dtype].bytes;
    for (const dim of type.shape) bytes *= this.of(dim);
    return bytes;
  }

  ref(ref: Ref): number {
    return this.bytes(typeOf(ref));
  }
}
