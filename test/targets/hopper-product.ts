/**
 * A product for Hopper, built by hand: c[m, n] = sum over k of a[m, k] b[n, k], bf16 to f32, for any m and for n and
 * k whose rows are whole 16 bytes. One role copies tiles of 64 along k into a ring, the other multiplies; tiles over
 * the edges are the copy engine's to cut.
 */
import { KernelBuilder } from "../../compiler/kernel/builder.ts";
import type { Kernel, Register, Value } from "../../compiler/kernel/ir.ts";
import { ceildiv, constant, mul, one, symbol } from "../../compiler/types/dim.ts";

export interface ProductShape {
  /** Warpgroups that multiply, each 64 rows of the tile. */
  readonly warpgroups: number;
  /** Columns of the tile: a multiple of 8, at most 256. */
  readonly columns: number;
  readonly slots: number;
  /** Groups of matrix instructions that go on while the next slot is waited for: 0, or 1. */
  readonly pending: 0 | 1;
  /** Registers that the copying role keeps, and that a multiplying thread then has. */
  readonly registers?: { readonly copy: number; readonly multiply: number };
}

/** Elements of a tile along k: 128 bytes, a swizzled row. */
const depth = 64;
const warpgroup = 128;
const rowBytes = 2 * depth;
const layout = { leading: 16, stride: 8 * rowBytes, swizzle: 128 } as const;

