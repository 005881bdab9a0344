/**
 * Writes the conversions that a target lacks as integer arithmetic on bits.
 *
 *     %1: bf16 = convert %x    =>    %2: u32 = bitcast %x; .. round to nearest even ..; %1: bf16 = bitcast %9
 *
 * Bit for bit what `scalar.ts` says of `convert`, on every code and every f32. Leaves no conversion that the caps
 * lack.
 */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import type { DType } from "../../types/dtype.ts";
import type { KernelBuilder } from "../builder.ts";
import type { Caps, Kernel, Op, Value, ValueType } from "../ir.ts";
import { Rewriter } from "../rewrite.ts";
import { storageFormat, type SmallFloat } from "../small-float.ts";
import { collectOps } from "../walk.ts";

export function expandConverts(kernel: Kernel, caps: Caps): Kernel {
  const has = new Set(caps.converts);
  const isKnown = ({ a, dst, storage }: Op<"convert">): boolean => {
    const [source, target] = [formatOf(a.type, storage), formatOf(dst.type, storage)];
    return source === target || has.has(`${source}>${target}`);
  };
  if (collectOps(kernel.body, "convert").every(isKnown)) return kernel;
  return new Rewriter(kernel).run({
    convert: (op, cx) =>
      cx.define(op.dst, convertBy({ b: cx.b, has }, cx.value(op.a), op.dst.type, op.storage, op.dst.hint)),
  });
}

interface ConvertContext {
  readonly b: KernelBuilder;
  /** Pairs that the target has. */
  readonly has: ReadonlySet<string>;
}

function formatOf(type: ValueType, storage: DType | undefined): string {
  if (type !== "b8") return type;
  invariant(storage !== undefined, "convert of a b8 names its storage");
  return storage;
}

function convertBy(
  cx: ConvertContext,
  a: Value,
  to: ValueType,
  storage: DType | undefined,
  hint: string,
): Value {
  const { b, has } = cx;
  const source = formatOf(a.type, storage);
  const target = formatOf(to, storage);
  if (source === target || has.has(`${source}>${target}`) || b.constantOf(a) !== undefined)
    return b.convert(a, to, storage, hint);
  if (isFloatCode(source)) return convertBy(cx, decode(b, source, b.bitcast(a, "u32")), to, undefined, hint);
  if (source === "i8" || source === "u8") return convertBy(cx, byteToInt(b, source, a), to, undefined, hint);
  if (isFloatCode(target))
    return b.bitcast(encode(b, target, convertBy(cx, a, "f32", undefined, hint)), to, hint);
  if (target === "i8" || target === "u8") return intToByte(b, target, toInt(cx, a), hint);
  if (a.type === "bool") return b.select(a, b.constant(to, 1), b.constant(to, 0), hint);
  if (to === "bool") return b.binary("ne", a, b.constant(a.type, 0), hint);
  throw new InternalError(`there is no way to convert ${source} to ${target} here`);
}

function isFloatCode(name: string): name is SmallFloat {
  return name === "f16" || name === "bf16" || name === "e4m3" || name === "e5m2";
}

/** Saturated to i32 on the way to a byte: u32 and i64 beyond i32 are beyond a byte too. */
function toInt(cx: ConvertContext, a: Value): Value {
  if (a.type === "i32") return a;
  if (a.type === "u32") return cx.b.bitcast(cx.b.binary("min", a, cx.b.u32(255)), "i32");
  return convertBy(cx, a, "i32", undefined, "");
}

function byteToInt(b: KernelBuilder, storage: "i8" | "u8", a: Value): Value {
  const bits = b.bitcast(b.bitcast(a, "u32"), "i32");
  if (storage === "u8") return bits;
  return b.binary("shr", b.binary("shl", bits, b.u32(24)), b.u32(24));
}

