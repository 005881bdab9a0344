/**
 * Packs buffers of dtypes that a target cannot store into u32 words.
 *
 *     %1: b8 = load @x[%i]    =>    %2: i32 = shr %i, 2; %3: u32 = load @x[%2]; .. shift by 8 * (i & 3), mask ..
 *
 * A load takes the words it needs; a store of whole aligned words writes them; a store of less than a word clears
 * and sets its own bits by two atomics, so that what other threads write to the same word is never lost. A buffer's
 * length rounds up to whole words. Patterns that were the parts of one word are put together as that word. Values of a packed dtype are carried as their patterns in a u32; bools become
 * bytes 0 and 1 in memory only. Needs conversions of packed types to be bits already. Leaves loads and stores of the
 * caps' storage dtypes only.
 */
import { InternalError } from "../../diagnostics/diagnostic.ts";
import { ceildiv, constant } from "../../types/dim.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import type { Buffer, Caps, Kernel, Op, Value, ValueType } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";
import { visitOps } from "../walk.ts";

export function packStorage(kernel: Kernel, caps: Caps): Kernel {
  const stored = new Set(caps.storage);
  const isPacked = (buffer: Buffer): boolean => !stored.has(buffer.dtype);
  const carried = carriedTypes(stored);
  if (carried.size === 0 && !kernel.buffers.some(isPacked)) return kernel;
  const partial = partlyStored(kernel, isPacked);
  const rewriter = new Rewriter(kernel);
  return rewriter.run(
    {
      const: (op, cx) =>
        carried.has(op.dst.type) ? cx.define(op.dst, cx.b.constant("u32", op.value)) : cx.copy(op),
      bitcast: (op, cx) => {
        if (carried.has(op.dst.type))
          cx.define(
            op.dst,
            cx.b.and(cx.b.bitcast(cx.value(op.a), "u32"), cx.b.u32(maskOf(op.dst.type)), op.dst.hint),
          );
        else cx.copy(op);
      },
      pack: (op, cx) =>
        carried.has(op.parts[0]?.type ?? "f16")
          ? cx.define(
              op.dst,
              packWord(
                cx,
                op.parts.map((part) => cx.value(part)),
                op.dst.hint,
              ),
            )
          : cx.copy(op),
      unpack: (op, cx) => {
        if (!carried.has(op.dst[0]?.type ?? "f16")) return cx.copy(op);
        unpackWord(cx, cx.value(op.a), op.dst);
      },
      load: (op, cx) => (isPacked(op.buffer) ? loadPacked(op, cx) : cx.copy(op)),
      store: (op, cx) => (isPacked(op.buffer) ? storePacked(op, cx) : cx.copy(op)),
      instruction: (op, cx) => {
        if (op.dst.some((dst) => carried.has(dst.type)))
          throw new InternalError(`${op.name} on packed values`);
        cx.copy(op);
      },
    },
    (buffer) => (isPacked(buffer) ? packedParts(buffer, partial.has(buffer)) : undefined),
  );
}

/** Register types of the dtypes that are packed; b8 stands for four of them. */
function carriedTypes(stored: ReadonlySet<DType>): ReadonlySet<ValueType> {
  const carried = new Set<ValueType>();
  if (!stored.has("f16")) carried.add("f16");
  if (!stored.has("bf16")) carried.add("bf16");
  if (!stored.has("u8")) carried.add("b8");
  return carried;
}

function maskOf(type: ValueType): number {
  switch (type) {
    case "f16":
    case "bf16":
      return 0xffff;
    case "b8":
      return 0xff;
    default:
      return 0xffffffff;
  }
}

/** Buffers of which some op stores less than a word. */
function partlyStored(kernel: Kernel, isPacked: (buffer: Buffer) => boolean): ReadonlySet<Buffer> {
  const found = new Set<Buffer>();
  visitOps(kernel.body, (op) => {
    if (op.kind === "store" && isPacked(op.buffer) && op.values.length < perWord(op.buffer.dtype))
      found.add(op.buffer);
  });
  return found;
}

function perWord(dtype: DType): number {
  return 4 / dtypes[dtype].bytes;
}

function packedParts(buffer: Buffer, isPartly: boolean): Partial<Buffer> {
  return {
    dtype: "u32",
    length: ceildiv(buffer.length, constant(perWord(buffer.dtype))),
    access: isPartly ? "read-write" : buffer.access,
    align: Math.max(buffer.align, 4),
    ...(buffer.panel === undefined ? {} : { panel: buffer.panel / perWord(buffer.dtype) }),
  };
}

function packWord(cx: Rewriter, parts: readonly Value[], hint = ""): Value {
  const { b } = cx;
  const bits = 32 / parts.length;
  const whole = parts.map((part, k) => wordOf(cx, part, k * bits, bits));
  const [own] = whole;
  if (own !== undefined && whole.every((word) => word === own)) return own;
  const [first, ...rest] = parts.map((part, k) => b.binary("shl", part, b.u32(k * bits)));
  return rest.reduce(
    (word, part, k) => b.binary("or", word, part, k === rest.length - 1 ? hint : ""),
    first ?? b.u32(0),
  );
}

