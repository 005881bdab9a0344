/** Number formats and their rounding, against definitions by enumeration and by exact integers. */
import { describe, expect, test } from "vitest";
import { fma32, fma64, quotientOdd, rootOdd, roundF32 } from "../../runtime/simulate/numeric/exact.ts";
import {
  bf16,
  bf16ToNumber,
  decode,
  e4m3,
  e4m3ToNumber,
  e5m2,
  encode,
  f16,
  f16ToNumber,
  numberToBf16,
  type Format,
  type Rounding,
} from "../../runtime/simulate/numeric/formats.ts";

/** All finite values of a format that are not negative, in order, by walking up from zero. */
function valuesOf({ exponentBits, mantissaBits, maxFinite }: Format): number[] {
  const bias = 2 ** (exponentBits - 1) - 1;
  const values: number[] = [];
  for (let exponent = 0; ; exponent++) {
    for (let mantissa = 0; mantissa < 2 ** mantissaBits; mantissa++) {
      const unit = 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
      const value = (mantissa + (exponent === 0 ? 0 : 2 ** mantissaBits)) * unit;
      if (value > maxFinite) return values;
      values.push(value);
    }
  }
}

const formats = [e4m3, e5m2, f16, bf16];

describe.each(formats.map((format) => [format.name, format] as const))("%s", (_, format) => {
  const values = valuesOf(format);

  test("every code decodes to its value and back", () => {
    values.forEach((value, code) => {
      expect([code, decode(code, format)]).toEqual([code, value]);
      if (encode(value, format, "rn", false) !== code)
        expect([value, encode(value, format, "rn", false)]).toEqual([value, code]);
    });
    expect(values.at(-1)).toBe(format.maxFinite);
  });

  test("between two neighbours each rounding goes where it says", () => {
    const step = Math.max(1, Math.floor(values.length / 2000));
    for (let code = 0; code + 1 < values.length; code += step) {
      const [low, high] = [values[code]!, values[code + 1]!];
      const middle = (low + high) / 2;
      const even = code % 2 === 0 ? code : code + 1;
      const check = (x: number, rounding: Rounding, wanted: number): void => {
        if (encode(x, format, rounding, false) !== wanted)
          expect([x, rounding, encode(x, format, rounding, false)]).toEqual([x, rounding, wanted]);
      };
      for (const x of [(low * 3 + high) / 4, middle, (low + high * 3) / 4]) {
        check(x, "rz", code);
        check(x, "rm", code);
        check(x, "rp", code + 1);
        check(x, "rn", x < middle ? code : x > middle ? code + 1 : even);
        check(x, "rna", x < middle ? code : code + 1);
      }
    }
  });

  test("saturation, overflow and NaN", () => {
    const top = values.length - 1;
    expect(encode(format.maxFinite * 4, format, "rn", true)).toBe(top);
    expect(encode(-format.maxFinite * 4, format, "rn", true)).toBe(
      top | (1 << (format.exponentBits + format.mantissaBits)),
    );
    expect(decode(encode(format.maxFinite * 4, format, "rn", false), format)).toBe(
      format.infinity ? Infinity : NaN,
    );
    expect(encode(format.maxFinite * 4, format, "rz", false)).toBe(top);
    expect(decode(encode(NaN, format, "rn", true), format)).toBe(NaN);
  });
});

test("the tables agree with the definition on every code", () => {
  for (let code = 0; code < 65536; code++)
    if (!Object.is(f16ToNumber(code), decode(code, f16))) expect(code).toBe(-1);
  for (let code = 0; code < 65536; code++)
    if (!Object.is(bf16ToNumber(code), decode(code, bf16))) expect(code).toBe(-1);
  for (let code = 0; code < 256; code++) expect(e4m3ToNumber(code)).toBe(decode(code, e4m3));
  expect([e4m3ToNumber(0x7e), e4m3ToNumber(0x7f), e4m3ToNumber(1)]).toEqual([448, NaN, 2 ** -9]);
});

/** x as numerator / 2^1100, exactly. */
const exact = (x: number): bigint => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const field = Number((bits >> 52n) & 0x7ffn);
  const magnitude =
    (field === 0 ? bits & 0xfffffffffffffn : (bits & 0xfffffffffffffn) | 0x10000000000000n) <<
    BigInt(Math.max(field, 1) + 25);
  return bits >> 63n ? -magnitude : magnitude;
};

function random(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
}

/** Is `result` a nearest float to the exact value with 24 or 53 bits? Neighbours must not be nearer. */
function isNearest(result: number, value: bigint, scale: bigint, neighbours: readonly number[]): boolean {
  const distance = (x: number): bigint => {
    const d = exact(x) * scale - value;
    return d < 0n ? -d : d;
  };
  return neighbours.every((x) => distance(result) <= distance(x));
}

test("fma.rn.f32 is the nearest of the exact value, cancellation and ties included", () => {
  const next = random(7);
  const words = new Uint32Array(1);
  const value = (): number => {
    words[0] = ((next() & 0x807fffff) | ((117 + (next() % 20)) << 23)) >>> 0;
    return new Float32Array(words.buffer)[0]!;
  };
  for (let i = 0; i < 20000; i++) {
    const [a, b] = [value(), value()];
    const c = i % 3 === 0 ? Math.fround(-a * b) : value();
    const result = Math.fround(fma32(a, b, c));
    const sum = exact(a) * exact(b) + (exact(c) << 1100n);
    const ulp = 2 ** (Math.floor(Math.log2(Math.abs(result) || 2 ** -126)) - 23);
    if (!isNearest(result, sum, 1n << 1100n, [Math.fround(result + ulp), Math.fround(result - ulp)]))
      expect([a, b, c, result]).toBe("nearest");
  }
});

test("fma.rn.f64 is exact where products cancel", () => {
  const next = random(9);
  for (let i = 0; i < 3000; i++) {
    const [a, b] = [next() / 65537, next() / 257];
    const c = -a * b;
    const error = fma64(a, b, c, "rn");
    expect(exact(a) * exact(b) + (exact(c) << 1100n)).toBe(exact(error) << 1100n);
  }
});

test("quotients and roots of f32 round once in every direction", () => {
  const next = random(11);
  for (let i = 0; i < 5000; i++) {
    const [a, b] = [Math.fround(next()), Math.fround(next() + 1)];
    const down = roundF32(quotientOdd(a, b), "rm");
    const up = roundF32(quotientOdd(a, b), "rp");
    expect(exact(down) * exact(b) <= exact(a) << 1100n && exact(up) * exact(b) >= exact(a) << 1100n).toBe(
      true,
    );
    expect(up - down <= 2 ** (Math.floor(Math.log2(up)) - 23)).toBe(true);
    const [low, high] = [roundF32(rootOdd(a), "rm"), roundF32(rootOdd(a), "rp")];
    expect(
      exact(low) * exact(low) <= exact(a) << 1100n && exact(high) * exact(high) >= exact(a) << 1100n,
    ).toBe(true);
  }
});

test("the short way to bf16 rounds as the long one", () => {
  const next = random(13);
  const words = new Uint32Array(1);
  for (let i = 0; i < 20000; i++) {
    words[0] = i % 4 === 0 ? (next() & 0xffff0000) | 0x8000 : next();
    const x = new Float32Array(words.buffer)[0]!;
    if (x === x) expect(numberToBf16(x)).toBe(encode(x, bf16, "rn", false));
  }
});
