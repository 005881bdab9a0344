/**
 * topk and sort as loops. Elements are compared by an integer key in their order, so that every comparison is exact
 * on every target.
 *
 * Both come from ranks. A rank is counted (how many elements come before), which is n for each element. For a small k
 * the first k are found in k rounds instead, each the largest key that is left and the lowest index that has it: 2 k
 * sweeps over a row, as linked carriers of one loop, whose results have an axis of k places.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dtypes } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import { typeOf } from "../tensor/refs.ts";
import type { Carrier, LoopAxis, Ref, Scalar, ScalarType, SortNode, TopkNode } from "../tensor/ir.ts";
import { scalarTypeOf } from "../tensor/scalar-types.ts";
import { axesFor, zeroOf } from "./expand-scan.ts";

/** Rounds that one loop may be made of. */
const maxRounds = 64;

interface Keyed {
  readonly type: ScalarType;
  /** The key of the element at these indices; larger comes first. */
  readonly at: (index: readonly Scalar[]) => Scalar;
}

/** What orders a topk: numbers, then NaN, then what is masked. */
function descendingKey(arena: Arena, inputs: Ref[], x: Ref, keep: Ref | undefined): Keyed {
  const { dtype } = typeOf(x);
  const read = (index: readonly Scalar[]): Scalar => arena.read(inputs, x, index);
  if (dtypes[dtype].kind === "float") {
    const key = (index: readonly Scalar[]): Scalar => arena.apply("order", read(index));
    if (keep === undefined) return { type: "i32", at: key };
    const last = arena.i32(-(2 ** 31));
    return {
      type: "i32",
      at: (index) => arena.apply("select", arena.read(inputs, keep, index), key(index), last),
    };
  }
  if (keep === undefined) return { type: scalarTypeOf(dtype), at: read };
  // A masked integer comes after the least one: in i64 there is room for it. The least i64 counts as the next one.
  const last = arena.const("i64", -(2n ** 63n));
  const least = arena.const("i64", -(2n ** 63n) + 1n);
  const wide = (index: readonly Scalar[]): Scalar =>
    arena.apply("max", arena.cast("i64", read(index)), least);
  return {
    type: "i64",
    at: (index) => arena.apply("select", arena.read(inputs, keep, index), wide(index), last),
  };
}

/** What orders a sort, ascending: numbers, then NaN. */
function ascendingKey(arena: Arena, inputs: Ref[], x: Ref): Keyed {
  const { dtype } = typeOf(x);
  const read = (index: readonly Scalar[]): Scalar => arena.read(inputs, x, index);
  if (dtypes[dtype].kind !== "float") return { type: scalarTypeOf(dtype), at: read };
  const at = (index: readonly Scalar[]): Scalar => {
    const value = read(index);
    return arena.apply(
      "select",
      arena.apply("eq", value, value),
      arena.apply("order", value),
      arena.i32(2 ** 31 - 1),
    );
  };
  return { type: "i32", at };
}

/** How many elements of each row come before each element: `before` on keys, then the lower index. */
function countedRank(
  arena: Arena,
  x: Ref,
  axis: number,
  key: (inputs: Ref[]) => Keyed,
  before: "gt" | "lt",
): Ref {
  const { shape } = typeOf(x);
  const extent = shape[axis];
  invariant(extent !== undefined, "an axis of the tensor");
  const inputs: Ref[] = [];
  const { at } = key(inputs);
  const own = shape.map((_, i) => arena.axis(i));
  const other = shape.map((_, i) => (i === axis ? arena.axis(shape.length) : arena.axis(i)));
  const [mine, theirs] = [at(own), at(other)];
  const earlier = arena.apply("lt", arena.axis(shape.length), arena.axis(axis));
  const first = arena.apply(
    "or",
    arena.apply(before, theirs, mine),
    arena.apply("and", arena.apply("eq", theirs, mine), earlier),
  );
  const loop = arena.loop({
    axes: axesFor(shape),
    over: [{ name: "u", extent }],
    inputs,
    carriers: [{ name: "rank", monoid: "sum", lift: arena.cast("i32", first) }],
    results: [{ value: arena.carrier(0, "i32"), dtype: "i32", axes: own.map((_, i) => i) }],
  });
  return arena.ref(loop);
}