function unpackWord(cx: Rewriter, word: Value, dst: readonly Value[]): void {
  const bits = 32 / dst.length;
  dst.forEach((value, k) => cx.define(value, extract(cx, word, cx.b.u32(k * bits), bits, value.hint)));
}

function extract(cx: Rewriter, word: Value, shift: Value, bits: number, hint: string): Value {
  const { b } = cx;
  // The top part of a word needs no mask.
  if (b.constantOf(shift) === 32 - bits) return b.binary("shr", word, shift, hint);
  return b.and(b.binary("shr", word, shift), b.u32(2 ** bits - 1), hint);
}

/** The word of which a value is the `bits` from `shift`, as `extract` takes them out. */
function wordOf(cx: Rewriter, part: Value, shift: number, bits: number): Value | undefined {
  const { b } = cx;
  const definition = b.definitionOf(part);
  if (definition?.kind !== "binary") return undefined;
  if (shift === 32 - bits) {
    const isTop = definition.fn === "shr" && b.constantOf(definition.b) === shift;
    return isTop ? definition.a : undefined;
  }
  if (definition.fn !== "and" || b.constantOf(definition.b) !== 2 ** bits - 1) return undefined;
  if (shift === 0) return definition.a;
  const shifted = b.definitionOf(definition.a);
  if (shifted?.kind !== "binary" || shifted.fn !== "shr" || b.constantOf(shifted.b) !== shift)
    return undefined;
  return shifted.a;
}

/** `index / per`: shifts, right for the negative indices that a guard shuts out too. */
function wordIndex(cx: Rewriter, index: Value, per: number, dtype: DType): Value {
  return cx.b.binary("shr", index, cx.b.u32(Math.log2(per)), `${dtype}_word`);
}

function bitOffset(cx: Rewriter, index: Value, per: number): Value {
  const { b } = cx;
  const place = b.convert(b.and(index, b.constant(index.type, per - 1)), "u32", undefined, "");
  return b.binary("shl", place, b.u32(Math.log2(32 / per)), "shift");
}

/** A value of the program from the pattern in memory, and back. */
function fromPattern(cx: Rewriter, buffer: Buffer, pattern: Value, hint: string): Value {
  return buffer.dtype === "bool" ? cx.b.binary("ne", pattern, cx.b.u32(0), hint) : pattern;
}

function toPattern(cx: Rewriter, buffer: Buffer, value: Value): Value {
  return buffer.dtype === "bool" ? cx.b.select(value, cx.b.u32(1), cx.b.u32(0)) : value;
}

function loadPacked(op: Op<"load">, cx: Rewriter): void {
  const { b } = cx;
  const buffer = cx.buffer(op.buffer);
  const per = perWord(op.buffer.dtype);
  const index = cx.value(op.index);
  const guard = cx.optional(op.guard);
  const bits = 32 / per;
  const words = b.loadWide(buffer, wordIndex(cx, index, per, op.buffer.dtype), {
    count: Math.max(1, op.dst.length / per),
    guard,
  });
  const start = op.dst.length < per ? bitOffset(cx, index, per) : b.u32(0);
  op.dst.forEach((value, k) => {
    const word = words[Math.floor(k / per)] ?? b.u32(0);
    const shift = op.dst.length < per ? b.add(start, b.u32(k * bits)) : b.u32((k % per) * bits);
    const found = fromPattern(cx, op.buffer, extract(cx, word, shift, bits, value.hint), value.hint);
    // Words not read are zero, and so are all patterns in them; another value is chosen here.
    const isZero =
      op.otherwise === undefined ||
      b.constantOf(cx.value(op.otherwise)) === 0 ||
      b.constantOf(cx.value(op.otherwise)) === false;
    cx.define(
      value,
      guard === undefined || op.otherwise === undefined || isZero
        ? found
        : b.select(guard, found, cx.value(op.otherwise), value.hint),
    );
  });
}

function storePacked(op: Op<"store">, cx: Rewriter): void {
  const { b } = cx;
  const buffer = cx.buffer(op.buffer);
  const per = perWord(op.buffer.dtype);
  const index = cx.value(op.index);
  const guard = cx.optional(op.guard);
  const word = wordIndex(cx, index, per, op.buffer.dtype);
  const patterns = op.values.map((value) => toPattern(cx, op.buffer, cx.value(value)));
  if (patterns.length >= per) {
    const words = Array.from({ length: patterns.length / per }, (_, k) =>
      packWord(cx, patterns.slice(k * per, (k + 1) * per)),
    );
    b.store(buffer, word, words, guard);
    return;
  }
  const bits = 32 / per;
  const shift = bitOffset(cx, index, per);
  const value = patterns
    .map((pattern, k) => b.binary("shl", pattern, b.u32(k * bits)))
    .reduce((all, part) => b.binary("or", all, part));
  const mask = b.binary("shl", b.u32(2 ** (bits * patterns.length) - 1), shift);
  b.atomic(buffer, word, "and", b.unary("not", mask), guard);
  b.atomic(buffer, word, "or", b.binary("shl", value, shift), guard);
}
