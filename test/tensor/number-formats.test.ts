import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode, rounderTo, storerOf } from "../../compiler/tensor/number-formats.ts";
import {
  customFloats,
  holdsFloat,
  isCustomFloat,
  isDType,
  type CustomFloat,
  type DType,
  type Rounding,
} from "../../compiler/types/dtype.ts";
import { customFloats as customWords } from "../../grammar/tokens.ts";

/**
 * Every value of an 8-bit format from its definition in the OCP paper: sign, exponent field of `e` bits with its
 * bias, mantissa of `m` bits. Written out by hand where the formats differ: e4m3 has no infinity and one NaN a sign.
 */
function code(byte: number, e: number, m: number, bias: number): number {
  const sign = byte >= 128 ? -1 : 1;
  const field = Math.floor((byte % 128) / 2 ** m);
  const mantissa = byte % 2 ** m;
  if (e === 4 && byte % 128 === 127) return Number.NaN;
  if (e === 5 && field === 31) return mantissa === 0 ? sign * Infinity : Number.NaN;
  return field === 0
    ? (sign * mantissa) / 2 ** (m + bias - 1)
    : sign * (1 + mantissa / 2 ** m) * 2 ** (field - bias);
}

const bytes = Array.from({ length: 256 }, (_, i) => i);
const e4m3 = bytes.map((b) => code(b, 4, 3, 7));
const e5m2 = bytes.map((b) => code(b, 5, 2, 15));

/** Nearest even by search through all values of the format, saturating. */
function nearest(table: readonly number[], x: number): number {
  const finite = table
    .map((value, byte) => ({ value, byte }))
    .filter(({ value, byte }) => Number.isFinite(value) && byte < 128);
  const magnitude = Math.abs(x);
  const max = finite.at(-1)?.value ?? 0;
  if (magnitude >= max) return Math.sign(x) * max;
  let best = finite[0];
  for (const entry of finite) {
    const [old, now] = [Math.abs(magnitude - (best?.value ?? 0)), Math.abs(magnitude - entry.value)];
    // The mantissa's last bit is the code's: even codes win ties.
    if (now < old || (now === old && entry.byte % 2 === 0)) best = entry;
  }
  return Math.sign(x) * (best?.value ?? 0);
}

describe("the 8-bit formats", () => {
  it("have the values of their definition at known codes", () => {
    expect([0x00, 0x01, 0x08, 0x38, 0x7e, 0xfe, 0x7f].map((b) => e4m3[b])).toEqual([
      0,
      2 ** -9,
      2 ** -6,
      1,
      448,
      -448,
      Number.NaN,
    ]);
    expect([0x01, 0x04, 0x3c, 0x7b, 0x7c, 0xfc, 0x7d].map((b) => e5m2[b])).toEqual([
      2 ** -16,
      2 ** -14,
      1,
      57344,
      Infinity,
      -Infinity,
      Number.NaN,
    ]);
  });

  it.each([
    ["e4m3", e4m3],
    ["e5m2", e5m2],
  ] as const)("%s: all 256 codes decode, encode and round to themselves", (dtype, table) => {
    const values = decode(dtype, Uint8Array.from(bytes));
    expect([...values]).toEqual(table);
    const back = encode(dtype, values);
    table.forEach((value, byte) => {
      if (value === value) expect(back[byte]).toBe(byte);
      else expect(table[back[byte] ?? 0]).toBeNaN();
    });
    const round = rounderTo(dtype);
    table.filter(Number.isFinite).forEach((value) => expect(round(value)).toBe(value));
  });

  it.each([
    ["e4m3", e4m3],
    ["e5m2", e5m2],
  ] as const)("%s: rounds to the nearest, ties to even, at every boundary", (dtype, table) => {
    const round = rounderTo(dtype);
    const positive = table
      .filter((v) => Number.isFinite(v) && !Object.is(v, -0) && v >= 0)
      .sort((a, b) => a - b);
    for (let i = 0; i + 1 < positive.length; i++) {
      const [low = 0, high = 0] = positive.slice(i, i + 2);
      const middle = (low + high) / 2;
      for (const x of [middle, middle * (1 - 2 ** -40), middle * (1 + 2 ** -40), low + (high - low) * 0.3]) {
        expect(round(x)).toBe(nearest(table, x));
        expect(round(-x)).toBe(-nearest(table, x));
      }
    }
    const max = positive.at(-1) ?? 0;
    for (const x of [max * 1.01, max * 2, 1e300, Infinity])
      expect([round(x), round(-x)]).toEqual([max, -max]);
    expect(round(Number.NaN)).toBeNaN();
  });
});

