/**
 * Carries i64 as a pair of u32, low and high, on targets without it. An i64 buffer becomes one of u32 with the low
 * word of each element first. Leaves no i64.
 */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import { constant, mul } from "../../types/dim.ts";
import type { BinaryFn, Buffer, Caps, Kernel, Op, Register, Value } from "../ir.ts";
import { Rewriter, type RewriteTable } from "../rewrite.ts";
import { add64, binary64, compare64, constant64, negate64, select64 } from "./int64-arithmetic.ts";
import { from64, to64 } from "./int64-converts.ts";
import type { Pair } from "./wide-product.ts";
import { collectOps, visitOps } from "../walk.ts";

export function splitInt64(kernel: Kernel, caps: Caps): Kernel {
  if (caps.int64 || !usesInt64(kernel)) return kernel;
  return new Int64Rewriter(kernel).run(table, (buffer) =>
    buffer.dtype === "i64"
      ? { dtype: "u32", length: mul(buffer.length, constant(2)), align: Math.max(buffer.align, 4) }
      : undefined,
  );
}

function usesInt64(kernel: Kernel): boolean {
  let found = kernel.buffers.some((buffer) => buffer.dtype === "i64");
  visitOps(kernel.body, (op) => {
    if ("dst" in op && "type" in op.dst) found ||= op.dst.type === "i64";
    if (op.kind === "for") found ||= op.index.type === "i64";
  });
  return found || collectOps(kernel.body, "var").some((op) => op.register.type === "i64");
}

class Int64Rewriter extends Rewriter {
  readonly #pairs = new Map<Value, Pair>();
  readonly #registerPairs = new Map<Register, { readonly low: Register; readonly high: Register }>();

  pair(value: Value): Pair {
    const pair = this.#pairs.get(value);
    invariant(
      pair !== undefined,
      `${this.kernel.name}: i64 %${value.id} (${value.hint}) is used before it is defined`,
    );
    return pair;
  }

  definePair(value: Value, pair: Pair): void {
    this.#pairs.set(value, pair);
  }

  registerPair(register: Register): { readonly low: Register; readonly high: Register } {
    const pair = this.#registerPairs.get(register);
    invariant(pair !== undefined, `${this.kernel.name}: register ${register.hint} is used before its var`);
    return pair;
  }

  defineRegisterPair(register: Register, init: Pair | undefined): void {
    const word = (value: Value | undefined, hint: string): Register =>
      value === undefined ? this.b.open("u32", hint) : this.b.var(value, hint);
    const low = word(init?.low, `${register.hint}_low`);
    const high = word(init?.high, `${register.hint}_high`);
    this.#registerPairs.set(register, { low, high });
  }

  /** An index as i32: a buffer of such a target has no element beyond. */
  index(value: Value): Value {
    return value.type === "i64" ? from64(this.b, this.pair(value), "i32", value.hint) : this.value(value);
  }
}