/** Values, index and mask by rounds. */
function topOfRounds(arena: Arena, node: TopkNode, x: Ref, keep: Ref | undefined, k: number): readonly Ref[] {
  const { shape, dtype } = typeOf(x);
  const inputs: Ref[] = [];
  const { type, at } = descendingKey(arena, inputs, x, keep);
  const rest = shape.flatMap((extent, i) => (i === node.axis ? [] : [{ name: `i${i}`, extent }]));
  const extent = shape[node.axis];
  invariant(extent !== undefined, "an axis of the tensor");
  const t = arena.axis(rest.length);
  const axisOf = (i: number): number => (i === node.axis ? rest.length : i < node.axis ? i : i - 1);
  const key = at(shape.map((_, i) => arena.axis(axisOf(i))));
  const none = arena.dim(extent);
  // The monoid's own identity is below every key, or equal to what a masked element has, which then wins by its index.
  const least = arena.const(type, type === "i64" ? -(2n ** 63n) : type === "u32" ? 0 : -(2 ** 31));
  const carriers: Carrier[] = [];
  let left: Scalar = arena.bool(true);
  let isTop: Scalar = arena.bool(false);
  let place: Scalar = none;
  // The row's axis, then the k places.
  const j = arena.axis(rest.length + 1);
  for (let round = 0; round < k; round++) {
    carriers.push({ name: `key${round}`, monoid: "max", lift: arena.apply("select", left, key, least) });
    const best = arena.carrier(2 * round, type);
    const here = arena.apply("and", left, arena.apply("eq", key, best));
    carriers.push({ name: `at${round}`, monoid: "min", lift: arena.apply("select", here, t, none) });
    const where = arena.carrier(2 * round + 1, "i32");
    const after = arena.apply("and", arena.apply("eq", key, best), arena.apply("gt", t, where));
    left = arena.apply("or", arena.apply("lt", key, best), after);
    const isHere = arena.apply("eq", t, where);
    isTop = round === 0 ? isHere : arena.apply("or", isTop, isHere);
    place = round === 0 ? where : arena.apply("select", arena.apply("eq", j, arena.i32(round)), where, place);
  }
  const axes = shape.map((_, i) => axisOf(i));
  const along = axes.map((axis, i) => (i === node.axis ? rest.length + 1 : axis));
  const index = axes.map((axis, i) => (i === node.axis ? place : arena.axis(axis)));
  const over: LoopAxis[] = [{ name: "t", extent }];
  const loop = arena.loop({
    axes: rest,
    over,
    inner: [{ name: "j", extent: node.k }],
    carriers,
    inputs,
    results: [
      { value: arena.read(inputs, x, index, "clamp"), dtype, axes: along },
      { value: place, dtype: "i32", axes: along },
      { value: isTop, dtype: "bool", axes },
    ],
  });
  return [arena.ref(loop, 0), arena.ref(loop, 1), arena.ref(loop, 2)];
}

export function expandTopk(arena: Arena, node: TopkNode): readonly Ref[] {
  const [x, keep] = node.inputs;
  invariant(x !== undefined, "a topk has an input");
  const { dtype, shape } = typeOf(x);
  const extent = shape[node.axis];
  invariant(extent !== undefined, "an axis of the tensor");
  const rounds =
    node.k.kind === "const" &&
    node.k.value <= maxRounds &&
    !(extent.kind === "const" && extent.value <= 4 * node.k.value);
  if (rounds && node.k.kind === "const") return topOfRounds(arena, node, x, keep, node.k.value);
  const [rank, mask] = countedTop(arena, node, x, keep);
  const kept = shape.map((dim, i) => (i === node.axis ? node.k : dim));
  const inputs: Ref[] = [];
  const along = (index: Scalar): readonly Scalar[] =>
    shape.map((_, i) => (i === node.axis ? index : arena.axis(i)));
  const t = arena.axis(kept.length);
  const found = arena.apply("eq", arena.read(inputs, rank, along(t)), arena.axis(node.axis));
  const where = arena.carrier(0, "i32");
  const axes = kept.map((_, i) => i);
  const gather = arena.loop({
    axes: axesFor(kept),
    over: [{ name: "t", extent }],
    inputs,
    carriers: [{ name: "at", monoid: "min", lift: arena.apply("select", found, t, arena.dim(extent)) }],
    results: [
      { value: arena.read(inputs, x, along(where), "clamp"), dtype, axes },
      { value: where, dtype: "i32", axes },
    ],
  });
  return [arena.ref(gather, 0), arena.ref(gather, 1), mask];
}

function countedTop(arena: Arena, node: TopkNode, x: Ref, keep: Ref | undefined): readonly [Ref, Ref] {
  const rank = countedRank(arena, x, node.axis, (inputs) => descendingKey(arena, inputs, x, keep), "gt");
  const { shape } = typeOf(x);
  const inputs: Ref[] = [];
  const own = shape.map((_, i) => arena.axis(i));
  const value = arena.apply("lt", arena.read(inputs, rank, own), arena.dim(node.k));
  const mask = arena.loop({
    axes: axesFor(shape),
    inputs,
    results: [{ value, dtype: "bool", axes: own.map((_, i) => i) }],
  });
  return [rank, arena.ref(mask)];
}

export function expandSort(arena: Arena, node: SortNode): readonly Ref[] {
  const [x] = node.inputs;
  invariant(x !== undefined, "a sort has an input");
  const rank = countedRank(arena, x, node.axis, (inputs) => ascendingKey(arena, inputs, x), "lt");
  const { dtype, shape } = typeOf(x);
  const own = shape.map((_, i) => arena.axis(i));
  const blank = arena.loop({
    axes: axesFor(shape),
    inputs: [],
    results: [{ value: zeroOf(arena, scalarTypeOf(dtype)), dtype, axes: own.map((_, i) => i) }],
  });
  const inputs: Ref[] = [arena.ref(blank)];
  const target = own.map((index, i) => (i === node.axis ? arena.read(inputs, rank, own) : index));
  return [
    arena.ref(
      arena.scatter({
        axes: axesFor(shape),
        inputs,
        target,
        value: arena.read(inputs, x, own),
        keep: arena.bool(true),
      }),
    ),
  ];
}
