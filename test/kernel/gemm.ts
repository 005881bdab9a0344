/**
 * A matrix product by hand: one role copies tiles into a ring of stages in shared memory, the other multiplies them
 * by warpgroups. Each way to get it wrong that a test asks for is an option.
 */
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import type { Buffer, Kernel, Register, Value } from "../../compiler/kernel/ir.ts";
import { constant } from "../../compiler/types/dim.ts";

export type Mistake =
  | "no wait for the copy"
  | "no wait for the stage"
  | "no wait for the product"
  | "stage given back early"
  | "wrong parity"
  | "no expect"
  | "too few bytes"
  | "too many bytes"
  | "one arrival too few"
  | "barriers made unseen"
  | "staging unseen"
  | "staging written again";

export interface Gemm {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly tile: { readonly m: number; readonly n: number };
  readonly stages: number;
  /** a is [m, k] or [k, m]. */
  readonly left: "k" | "m";
  /** b is [n, k] or [k, n]. */
  readonly right: "k" | "n";
  /** How the result is written: each thread its elements, or boxes from shared memory. */
  readonly output: "threads" | "boxes";
  /** Products under way while the next stage is asked for. */
  readonly pending: 0 | 1;
  readonly mistake?: Mistake;
}

/** Elements of k in a stage: 128 bytes, a row of the swizzle. */
const depth = 64;
const swizzle = 128;
/** Bytes after which the swizzle repeats: 8 rows. */
const atom = 1024;
/** Elements along m or n of a box whose rows lie along them. */
const across = 64;
const step = 16;

