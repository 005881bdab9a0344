/**
 * Splits accesses that are wider than the target's widest into neighbouring ones. Those of one guarded access stand
 * together in one `if`.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import { dtypes } from "../../types/dtype.ts";
import type { Buffer, Caps, Kernel, Op, Value } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";
import { collectOps } from "../walk.ts";

export function splitVectors(kernel: Kernel, caps: Caps): Kernel {
  const widthOf = (buffer: Buffer): number => Math.max(1, caps.vectorBytes / dtypes[buffer.dtype].bytes);
  const fits =
    collectOps(kernel.body, "load").every(({ dst, buffer }) => dst.length <= widthOf(buffer)) &&
    collectOps(kernel.body, "store").every(({ values, buffer }) => values.length <= widthOf(buffer));
  if (fits) return kernel;
  return new Rewriter(kernel).run({
    load: (op, cx) =>
      op.dst.length <= widthOf(op.buffer) ? cx.copy(op) : splitLoad(op, widthOf(op.buffer), cx),
    store: (op, cx) =>
      op.values.length <= widthOf(op.buffer) ? cx.copy(op) : splitStore(op, widthOf(op.buffer), cx),
  });
}

function splitLoad(op: Op<"load">, width: number, cx: Rewriter): void {
  const { b } = cx;
  const guard = cx.optional(op.guard);
  if (guard === undefined) {
    loadParts(op, width, cx).forEach((loaded, k) => defineAt(op, k, loaded, cx));
    return;
  }
  const registers = op.dst.map((value) =>
    b.var(cx.optional(op.otherwise) ?? b.constant(value.type, value.type === "i64" ? 0n : 0), value.hint),
  );
  b.if(guard, () => {
    const loaded = loadParts(op, width, cx);
    registers.forEach((register, k) => {
      const value = loaded[k];
      if (value !== undefined) b.set(register, value);
    });
  });
  registers.forEach((register, k) => defineAt(op, k, b.get(register), cx));
}

function defineAt(op: Op<"load">, k: number, loaded: Value, cx: Rewriter): void {
  const value = op.dst[k];
  invariant(value !== undefined, "as many values as before");
  cx.define(value, loaded);
}

/** All the elements, without the guard. */
function loadParts(op: Op<"load">, width: number, cx: Rewriter): readonly Value[] {
  const index = cx.value(op.index);
  const loaded: Value[] = [];
  for (let first = 0; first < op.dst.length; first += width) {
    const options = { count: Math.min(width, op.dst.length - first), hint: op.dst[first]?.hint ?? "" };
    loaded.push(...cx.b.loadWide(cx.buffer(op.buffer), offset(cx, index, first), options));
  }
  return loaded;
}

function splitStore(op: Op<"store">, width: number, cx: Rewriter): void {
  const index = cx.value(op.index);
  const values = op.values.map((value) => cx.value(value));
  const store = (): void => {
    for (let first = 0; first < values.length; first += width) {
      cx.b.store(cx.buffer(op.buffer), offset(cx, index, first), values.slice(first, first + width));
    }
  };
  const guard = cx.optional(op.guard);
  if (guard === undefined) store();
  else cx.b.if(guard, store);
}

function offset(cx: Rewriter, index: Value, by: number): Value {
  return cx.b.add(index, cx.b.constant(index.type, by));
}
