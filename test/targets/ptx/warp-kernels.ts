/**
 * Kernels of one warp that use what threads do together: shuffles of every type, atomics, and each hardware
 * instruction, whose expected results come from the body in its record. Matrix operands are small whole numbers,
 * so that every order of summation gives the same.
 */
import { KernelBuilder } from "../../../compiler/kernel/builder.ts";
import { AsyncCopies, instructionOf, type Memory, type Warp } from "../../../compiler/kernel/instructions.ts";
import type { Register, Value } from "../../../compiler/kernel/ir.ts";
import type { ScalarValue } from "../../../compiler/kernel/scalar.ts";
import { encodeFloat, storageFormat } from "../../../compiler/kernel/small-float.ts";
import { constant } from "../../../compiler/types/dim.ts";
import type { DType } from "../../../compiler/types/dtype.ts";
import type { OpCase } from "./op-kernels.ts";

const lanes = Array.from({ length: 32 }, (_, lane) => lane);
const one = [constant(1), constant(1), constant(1)] as const;

export function warpCases(names: readonly string[]): readonly OpCase[] {
  return [
    ...(["f32", "i32", "u32", "i64", "bf16", "u8", "bool"] as const).map(shuffleCase),
    atomicCase("u32"),
    atomicCase("i32"),
    ...names.filter((name) => name.startsWith("mma.")).map(mmaCase),
    ...names.filter((name) => name.startsWith("ldmatrix.")).map(ldmatrixCase),
    ...([4, 8, 16] as const).map(copyCase),
  ];
}

function shuffleCase(dtype: DType): OpCase {
  const values: readonly ScalarValue[] = lanes.map((lane) =>
    dtype === "i64" ? BigInt(lane) * -8589934593n : dtype === "bool" ? lane % 3 === 0 : lane * 5 + 1,
  );
  const b = new KernelBuilder(32);
  const array = (name: string, access: "read" | "write") =>
    b.buffer({ name, dtype, length: constant(32), access, align: 16 });
  const value = b.load(array("x", "read"), b.lane());
  const [far, near, rotated] = [array("far", "write"), array("near", "write"), array("rotated", "write")];
  b.store(far, b.thread(), [b.shuffleXor(value, 16)]);
  b.store(near, b.thread(), [b.shuffleXor(value, 1)]);
  b.store(rotated, b.thread(), [b.shuffleIndex(value, b.and(b.add(b.lane(), b.i32(5)), b.i32(31)))]);
  const from = (lane: (of: number) => number) => lanes.map((of) => values[lane(of)]);
  return {
    kernel: b.finish({ name: `shuffle_${dtype}`, grid: one, summary: `${dtype} across lanes`, files: [] }),
    inputs: [{ dtype, values }],
    outputs: [
      { label: "far", dtype, values: from((lane) => lane ^ 16) },
      { label: "near", dtype, values: from((lane) => lane ^ 1) },
      { label: "rotated", dtype, values: from((lane) => (lane + 5) & 31) },
    ],
  };
}

function atomicCase(dtype: "u32" | "i32"): OpCase {
  const values = lanes.map((lane) => (dtype === "i32" ? lane * 3 - 40 : (lane * 2654435761) >>> 0));
  const b = new KernelBuilder(32);
  const x = b.buffer({ name: "x", dtype, length: constant(32), access: "read", align: 16 });
  const totals = b.buffer({ name: "totals", dtype, length: constant(5), access: "write", align: 16 });
  const cells = b.shared({ name: "cells", dtype, length: 5 });
  const value = b.load(x, b.thread());
  const isFirst = b.lt(b.thread(), b.i32(5), "is_cell");
  b.store(
    cells,
    b.thread(),
    [b.select(b.binary("eq", b.thread(), b.i32(1)), b.constant(dtype, -1), b.constant(dtype, 0))],
    isFirst,
  );
  b.barrier();
  const fns = ["add", "and", "or", "min", "max"] as const;
  for (const [i, fn] of fns.entries())
    b.atomic(cells, b.i32(i), fn, value, b.binary("ne", b.thread(), b.i32(7)));
  b.barrier();
  b.store(totals, b.thread(), [b.load(cells, b.thread(), { guard: isFirst })], isFirst);
  const counted = values.filter((_, lane) => lane !== 7);
  const wrap = (x: number): number => (dtype === "i32" ? x | 0 : x >>> 0);
  const fold = (start: number, f: (a: number, c: number) => number): number =>
    wrap(counted.reduce((a, c) => wrap(f(a, c)), start));
  const results = [
    fold(0, (a, c) => a + c),
    fold(-1, (a, c) => a & c),
    fold(0, (a, c) => a | c),
    fold(0, Math.min),
    fold(0, Math.max),
  ];
  return {
    kernel: b.finish({
      name: `atomics_${dtype}`,
      grid: one,
      summary: `${dtype} cells of all lanes`,
      files: [],
    }),
    inputs: [{ dtype, values }],
    outputs: [{ label: "totals", dtype, values: results }],
  };
}