export function gemmKernel(spec: Gemm): Kernel {
  const { m, n, k, tile, stages, left, right, mistake } = spec;
  const groups = tile.m / 64;
  const math = 128 * groups;
  const b = new KernelBuilder(math + 128);
  const a = b.buffer({ name: "a", dtype: "bf16", length: constant(m * k), access: "read", align: 16 });
  const w = b.buffer({ name: "b", dtype: "bf16", length: constant(n * k), access: "read", align: 16 });
  const d = b.buffer({ name: "d", dtype: "f32", length: constant(m * n), access: "write", align: 16 });
  const map = (buffer: Buffer, rows: number, along: "k" | "m" | "n", box: number) =>
    b.map({
      name: buffer.name,
      buffer,
      dims: (along === "k" ? [rows, k] : [k, rows]).map(constant),
      box: along === "k" ? [box, depth] : [depth, across],
      swizzle,
    });
  const sides = [
    { map: map(a, m, left, tile.m), rows: tile.m, along: left, name: "a_tile" },
    { map: map(w, n, right, tile.n), rows: tile.n, along: right, name: "b_tile" },
  ].map((side) => ({
    ...side,
    tile: b.shared({ name: side.name, dtype: "bf16", length: stages * side.rows * depth, align: atom }),
  }));
  const full = b.shared({ name: "full", dtype: "i64", length: stages });
  const empty = b.shared({ name: "empty", dtype: "i64", length: stages });
  const [row0, column0] = [b.mul(b.block(1), b.i32(tile.m)), b.mul(b.block(0), b.i32(tile.n))];
  const bytes = (tile.m + tile.n) * depth * 2;
  const trips = Math.ceil(k / depth);
  const isFirst = (): Value => b.binary("eq", b.thread(), b.i32(0));

  b.if(isFirst(), () => {
    for (let stage = 0; stage < stages; stage += 1) {
      b.instruction("mbarrier.init", [], [{ buffer: full, index: b.i32(stage) }, b.i32(1)]);
      const arrivals = groups + (mistake === "one arrival too few" ? 1 : 0);
      b.instruction("mbarrier.init", [], [{ buffer: empty, index: b.i32(stage) }, b.i32(arrivals)]);
    }
    b.instruction("fence.mbarrier_init", [], []);
  });
  if (mistake !== "barriers made unseen") b.barrier();

  const ring = (trip: Value): { readonly stage: Value; readonly parity: Value } => ({
    stage: b.binary("rem", trip, b.i32(stages)),
    parity: b.and(b.binary("div", trip, b.i32(stages)), b.i32(1)),
  });

  const copy = (): void => {
    b.if(b.binary("eq", b.thread(), b.i32(math)), () => {
      b.for(b.i32(0), b.i32(trips), 1, "trip", (trip) => {
        const { stage, parity } = ring(trip);
        const flipped = mistake === "wrong parity" ? parity : b.binary("xor", parity, b.i32(1));
        if (mistake !== "no wait for the stage")
          b.instruction("mbarrier.wait", [], [{ buffer: empty, index: stage }, flipped]);
        const arrived = { buffer: full, index: stage };
        const off = mistake === "too few bytes" ? -128 : mistake === "too many bytes" ? 128 : 0;
        if (mistake === "no expect") b.instruction("mbarrier.arrive", [], [arrived]);
        else b.instruction("mbarrier.expect", [], [arrived, b.i32(bytes + off)]);
        const at = b.mul(trip, b.i32(depth));
        for (const [i, side] of sides.entries()) {
          const row = i === 0 ? row0 : column0;
          const first = b.mul(stage, b.i32(side.rows * depth));
          const boxes = side.along === "k" ? 1 : side.rows / across;
          for (let box = 0; box < boxes; box += 1) {
            const to = { buffer: side.tile, index: b.add(first, b.i32(box * across * depth)) };
            const along = b.add(row, b.i32(box * across));
            const coordinates = side.along === "k" ? [along, at] : [at, along];
            b.instruction("tensor.load.2d", [], [to, { map: side.map }, ...coordinates, arrived]);
          }
        }
      });
    });
  };

  const multiply = (): void => {
    const name = `wgmma.m64n${tile.n}k16.bf16.${left}.${right}`;
    const registers = Array.from({ length: tile.n / 2 }, (_, i) => b.open("f32", `d${i}`));
    const group = b.binary("div", b.thread(), b.i32(128), "group");
    const isLeader = b.binary("eq", b.binary("rem", b.thread(), b.i32(128)), b.i32(0));
    const release = (stage: Value): void =>
      b.if(isLeader, () => b.instruction("mbarrier.arrive", [], [{ buffer: empty, index: stage }]));
    b.for(b.i32(0), b.i32(trips), 1, "trip", (trip) => {
      const { stage, parity } = ring(trip);
      if (mistake !== "no wait for the copy")
        b.instruction("mbarrier.wait", [], [{ buffer: full, index: stage }, parity]);
      const tiles = sides.map((side, i) => {
        const rows = b.mul(stage, b.i32(side.rows * depth));
        // Along k a warpgroup's rows are 64 of the tile; along m they are a box of their own. Both have as many elements.
        const index = i === 0 ? b.add(rows, b.mul(group, b.i32(across * depth))) : rows;
        const leading = side.along === "k" ? 16 : across * depth * 2;
        return b.descriptor(side.tile, index, { leading, stride: atom, swizzle });
      });
      b.instruction("wgmma.fence", [], []);
      for (let part = 0; part < depth / step; part += 1) {
        const operands = tiles.map((descriptor, i) => {
          const skipped = sides[i]?.along === "k" ? step * 2 : step * across * 2;
          return b.add(descriptor, b.constant("i64", BigInt((part * skipped) / 16)));
        });
        const accumulate = part > 0 ? b.constant("bool", true) : b.binary("gt", trip, b.i32(0));
        b.instruction(name, registers, [...operands, accumulate]);
      }
      b.instruction("wgmma.commit", [], []);
      if (mistake === "stage given back early") release(stage);
      if (mistake !== "no wait for the product") b.instruction(`wgmma.wait.${spec.pending}`, [], []);
      if (mistake === "stage given back early") return;
      if (spec.pending === 0) release(stage);
      else b.if(b.binary("gt", trip, b.i32(0)), () => release(ring(b.sub(trip, b.i32(1))).stage));
    });
    if (mistake !== "no wait for the product") b.instruction("wgmma.wait.0", [], []);
    write(b, spec, { d, registers, row0, column0 });
  };

  b.roles([
    { name: "math", threads: math, body: multiply },
    { name: "copy", threads: 128, body: copy },
  ]);
  return b.finish({
    name: "gemm",
    grid: [constant(Math.ceil(n / tile.n)), constant(Math.ceil(m / tile.m)), constant(1)],
    summary: "d = a b",
    files: [],
  });
}