function intToByte(b: KernelBuilder, storage: "i8" | "u8", a: Value, hint: string): Value {
  const [low, high] = storage === "i8" ? [-128, 127] : [0, 255];
  const clamped = b.binary("min", b.binary("max", a, b.i32(low)), b.i32(high));
  return b.bitcast(b.bitcast(clamped, "u32"), "b8", hint);
}

/** The f32 of a code in the low bits of a u32. */
function decode(b: KernelBuilder, name: SmallFloat, code: Value): Value {
  if (name === "bf16") return b.bitcast(b.binary("shl", code, b.u32(16)), "f32");
  const { exponentBits, mantissaBits, maxCode, infinityCode } = storageFormat(name);
  const width = exponentBits + mantissaBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const magnitude = b.and(code, b.u32(2 ** width - 1));
  const sign = b.binary("shl", b.and(code, b.u32(2 ** width)), b.u32(31 - width));
  const moved = b.binary("shl", magnitude, b.u32(23 - mantissaBits));
  const normal = b.add(moved, b.u32((127 - bias) * 2 ** 23));
  // A small code counts units of the last place, an integer that f32 holds exactly.
  const units = b.mul(b.convert(magnitude, "f32"), b.f32(2 ** (1 - bias - mantissaBits)));
  const finite = b.select(b.lt(magnitude, b.u32(2 ** mantissaBits)), b.bitcast(units, "u32"), normal);
  const special = infinityCode === undefined ? b.u32(0x7fc00000) : b.binary("or", moved, b.u32(0x7f800000));
  const bits = b.select(b.binary("gt", magnitude, b.u32(maxCode)), special, finite);
  return b.bitcast(b.binary("or", bits, sign), "f32");
}

/** The code of an f32, in the low bits of a u32. */
function encode(b: KernelBuilder, name: SmallFloat, a: Value): Value {
  const { exponentBits, mantissaBits, nanCode } = storageFormat(name);
  const bits = b.bitcast(a, "u32");
  const magnitude = b.and(bits, b.u32(0x7fffffff));
  const isNan = b.binary("gt", magnitude, b.u32(0x7f800000));
  const width = exponentBits + mantissaBits;
  const sign = b.and(b.binary("shr", bits, b.u32(31 - width)), b.u32(2 ** width));
  const code = name === "bf16" ? roundOff(b, magnitude, 16) : encodeMagnitude(b, name, magnitude);
  return b.select(isNan, b.u32(nanCode), b.binary("or", code, sign));
}

/** Drops the low bits of a u32, to nearest even. */
function roundOff(b: KernelBuilder, a: Value, bits: number): Value {
  const odd = b.and(b.binary("shr", a, b.u32(bits)), b.u32(1));
  return b.binary("shr", b.add(b.add(a, odd), b.u32(2 ** (bits - 1) - 1)), b.u32(bits));
}

function encodeMagnitude(b: KernelBuilder, name: SmallFloat, magnitude: Value): Value {
  const { exponentBits, mantissaBits, maxCode, infinityCode, overflow } = storageFormat(name);
  const bias = 2 ** (exponentBits - 1) - 1;
  const rebias = (127 - bias) * 2 ** 23;
  // Above the range there is nothing to round, and below it the difference would wrap.
  const normal = roundOff(b, b.sub(magnitude, b.u32(rebias)), 23 - mantissaBits);
  // Added to 2^23 units of the last place, a small value is rounded to such units, which the low bits then count.
  const unit = b.f32(2 ** (24 - bias - mantissaBits));
  const small = b.sub(b.bitcast(b.add(b.bitcast(magnitude, "f32"), unit), "u32"), b.bitcast(unit, "u32"));
  const code = b.select(b.lt(magnitude, b.u32(rebias + 2 ** 23)), small, normal);
  const beyond = overflow === "saturate" ? maxCode : (infinityCode ?? maxCode);
  return b.select(b.binary("gt", code, b.u32(maxCode)), b.u32(beyond), code);
}