const table: RewriteTable<Int64Rewriter> = {
  const: (op, cx) =>
    op.dst.type === "i64" ? cx.definePair(op.dst, constant64(cx.b, BigInt(op.value))) : cx.copy(op),
  size: (op, cx) => {
    if (op.dst.type !== "i64") return cx.copy(op);
    const size = cx.b.sizeParam(op.param, { type: "i32", hint: op.dst.hint });
    cx.definePair(op.dst, to64(cx.b, size));
  },
  unary: (op, cx) => {
    if (op.a.type !== "i64") return cx.copy(op);
    const a = cx.pair(op.a);
    const { b } = cx;
    const isNegative = b.lt(b.bitcast(a.high, "i32"), b.i32(0));
    switch (op.fn) {
      case "neg":
        return cx.definePair(op.dst, negate64(b, a));
      case "not":
        return cx.definePair(op.dst, { low: b.unary("not", a.low), high: b.unary("not", a.high) });
      case "abs":
        return cx.definePair(op.dst, select64(b, isNegative, negate64(b, a), a));
      default:
        throw new InternalError(`${op.fn} of an i64`);
    }
  },
  binary: (op, cx) => {
    if (op.a.type !== "i64") return cx.copy(op);
    const a = cx.pair(op.a);
    if (isComparison(op.fn)) return cx.define(op.dst, compare64(cx.b, op.fn, a, cx.pair(op.b)));
    const right =
      op.fn === "shl" || op.fn === "shr" ? { low: cx.value(op.b), high: cx.b.u32(0) } : cx.pair(op.b);
    cx.definePair(op.dst, binary64(cx.b, op.fn, a, right));
  },
  fma: (op, cx) => {
    if (op.dst.type !== "i64") return cx.copy(op);
    cx.definePair(op.dst, add64(cx.b, binary64(cx.b, "mul", cx.pair(op.a), cx.pair(op.b)), cx.pair(op.c)));
  },
  select: (op, cx) => {
    if (op.dst.type !== "i64") return cx.copy(op);
    cx.definePair(op.dst, select64(cx.b, cx.value(op.condition), cx.pair(op.a), cx.pair(op.b)));
  },
  convert: (op, cx) => {
    if (op.a.type === "i64" && op.dst.type === "i64") cx.definePair(op.dst, cx.pair(op.a));
    else if (op.a.type === "i64" && op.dst.type === "b8")
      cx.define(op.dst, cx.b.convert(from64(cx.b, cx.pair(op.a), "i32", ""), "b8", op.storage));
    else if (op.a.type === "i64") cx.define(op.dst, from64(cx.b, cx.pair(op.a), op.dst.type, op.dst.hint));
    else if (op.dst.type === "i64") cx.definePair(op.dst, to64(cx.b, widened(op, cx)));
    else cx.copy(op);
  },
  var: (op, cx) => {
    if (op.register.type !== "i64") return cx.copy(op);
    cx.defineRegisterPair(op.register, op.init === undefined ? undefined : cx.pair(op.init));
  },
  descriptor: (op) => {
    throw new InternalError(`a descriptor of ${op.buffer.name} on a target without i64`);
  },
  get: (op, cx) => {
    if (op.register.type !== "i64") return cx.copy(op);
    const { low, high } = cx.registerPair(op.register);
    cx.definePair(op.dst, { low: cx.b.get(low), high: cx.b.get(high) });
  },
  set: (op, cx) => {
    if (op.register.type !== "i64") return cx.copy(op);
    const [{ low, high }, value] = [cx.registerPair(op.register), cx.pair(op.value)];
    cx.b.set(low, value.low);
    cx.b.set(high, value.high);
  },
  load: loadPairs,
  store: storePairs,
  atomic: (op, cx) =>
    cx.b.atomic(cx.buffer(op.buffer), cx.index(op.index), op.fn, cx.value(op.value), cx.optional(op.guard)),
  "shuffle-xor": (op, cx) => {
    if (op.dst.type !== "i64") return cx.copy(op);
    const { low, high } = cx.pair(op.value);
    cx.definePair(op.dst, { low: cx.b.shuffleXor(low, op.mask), high: cx.b.shuffleXor(high, op.mask) });
  },
  "shuffle-index": (op, cx) => {
    if (op.dst.type !== "i64") return cx.copy(op);
    const { low, high } = cx.pair(op.value);
    const lane = cx.value(op.lane);
    cx.definePair(op.dst, { low: cx.b.shuffleIndex(low, lane), high: cx.b.shuffleIndex(high, lane) });
  },
  for: (op, cx) => {
    invariant(op.index.type !== "i64", `${cx.kernel.name}: a loop over i64 on a target without it`);
    cx.copy(op);
  },
};

/** A b8 as the i32 it stands for. */
function widened(op: Op<"convert">, cx: Int64Rewriter): Value {
  const a = cx.value(op.a);
  return a.type === "b8" ? cx.b.convert(a, "i32", op.storage) : a;
}

function isComparison(fn: BinaryFn): boolean {
  return fn === "eq" || fn === "ne" || fn === "lt" || fn === "le" || fn === "gt" || fn === "ge";
}

function wordsOf(cx: Int64Rewriter, buffer: Buffer, index: Value): Value {
  return cx.b.mul(cx.index(index), cx.b.i32(buffer.dtype === "i64" ? 2 : 1));
}

function loadPairs(op: Op<"load">, cx: Int64Rewriter): void {
  const { b } = cx;
  const guard = cx.optional(op.guard);
  const buffer = cx.buffer(op.buffer);
  const index = wordsOf(cx, op.buffer, op.index);
  if (op.buffer.dtype !== "i64") {
    const loaded = b.loadWide(buffer, index, {
      count: op.dst.length,
      guard,
      otherwise: cx.optional(op.otherwise),
      hint: op.dst[0]?.hint ?? "",
    });
    op.dst.forEach((value, k) => cx.define(value, loaded[k] ?? value));
    return;
  }
  const words = b.loadWide(buffer, index, { count: 2 * op.dst.length, guard });
  op.dst.forEach((value, k) => {
    const [low, high] = [words[2 * k], words[2 * k + 1]];
    invariant(low !== undefined && high !== undefined, "two words an element");
    const found = { low, high };
    cx.definePair(
      value,
      guard === undefined || op.otherwise === undefined
        ? found
        : select64(b, guard, found, cx.pair(op.otherwise)),
    );
  });
}

function storePairs(op: Op<"store">, cx: Int64Rewriter): void {
  const values =
    op.buffer.dtype === "i64"
      ? op.values.flatMap((value) => [cx.pair(value).low, cx.pair(value).high])
      : op.values.map((value) => cx.value(value));
  cx.b.store(cx.buffer(op.buffer), wordsOf(cx, op.buffer, op.index), values, cx.optional(op.guard));
}
