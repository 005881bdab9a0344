/** Functions that a kernel's module has above the kernel where the kernel uses them. */

interface Definition {
  readonly lines: readonly string[];
  readonly needs: readonly string[];
}

const definitions: Readonly<Record<string, Definition>> = {
  words: {
    lines: ["const floatWord = new Float32Array(1);", "const bitsWord = new Uint32Array(floatWord.buffer);"],
    needs: [],
  },
  floatBits: {
    lines: ["function floatBits(x) {", "  floatWord[0] = x;", "  return bitsWord[0];", "}"],
    needs: ["words"],
  },
  bitsFloat: {
    lines: ["function bitsFloat(bits) {", "  bitsWord[0] = bits;", "  return floatWord[0];", "}"],
    needs: ["words"],
  },
  // Math.max and Math.min of a NaN are NaN; here a number wins.
  larger: {
    lines: ["function larger(a, b) {", "  return a > b || b !== b ? a : b;", "}"],
    needs: [],
  },
  smaller: {
    lines: ["function smaller(a, b) {", "  return a < b || b !== b ? a : b;", "}"],
    needs: [],
  },
  toI32: {
    lines: [
      "function toI32(x) {",
      "  return x >= 2147483647 ? 2147483647 : x <= -2147483648 ? -2147483648 : x | 0;",
      "}",
    ],
    needs: [],
  },
  toU32: {
    lines: ["function toU32(x) {", "  return x >= 4294967295 ? 4294967295 : x <= 0 ? 0 : x >>> 0;", "}"],
    needs: [],
  },
  toI64: {
    lines: [
      "function toI64(x) {",
      "  if (x !== x) return 0n;",
      "  return x >= 2 ** 63 ? 2n ** 63n - 1n : x <= -(2 ** 63) ? -(2n ** 63n) : BigInt(Math.trunc(x));",
      "}",
    ],
    needs: [],
  },
  narrow64: {
    lines: [
      "function narrow64(x, low, high) {",
      "  return Number(x < low ? low : x > high ? high : x);",
      "}",
    ],
    needs: [],
  },
  // A number holds 53 bits: of more, the last one kept says whether any bit was lost, so that fround rounds once.
  floatOf64: {
    lines: [
      "function floatOf64(x) {",
      "  if (x >= -(2n ** 53n) && x <= 2n ** 53n) return Math.fround(Number(x));",
      "  return Math.fround(Number((x >> 11n) | ((x & 2047n) === 0n ? 0n : 1n)) * 2048);",
      "}",
    ],
    needs: [],
  },
  roundEven: {
    lines: [
      "function roundEven(x) {",
      "  const low = Math.floor(x);",
      "  const rest = x - low;",
      "  const near = rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;",
      "  return near === 0 && (x < 0 || Object.is(x, -0)) ? -0 : near;",
      "}",
    ],
    needs: [],
  },
  popcount: {
    lines: [
      "function popcount(x) {",
      "  x -= (x >>> 1) & 0x55555555;",
      "  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);",
      "  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;",
      "}",
    ],
    needs: [],
  },
};

/** Every name that a prelude may define. */
export const preludeNames: readonly string[] = [...Object.keys(definitions), "floatWord", "bitsWord"];

/** Lines that define the functions used, in the order of this file. */
export function preludeLines(used: ReadonlySet<string>): readonly string[] {
  const wanted = new Set(used);
  for (const name of used) for (const need of definitions[name]?.needs ?? []) wanted.add(need);
  return Object.entries(definitions).flatMap(([name, definition]) =>
    wanted.has(name) ? definition.lines : [],
  );
}
