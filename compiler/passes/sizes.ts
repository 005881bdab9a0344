/** Sizes as numbers, for decisions: a symbol counts as `unknownSize`. One object for a run of a pass; it remembers. */
import { evaluate, symbols, type Dim } from "../types/dim.ts";
import { dtypes } from "../types/dtype.ts";
import { typeOf } from "../tensor/refs.ts";
import type { LoopAxis, Ref, TensorType } from "../tensor/ir.ts";
import { unknownSize } from "./cost.ts";

export class Sizes {
  readonly #known = new WeakMap<Dim, number>();
  readonly #bytes = new Map<TensorType, number>();

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
    let bytes = this.#bytes.get(type);
    if (bytes === undefined) {
      bytes = dtypes[type.dtype].bytes;
      for (const dim of type.shape) bytes *= this.of(dim);
      this.#bytes.set(type, bytes);
    }
    return bytes;
  }

  /** Bytes of all of them. */
  types(types: readonly TensorType[]): number {
    let bytes = 0;
    for (let i = 0; i < types.length; i++) {
      const type = types[i];
      if (type !== undefined) bytes += this.bytes(type);
    }
    return bytes;
  }

  /** Bytes of all of them. */
  refs(refs: readonly Ref[]): number {
    let bytes = 0;
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i];
      if (ref !== undefined) bytes += this.ref(ref);
    }
    return bytes;
  }

  ref(ref: Ref): number {
    return this.bytes(typeOf(ref));
  }
}
