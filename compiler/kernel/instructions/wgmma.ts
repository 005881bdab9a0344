/**
 * Asynchronous matrix products of a warpgroup, d = a b or d += a b (PTX ISA 9.7.15.5, "wgmma"), d of 64 x N in place.
 *
 * b, and a where it is not in registers, are found in shared memory by descriptors. `k` in a name says that the
 * operand's neighbours along the summed dimension lie side by side, `m` and `n` that its rows' (columns') do.
 * Thread t of the warpgroup holds of d in register 4j + 2h + p the element of row 16 (t div 32) + 8h + (t mod 32) / 4
 * and column 8j + 2 (t mod 4) + p (figure of 9.7.15.5.1.1). Registers are the product's own until `wgmma.wait.N`
 * covers it. Products are exact and summed with d in f64 here, then rounded once; the hardware truncates while it
 * aligns the summands, and keeps 13 bits of fraction where they are of 8 bits.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { ValueType } from "../ir.ts";
import { decodeFloat, storageFormat } from "../small-float.ts";
import type { DescribedTile, ReadTile } from "./engines.ts";
import type { Instruction, PtxInstruction, Warp } from "./instruction.ts";

const needs: PtxInstruction["needs"] = { sm: 90, isa: [8, 0] };
const rows = 64;
const threads = 128;

type Format = DescribedTile["format"];

/** Where the left operand is: in memory, its neighbours along k or along m, or in registers. */
type Left = "k" | "m" | "r";
type Right = "k" | "n";

/** Of these either operand may have its own. */
const eightBits = ["e4m3", "e5m2"] as const;

/** Registers of a left operand. */
const fragment: readonly ValueType[] = ["h2", "h2", "h2", "h2"];

const widths = Array.from({ length: 32 }, (_, i) => 8 * (i + 1));

export const wgmmaInstructions: readonly Instruction[] = [
  ...widths.flatMap((n) => {
    const results = Array<ValueType>(n / 2).fill("f32");
    const halves = (["bf16", "f16"] as const).flatMap((format) =>
      (["k", "m", "r"] as const).flatMap((left) =>
        (["k", "n"] as const).map((right) =>
          product({ n, k: 16, formats: [format, format], left, right, results }),
        ),
      ),
    );
    const quarters = eightBits.flatMap((a) =>
      eightBits.map((b) => product({ n, k: 32, formats: [a, b], left: "k", right: "k", results })),
    );
    return [...halves, ...quarters];
  }),
  order("wgmma.fence", "9.7.15.7.1", "wgmma.fence.sync.aligned", () => undefined),
  order("wgmma.commit", "9.7.15.7.2", "wgmma.commit_group.sync.aligned", (warp) =>
    warp.engines.commitProducts(),
  ),
  ...Array.from({ length: 8 }, (_, pending) =>
    order(`wgmma.wait.${pending}`, "9.7.15.7.3", `wgmma.wait_group.sync.aligned ${pending}`, (warp) =>
      warp.engines.waitProducts(pending),
    ),
  ),
];

interface Shape {
  readonly n: number;
  readonly k: number;
  /** Of a and of b. */
  readonly formats: readonly [Format, Format];
  readonly left: Left;
  readonly right: Right;
  readonly results: readonly ValueType[];
}

