/**
 * Loads 8 x 8 matrices of 16-bit elements from shared memory into fragments of `mma` (PTX ISA 9.7.14.5.15).
 *
 * Lanes 8j to 8j+7 point at the rows of matrix j, 16 bytes each. Lane t receives of each matrix the elements
 * 2(t mod 4) and the next one of row t / 4; with `trans`, of column t / 4.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { ValueType } from "../ir.ts";
import type { Instruction, Warp } from "./instruction.ts";

export const ldmatrixInstructions: readonly Instruction[] = ([1, 2, 4] as const).flatMap((matrices) => [
  ldmatrix(matrices, "rows"),
  ldmatrix(matrices, "columns"),
]);

function ldmatrix(matrices: 1 | 2 | 4, order: "rows" | "columns"): Instruction {
  const suffix = order === "columns" ? ".trans" : "";
  return {
    name: `ldmatrix.x${matrices}${suffix}`,
    section: "9.7.14.5.15",
    results: Array<ValueType>(matrices).fill("h2"),
    destinations: "defined",
    operands: ["shared"],
    precondition: `lanes 0 to ${8 * matrices - 1} point at rows of 16 bytes; the others point into the same buffer`,
    scope: "warp",
    align: 16,
    evaluate: (warp) => load(warp, matrices, order),
    ptx: (dst, [row = ""]) =>
      `ldmatrix.sync.aligned.m8n8.x${matrices}${suffix}.shared.b16 {${dst.join(", ")}}, ${row}`,
    needs: { sm: 75, isa: [6, 5] },
  };
}

function load(warp: Warp, matrices: number, order: "rows" | "columns"): void {
  invariant(warp.active.length === 32, `ldmatrix.x${matrices} needs the whole warp`);
  for (let matrix = 0; matrix < matrices; matrix += 1) {
    const rows = Array.from({ length: 8 }, (_, row) => rowOf(warp, matrix * 8 + row));
    const element = (row: number, column: number): number => rows[row]?.getUint16(2 * column, true) ?? 0;
    for (const lane of warp.active) {
      const major = lane >> 2;
      const minor = (lane & 3) * 2;
      const low = order === "rows" ? element(major, minor) : element(minor, major);
      const high = order === "rows" ? element(major, minor + 1) : element(minor + 1, major);
      warp.define(matrix, lane, (low | (high << 16)) >>> 0);
    }
  }
}

function rowOf(warp: Warp, lane: number): DataView {
  const { memory, byte } = warp.pointer(0, lane);
  invariant(byte % 16 === 0, `ldmatrix: lane ${lane} points at byte ${byte}, no multiple of 16`);
  const bytes = memory.read(byte, 16);
  return new DataView(bytes.buffer, bytes.byteOffset, 16);
}
