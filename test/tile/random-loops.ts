/** Random loops for the schedules: pointwise work, reductions along any axes, linked sweeps, matrices of any kind. */
import fc from "fast-check";
import { Arena } from "../../compiler/tensor/arena.ts";
import type { Carrier, LoopNode, LoopResult, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import { constant, symbol, type Dim } from "../../compiler/types/dim.ts";
import type { DType } from "../../compiler/types/dtype.ts";

export interface Sample {
  readonly arena: Arena;
  readonly node: LoopNode;
  readonly dims: ReadonlyMap<string, number>;
}

/** Names axes a0, a1, ..; a dynamic extent is the symbol of its name. */
interface Extents {
  readonly extents: readonly Dim[];
  readonly dims: ReadonlyMap<string, number>;
}

const extent = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 40, 64);

function extentsOf(sizes: readonly number[], dynamic: readonly boolean[]): Extents {
  const dims = new Map<string, number>();
  const extents = sizes.map((size, k) => {
    if (dynamic[k] !== true) return constant(size);
    dims.set(`A${k}`, size);
    return symbol(`A${k}`);
  });
  return { extents, dims };
}

/** The interpreters are slow: makes the largest sizes small until no more than `most` points are left. */
function shrink(sizes: number[], most: number): number[] {
  while (sizes.reduce((p, s) => p * s, 1) > most) sizes[sizes.indexOf(Math.max(...sizes))] = 3;
  return sizes;
}

function axesOf(extents: readonly Dim[], from: number, to: number): { name: string; extent: Dim }[] {
  return extents.slice(from, to).map((size, k) => ({ name: `a${from + k}`, extent: size }));
}

const floats: readonly DType[] = ["f32", "bf16", "f16"];

