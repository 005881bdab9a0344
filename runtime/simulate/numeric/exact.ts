/**
 * Sums, products and quotients in f64 whose error is known, so that one rounding to a narrower type is right,
 * and correctly rounded f32 and f64 under every rounding that PTX names (9.7.3).
 */
import { f32, roundTo, type Rounding } from "./formats.ts";

const scratch = new Float64Array(1);
const words = new Uint32Array(scratch.buffer);
const integers = new BigInt64Array(scratch.buffer);

/** Steps `x` to the odd neighbour on the side of `error`: what round-to-odd of x + error gives. */
function toOdd(x: number, error: number): number {
  if (error === 0 || error !== error || !Number.isFinite(x)) return x;
  if (x === 0) return error > 0 ? Number.MIN_VALUE : -Number.MIN_VALUE;
  scratch[0] = x;
  if (words[0]! & 1) return x;
  integers[0] = integers[0]! + (error > 0 === x > 0 ? 1n : -1n);
  return scratch[0]!;
}

/** a + b rounded to odd. */
export function sumOdd(a: number, b: number): number {
  const s = a + b;
  const bb = s - a;
  const error = a - (s - bb) + (b - bb);
  return error === 0 ? s : toOdd(s, error);
}

/** a / b rounded to odd; a and b are f32 values. */
export function quotientOdd(a: number, b: number): number {
  const q = a / b;
  if (!Number.isFinite(q) || q === 0) return q;
  const high = Math.fround(q);
  const rest = a - high * b - (q - high) * b;
  return toOdd(q, b > 0 ? rest : -rest);
}

/** a / b as `div.approx` takes it: a * (1 / b), whose reciprocal vanishes for |b| above 2^126 (9.7.3.8). */
export function quotientFast(a: number, b: number): number {
  const vanishes = Math.abs(b) > 2 ** 126 && Number.isFinite(b);
  return vanishes ? a * (b < 0 ? -0 : 0) : quotientOdd(a, b);
}

/** sqrt(a) rounded to odd; a is an f32 value. */
export function rootOdd(a: number): number {
  const r = Math.sqrt(a);
  if (!Number.isFinite(r) || r === 0) return r;
  const high = Math.fround(r);
  const low = r - high;
  return toOdd(r, a - high * high - 2 * high * low - low * low);
}

/** a * b + c as one operation, nearest even; the operands are f32 values. */
export function fma32(a: number, b: number, c: number): number {
  const p = a * b;
  const s = p + c;
  scratch[0] = s;
  // The second rounding can go wrong only halfway between two f32 values, or below the normal range.
  const low = words[0]! & 0x1fffffff;
  if (low !== 0x10000000 && (s > 1.2e-38 || s < -1.2e-38)) return s;
  return sumOdd(p, c);
}

export function roundF32(x: number, rounding: Rounding): number {
  return rounding === "rn" ? Math.fround(x) : roundTo(x, f32, rounding);
}

/** The sign of an exact zero sum is negative when rounding down (IEEE 754, 6.3). */
export function add32(a: number, b: number, rounding: Rounding): number {
  const s = sumOdd(a, b);
  return s === 0 && rounding === "rm" && !(Object.is(a, 0) && Object.is(b, 0)) ? -0 : roundF32(s, rounding);
}

export function flush(x: number): number {
  if (x >= 1.1754943508222875e-38 || x <= -1.1754943508222875e-38) return x;
  return x !== x ? x : x < 0 || Object.is(x, -0) ? -0 : 0;
}

/** An f64 with a subnormal as the zero of its sign. */
export function flush64(x: number): number {
  return Math.abs(x) < 2.2250738585072014e-308 ? (Math.sign(x) === 0 ? x : x < 0 ? -0 : 0) : x;
}

export function saturate(x: number): number {
  return x > 0 ? Math.min(x, 1) : 0;
}

interface Rational {
  readonly numerator: bigint;
  readonly exponent: number;
}

/** A finite f64 as numerator * 2^exponent. */
function exactly(x: number): Rational {
  scratch[0] = x;
  const bits = BigInt.asUintN(64, integers[0]!);
  const field = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & ((1n << 52n) - 1n);
  const magnitude = field === 0 ? fraction : fraction | (1n << 52n);
  return { numerator: bits >> 63n ? -magnitude : magnitude, exponent: Math.max(field, 1) - 1075 };
}