/** Runs a record's body on lists of operands, one a lane. */
function evaluateRecord(
  name: string,
  operands: readonly (readonly number[])[],
  current: readonly (readonly number[])[],
  pointer?: (lane: number) => { memory: Memory; byte: number },
): number[][] {
  const results = instructionOf(name).results.map(() => Array<number>(32).fill(0));
  const warp: Warp = {
    active: lanes,
    operand: (position, lane) => operands[position]?.[lane] ?? 0,
    bits: (position, lane) => BigInt(operands[position]?.[lane] ?? 0),
    pointer: (_, lane) =>
      pointer?.(lane) ?? { memory: { read: () => new Uint8Array(16), write: () => undefined }, byte: 0 },
    current: (position, lane) => current[position]?.[lane] ?? 0,
    define: (position, lane, value) => {
      const list = results[position];
      if (list !== undefined) list[lane] = value;
    },
    copies: new AsyncCopies(),
    get engines(): never {
      throw new Error(`${name} needs more than a warp`);
    },
    get fragments(): never {
      throw new Error(`${name} needs more than registers`);
    },
  };
  instructionOf(name).evaluate(warp);
  return results;
}

const kinds: Readonly<Record<string, { readonly dtype: DType; readonly parts: number }>> = {
  bf16: { dtype: "bf16", parts: 2 },
  f16: { dtype: "f16", parts: 2 },
  e4m3: { dtype: "e4m3", parts: 4 },
  tf32: { dtype: "u32", parts: 1 },
};

function codeOf(kind: string, value: number): number {
  if (kind !== "tf32") return encodeFloat(storageFormat(kind as "bf16" | "f16" | "e4m3"), value);
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint32(0);
}

function mmaCase(name: string): OpCase {
  const record = instructionOf(name);
  const kind = name.split(".").at(-1) ?? "";
  const { dtype, parts } = kinds[kind] ?? { dtype: "bf16" as const, parts: 2 };
  const width = record.operands.length * parts;
  const elements = Array.from({ length: 32 * width }, (_, i) =>
    codeOf(kind, ((i * 7 + Math.floor(i / 13)) % 9) - 4),
  );
  const starts = Array.from({ length: 128 }, (_, i) => (i % 17) - 8);
  const b = new KernelBuilder(32);
  const x = b.buffer({ name: "x", dtype, length: constant(elements.length), access: "read", align: 16 });
  const c = b.buffer({ name: "c", dtype: "f32", length: constant(128), access: "read", align: 16 });
  const d = b.buffer({ name: "d", dtype: "f32", length: constant(128), access: "write", align: 16 });
  const at = b.mul(b.lane(), b.i32(width), "at");
  const words: Value[] = record.operands.map((_, i) => {
    const loaded = Array.from({ length: parts }, (_part, part) =>
      b.load(x, b.add(at, b.i32(i * parts + part))),
    );
    return parts === 1 ? (loaded[0] ?? b.u32(0)) : b.pack(loaded, `a${i}`);
  });
  const registers: Register[] = b
    .loadWide(c, b.mul(b.lane(), b.i32(4)), { count: 4 })
    .map((value, i) => b.var(value, `acc${i}`));
  b.instruction(name, registers, words);
  b.instruction(name, registers, words);
  b.store(
    d,
    b.mul(b.lane(), b.i32(4)),
    registers.map((register) => b.get(register)),
  );

  const operands = record.operands.map((_, i) =>
    lanes.map((lane) =>
      Array.from({ length: parts }, (_part, part) => elements[lane * width + i * parts + part] ?? 0).reduce(
        (word, code, part) => (word | (code << ((32 / parts) * part))) >>> 0,
        0,
      ),
    ),
  );
  const first = evaluateRecord(
    name,
    operands,
    [0, 1, 2, 3].map((i) => lanes.map((lane) => starts[lane * 4 + i] ?? 0)),
  );
  const second = evaluateRecord(name, operands, first);
  return {
    kernel: b.finish({ name: name.split(".").join("_"), grid: one, summary: `${name}, twice`, files: [] }),
    inputs: [
      { dtype, values: elements },
      { dtype: "f32", values: starts },
    ],
    outputs: [
      { label: "d", dtype: "f32", values: lanes.flatMap((lane) => second.map((list) => list[lane] ?? 0)) },
    ],
  };
}