function product(shape: Shape): Instruction {
  const { n, k, formats, left, right } = shape;
  const [a, b] = formats;
  const count = left === "r" ? fragment.length : 1;
  return {
    name: `wgmma.m64n${n}k${k}.${a === b ? a : `${a}_${b}`}.${left}.${right}`,
    section: "9.7.15.5.2",
    results: shape.results,
    destinations: "in-place",
    operands: [...(left === "r" ? fragment : (["i64"] as const)), "i64", "bool"],
    precondition:
      "descriptors and the bool, whether d is added to, are the warpgroup's; a wgmma.fence since the registers were touched",
    scope: "warpgroup",
    align: 1,
    evaluate: (warp) => {
      // Descriptors and registers of a are what they are now: nothing may touch them before the wait.
      const accumulate = same(warp, count + 1) !== 0n;
      const [rowsOf, columnsOf] = [leftOf(warp, shape), rightOf(warp, shape, count)];
      warp.engines.multiply({
        evaluate: (read) => multiply(warp, shape, rowsOf(read), columnsOf(read), accumulate),
      });
    },
    ptx: (dst, operands) => {
      const first = left === "r" ? `{${operands.slice(0, count).join(", ")}}` : (operands[0] ?? "");
      // 8-bit operands lie along k only and have no bits that say so.
      const transposed =
        k === 32 ? [] : [...(left === "r" ? [] : [left === "m" ? "1" : "0"]), right === "n" ? "1" : "0"];
      const rest = [operands[count], operands[count + 1], "1", "1", ...transposed].join(", ");
      return `wgmma.mma_async.sync.aligned.m64n${n}k${k}.f32.${a}.${b} {${dst.join(", ")}}, ${first}, ${rest}`;
    },
    needs,
  };
}

function order(name: string, section: string, ptx: string, evaluate: (warp: Warp) => void): Instruction {
  return {
    name,
    section,
    results: [],
    destinations: "defined",
    operands: [],
    precondition: "none",
    scope: "warpgroup",
    align: 1,
    evaluate,
    ptx: () => ptx,
    needs,
  };
}

/** An operand that all threads have the same. */
function same(warp: Warp, position: number): bigint {
  const first = warp.bits(position, 0);
  const other = warp.active.find((lane) => warp.bits(position, lane) !== first);
  invariant(
    other === undefined,
    `wgmma: operand ${position} of thread ${other} of the warpgroup is not that of thread 0`,
  );
  return first;
}

function leftOf(warp: Warp, { k, formats, left }: Shape): (read: ReadTile) => Float64Array {
  const [format] = formats;
  if (left === "r") {
    const a = fragmentOfA(warp, k, format);
    return () => a;
  }
  const tile: DescribedTile = {
    descriptor: same(warp, 0),
    rows,
    columns: k,
    format,
    major: left === "k" ? "columns" : "rows",
  };
  return (read) => read(tile);
}

function rightOf(
  warp: Warp,
  { n, k, formats, right }: Shape,
  position: number,
): (read: ReadTile) => Float64Array {
  const [, format] = formats;
  const tile: DescribedTile = {
    descriptor: same(warp, position),
    rows: n,
    columns: k,
    format,
    major: right === "k" ? "columns" : "rows",
  };
  return (read) => read(tile);
}

/** Four registers of a 64 x 16 left operand: in each warp as `mma.m16n8k16` has them. */
function fragmentOfA(warp: Warp, k: number, format: Format): Float64Array {
  const a = new Float64Array(rows * k);
  for (const thread of warp.active) {
    const lane = thread % 32;
    for (let register = 0; register < fragment.length; register += 1) {
      const bits = Number(warp.bits(register, thread));
      for (let part = 0; part < 2; part += 1) {
        const row = 16 * Math.floor(thread / 32) + (lane >> 2) + 8 * (register & 1);
        const column = (lane & 3) * 2 + part + 8 * (register >> 1);
        a[row * k + column] = decodeFloat(storageFormat(format), (bits >>> (16 * part)) & 0xffff);
      }
    }
  }
  return a;
}

/** b is held as its columns, each k elements. */
function multiply(warp: Warp, { n, k }: Shape, a: Float64Array, b: Float64Array, accumulate: boolean): void {
  invariant(warp.active.length === threads, "wgmma needs the whole warpgroup");
  for (const thread of warp.active) {
    const lane = thread % 32;
    for (let register = 0; register < n / 2; register += 1) {
      const row = 16 * Math.floor(thread / 32) + 8 * ((register >> 1) & 1) + (lane >> 2);
      const column = 8 * (register >> 2) + 2 * (lane & 3) + (register & 1);
      let sum = accumulate ? warp.current(register, thread) : 0;
      for (let i = 0; i < k; i += 1) sum += (a[row * k + i] ?? 0) * (b[column * k + i] ?? 0);
      warp.define(register, thread, Math.fround(sum));
    }
  }
}
