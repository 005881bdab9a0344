import { describe, expect, test } from "vitest";
import {
  bf16Format,
  decodingTable,
  e4m3Format,
  e5m2Format,
  encoderOf,
  f16Format,
} from "../../runtime/tensor/float-codes.ts";
import { fromNumbers, roundTo, toNumbers } from "../../runtime/tensor/values.ts";

// Literals from the OFP8 specification, table 1 and 2, and from IEEE 754 binary16.
const e4m3Literals: readonly (readonly [number, number])[] = [
  [0x00, 0],
  [0x01, 2 ** -9],
  [0x07, 0.875 * 2 ** -6],
  [0x08, 2 ** -6],
  [0x38, 1],
  [0x39, 1.125],
  [0x3c, 1.5],
  [0x40, 2],
  [0x77, 240],
  [0x78, 256],
  [0x7e, 448],
  [0xfe, -448],
  [0xb8, -1],
  [0x81, -(2 ** -9)],
];
const e5m2Literals: readonly (readonly [number, number])[] = [
  [0x00, 0],
  [0x01, 2 ** -16],
  [0x03, 0.75 * 2 ** -14],
  [0x04, 2 ** -14],
  [0x3c, 1],
  [0x3d, 1.25],
  [0x40, 2],
  [0x7b, 57344],
  [0xfb, -57344],
  [0x7c, Infinity],
  [0xfc, -Infinity],
];
const f16Literals: readonly (readonly [number, number])[] = [
  [0x0000, 0],
  [0x0001, 5.960464477539063e-8],
  [0x03ff, 6.097555160522461e-5],
  [0x0400, 6.103515625e-5],
  [0x3c00, 1],
  [0x3555, 0.333251953125],
  [0x4248, 3.140625],
  [0x7bff, 65504],
  [0xc000, -2],
  [0x7c00, Infinity],
];
const bf16Literals: readonly (readonly [number, number])[] = [
  [0x0000, 0],
  [0x3f80, 1],
  [0x4049, 3.140625],
  [0x0001, 9.183549615799121e-41],
  [0x7f7f, 3.3895313892515355e38],
  [0xff80, -Infinity],
  [0xbf81, -1.0078125],
];

describe("codes against literals", () => {
  const rows = [
    ["e4m3", e4m3Format, e4m3Literals],
    ["e5m2", e5m2Format, e5m2Literals],
    ["f16", f16Format, f16Literals],
    ["bf16", bf16Format, bf16Literals],
  ] as const;
  for (const [name, format, literals] of rows) {
    test(name, () => {
      const table = decodingTable(format);
      const encode = encoderOf(format);
      for (const [code, value] of literals) {
        expect(table[code], `code ${code}`).toBe(Math.fround(value));
        if (Number.isFinite(value)) expect(encode(value), `value ${value}`).toBe(code);
      }
    });
  }

  test("all of e4m3's positive codes, written out by exponent", () => {
    const table = decodingTable(e4m3Format);
    const eighths = [8, 9, 10, 11, 12, 13, 14, 15];
    const normals = Array.from({ length: 15 }, (_, e) => eighths.map((m) => (m / 8) * 2 ** (e - 6))).flat();
    const subnormals = [0, 1, 2, 3, 4, 5, 6, 7].map((m) => m / 512);
    const expected = [...subnormals, ...normals.slice(0, -1), NaN];
    expect(Array.from(table.subarray(0, 128))).toEqual(expected);
  });

  test("each format has the NaNs that its definition says", () => {
    const nans = (format: typeof e4m3Format): number =>
      decodingTable(format).filter((value) => value !== value).length;
    expect([nans(e4m3Format), nans(e5m2Format), nans(f16Format), nans(bf16Format)]).toEqual([
      2, 6, 2046, 254,
    ]);
  });
});

describe("rounding, for every pair of neighbours of a format", () => {
  for (const format of [e4m3Format, e5m2Format, f16Format, bf16Format]) {
    test(`${format.mantissa} bits of mantissa`, () => {
      const table = decodingTable(format);
      const encode = encoderOf(format);
      let failures = 0;
      for (let code = 0; code < format.largest; code += 1) {
        const [low, high] = [table[code] ?? NaN, table[code + 1] ?? NaN];
        const middle = (low + high) / 2;
        const gap = high - low;
        // A tie goes to the even code; anything off it, however little, to its own side.
        if (encode(middle) !== code + (code % 2)) failures += 1;
        if (encode(middle - gap * 2 ** -30) !== code || encode(middle + gap * 2 ** -30) !== code + 1)
          failures += 1;
        if (encode(-middle) !== (format.sign | (code + (code % 2)))) failures += 1;
        if (encode(low) !== code || encode(-high) !== (format.sign | (code + 1))) failures += 1;
      }
      expect(failures).toBe(0);
    });
  }

  test("above the largest: fp8 saturates, f16 and bf16 go to infinity from half a step on", () => {
    expect([roundTo("e4m3", 1e9), roundTo("e4m3", -Infinity), roundTo("e4m3", 465)]).toEqual([
      448, -448, 448,
    ]);
    expect([roundTo("e5m2", 1e9), roundTo("e5m2", Infinity)]).toEqual([57344, 57344]);
    expect([roundTo("f16", 65519.99), roundTo("f16", 65520), roundTo("f16", -1e300)]).toEqual([
      65504,
      Infinity,
      -Infinity,
    ]);
    expect([roundTo("bf16", 3.39e38), roundTo("bf16", 3.4e38)]).toEqual([3.3895313892515355e38, Infinity]);
    expect(roundTo("e4m3", NaN)).toBeNaN();
  });

  test("a double rounds once, not through f32", () => {
    // 1 + 2^-11 is the tie between 1 and 1 + 2^-10; f32 would lose the 2^-40 that decides it.
    expect(roundTo("f16", 1 + 2 ** -11 + 2 ** -40)).toBe(1 + 2 ** -10);
    expect(roundTo("f16", 1 + 2 ** -11)).toBe(1);
  });

  test("subnormal doubles and minus zero", () => {
    expect(roundTo("f16", 5e-324)).toBe(0);
    expect(Object.is(roundTo("bf16", -5e-324), -0)).toBe(true);
    expect(Object.is(roundTo("e4m3", -0), -0)).toBe(true);
  });
});

describe("whole tensors", () => {
  test("integers truncate and saturate, NaN is 0", () => {
    const values = [1.9, -1.9, 1e30, -1e30, NaN, Infinity];
    expect(Array.from(toNumbers(fromNumbers("i32", [6], values)))).toEqual([
      1, -1, 2147483647, -2147483648, 0, 2147483647,
    ]);
    expect(Array.from(toNumbers(fromNumbers("u8", [6], values)))).toEqual([1, 0, 255, 0, 0, 255]);
    expect(Array.from(toNumbers(fromNumbers("i8", [6], values)))).toEqual([1, -1, 127, -128, 0, 127]);
    expect(Array.from(toNumbers(fromNumbers("u32", [6], values)))).toEqual([
      1, 0, 4294967295, 0, 0, 4294967295,
    ]);
    expect(Array.from(toNumbers(fromNumbers("bool", [6], [0, -0, 1, NaN, -3, 0.5])))).toEqual([
      0, 0, 1, 1, 1, 1,
    ]);
  });

  test("bytes at an odd address are read", () => {
    const bytes = new Uint8Array(9);
    bytes.set(fromNumbers("f32", [2], [1.5, -2]).bytes, 1);
    expect(Array.from(toNumbers({ dtype: "f32", shape: [2], bytes: bytes.subarray(1) }))).toEqual([1.5, -2]);
  });
});
