/** Splits accesses that are wider than the target's widest into neighbouring ones. */
import { dtypes } from "../../types/dtype.ts";
import type { Buffer, Caps, Kernel, Op, Value } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";

export function splitVectors(kernel: Kernel, caps: Caps): Kernel {
  const widthOf = (buffer: Buffer): number => Math.max(1, caps.vectorBytes / dtypes[buffer.dtype].bytes);
  return new Rewriter(kernel).run({
    load: (op, cx) => {
      if (op.dst.length <= widthOf(op.buffer)) cx.copy(op);
      else splitLoad(op, widthOf(op.buffer), cx);
    },
    store: (op, cx) => {
      const width = widthOf(op.buffer);
      const index = cx.value(op.index);
      for (let first = 0; first < op.values.length; first += width) {
        const values = op.values.slice(first, first + width).map((value) => cx.value(value));
        cx.b.store(cx.buffer(op.buffer), offset(cx, index, first), values, cx.optional(op.guard));
      }
    },
  });
}

function splitLoad(op: Op<"load">, width: number, cx: Rewriter): void {
  const index = cx.value(op.index);
  for (let first = 0; first < op.dst.length; first += width) {
    const part = op.dst.slice(first, first + width);
    const options = { count: part.length, guard: cx.optional(op.guard), otherwise: cx.optional(op.otherwise), hint: part[0]?.hint ?? "" };
    const loaded = cx.b.loadWide(cx.buffer(op.buffer), offset(cx, index, first), options);
    part.forEach((value, k) => {
      const made = loaded[k];
      if (made !== undefined) cx.define(value, made);
    });
  }
}

function offset(cx: Rewriter, index: Value, by: number): Value {
  return cx.b.add(index, cx.b.constant(index.type, by));
}