describe("f16, bf16 and f32", () => {
  it("f16: known values, from the IEEE half-precision tables", () => {
    const known: readonly (readonly [number, number])[] = [
      [0x0000, 0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3555, 0.333251953125],
      [0x3c00, 1],
      [0x3c01, 1.0009765625],
      [0x7bff, 65504],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
      [0xc000, -2],
    ];
    for (const [bits, value] of known) {
      expect(decode("f16", Uint8Array.from([bits & 255, bits >> 8]))[0]).toBe(value);
      expect([...encode("f16", Float64Array.from([value]))]).toEqual([bits & 255, bits >> 8]);
    }
    const round = rounderTo("f16");
    expect([65519.99, 65520, 2049, 2051, 2 ** -25, 2 ** -25 * 1.0001].map(round)).toEqual([
      65504,
      Infinity,
      2048,
      2052,
      0,
      2 ** -24,
    ]);
  });

  it("tf32: 10 bits of mantissa, ties to even, the range of f32", () => {
    const round = rounderTo("tf32");
    const step = 2 ** -10;
    expect(
      [1 + step / 2, 1 + 1.5 * step, 1 + step * 0.5001, -1 - 1.5 * step, 2 - step / 4].map(round),
    ).toEqual([1, 1 + 2 * step, 1 + step, -1 - 2 * step, 2]);
    const most = (2 - step) * 2 ** 127;
    expect([most, most + 2 ** 115, (2 - step / 2) * 2 ** 127, 2 ** -136, 2 ** -137].map(round)).toEqual([
      most,
      most,
      Infinity,
      2 ** -136,
      0,
    ]);
    expect(round(Number.NaN)).toBeNaN();
  });

  it("f16: all codes come back", () => {
    const all = new Uint8Array(65536 * 2);
    const view = new DataView(all.buffer);
    for (let i = 0; i < 65536; i++) view.setUint16(i * 2, i, true);
    const values = decode("f16", all);
    const back = new DataView(encode("f16", values).buffer);
    let wrong = 0;
    for (let i = 0; i < 65536; i++)
      if (values[i] === values[i] && back.getUint16(i * 2, true) !== i) wrong += 1;
    expect(wrong).toBe(0);
  });

  it("bf16: the upper half of an f32, rounded as its bits say", () => {
    const float = new Float32Array(1);
    const bits = new Uint32Array(float.buffer);
    const round = rounderTo("bf16");
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (x) => {
        float[0] = x;
        const word = bits[0] ?? 0;
        bits[0] = ((word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000) >>> 0;
        expect(round(x)).toBe(Number.isFinite(x) ? float[0] : x);
      }),
      { numRuns: 2000 },
    );
  });

  it("rounds an f64 once, not by way of f32", () => {
    // 1 + 2^-8 is a tie of bf16 and goes to 1; a little more must go up, though f32 would first make it the tie.
    expect(rounderTo("bf16")(1 + 2 ** -8 + 2 ** -40)).toBe(1 + 2 ** -7);
    expect(rounderTo("f32")(1 + 2 ** -24)).toBe(1);
  });
});

describe("integers", () => {
  it("saturate as i8 and u8 and come back from their bytes", () => {
    expect([-200, -128, 5, 127, 300].map(storerOf("i8"))).toEqual([-128, -128, 5, 127, 127]);
    expect([0, 255, 256].map(storerOf("u8"))).toEqual([0, 255, 255]);
    const cases: readonly (readonly [DType, readonly number[]])[] = [
      ["i8", [-128, 127]],
      ["u8", [0, 255]],
      ["i32", [-(2 ** 31), 7]],
      ["u32", [2 ** 32 - 1]],
      ["bool", [0, 1]],
    ];
    for (const [dtype, values] of cases)
      expect([...decode(dtype, encode(dtype, Float64Array.from(values)))]).toEqual(values);
    const big = BigInt64Array.from([-(2n ** 63n), 2n ** 63n - 1n]);
    expect(decode("i64", encode("i64", big))).toEqual(big);
  });
});

/** Finite values that are not negative of a float by its bits, by definition. */
function valuesOf(exponent: number, mantissa: number): readonly number[] {
  const bias = 2 ** (exponent - 1) - 1;
  return Array.from({ length: (2 ** exponent - 1) * 2 ** mantissa }, (_, code) => {
    const [field, rest] = [Math.floor(code / 2 ** mantissa), code % 2 ** mantissa];
    return field === 0
      ? rest * 2 ** (1 - bias - mantissa)
      : (2 ** mantissa + rest) * 2 ** (field - bias - mantissa);
  });
}

describe("floats by their bits", () => {
  it("are as many in the types as in the grammar", () => {
    expect(customFloats).toEqual(customWords);
    expect(customFloats.every((name) => isCustomFloat(name) && !isDType(name))).toBe(true);
  });

  it.each([
    [4, 5],
    [5, 6],
    [6, 7],
    [8, 3],
  ])("e%im%i: every value, every tie to the even one, and saturation", (exponent, mantissa) => {
    const round = rounderTo(`e${exponent}m${mantissa}` as CustomFloat);
    const values = valuesOf(exponent, mantissa);
    const wrong = values.filter((value, code) => {
      const next = values[code + 1];
      if (round(value) !== value || round(-value) !== -value) return true;
      if (next === undefined) return false;
      const middle = (value + next) / 2;
      const even = code % 2 === 0 ? value : next;
      const [below, above] = [middle - (next - value) / 64, middle + (next - value) / 64];
      return round(middle) !== even || round(below) !== value || round(above) !== next;
    });
    expect(wrong).toEqual([]);
    const most = values.at(-1) ?? 0;
    expect([round(most * 1.5), round(-Infinity), round(NaN)]).toEqual([most, -most, NaN]);
  });

  it("hold one another where each value of one is one of the other", () => {
    const names = [...customFloats.filter(isCustomFloat), "e4m3", "e5m2", "f16", "bf16", "tf32"] as const;
    /** The least, the widest of the small ones, the finest and the largest. */
    const ends = (name: Rounding): readonly number[] => {
      const [exponent = 8, mantissa = 10] = /^e(\d)m(\d+)$/.exec(name)?.slice(1).map(Number) ??
        {
          f16: [5, 10],
          bf16: [8, 7],
        }[name as string] ?? [8, 10];
      const least = 2 - 2 ** (exponent - 1);
      const most = name === "e4m3" ? 448 : (2 - 2 ** -mantissa) * 2 ** (1 - least);
      return [2 ** (least - mantissa), 2 ** least * (1 - 2 ** -mantissa), 1 + 2 ** -mantissa, most];
    };
    const wrong = names.flatMap((to) =>
      names
        .filter((from) => {
          const holds = ends(from).every((value) => rounderTo(to)(value) === value);
          return holdsFloat(to, from) !== holds;
        })
        .map((from) => `${from} in ${to}`),
    );
    expect(wrong).toEqual([]);
  });
});