export function hopperProduct(shape: ProductShape): Kernel {
  const { warpgroups, columns, slots } = shape;
  const [m, n, k] = [symbol("m"), symbol("n"), symbol("k")];
  const rows = 64 * warpgroups;
  const b = new KernelBuilder(warpgroup * (warpgroups + 1));
  const left = b.buffer({ name: "a", dtype: "bf16", length: mul(m, k), access: "read", align: 16 });
  const right = b.buffer({ name: "b", dtype: "bf16", length: mul(n, k), access: "read", align: 16 });
  const result = b.buffer({ name: "c", dtype: "f32", length: mul(m, n), access: "write", align: 16 });
  const tiles = {
    a: b.shared({ name: "a_tile", dtype: "bf16", length: slots * rows * depth, align: 1024 }),
    b: b.shared({ name: "b_tile", dtype: "bf16", length: slots * columns * depth, align: 1024 }),
    c: b.shared({ name: "c_tile", dtype: "f32", length: rows * columns, align: 128 }),
  };
  const full = b.shared({ name: "full", dtype: "i64", length: slots });
  const empty = b.shared({ name: "empty", dtype: "i64", length: slots });
  const maps = {
    a: b.map({ name: "a", buffer: left, dims: [m, k], box: [rows, depth], swizzle: 128 }),
    b: b.map({ name: "b", buffer: right, dims: [n, k], box: [columns, depth], swizzle: 128 }),
    c: b.map({ name: "c", buffer: result, dims: [m, n], box: [64, columns], swizzle: 0 }),
  };

  const thread = b.thread();
  const row = b.mul(b.block(1), b.i32(rows), "row");
  const column = b.mul(b.block(0), b.i32(columns), "column");
  const steps = b.div(b.add(b.size("k", k), b.i32(depth - 1)), b.i32(depth), "steps");
  const slotOf = (step: Value): Value => b.rem(step, b.i32(slots), "slot");
  const parityOf = (step: Value): Value => b.and(b.div(step, b.i32(slots)), b.i32(1), "parity");

  b.if(b.binary("eq", thread, b.i32(0)), () => {
    for (let slot = 0; slot < slots; slot += 1) {
      b.instruction("mbarrier.init", [], [{ buffer: full, index: b.i32(slot) }, b.i32(1)]);
      b.instruction(
        "mbarrier.init",
        [],
        [{ buffer: empty, index: b.i32(slot) }, b.i32(warpgroup * warpgroups)],
      );
    }
    b.instruction("fence.mbarrier_init", [], []);
  });
  b.barrier();

  const multiply = (): void => {
    if (shape.registers !== undefined) b.instruction(`setmaxnreg.inc.${shape.registers.multiply}`, [], []);
    const group = b.div(thread, b.i32(warpgroup), "group");
    const sums = Array.from({ length: columns / 2 }, () => b.open("f32", "sum"));
    const release = (step: Value): void =>
      b.instruction("mbarrier.arrive", [], [{ buffer: empty, index: slotOf(step) }]);
    b.for(b.i32(0), steps, 1, "step", (step) => {
      const slot = slotOf(step);
      b.instruction("mbarrier.wait", [], [{ buffer: full, index: slot }, parityOf(step)]);
      b.instruction("wgmma.fence", [], []);
      const aAt = b.add(b.mul(slot, b.i32(rows * depth)), b.mul(group, b.i32(64 * depth)), "a_at");
      const bAt = b.mul(slot, b.i32(columns * depth), "b_at");
      for (let at = 0; at < depth; at += 16) {
        const a = b.descriptor(tiles.a, b.add(aAt, b.i32(at)), layout);
        const other = b.descriptor(tiles.b, b.add(bAt, b.i32(at)), layout);
        const accumulate = at > 0 ? b.bool(true) : b.binary("gt", step, b.i32(0));
        b.instruction(`wgmma.m64n${columns}k16.bf16.k.k`, sums, [a, other, accumulate]);
      }
      b.instruction("wgmma.commit", [], []);
      b.instruction(`wgmma.wait.${shape.pending}`, [], []);
      if (shape.pending === 0) release(step);
      else b.if(b.binary("gt", step, b.i32(0)), () => release(b.sub(step, b.i32(1))));
    });
    if (shape.pending > 0) b.instruction("wgmma.wait.0", [], []);
    storeTile(group, sums);
  };

  /** Fragments to shared memory, and from there a warpgroup's rows at once. */
  const storeTile = (group: Value, sums: readonly Register[]): void => {
    const lane = b.lane();
    const warp = b.rem(b.div(thread, b.i32(32)), b.i32(4), "warp");
    const tile = b.mul(group, b.i32(64 * columns), "tile");
    const first = b.add(b.mul(warp, b.i32(16)), b.div(lane, b.i32(4)), "first");
    const beside = b.mul(b.rem(lane, b.i32(4)), b.i32(2), "beside");
    for (let register = 0; register < sums.length; register += 2) {
      const [low, high] = [sums[register], sums[register + 1]];
      if (low === undefined || high === undefined) continue;
      const [h, j] = [(register >> 1) & 1, register >> 2];
      const place = b.add(b.mul(b.add(first, b.i32(8 * h)), b.i32(columns)), b.add(beside, b.i32(8 * j)));
      b.store(tiles.c, b.add(tile, place), [b.get(low), b.get(high)]);
    }
    b.instruction("fence.proxy.async", [], []);
    b.barrier({ threads: warpgroup, first: 1 });
    b.if(b.binary("eq", b.rem(thread, b.i32(warpgroup)), b.i32(0)), () => {
      const from = { buffer: tiles.c, index: tile };
      b.instruction(
        "tensor.store.2d",
        [],
        [{ map: maps.c }, b.add(row, b.mul(group, b.i32(64))), column, from],
      );
      b.instruction("bulk.commit", [], []);
      b.instruction("bulk.wait.0", [], []);
    });
  };

  const copy = (): void => {
    if (shape.registers !== undefined) b.instruction(`setmaxnreg.dec.${shape.registers.copy}`, [], []);
    b.if(b.binary("eq", thread, b.i32(warpgroup * warpgroups)), () => {
      b.instruction("tensormap.prefetch", [], [{ map: maps.a }]);
      b.instruction("tensormap.prefetch", [], [{ map: maps.b }]);
      b.for(b.i32(0), steps, 1, "step", (step) => {
        const slot = slotOf(step);
        const barrier = { buffer: full, index: slot };
        const at = b.mul(step, b.i32(depth), "at");
        const free = b.binary("xor", parityOf(step), b.i32(1), "free");
        b.instruction("mbarrier.wait", [], [{ buffer: empty, index: slot }, free]);
        b.instruction("mbarrier.expect", [], [barrier, b.i32((rows + columns) * rowBytes)]);
        const to = (tile: typeof tiles.a, elements: number): { buffer: typeof tile; index: Value } => ({
          buffer: tile,
          index: b.mul(slot, b.i32(elements * depth)),
        });
        b.instruction("tensor.load.2d", [], [to(tiles.a, rows), { map: maps.a }, row, at, barrier]);
        b.instruction("tensor.load.2d", [], [to(tiles.b, columns), { map: maps.b }, column, at, barrier]);
      });
    });
  };

  b.roles([
    { name: "multiply", threads: warpgroup * warpgroups, body: multiply },
    { name: "copy", threads: warpgroup, body: copy },
  ]);
  return b.finish({
    name: "product",
    grid: [ceildiv(n, constant(columns)), ceildiv(m, constant(rows)), one],
    summary: "product: c[m, n] = sum over k of a[m, k] b[n, k]",
    files: [],
  });
}
