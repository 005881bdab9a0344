/** Threads that fill a tile write each of its elements once, whatever its sides are. */
import { expect, it } from "vitest";
import { Arena } from "../../compiler/tensor/arena.ts";
import type { LoopNode, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import { TileBuilder, at, int } from "../../compiler/tile/build.ts";
import type { TileOp, TileProgram } from "../../compiler/tile/ir.ts";
import { interpretTiles } from "../../compiler/tile/interpret.ts";
import { stageFactor } from "../../compiler/tile/schedule/staging.ts";
import { verify } from "../../compiler/tile/verify.ts";
import { constant } from "../../compiler/types/dim.ts";

/** x[row, k], or x[k, row], of a product that nobody makes. */
function factorOf(
  rows: number,
  depth: number,
  alongK: boolean,
): { readonly loop: LoopNode; readonly factor: Scalar } {
  const arena = new Arena();
  const inputs: Ref[] = [];
  const [m, k] = [arena.axis(0), arena.axis(1)];
  const shape = alongK ? [rows, depth] : [depth, rows];
  const tensor = arena.ref(
    arena.input(
      "x",
      "argument",
      arena.type(
        "bf16",
        shape.map((n) => constant(n)),
      ),
    ),
  );
  const factor = arena.read(inputs, tensor, alongK ? [m, k] : [k, m]);
  const loop = arena.loop({
    axes: [{ name: "m", extent: constant(rows) }],
    over: [{ name: "k", extent: constant(depth) }],
    carriers: [{ name: "s", monoid: "sum", lift: factor }],
    results: [{ value: arena.carrier(0, "f32"), dtype: "f32", axes: [0] }],
    inputs,
  });
  if (loop.kind !== "loop") throw new Error("a loop");
  return { loop, factor };
}

it.each([
  [192, 64, 191, 64, true, 16],
  [192, 64, 191, 64, false, 16],
  [192, 64, 192, 64, false, 16],
  [128, 64, 77, 33, false, 32],
  [256, 64, 256, 63, true, Infinity],
])("%d x %d of %d x %d", (rows, depth, count, kCount, alongK, most) => {
  const { loop, factor } = factorOf(count, kCount, alongK);
  const b = new TileBuilder();
  const shape = alongK ? [count, kCount] : [kCount, count];
  const x = b.buffer(
    "x",
    "bf16",
    shape.map((n) => constant(n)),
    "read",
  );
  const y = b.buffer("y", "f32", [constant(rows), constant(depth)], "write");
  const tile = b.sharedTile("tile", "bf16", [rows, depth]);
  const staged = stageFactor(b, loop, factor, {
    tile,
    rows,
    depth,
    index: (row, k) => [row, k],
    threads: 128,
    vectorBytes: 16,
    most,
    base: int(0),
    count: constant(count),
    kBase: int(0),
    kCount: constant(kCount),
    expr: (row, k) => ({
      kind: "read",
      type: "f32",
      buffer: x,
      index: alongK ? [row, k] : [k, row],
      bounds: "proved",
      otherwise: undefined,
    }),
  });
  const [row, k] = [b.counter("row", constant(rows)), b.counter("k", constant(depth))];
  const copy: TileOp = {
    kind: "store",
    buffer: y,
    index: [at(row), at(k)],
    expr: { kind: "shared", type: "f32", tile, index: [at(row), at(k)] },
    axes: [],
    where: undefined,
    bounds: "proved",
  };
  const body: TileOp[] = [
    ...staged.flatMap((one) => [...one.loads, ...one.puts]),
    {
      kind: "for",
      counter: row,
      from: undefined,
      below: undefined,
      unroll: false,
      body: [{ kind: "for", counter: k, from: undefined, below: undefined, unroll: false, body: [copy] }],
    },
  ];
  const { buffers, shared, channels } = b;
  const program: TileProgram = {
    name: "staging",
    summary: "",
    threads: 128,
    blocks: [],
    buffers,
    shared,
    channels,
    body,
  };
  expect(verify(program)).toEqual([]);
  const value = (r: number, c: number): number => ((r * 31 + c * 7) % 200) + 1;
  const given = Array.from({ length: count * kCount }, (_, i) =>
    alongK ? value(Math.floor(i / kCount), i % kCount) : value(i % count, Math.floor(i / count)),
  );
  const result = new Array<number>(rows * depth).fill(Number.NaN);
  interpretTiles(
    program,
    new Map([
      [x, given],
      [y, result],
    ]),
    new Map(),
  );
  expect(result).toEqual(
    Array.from({ length: rows * depth }, (_, i) => {
      const [r, c] = [Math.floor(i / depth), i % depth];
      return r < count && c < kCount ? value(r, c) : 0;
    }),
  );
});