/** numerator * 2^exponent as f64 under a rounding. */
function fromRational({ numerator, exponent }: Rational, rounding: Rounding): number {
  if (numerator === 0n) return 0;
  const negative = numerator < 0n;
  let magnitude = negative ? -numerator : numerator;
  const length = magnitude.toString(2).length;
  const drop = Math.max(length - 53, -1074 - exponent);
  let scale = exponent;
  if (drop > 0) {
    const shift = BigInt(drop);
    const rest = magnitude & ((1n << shift) - 1n);
    const half = 1n << (shift - 1n);
    magnitude >>= shift;
    scale += drop;
    const away = (rounding === "rm" && negative) || (rounding === "rp" && !negative);
    const up =
      rounding === "rn"
        ? rest > half || (rest === half && (magnitude & 1n) === 1n)
        : rounding === "rna"
          ? rest >= half
          : away && rest > 0n;
    if (up) magnitude += 1n;
  }
  // Two steps, because 2^scale alone may be below the range of f64.
  const value =
    scale < -1000 ? Number(magnitude) * 2 ** -1000 * 2 ** (scale + 1000) : Number(magnitude) * 2 ** scale;
  const limited =
    value === Infinity && rounding !== "rn" && rounding !== "rna" && !((rounding === "rp") !== negative)
      ? Number.MAX_VALUE
      : value;
  return negative ? -limited : limited;
}

function aligned(a: Rational, b: Rational): Rational {
  const exponent = Math.min(a.exponent, b.exponent);
  return {
    numerator:
      (a.numerator << BigInt(a.exponent - exponent)) + (b.numerator << BigInt(b.exponent - exponent)),
    exponent,
  };
}

/** a * b + c in f64 as one operation. */
export function fma64(a: number, b: number, c: number, rounding: Rounding): number {
  if (!Number.isFinite(a) || !Number.isFinite(b) || !Number.isFinite(c) || a === 0 || b === 0)
    return a * b + c;
  const x = exactly(a);
  const y = exactly(b);
  const product = { numerator: x.numerator * y.numerator, exponent: x.exponent + y.exponent };
  const sum = aligned(product, exactly(c));
  if (sum.numerator === 0n) return a * b + c === 0 ? a * b + c : rounding === "rm" ? -0 : 0;
  return fromRational(sum, rounding);
}

export function add64(a: number, b: number, rounding: Rounding): number {
  return rounding === "rn" ? a + b : fma64(a, 1, b, rounding);
}

export function mul64(a: number, b: number, rounding: Rounding): number {
  return rounding === "rn" || a * b === 0 ? a * b : fma64(a, b, 0, rounding);
}

/** Quotient and root in f64 under a directed rounding: the nearest one, moved when its residual says so. */
function directed(nearest: number, residual: number, rounding: Rounding): number {
  if (rounding === "rn" || residual === 0 || !Number.isFinite(nearest)) return nearest;
  const above = residual > 0;
  const wantUp = rounding === "rp" || (rounding === "rz" && nearest < 0);
  if (above === wantUp) {
    scratch[0] = nearest;
    integers[0] = integers[0]! + (nearest > 0 === wantUp ? 1n : -1n);
    return scratch[0]!;
  }
  return nearest;
}

export function div64(a: number, b: number, rounding: Rounding): number {
  const q = a / b;
  if (rounding === "rn" || a === 0 || b === 0 || !Number.isFinite(a) || !Number.isFinite(b)) return q;
  // Over- and underflow depend on the rounding too: the quotient to 116 bits or more, and whether anything is left.
  const [x, y] = [exactly(a), exactly(b)];
  const dividend = x.numerator << 168n;
  const whole = dividend / y.numerator;
  const rest = whole * y.numerator === dividend ? 0n : q < 0 || Object.is(q, -0) ? -1n : 1n;
  return fromRational({ numerator: 2n * whole + rest, exponent: x.exponent - y.exponent - 169 }, rounding);
}

export function sqrt64(a: number, rounding: Rounding): number {
  const r = Math.sqrt(a);
  // The residual of a tiny number would vanish.
  if (a > 0 && a < 2 ** -900) return sqrt64(a * 2 ** 200, rounding) * 2 ** -100;
  return r === 0 || !Number.isFinite(r) ? r : directed(r, fma64(-r, r, a, "rn"), rounding);
}