interface Result {
  readonly d: Buffer;
  readonly registers: readonly Register[];
  readonly row0: Value;
  readonly column0: Value;
}

/** Register 4j + 2h + p: row 16 warp + 8h + lane / 4, column 8j + 2 (lane mod 4) + p (PTX ISA 9.7.15.5.1.1). */
function write(b: KernelBuilder, spec: Gemm, { d, registers, row0, column0 }: Result): void {
  const { m, n, tile, mistake } = spec;
  const lane = b.binary("rem", b.thread(), b.i32(32));
  const warp = b.binary("div", b.thread(), b.i32(32));
  const places = registers.map((register, i) => ({
    value: b.get(register),
    row: b.add(b.add(b.mul(warp, b.i32(16)), b.binary("div", lane, b.i32(4))), b.i32(8 * ((i >> 1) & 1))),
    column: b.add(b.mul(b.binary("rem", lane, b.i32(4)), b.i32(2)), b.i32(8 * (i >> 2) + (i & 1))),
  }));
  if (spec.output === "threads") {
    for (const { value, row, column } of places) {
      const [y, x] = [b.add(row0, row), b.add(column0, column)];
      const isThere = b.and(b.lt(y, b.i32(m)), b.lt(x, b.i32(n)));
      b.store(d, b.add(b.mul(y, b.i32(n)), x), [value], isThere);
    }
    return;
  }
  // A warpgroup's rows go out as one box of each 32 columns, swizzled: a row of a box is 128 bytes.
  const width = 32;
  const staging = b.shared({ name: "staging", dtype: "f32", length: tile.m * width, align: atom });
  const map = b.map({ name: "d", buffer: d, dims: [m, n].map(constant), box: [64, width], swizzle });
  const group = b.binary("div", b.thread(), b.i32(128));
  const isLeader = b.binary("eq", b.binary("rem", b.thread(), b.i32(128)), b.i32(0));
  for (let first = 0; first < tile.n; first += width) {
    places.forEach(({ value, row, column }, i) => {
      if (8 * (i >> 2) < first || 8 * (i >> 2) >= first + width) return;
      const inBox = b.sub(column, b.i32(first));
      const unit = b.binary("xor", b.binary("div", inBox, b.i32(4)), b.binary("rem", row, b.i32(8)));
      const at = b.add(b.mul(unit, b.i32(4)), b.binary("rem", inBox, b.i32(4)));
      b.store(staging, b.add(b.mul(row, b.i32(width)), at), [value]);
    });
    b.instruction("fence.proxy.async", [], []);
    if (mistake !== "staging unseen") b.barrier({ threads: 128, first: 1 });
    b.if(isLeader, () => {
      const at = [b.add(row0, b.mul(group, b.i32(64))), b.add(column0, b.i32(first))];
      const from = { buffer: staging, index: b.mul(group, b.i32(64 * width)) };
      b.instruction("tensor.store.2d", [], [{ map }, ...at, from]);
      b.instruction("bulk.commit", [], []);
      if (mistake !== "staging written again") b.instruction("bulk.wait.read.0", [], []);
    });
    b.barrier({ threads: 128, first: 1 });
  }
}
