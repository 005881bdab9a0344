/**
 * Argument reduction for sine and cosine: an f32 as a number of quarter turns (modulo 4) and a rest within about
 * pi/4 of zero.
 *
 * Up to 8192 pi/2 is subtracted in three parts, the first two so short that their products with the number of
 * quarter turns are exact. Beyond, the product of the f32's 24-bit mantissa with 96 bits of 2/pi, taken where the
 * exponent says, has the quarter turns in its upper bits and the rest in those below (Payne and Hanek, 1983).
 */
import type { KernelBuilder } from "../builder.ts";
import type { Value } from "../ir.ts";
import { multiplyWide } from "./wide-product.ts";

export interface Quadrant {
  /** u32; its two low bits count. */
  readonly quadrant: Value;
  readonly rest: Value;
}

const nearLimit = 8192;

export function quadrantOf(b: KernelBuilder, x: Value): Quadrant {
  const turns = b.var(b.u32(0), "quadrant");
  const rest = b.var(b.f32(0), "rest");
  const isFar = b.binary("ge", b.unary("abs", x), b.f32(nearLimit));
  b.if(
    isFar,
    () => {
      const far = farQuadrant(b, x);
      b.set(turns, far.quadrant);
      b.set(rest, far.rest);
    },
    () => {
      const near = nearQuadrant(b, x);
      b.set(turns, near.quadrant);
      b.set(rest, near.rest);
    },
  );
  return { quadrant: b.get(turns), rest: b.get(rest) };
}

/** pi/2 in parts of 8 and 11 bits, and what is left of it. */
const halfPi = [1.5703125, 4.837512969970703125e-4, 7.549789954891882e-8] as const;

function nearQuadrant(b: KernelBuilder, x: Value): Quadrant {
  const k = b.unary("round-even", b.mul(x, b.f32(2 / Math.PI)));
  const minusK = b.unary("neg", k);
  const rest = halfPi.reduce((left, part) => b.fma(minusK, b.f32(part), left), x);
  return { quadrant: b.bitcast(b.convert(k, "i32"), "u32"), rest };
}

/** 2/pi after the binary point, 32 bits a word. */
const twoOverPi = [
  0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab,
] as const;

function farQuadrant(b: KernelBuilder, x: Value): Quadrant {
  const bits = b.bitcast(x, "u32");
  const exponent = b.and(b.binary("shr", bits, b.u32(23)), b.u32(255));
  const mantissa = b.binary("or", b.and(bits, b.u32(0x7fffff)), b.u32(0x800000));
  // |x| = mantissa * 2^(exponent - 150), and a bit of 2/pi that makes four or more quarter turns of it says nothing:
  // the window begins with bit exponent - 151 behind the point, which is number exponent - 120 with 32 zeros ahead.
  const start = b.sub(exponent, b.u32(120));
  const [w0, w1, w2] = windowAt(b, start);
  // mantissa * window, modulo 2^96, in units of 2^-94 quarter turns.
  const low1 = multiplyWide(b, mantissa, w1);
  const low2 = multiplyWide(b, mantissa, w2);
  const middle = b.add(low1.low, low2.high);
  const carry = b.select(b.lt(middle, low1.low), b.u32(1), b.u32(0));
  const top = b.add(b.add(b.mul(mantissa, w0), low1.high), carry);
  return signedQuadrant(b, x, top, middle);
}

/** Three words of 2/pi, 32 zero bits ahead of it, from a bit on. */
function windowAt(b: KernelBuilder, start: Value): readonly [Value, Value, Value] {
  const words = [0, ...twoOverPi].map((word) => b.u32(word));
  const first = b.binary("shr", start, b.u32(5));
  const offset = b.and(start, b.u32(31));
  const back = b.and(b.sub(b.u32(32), offset), b.u32(31));
  const isWhole = b.binary("eq", offset, b.u32(0));
  const at = (shift: number): Value => {
    let chosen = b.u32(0);
    for (let k = words.length - 1 - shift; k >= 0; k -= 1) {
      chosen = b.select(b.binary("eq", first, b.u32(k)), words[k + shift] ?? chosen, chosen);
    }
    return chosen;
  };
  const raw = [at(0), at(1), at(2), at(3)] as const;
  const join = (high: Value, low: Value): Value =>
    b.select(isWhole, high, b.binary("or", b.binary("shl", high, offset), b.binary("shr", low, back)));
  return [join(raw[0], raw[1]), join(raw[1], raw[2]), join(raw[2], raw[3])];
}

/** Quarter turns, to nearest, from the two upper bits of the product; the rest is the other bits as a fraction. */
function signedQuadrant(b: KernelBuilder, x: Value, top: Value, middle: Value): Quadrant {
  const up = b.and(b.binary("shr", top, b.u32(29)), b.u32(1));
  const turns = b.add(b.binary("shr", top, b.u32(30)), up);
  // The fraction, less one where it was rounded up: a 62-bit number of which 32 bits decide.
  const fraction = b.binary("or", b.binary("shl", top, b.u32(2)), b.binary("shr", middle, b.u32(30)));
  const below = b.binary("shl", middle, b.u32(2));
  const isUp = b.binary("ne", up, b.u32(0));
  const high = b.select(isUp, b.unary("not", fraction), fraction);
  const low = b.select(isUp, b.unary("not", below), below);
  const turn = b.fma(b.convert(high, "f32"), b.f32(2 ** -32), b.mul(b.convert(low, "f32"), b.f32(2 ** -64)));
  const size = b.mul(turn, b.f32(Math.PI / 2));
  const isNegative = b.lt(x, b.f32(0));
  const away = b.binary("ne", isNegative, isUp);
  const rest = b.select(away, b.unary("neg", size), size);
  // Infinity has no sine; 0 times it is NaN, as x - x is.
  const finite = b.select(b.lt(b.unary("abs", x), b.f32(Infinity)), rest, b.sub(x, x));
  return { quadrant: b.select(isNegative, b.sub(b.u32(0), turns), turns), rest: finite };
}
