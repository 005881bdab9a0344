/**
 * A contraction by a subgroup's matrix instructions: tiles of both factors go through shared memory, in bands of what
 * one subgroup multiplies; sums are in opaque fragments until the end, when each goes through shared memory to
 * whoever computes and stores the result.
 *
 *     stage k block 0
 *     for each k block: load the next one | multiply this one | put the next one
 *     for each fragment of a subgroup: put it, then store what the result is of it
 *
 * Loads of a block are under way while the one before is multiplied; its tile is written when that has been read.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import type { Caps } from "../../types/caps.ts";
import { ceildiv, constant, type Dim } from "../../types/dim.ts";
import { dtypes } from "../../types/dtype.ts";
import * as t from "../build.ts";
import type { Axis, MatrixOperand, Tile, TileExpr, TileOp, TileProgram } from "../ir.ts";
import { constantOf, powerOfTwoFactor } from "./analysis.ts";
import { choiceOf, idleRefusals, type Choice, type Fixed, type Schedule } from "./choice.ts";
import { subgroupCost, usualSize } from "./cost.ts";
import { factorDType, guard, matricesOf, sidesOf, type Contraction, type Matrices } from "./matrices.ts";
import { declareBuffers, type KernelSource } from "./source.ts";
import { liesAlongK, stageFactor } from "./staging.ts";
import { translator } from "./translate.ts";

const instruction = "matrix.m16n16k16.f16";
const side = 16;
/** Bytes between the lines of a tile, so that neighbouring lines begin in different banks. */
const padBytes = 16;
/** Elements of a staged f32 fragment's line that nobody uses, for the same reason. */
const stagingPad = 4;

/** Rows and columns of a block and of a subgroup, in the order in which equals are taken. */
export const subgroupShapes = [
  { m: 128, n: 256, subgroupM: 64, subgroupN: 64 },
  { m: 256, n: 128, subgroupM: 64, subgroupN: 64 },
  { m: 128, n: 128, subgroupM: 64, subgroupN: 32 },
  { m: 64, n: 128, subgroupM: 32, subgroupN: 64 },
  { m: 128, n: 64, subgroupM: 64, subgroupN: 32 },
  { m: 64, n: 64, subgroupM: 32, subgroupN: 32 },
  { m: 32, n: 64, subgroupM: 16, subgroupN: 32 },
  { m: 16, n: 64, subgroupM: 16, subgroupN: 16 },
] as const;

const depth = 32;

interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly subgroupM: number;
  readonly subgroupN: number;
}

/** Undefined: the target has no such instruction, or the factors are no f16 that it takes. */
export function subgroupSchedule(
  source: KernelSource<LoopNode>,
  contraction: Contraction,
  caps: Caps,
): Schedule | undefined {
  if (!caps.instructions.includes(instruction)) return undefined;
  const loop = source.node;
  const [product, ...others] = contraction.products;
  if (product === undefined || others.length > 0) return undefined;
  const factors = [product.left, product.right];
  if (factors.some((factor) => factorDType(loop, factor) !== "f16")) return undefined;
  const matrices = matricesOf(loop, contraction);
  // Less than a word at a time would be written by atomics, which matrices are not loaded from.
  if (
    !factors.every((factor, k) => isEven(liesAlongK(loop, factor) ? matrices.kCount : sideCount(matrices, k)))
  )
    return undefined;
  const size = (dim: Dim): number => constantOf(dim) ?? usualSize;
  const [m, n, k] = [size(matrices.mCount), size(matrices.nCount), size(matrices.kCount)];
  return {
    name: "subgroup matrices",
    isUsual: m >= side / 2 && n >= side / 2,
    sides: sidesOf(loop, contraction),
    named: ["stages"],
    choices: (fixed) => choicesOf(fixed, caps),
    refusals: (choice) => refusalsOf(choice, caps),
    cost: (choice) => subgroupCost({ batch: size(matrices.batchCount), m, n, k }, shapeOf(choice), caps),
    program: (choice) =>
      subgroupProgram(source, { matrices, left: product.left, right: product.right }, shapeOf(choice), caps),
  };
}

function isEven(count: Dim): boolean {
  return powerOfTwoFactor(count, 2) === 2;
}

function sideCount({ mCount, nCount }: Matrices, factor: number): Dim {
  return factor === 0 ? mCount : nCount;
}

function choicesOf(fixed: Fixed, caps: Caps): Choice[] {
  const [m, n, k] = fixed.tile;
  const found = subgroupShapes.flatMap((shape): Choice[] => {
    const threads = (shape.m / shape.subgroupM) * (shape.n / shape.subgroupN) * caps.subgroup;
    if (m !== undefined && shape.m !== m) return [];
    if (n !== undefined && shape.n !== n) return [];
    if (fixed.threads !== undefined && threads !== fixed.threads) return [];
    return [choiceOf(fixed, { tile: [shape.m, shape.n, k ?? depth], threads })];
  });
  if (found.length > 0) return found;
  const [first] = subgroupShapes;
  return [choiceOf(fixed, { tile: [m ?? first.m, n ?? first.n, k ?? depth], threads: caps.subgroup })];
}

