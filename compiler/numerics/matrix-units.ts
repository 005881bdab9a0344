/**
 * How the matrix units that a tile program names add: so many products are aligned to the largest exponent among them
 * and the accumulator, keep some bits below it, and the sum keeps some of its own; what falls off is dropped.
 *
 * The numbers are those that give an H200's results bit for bit (docs/numerics.md names the test). For 8-bit floats see
 * also DeepSeek-V3's report, section 3.3.2 ("about 14 bits"); for 16-bit ones Fasi, Higham, Mikaitis and Pranesh,
 * Numerical behavior of NVIDIA tensor cores (PeerJ Computer Science 7, 2021).
 */
export interface MatrixUnit {
  readonly instruction: string;
  /** Products that are aligned together. */
  readonly atOnce: number;
  /** Bits below the largest exponent that survive the alignment. */
  readonly fractionBits: number;
  /** Bits after the leading one that the accumulator keeps. */
  readonly keptBits: number;
}

interface Row extends Omit<MatrixUnit, "instruction"> {
  readonly family: readonly string[];
  readonly factors: readonly string[];
}

const table: readonly Row[] = [
  { family: ["wgmma"], factors: ["e4m3", "e5m2"], atOnce: 32, fractionBits: 13, keptBits: 13 },
  // A warp's instruction widens 8-bit floats to f16 first.
  { family: ["mma"], factors: ["e4m3", "e5m2"], atOnce: 16, fractionBits: 25, keptBits: 23 },
  { family: ["wgmma", "mma"], factors: ["f16", "bf16"], atOnce: 16, fractionBits: 25, keptBits: 23 },
  { family: ["wgmma", "mma"], factors: ["tf32"], atOnce: 8, fractionBits: 25, keptBits: 23 },
];

/** The unit of `wgmma.m64n64k32.e4m3.k.k` or `mma.m16n8k16.bf16`; undefined for an instruction that drops no bits. */
export function matrixUnit(instruction: string): MatrixUnit | undefined {
  const [first = "", ...words] = instruction.split(".");
  const row = table.find(
    ({ family, factors }) =>
      family.includes(first) && words.some((word) => factors.includes(word.split("_")[0] ?? "")),
  );
  if (row === undefined) return undefined;
  const { atOnce, fractionBits, keptBits } = row;
  return { instruction, atOnce, fractionBits, keptBits };
}

/** The one that loses more. */
export function coarser(a: MatrixUnit | undefined, b: MatrixUnit | undefined): MatrixUnit | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.fractionBits < a.fractionBits ? b : a;
}
