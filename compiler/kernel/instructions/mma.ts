/**
 * Matrix multiply-accumulate of one warp: d += a b, d and c in place (PTX ISA 9.7.14.5, "mma").
 *
 * A lane holds parts of a (m x k), b (k x n) and d (m x n) as the manual's figures "Matrix Fragments for mma.mMnNkK"
 * say; below, the figures as functions: element `i` of a lane's fragment to its row and column.
 * Products are exact and summed with d in f64 here, then rounded once; the hardware truncates while it aligns
 * the summands, so the two may differ by a few units of the largest summand's last f32 place.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { ValueType } from "../ir.ts";
import { decodeFloat, storageFormat } from "../small-float.ts";
import type { Instruction, PtxInstruction, Warp } from "./instruction.ts";

type Cell = readonly [row: number, column: number];

/** How elements lie in the 32-bit registers of a fragment. */
interface Format {
  readonly name: string;
  readonly register: ValueType;
  /** Elements of a register. */
  readonly width: 1 | 2 | 4;
  readonly decode: (register: number, part: number) => number;
}

interface Shape {
  readonly k: number;
  readonly section: string;
  readonly needs: PtxInstruction["needs"];
}

const half = (name: "f16" | "bf16"): Format => ({
  name,
  register: "h2",
  width: 2,
  decode: (register, part) => decodeFloat(storageFormat(name), (register >>> (16 * part)) & 0xffff),
});

const e4m3: Format = {
  name: "e4m3",
  register: "b8x4",
  width: 4,
  decode: (register, part) => decodeFloat(storageFormat("e4m3"), (register >>> (8 * part)) & 0xff),
};

const tf32: Format = { name: "tf32", register: "u32", width: 1, decode: decodeTf32 };

const k16: Shape = { k: 16, section: "9.7.14.5.8", needs: { sm: 80, isa: [7, 0] } };
const k8: Shape = { k: 8, section: "9.7.14.5.7", needs: { sm: 80, isa: [7, 0] } };
const k32: Shape = { k: 32, section: "9.7.14.5.10", needs: { sm: 89, isa: [8, 4] } };

export const mmaInstructions: readonly Instruction[] = [
  mma(k16, half("f16")),
  mma(k16, half("bf16")),
  mma(k8, tf32),
  mma(k32, e4m3),
];

const rows = 16;
const columns = 8;

function mma(shape: Shape, format: Format): Instruction {
  const a = Array<ValueType>(4).fill(format.register);
  const b = Array<ValueType>(2).fill(format.register);
  return {
    name: `mma.m16n8k${shape.k}.${format.name}`,
    section: shape.section,
    results: ["f32", "f32", "f32", "f32"],
    destinations: "in-place",
    operands: [...a, ...b],
    precondition: format === tf32 ? "the low 13 bits of each operand are zero" : "none",
    scope: "warp",
    align: 1,
    evaluate: (warp) => multiply(warp, shape.k, format),
    ptx: (dst, operands) => {
      const list = (registers: readonly string[]): string => `{${registers.join(", ")}}`;
      const types = `f32.${format.name}.${format.name}.f32`;
      return `mma.sync.aligned.m16n8k${shape.k}.row.col.${types} ${list(dst)}, ${list(operands.slice(0, 4))}, ${list(operands.slice(4))}, ${list(dst)}`;
    },
    needs: shape.needs,
  };
}

/** Elements of a lane's four registers of a: rows are 8 apart in odd registers, columns half of k in the upper two. */
function cellOfA(lane: number, register: number, part: number, k: number, width: number): Cell {
  return [(lane >> 2) + 8 * (register & 1), (lane & 3) * width + part + (k / 2) * (register >> 1)];
}

function cellOfB(lane: number, register: number, part: number, k: number, width: number): Cell {
  return [(lane & 3) * width + part + (k / 2) * register, lane >> 2];
}

function cellOfD(lane: number, register: number): Cell {
  return [(lane >> 2) + 8 * (register >> 1), (lane & 3) * 2 + (register & 1)];
}

function multiply(warp: Warp, k: number, format: Format): void {
  invariant(warp.active.length === 32, `mma.m16n8k${k}.${format.name} needs the whole warp`);
  const a = new Float64Array(rows * k);
  const b = new Float64Array(k * columns);
  for (const lane of warp.active) {
    for (let part = 0; part < format.width; part += 1) {
      for (let register = 0; register < 4; register += 1) {
        const [row, column] = cellOfA(lane, register, part, k, format.width);
        a[row * k + column] = format.decode(warp.operand(register, lane), part);
      }
      for (let register = 0; register < 2; register += 1) {
        const [row, column] = cellOfB(lane, register, part, k, format.width);
        b[row * columns + column] = format.decode(warp.operand(4 + register, lane), part);
      }
    }
  }
  for (const lane of warp.active) {
    for (let register = 0; register < 4; register += 1) {
      const [row, column] = cellOfD(lane, register);
      let sum = warp.current(register, lane);
      for (let i = 0; i < k; i += 1) sum += (a[row * k + i] ?? 0) * (b[i * columns + column] ?? 0);
      warp.define(register, lane, Math.fround(sum));
    }
  }
}

function decodeTf32(register: number): number {
  invariant((register & 0x1fff) === 0, "a tf32 operand has bits below its mantissa");
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, register);
  return view.getFloat32(0);
}