function shapeOf({ tile: [m = 0, n = 0, k = 0] }: Choice): Shape {
  const found = subgroupShapes.find((shape) => shape.m === m && shape.n === n);
  invariant(found !== undefined, "a choice has one of the shapes");
  return { ...found, k };
}

function refusalsOf(choice: Choice, caps: Caps): string[] {
  const [m = 0, n = 0, k = 0] = choice.tile;
  const found = subgroupShapes.find((shape) => shape.m === m && shape.n === n);
  const threads = found === undefined ? 0 : (m / found.subgroupM) * (n / found.subgroupN) * caps.subgroup;
  if (found === undefined || threads !== choice.threads)
    return [`${m} x ${n} over ${choice.threads} threads is none of the tiles that subgroups share out`];
  if (k === 0 || k % side !== 0) return [`a step of ${k} along the sum is no multiple of ${side}`];
  const problems = idleRefusals(choice, ["threads"]);
  if (choice.threads > caps.maxThreads)
    problems.push(`${choice.threads} threads are more than the ${caps.maxThreads} of a block`);
  const { bytes } = dtypes.f16;
  const tiles = (m + n) * (k * bytes + padBytes);
  const staging = (choice.threads / caps.subgroup) * side * (side + stagingPad) * dtypes.f32.bytes;
  if (tiles + staging > caps.sharedBytes)
    problems.push(
      `${tiles} bytes of factors and ${staging} of results are ${tiles + staging} bytes of shared memory, ` +
        `and a block has ${caps.sharedBytes}`,
    );
  return problems;
}

interface Factors {
  readonly matrices: Matrices;
  readonly left: Scalar;
  readonly right: Scalar;
}

