/** Largest errors of approximate instructions of f32 (PTX ISA 9.7.3.15 to 9.7.3.21), and the functions, in f64. */

interface Approximation {
  readonly of: (x: number) => number;
  readonly relative: number;
  readonly absolute: number;
}

const approximations: Readonly<Record<string, Approximation>> = {
  ex2: { of: (x) => 2 ** x, relative: 2 ** -22, absolute: 0 },
  lg2: { of: Math.log2, relative: 2 ** -22, absolute: 2 ** -22 },
  rsqrt: { of: (x) => 1 / Math.sqrt(x), relative: 2 ** -22.9, absolute: 0 },
};

/**
 * Says, in words, what is beyond its bound among pairs of operand and result; undefined when nothing is. A kernel that
 * mixes functions has its pairs held to the best of them, since a log does not say which instruction wrote a word.
 */
export function distanceOf(
  names: readonly string[],
  { inputs, values }: { readonly inputs: Float32Array; readonly values: Float32Array },
): string | undefined {
  const kinds = [...new Set(names.map((name) => name.split(".")[0] ?? ""))].map((kind) => {
    const found = approximations[kind];
    if (found === undefined) throw new Error(`no bound for ${kind}`);
    return found;
  });
  const bits = new Uint32Array(inputs.buffer, inputs.byteOffset, inputs.length);
  for (const [k, x] of inputs.entries()) {
    const y = values[k] ?? Number.NaN;
    // A word that no thread wrote.
    if (bits[k] === 0xffffffff) continue;
    if (!kinds.some((kind) => isNear(kind, x, y))) return `${names[0]} of ${x} gave ${y}`;
  }
  return undefined;
}

/** The smallest normal f32: below it an exponential may lose bits, or be flushed. */
const tiny = 2 ** -126;

function isNear({ of, relative, absolute }: Approximation, x: number, y: number): boolean {
  const exact = of(x);
  if (exact !== exact) return y !== y;
  if (Math.abs(exact) >= 2 ** 128) return y === Math.sign(exact) * Infinity || Math.abs(y) >= 2 ** 127.99;
  const slack = Math.abs(exact) < tiny ? 2 ** -149 : 0;
  return Math.abs(y - exact) <= Math.max(relative * Math.abs(exact), absolute, slack);
}
