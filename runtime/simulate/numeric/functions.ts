/** Scalar float functions of the table that are more than one JavaScript operator (PTX ISA 9.7.3, 9.7.4). */
import { f16, roundTo } from "./formats.ts";
import { flush } from "./exact.ts";

const scratch = new Float32Array(1);
const bits = new Int32Array(scratch.buffer);

/** An f32 as its bits, with a subnormal flushed to the zero of its sign. */
export function flushBits(a: number): number {
  return (a & 0x7f800000) === 0 ? a & 0x80000000 : a;
}

/** neg (or abs) of an f32 as bits; of a NaN the canonical one. */
export function signed32(a: number, negate: boolean): number {
  const magnitude = a & 0x7fffffff;
  return magnitude > 0x7f800000 ? 0x7fffffff : negate ? a ^ 0x80000000 : magnitude;
}

/** The same of an f16 or bf16, by the bits of its infinity. */
export function signed16(a: number, negate: boolean, infinity: number): number {
  const magnitude = a & 0x7fff;
  return magnitude > infinity ? 0x7fff : negate ? (a & 0xffff) ^ 0x8000 : magnitude;
}

export function signed16x2(a: number, negate: boolean, infinity: number): number {
  return signed16(a, negate, infinity) | (signed16(a >>> 16, negate, infinity) << 16);
}

/** One or two f16 as bits, subnormals flushed to the zero of their sign. */
export function flushF16Bits(a: number): number {
  const low = (a & 0x7c00) === 0 ? a & 0x8000 : a & 0xffff;
  const high = (a & 0x7c000000) === 0 ? a & 0x80000000 : a & 0xffff0000;
  return low | high;
}

export function copysign(magnitude: number, sign: number): number {
  const negative = sign < 0 || Object.is(sign, -0);
  return negative ? -Math.abs(magnitude) : Math.abs(magnitude);
}

/** `-0` is below `+0`; a NaN loses unless `.NaN`; `.xorsign.abs` compares magnitudes and takes the product's sign. */
export function minimum(a: number, b: number, keepNaN: boolean, xorsignAbs: boolean): number {
  if (xorsignAbs) {
    const negative = (a < 0 || Object.is(a, -0)) !== (b < 0 || Object.is(b, -0));
    const magnitude = minimum(Math.abs(a), Math.abs(b), keepNaN, false);
    return negative ? -magnitude : magnitude;
  }
  if (a !== a) return keepNaN ? a : b;
  if (b !== b) return keepNaN ? b : a;
  return Math.min(a, b);
}

export function maximum(a: number, b: number, keepNaN: boolean, xorsignAbs: boolean): number {
  if (xorsignAbs) {
    const negative = (a < 0 || Object.is(a, -0)) !== (b < 0 || Object.is(b, -0));
    const magnitude = maximum(Math.abs(a), Math.abs(b), keepNaN, false);
    return negative ? -magnitude : magnitude;
  }
  if (a !== a) return keepNaN ? a : b;
  if (b !== b) return keepNaN ? b : a;
  return Math.max(a, b);
}

export function testp(a: number, test: string, wide: boolean): boolean {
  const smallest = wide ? 2.2250738585072014e-308 : 1.1754943508222875e-38;
  switch (test) {
    case "finite":
      return Number.isFinite(a);
    case "infinite":
      return a === Infinity || a === -Infinity;
    case "number":
      return a === a;
    case "notanumber":
      return a !== a;
    case "normal":
      // "As a special case, positive and negative zero are considered normal numbers" (9.7.3.1).
      return Number.isFinite(a) && (a === 0 || Math.abs(a) >= smallest);
    default:
      return a !== 0 && Math.abs(a) < smallest;
  }
}

export function relu(x: number): number {
  return x > 0 || x !== x ? x : 0;
}

export function roundF16(x: number): number {
  return roundTo(x, f16, "rn");
}

export function flushF16(x: number): number {
  if (x >= 2 ** -14 || x <= -(2 ** -14) || x !== x) return x;
  return x < 0 || Object.is(x, -0) ? -0 : 0;
}

/** A float to an integer of at most 32 bits (9.7.9.21): what is out of range is clamped, NaN as its type of source says. */
export function toInteger(x: number, low: number, high: number, ofNaN: number): number {
  return x !== x ? ofNaN : x < low ? low : x > high ? high : x;
}

export function toInteger64(x: number, signed: boolean): bigint {
  const [low, high] = signed ? [-(1n << 63n), (1n << 63n) - 1n] : [0n, (1n << 64n) - 1n];
  if (x !== x) return signed ? low : 1n << 63n;
  if (x <= Number(low)) return low;
  return x >= Number(high) ? high : BigInt(x);
}

/** Rounds to an integer as `.rni`, `.rzi`, `.rmi`, `.rpi` say. */
export function roundToInteger(x: number, mode: string): number {
  switch (mode) {
    case "rzi":
      return Math.trunc(x);
    case "rmi":
      return Math.floor(x);
    case "rpi":
      return Math.ceil(x);
    default: {
      const down = Math.floor(x);
      const rest = x - down;
      if (rest !== 0.5)
        return rest < 0.5
          ? down === 0 && Object.is(x, -0)
            ? -0
            : down
          : x < 0 && down === -1
            ? -0
            : down + 1;
      const even = down % 2 === 0 ? down : down + 1;
      return even === 0 && x < 0 ? -0 : even;
    }
  }
}

/** A 64-bit integer to a float with one rounding: to odd in f64 first, then by the caller. */
export function fromInteger64(a: bigint): number {
  const nearest = Number(a);
  const rest = a - BigInt(nearest);
  if (rest === 0n) return nearest;
  // Only f32 and narrower come here: shift the tail into a sticky bit that f64 can hold.
  const magnitude = a < 0n ? -a : a;
  const sticky = (magnitude >> 12n) | ((magnitude & 0xfffn) === 0n ? 0n : 1n);
  const value = Number(sticky) * 4096;
  return a < 0n ? -value : value;
}

const wide = new Float64Array(1);
const wideBits = new BigInt64Array(wide.buffer);

/** A 64-bit integer to f64. */
export function integer64ToF64(a: bigint, mode: "rn" | "rz" | "rm" | "rp"): number {
  const nearest = Number(a);
  const rest = a - BigInt(nearest);
  if (rest === 0n || mode === "rn") return nearest;
  const up = mode === "rp" || (mode === "rz" && a < 0n);
  if (up === rest < 0n) return nearest;
  // The neighbour on the other side of a: its bits count away from zero.
  wide[0] = nearest;
  wideBits[0] = wideBits[0]! + (up === nearest > 0 ? 1n : -1n);
  return wide[0]!;
}

export function f32BitsOf(x: number): number {
  scratch[0] = x;
  return bits[0]!;
}

export { flush };