/** A loop over `parallel + reduced` axes; 0 reduced ones make it pointwise. */
export const sweeps: fc.Arbitrary<Sample> = fc
  .record({
    parallel: fc.integer({ min: 0, max: 3 }),
    reduced: fc.integer({ min: 0, max: 2 }),
    sizes: fc.array(extent, { minLength: 5, maxLength: 5 }),
    dynamic: fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
    someDynamic: fc.boolean(),
    reads: fc.array(
      fc.record({
        axes: fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 1 }),
        dtype: fc.constantFrom(...floats),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    monoid: fc.constantFrom("sum", "max", "min"),
    linked: fc.boolean(),
    inner: fc.boolean(),
    outDtype: fc.constantFrom(...floats),
    reverse: fc.boolean(),
  })
  .map((c): Sample => {
    const count = c.parallel + c.reduced;
    const arena = new Arena();
    const sizes = shrink(c.sizes.slice(0, count), 4000);
    const { extents, dims } = extentsOf(
      sizes,
      c.dynamic.map((d) => d && c.someDynamic),
    );
    const inputs: Ref[] = [];
    const reads = c.reads.map((read, k): Scalar => {
      const axes = read.axes.filter((axis) => axis < count);
      const tensor = arena.ref(
        arena.input(
          `x${k}`,
          "argument",
          arena.type(
            read.dtype,
            axes.map((axis) => extents[axis] ?? constant(1)),
          ),
        ),
      );
      return arena.read(
        inputs,
        tensor,
        axes.map((axis) => arena.axis(axis)),
      );
    });
    const all = reads.reduce((a, b) => arena.apply("add", arena.apply("mul", a, arena.f32(0.5)), b));
    const carriers: Carrier[] = [];
    if (c.reduced > 0) {
      carriers.push({ name: "r", monoid: c.monoid, lift: all });
      if (c.linked) {
        const distance = arena.apply("sub", all, arena.carrier(0, "f32"));
        carriers.push({ name: "s", monoid: "sum", lift: arena.apply("mul", distance, arena.f32(0.125)) });
      }
    }
    const last = carriers.length - 1;
    const value =
      last < 0
        ? arena.apply("max", all, arena.f32(-0.25))
        : arena.apply("add", arena.carrier(last, "f32"), arena.f32(1));
    const rows = Array.from({ length: c.parallel }, (_, k) => k);
    const results: LoopResult[] = [{ value, dtype: c.outDtype, axes: c.reverse ? rows.toReversed() : rows }];
    if (c.inner && last >= 0) {
      const everywhere = Array.from({ length: count }, (_, k) => k);
      results.push({
        value: arena.apply("mul", all, arena.carrier(last, "f32")),
        dtype: c.outDtype,
        axes: c.reverse ? everywhere.toReversed() : everywhere,
      });
    }
    const node = arena.loop({
      axes: axesOf(extents, 0, c.parallel),
      over: axesOf(extents, c.parallel, count),
      carriers,
      results,
      inputs,
    });
    return { arena, node, dims };
  });

/** Sums of products with batch axes and several axes on each side, in any order in memory. */
export const contractions: fc.Arbitrary<Sample> = fc
  .record({
    batch: fc.integer({ min: 0, max: 1 }),
    m: fc.integer({ min: 1, max: 2 }),
    n: fc.integer({ min: 1, max: 2 }),
    k: fc.integer({ min: 1, max: 2 }),
    sizes: fc.array(fc.constantFrom(1, 3, 4, 5, 8, 16, 17, 33, 70), { minLength: 7, maxLength: 7 }),
    dynamic: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
    someDynamic: fc.boolean(),
    shuffle: fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
    dtype: fc.constantFrom(...floats),
    rightDtype: fc.constantFrom(...floats),
    /** Sides whose factors are rounded. */
    tf32: fc.constantFrom("", "left", "both"),
    twice: fc.boolean(),
    scaled: fc.boolean(),
  })
  .map((c): Sample => {
    const arena = new Arena();
    const parallel = c.batch + c.m + c.n;
    const count = parallel + c.k;
    const small = shrink(c.sizes.slice(0, count), 20000);
    const { extents, dims } = extentsOf(
      small,
      c.dynamic.map((d) => d && c.someDynamic),
    );
    const order = (axes: readonly number[], salt: number): number[] =>
      axes
        .map((axis, k) => ({ axis, key: c.shuffle[(k + salt) % 12] ?? 0 }))
        .sort((a, b) => a.key - b.key)
        .map(({ axis }) => axis);
    const range = (from: number, to: number): number[] =>
      Array.from({ length: to - from }, (_, k) => from + k);
    const inputs: Ref[] = [];
    const factor = (name: string, axes: readonly number[], dtype: DType, isRounded = false): Scalar => {
      const tensor = arena.ref(
        arena.input(
          name,
          "argument",
          arena.type(
            dtype,
            axes.map((axis) => extents[axis] ?? constant(1)),
          ),
        ),
      );
      const read = arena.read(
        inputs,
        tensor,
        axes.map((axis) => arena.axis(axis)),
      );
      return isRounded ? arena.round("tf32", read, true) : read;
    };
    const batch = range(0, c.batch);
    const ms = range(c.batch, c.batch + c.m);
    const ns = range(c.batch + c.m, parallel);
    const ks = range(parallel, count);
    const left = factor("x", order([...batch, ...ms, ...ks], 0), c.dtype, c.tf32 !== "");
    const rounded = c.tf32 === "both";
    const right = factor("w", order([...batch, ...ns, ...ks], 3), c.rightDtype, rounded);
    const carriers: Carrier[] = [{ name: "acc", monoid: "sum", lift: arena.apply("mul", left, right) }];
    if (c.twice) {
      const other = factor("v", order([...batch, ...ns, ...ks], 5), c.rightDtype, rounded);
      carriers.push({ name: "gate", monoid: "sum", lift: arena.apply("mul", left, other) });
    }
    let value: Scalar = arena.carrier(0, "f32");
    if (c.twice) value = arena.apply("mul", value, arena.carrier(1, "f32"));
    if (c.scaled) value = arena.apply("add", value, factor("bias", [parallel - 1], "f32"));
    const results: LoopResult[] = [{ value, dtype: "f32", axes: order(range(0, parallel), 7) }];
    const node = arena.loop({
      axes: axesOf(extents, 0, parallel),
      over: axesOf(extents, parallel, count),
      carriers,
      results,
      inputs,
    });
    return { arena, node, dims };
  });

/** Products of plain matrices of 16-bit floats, of sizes that an asynchronous matrix unit takes, tails included. */
export const matrixProducts: fc.Arbitrary<Sample> = fc
  .record({
    batch: fc.constantFrom(0, 2),
    m: fc.constantFrom(64, 72, 130, 200),
    heads: fc.constantFrom(1, 2),
    n: fc.constantFrom(64, 70, 72, 136, 264),
    k: fc.constantFrom(8, 33, 64, 72, 136),
    scaled: fc.constantFrom("", "left", "right"),
    twice: fc.boolean(),
    dynamic: fc.boolean(),
    dtype: fc.constantFrom<DType>("bf16", "f16"),
    outDtype: fc.constantFrom<DType>("bf16", "f16", "f32"),
    leftAlongK: fc.boolean(),
    rightAlongK: fc.boolean(),
    biased: fc.boolean(),
    transposed: fc.boolean(),
  })
  .map(productOf);

/** Products with long sums over few results, of which several blocks share a tile when there are as few as three. */
export const longProducts: fc.Arbitrary<Sample> = fc
  .record({
    batch: fc.constantFrom(0, 2),
    m: fc.constantFrom(64, 72),
    heads: fc.constant(1),
    n: fc.constantFrom(64, 72),
    k: fc.constantFrom(256, 264, 333),
    scaled: fc.constantFrom("", "right"),
    twice: fc.boolean(),
    dynamic: fc.constant(false),
    dtype: fc.constantFrom<DType>("bf16", "f16"),
    outDtype: fc.constantFrom<DType>("bf16", "f32"),
    leftAlongK: fc.boolean(),
    rightAlongK: fc.boolean(),
    biased: fc.boolean(),
    transposed: fc.boolean(),
  })
  .map(productOf);

/** Products of plain matrices whose tiles along m are even in number. */
export const pairedProducts: fc.Arbitrary<Sample> = fc
  .record({
    batch: fc.constantFrom(0, 2),
    m: fc.constantFrom(72, 128),
    heads: fc.constant(1),
    n: fc.constantFrom(64, 72, 136),
    k: fc.constantFrom(64, 136, 200),
    scaled: fc.constantFrom("", "left"),
    twice: fc.boolean(),
    dynamic: fc.constant(false),
    dtype: fc.constantFrom<DType>("bf16", "f16"),
    outDtype: fc.constantFrom<DType>("bf16", "f32"),
    leftAlongK: fc.boolean(),
    rightAlongK: fc.boolean(),
    biased: fc.boolean(),
    transposed: fc.constant(false),
  })
  .map(productOf);

export interface Product {
  readonly batch: number;
  readonly m: number;
  readonly heads: number;
  readonly n: number;
  readonly k: number;
  /** The side that is computed on its way. */
  readonly scaled: string;
  readonly twice: boolean;
  readonly dynamic: boolean;
  readonly dtype: DType;
  readonly outDtype: DType;
  readonly leftAlongK: boolean;
  readonly rightAlongK: boolean;
  readonly biased: boolean;
  readonly transposed: boolean;
}

export function productOf(c: Product): Sample {
  const arena = new Arena();
  const batch = c.batch === 0 ? [] : [c.batch];
  const { extents, dims } = extentsOf(
    [...batch, c.heads, c.m / c.heads, c.n, c.k],
    [...batch, c.heads, c.m, c.n, c.k].map((_, axis) => c.dynamic && axis === batch.length + 1),
  );
  const first = batch.length;
  const [b, m, n, k] = [batch.map(() => 0), [first, first + 1], [first + 2], [first + 3]];
  const inputs: Ref[] = [];
  const factor = (name: string, axes: readonly number[], dtype: DType): Scalar => {
    const shape = axes.map((axis) => extents[axis] ?? constant(1));
    const tensor = arena.ref(arena.input(name, "argument", arena.type(dtype, shape)));
    return arena.read(
      inputs,
      tensor,
      axes.map((axis) => arena.axis(axis)),
    );
  };
  const halved = (side: string, whole: Scalar): Scalar =>
    c.scaled === side ? arena.round(c.dtype, arena.apply("mul", whole, arena.f32(0.5))) : whole;
  const left = halved("left", factor("x", c.leftAlongK ? [...b, ...m, ...k] : [...b, ...k, ...m], c.dtype));
  const right = halved(
    "right",
    factor("w", c.rightAlongK ? [...b, ...n, ...k] : [...b, ...k, ...n], c.dtype),
  );
  const carriers: Carrier[] = [{ name: "acc", monoid: "sum", lift: arena.apply("mul", left, right) }];
  let value: Scalar = arena.carrier(0, "f32");
  if (c.twice) {
    const other = factor("v", [...b, ...n, ...k], c.dtype);
    carriers.push({ name: "gate", monoid: "sum", lift: arena.apply("mul", left, other) });
    value = arena.apply("mul", value, arena.carrier(1, "f32"));
  }
  if (c.biased) value = arena.apply("add", value, factor("bias", n, "f32"));
  const axes = c.transposed ? [...b, ...n, ...m] : [...b, ...m, ...n];
  const node = arena.loop({
    axes: axesOf(extents, 0, first + 3),
    over: axesOf(extents, first + 3, first + 4),
    carriers,
    results: [{ value, dtype: c.outDtype, axes }],
    inputs,
  });
  return { arena, node, dims };
}

/**
 * Products of 8-bit floats with scales of rows and of blocks, as they are stored; runs of several lengths; mixed with
 * 16-bit floats.
 */
export const scaledProducts: fc.Arbitrary<Sample> = fc
  .record({
    m: fc.constantFrom(64, 130),
    n: fc.constantFrom(64, 136),
    k: fc.constantFrom(64, 128, 200, 264),
    left: fc.constantFrom<DType>("e4m3", "e5m2", "bf16"),
    right: fc.constantFrom<DType>("e4m3", "e5m2"),
    leftBlock: fc.constantFrom(undefined, [1, 128], [128, 128], [1, 512]),
    rightBlock: fc.constantFrom(undefined, [1, 128], [128, 128]),
    every: fc.constantFrom(undefined, 1, 128, 256, 65536),
    alongK: fc.boolean(),
    twice: fc.boolean(),
    outDtype: fc.constantFrom<DType>("bf16", "f32"),
  })
  .map((c): Sample => {
    const arena = new Arena();
    const extents = [c.m, c.n, c.k].map((size) => constant(size));
    const inputs: Ref[] = [];
    const read = (name: string, dtype: DType, shape: readonly number[], at: readonly Scalar[]): Scalar => {
      const type = arena.type(
        dtype,
        shape.map((size) => constant(size)),
      );
      return arena.read(inputs, arena.ref(arena.input(name, "argument", type)), at);
    };
    const k = arena.axis(2);
    const factor = (
      name: string,
      dtype: DType,
      [axis, rows]: readonly [number, number],
      block: readonly number[] | undefined,
      across = false,
    ): Scalar => {
      const row = arena.axis(axis);
      const code = across
        ? read(name, dtype, [c.k, rows], [k, row])
        : read(name, dtype, [rows, c.k], [row, k]);
      if (block === undefined) return code;
      const [high = 1, wide = 1] = block;
      const over = (index: Scalar, size: number): Scalar =>
        size === 1 ? index : arena.apply("floordiv", index, arena.i32(size));
      const scales = [Math.ceil(rows / high), Math.ceil(c.k / wide)];
      return arena.apply("mul", code, read(`${name}_scale`, "f32", scales, [over(row, high), over(k, wide)]));
    };
    const left = factor("x", c.left, [0, c.m], c.leftBlock);
    const sum = (name: string, right: Scalar): Carrier => ({
      name,
      monoid: "sum",
      lift: arena.apply("mul", left, right),
      every: c.every,
    });
    const carriers = [sum("acc", factor("w", c.right, [1, c.n], c.rightBlock, !c.alongK))];
    if (c.twice) carriers.push(sum("gate", factor("v", c.right, [1, c.n], c.rightBlock)));
    const value = carriers
      .map((_, i): Scalar => arena.carrier(i, "f32"))
      .reduce((a, b) => arena.apply("mul", a, b));
    const node = arena.loop({
      axes: axesOf(extents, 0, 2),
      over: axesOf(extents, 2, 3),
      carriers,
      results: [{ value, dtype: c.outDtype, axes: [0, 1] }],
      inputs,
    });
    return { arena, node, dims: new Map() };
  });