function ldmatrixCase(name: string): OpCase {
  const record = instructionOf(name);
  const count = record.results.length;
  const halves = Array.from({ length: 32 * 8 }, (_, i) => i * 131 + 7).map((x) => x % 65536);
  const b = new KernelBuilder(32);
  const x = b.buffer({ name: "x", dtype: "bf16", length: constant(256), access: "read", align: 16 });
  const out = b.buffer({
    name: "fragments",
    dtype: "bf16",
    length: constant(64 * count),
    access: "write",
    align: 4,
  });
  const tile = b.shared({ name: "tile", dtype: "bf16", length: 256 });
  const at = b.mul(b.thread(), b.i32(8), "row");
  b.store(tile, at, b.loadWide(x, at, { count: 8 }));
  b.barrier();
  const results = record.results.map((type, i) => b.result(type, `m${i}`));
  b.instruction(name, results, [{ buffer: tile, index: at }]);
  for (const [i, result] of results.entries())
    b.store(out, b.add(b.mul(b.thread(), b.i32(2)), b.i32(64 * i)), b.unpack(result, "bf16", "half"));
  const bytes = new Uint8Array(new Uint16Array(halves).buffer);
  const memory: Memory = {
    read: (byte, length) => bytes.subarray(byte, byte + length),
    write: () => undefined,
  };
  const words = evaluateRecord(name, [], [], (lane) => ({ memory, byte: lane * 16 }));
  return {
    kernel: b.finish({ name: name.split(".").join("_"), grid: one, summary: name, files: [] }),
    inputs: [{ dtype: "bf16", values: halves }],
    outputs: [
      {
        label: "fragments",
        dtype: "bf16",
        values: words.flatMap((list) => list.flatMap((word) => [word & 0xffff, word >>> 16])),
      },
    ],
  };
}

/** Two groups of copies, the second waited for after the first; every third lane copies half, zeros behind it. */
function copyCase(bytes: 4 | 8 | 16): OpCase {
  const words = bytes / 4;
  const length = 32 * words;
  const values = Array.from({ length }, (_, i) => (i * 2654435761) >>> 0);
  const b = new KernelBuilder(32);
  const x = b.buffer({ name: "x", dtype: "u32", length: constant(length), access: "read", align: 16 });
  const [first, second] = [
    b.buffer({ name: "first", dtype: "u32", length: constant(length), access: "write", align: 16 }),
    b.buffer({ name: "second", dtype: "u32", length: constant(length), access: "write", align: 16 }),
  ];
  const tile = b.shared({ name: "tile", dtype: "u32", length: 2 * length });
  const at = b.mul(b.thread(), b.i32(words), "at");
  const isThird = b.binary("eq", b.rem(b.thread(), b.i32(3)), b.i32(0));
  const size = b.select(isThird, b.i32(bytes / 2), b.i32(bytes), "size");
  const begin = (offset: number, count: Value): void => {
    b.instruction(
      `cp.async.${bytes}`,
      [],
      [{ buffer: tile, index: b.add(at, b.i32(offset)) }, { buffer: x, index: at }, count],
    );
    b.instruction("cp.async.commit", [], []);
  };
  begin(0, b.i32(bytes));
  begin(length, size);
  b.instruction("cp.async.wait.1", [], []);
  b.store(first, at, b.loadWide(tile, at, { count: words }));
  b.instruction("cp.async.wait.0", [], []);
  b.store(second, at, b.loadWide(tile, b.add(at, b.i32(length)), { count: words }));
  const halved = new Uint8Array(new Uint32Array(values).buffer.slice(0));
  for (const lane of lanes) if (lane % 3 === 0) halved.fill(0, lane * bytes + bytes / 2, (lane + 1) * bytes);
  return {
    kernel: b.finish({
      name: `cp_async_${bytes}`,
      grid: one,
      summary: `${bytes} bytes at a time`,
      files: [],
    }),
    inputs: [{ dtype: "u32", values }],
    outputs: [
      { label: "first", dtype: "u32", values },
      { label: "second", dtype: "u32", values: [...new Uint32Array(halved.buffer)] },
    ],
  };
}