function subgroupProgram(
  source: KernelSource<LoopNode>,
  { matrices, left, right }: Factors,
  shape: Shape,
  caps: Caps,
): TileProgram {
  const loop = source.node;
  const b = new t.TileBuilder();
  const buffers = declareBuffers(b, source);
  const { mCount, nCount, kCount } = matrices;
  const [acrossM, acrossN] = [shape.m / shape.subgroupM, shape.n / shape.subgroupN];
  const threads = acrossM * acrossN * caps.subgroup;

  const blocks = {
    batch: b.counter("batch", matrices.batchCount),
    m: b.counter("m_block", ceildiv(mCount, constant(shape.m))),
    n: b.counter("n_block", ceildiv(nCount, constant(shape.n))),
  };
  const kBlocks = ceildiv(kCount, constant(shape.k));
  const kBlock = b.counter("k_block", kBlocks);
  const [mBase, nBase] = [t.times(t.at(blocks.m), t.int(shape.m)), t.times(t.at(blocks.n), t.int(shape.n))];
  const axesAt = matrices.axesAt(t.at(blocks.batch));

  const stage = (factor: Scalar, of: "m" | "n"): Stage => {
    const [rows, band] = of === "m" ? [shape.m, shape.subgroupM] : [shape.n, shape.subgroupN];
    const isAlongK = liesAlongK(loop, factor);
    const inner = isAlongK ? [band, shape.k] : [shape.k, band];
    const tile = b.sharedTile(of === "m" ? "a_tile" : "b_tile", "f16", [rows / band, ...inner], {
      pad: padBytes / dtypes.f16.bytes,
    });
    const bandOf = (row: TileExpr): readonly [TileExpr, TileExpr] => [
      t.over(row, t.int(band)),
      t.modulo(row, t.int(band)),
    ];
    const at = (kBase: TileExpr): Stages => {
      const staged = stageFactor(b, loop, factor, {
        tile,
        rows,
        depth: shape.k,
        index: (row, k) => {
          const [panel, within] = bandOf(row);
          return isAlongK ? [panel, within, k] : [panel, k, within];
        },
        threads,
        vectorBytes: caps.vectorBytes,
        most: Infinity,
        base: of === "m" ? mBase : nBase,
        count: of === "m" ? mCount : nCount,
        kBase,
        kCount,
        expr: (row, k) => {
          const axes = of === "m" ? axesAt(row, t.int(0), k) : axesAt(t.int(0), row, k);
          return translator({ axes, carriers: [], inputs: buffers.inputs })(factor);
        },
      });
      return {
        loads: staged.flatMap((one) => one.loads),
        puts: staged.flatMap((one) => one.puts),
      };
    };
    return { operand: { tile, order: isAlongK ? "bands" : "mn" }, at };
  };
  const [a, c] = [stage(left, "m"), stage(right, "n")];

  // A fragment's axes come last; before them who has it and which of theirs it is.
  const subgroupM = b.threadAxis("subgroup_m", acrossM, caps.subgroup * acrossN);
  const subgroupN = b.threadAxis("subgroup_n", acrossN, caps.subgroup);
  const tileM = b.registerAxis("tile_m", shape.subgroupM / side);
  const tileN = b.registerAxis("tile_n", shape.subgroupN / side);
  const [row, column] = [b.fragmentAxis("row", side), b.fragmentAxis("column", side)];
  const acc = b.tile(loop.carriers[0]?.name ?? "sum", "f32", [
    subgroupM,
    subgroupN,
    tileM,
    tileN,
    row,
    column,
  ]);
  const placeOf = (subgroup: Axis, extent: number, tile: TileExpr, within: TileExpr): TileExpr =>
    t.plus(t.plus(t.times(t.along(subgroup), t.int(extent)), t.times(tile, t.int(side))), within);

  const first = [a.at(t.int(0)), c.at(t.int(0))];
  const next = t.plus(t.at(kBlock), t.int(1));
  const following = [a, c].map((one) => one.at(t.times(next, t.int(shape.k))));
  const body: TileOp[] = [
    { kind: "var", tile: acc, init: { kind: "const", type: "f32", value: 0 } },
    ...first.flatMap(({ loads }) => loads),
    ...first.flatMap(({ puts }) => puts),
    {
      kind: "for",
      counter: kBlock,
      from: undefined,
      below: undefined,
      unroll: false,
      body: [
        ...following.flatMap(({ loads }) => loads.map((load) => within(load, t.less(next, t.size(kBlocks))))),
        {
          kind: "mma",
          acc,
          a: a.operand,
          b: c.operand,
          m: placeOf(subgroupM, shape.subgroupM, t.along(tileM), t.along(row)),
          n: placeOf(subgroupN, shape.subgroupN, t.along(tileN), t.along(column)),
          accumulate: undefined,
          instruction,
        },
        ...following.flatMap(({ puts }) => puts),
      ],
    },
  ];

  // Each fragment by itself: a subgroup's lanes take runs of its rows.
  const staging = b.sharedTile("staging", "f32", [acrossM * acrossN, side, side], { pad: stagingPad });
  const run = (side * side) / caps.subgroup;
  const laneRow = b.threadAxis("lane_row", side, side / run);
  const laneColumn = b.threadAxis("lane_column", side / run, 1);
  const within_ = b.registerAxis("run", run);
  const subgroup = t.plus(t.times(t.along(subgroupM), t.int(acrossN)), t.along(subgroupN));
  const laneAt = t.plus(t.times(t.along(laneColumn), t.int(run)), t.along(within_));
  const taken: Tile = b.tile("sum_of", "f32", [subgroupM, subgroupN, laneRow, laneColumn, within_]);
  for (let i = 0; i < tileM.size; i += 1) {
    for (let j = 0; j < tileN.size; j += 1) {
      body.push(
        {
          kind: "put",
          shared: staging,
          index: [subgroup, t.along(row), t.along(column)],
          expr: t.valueOf(acc),
          axes: acc.axes,
          where: t.both(isAt(tileM, i), isAt(tileN, j)),
          otherwise: undefined,
        },
        {
          kind: "let",
          tile: taken,
          expr: { kind: "shared", type: "f32", tile: staging, index: [subgroup, t.along(laneRow), laneAt] },
          where: undefined,
          otherwise: undefined,
        },
      );
      const m = t.plus(mBase, placeOf(subgroupM, shape.subgroupM, t.int(i), t.along(laneRow)));
      const n = t.plus(nBase, placeOf(subgroupN, shape.subgroupN, t.int(j), laneAt));
      const axes = axesAt(m, n, t.int(0));
      const translate = translator({ axes, carriers: [t.valueOf(taken)], inputs: buffers.inputs });
      loop.results.forEach((result, k) => {
        const buffer = buffers.outputs[k];
        invariant(buffer !== undefined, "each result has a buffer");
        body.push({
          kind: "store",
          buffer,
          index: result.axes.map((axis) => axes[axis] ?? t.int(0)),
          expr: translate(result.value),
          axes: taken.axes,
          where: t.both(guard(m, mCount, shape.m), guard(n, nCount, shape.n)),
          bounds: "proved",
        });
      });
    }
  }
  return {
    name: source.name,
    summary: source.summary,
    threads,
    blocks: [blocks.batch, blocks.m, blocks.n],
    buffers: b.buffers,
    shared: b.shared,
    channels: b.channels,
    body,
  };
}

interface Stages {
  readonly loads: readonly TileOp[];
  readonly puts: readonly TileOp[];
}

interface Stage {
  readonly operand: MatrixOperand;
  readonly at: (kBase: TileExpr) => Stages;
}

/** A load that happens where a condition holds too. */
function within(op: TileOp, condition: TileExpr): TileOp {
  invariant(op.kind === "let", "a load defines a tile");
  return { ...op, where: t.both(condition, op.where) };
}

/** Whether an axis, of a fragment's tiles, is at a place. */
function isAt(axis: Axis, place: number): TileExpr | undefined {
  return axis.size === 1 ? undefined : t.apply("eq", "bool", [t.along(axis), t.int(place)]);
}
