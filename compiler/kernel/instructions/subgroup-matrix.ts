/**
 * Products of 16 x 16 matrices by a subgroup, in WGSL's extension `chromium_experimental_subgroup_matrix` (Dawn,
 * docs/dawn/features/subgroup_matrix.md): f16 factors, f32 sums. How the elements of a matrix lie over the threads is
 * not said, so that one goes to and from shared memory as a whole.
 *
 * The extension leaves the accuracy of a product open. Here products are exact and summed in f64, then rounded once,
 * as for `mma`.
 */
import { dtypes } from "../../types/dtype.ts";
import type { MatrixType, Operand, ValueType } from "../ir.ts";
import { decodeFloat, storageFormat } from "../small-float.ts";
import type { Instruction, Warp, WgslOperand } from "./instruction.ts";

const side = 16;
const extension = "chromium_experimental_subgroup_matrix";

/** The square shape is spelled alike in the extension's two orders of columns and rows. */
export const wgslMatrixTypes: Readonly<Record<MatrixType, string>> = {
  "matrix-left": `subgroup_matrix_left<f16, ${side}, ${side}>`,
  "matrix-right": `subgroup_matrix_right<f16, ${side}, ${side}>`,
  "matrix-result": `subgroup_matrix_result<f32, ${side}, ${side}>`,
};

/** Which of a matrix's sides lies along memory. */
type Major = "row" | "column";

const half = storageFormat("f16");

export const subgroupMatrixInstructions: readonly Instruction[] = [
  record("matrix.m16n16k16.f16", ["matrix-result"], ["matrix-left", "matrix-right"], {
    destinations: "in-place",
    evaluate: multiply,
    wgsl: ([sum = ""], [left, right]) =>
      `${sum} = subgroupMatrixMultiplyAccumulate(${left?.text ?? ""}, ${right?.text ?? ""}, ${sum});`,
  }),
  record("matrix.zero.f32", ["matrix-result"], [], {
    destinations: "in-place",
    evaluate: (warp) => warp.fragments.define(0, new Float64Array(side * side)),
    wgsl: ([sum = ""]) => `${sum} = ${wgslMatrixTypes["matrix-result"]}();`,
  }),
  load("matrix-left", "row"),
  load("matrix-left", "column"),
  load("matrix-right", "row"),
  load("matrix-right", "column"),
  // The matrix is a register, which is only read.
  record("matrix.store.f32", ["matrix-result"], ["matrix"], {
    destinations: "in-place",
    matrixBytes: 4,
    check: ([place]) => outside(place, 4),
    evaluate: store,
    wgsl: ([sum = ""], [to]) =>
      `subgroupMatrixStore<row_major>(${to?.text ?? ""}, ${to?.offset ?? ""}, ${sum}, ${to?.stride ?? ""});`,
  }),
];

/** `matrix.load.left.row`. */
export function matrixLoad(factor: "left" | "right", major: Major): string {
  return `matrix.load.${factor}.${major}`;
}

function load(type: Extract<MatrixType, "matrix-left" | "matrix-right">, major: Major): Instruction {
  return record(matrixLoad(type === "matrix-left" ? "left" : "right", major), [type], ["matrix"], {
    destinations: "defined",
    matrixBytes: 2,
    check: ([place]) => outside(place, 2),
    evaluate: (warp) => warp.fragments.define(0, read(warp, major)),
    wgsl: ([name = ""], [from]) => `let ${name} = ${wgslLoad(type, major, from)};`,
  });
}

function wgslLoad(type: MatrixType, major: Major, from: WgslOperand | undefined): string {
  const order = major === "row" ? "row_major" : "col_major";
  return `subgroupMatrixLoad<${wgslMatrixTypes[type]}, ${order}>(${from?.text ?? ""}, ${from?.offset ?? ""}, ${from?.stride ?? ""})`;
}

type Own = Pick<Instruction, "destinations" | "evaluate" | "wgsl" | "check" | "matrixBytes">;

function record(
  name: string,
  results: readonly ValueType[],
  operands: Instruction["operands"],
  own: Own,
): Instruction {
  return {
    name,
    section: extension,
    results,
    operands,
    precondition: "lines begin at multiples of 16 bytes",
    scope: "warp",
    align: 16,
    ...own,
  };
}

/** What is wrong with a place, for elements of so many bytes: it reaches over its panel's end, or off the alignment. */
function outside(place: Operand | undefined, bytes: number): string | undefined {
  if (place === undefined || !("matrix" in place)) return undefined;
  const { matrix, offset, stride } = place;
  const end = (offset + (side - 1) * stride + side) * bytes;
  const panel = (matrix.panel ?? 0) * dtypes[matrix.dtype].bytes;
  if (offset < 0 || stride < side || end > panel)
    return `a matrix at ${offset} with lines of ${stride} is outside of a panel of ${panel} bytes`;
  const isAligned = (offset * bytes) % 16 === 0 && (stride * bytes) % 16 === 0 && panel % 16 === 0;
  return isAligned ? undefined : `a matrix at ${offset} with lines of ${stride} is off its alignment`;
}

function read(warp: Warp, major: Major): Float64Array {
  const { memory, byte, stride } = warp.fragments.pointer(0);
  const elements = new Float64Array(side * side);
  for (let line = 0; line < side; line += 1) {
    const bytes = memory.read(byte + 2 * line * stride, 2 * side);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let k = 0; k < side; k += 1) {
      const at = major === "row" ? line * side + k : k * side + line;
      elements[at] = decodeFloat(half, view.getUint16(2 * k, true));
    }
  }
  return elements;
}

function store(warp: Warp): void {
  const { memory, byte, stride } = warp.fragments.pointer(0);
  const elements = warp.fragments.current(0);
  for (let line = 0; line < side; line += 1) {
    const bytes = new Uint8Array(4 * side);
    const view = new DataView(bytes.buffer);
    for (let k = 0; k < side; k += 1) view.setFloat32(4 * k, elements[line * side + k] ?? 0, true);
    memory.write(byte + 4 * line * stride, bytes);
  }
}

function multiply(warp: Warp): void {
  const [left, right, sum] = [
    warp.fragments.operand(0),
    warp.fragments.operand(1),
    warp.fragments.current(0),
  ];
  const result = new Float64Array(side * side);
  for (let m = 0; m < side; m += 1) {
    for (let n = 0; n < side; n += 1) {
      let total = sum[m * side + n] ?? 0;
      for (let k = 0; k < side; k += 1) total += (left[m * side + k] ?? 0) * (right[k * side + n] ?? 0);
      result[m * side + n] = Math.fround(total);
    }
  }
  warp.fragments.define(0, result);
}
