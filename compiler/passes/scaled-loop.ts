/** Codes and scales of a contraction's factors, as nodes of the graph, and the contraction on them. */
import { storedAs } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import { codeOf, scaleOf, type BlockScaled } from "../tensor/block-scales.ts";
import type { LoopNode, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { typeOf } from "../tensor/refs.ts";
import { rewriteScalars } from "../tensor/scalars.ts";
import { ceildiv, constant, mod, sub } from "../types/dim.ts";

export interface Factor {
  readonly read: ScalarRead;
  /** Axes of the loop that the factor moves along, in order: a tensor along these is quantised; undefined: the one that is read. */
  readonly along: readonly number[] | undefined;
  readonly type: BlockScaled;
  /** Elements of a block along each axis of the tensor. */
  readonly widths: readonly number[];
}

/** The contraction on codes and scales of its factors, whose sums are promoted by runs. */
export function scaled(
  arena: Arena,
  node: LoopNode,
  { factors, run }: { readonly factors: readonly Factor[]; readonly run: number },
): LoopNode {
  const inputs: Ref[] = [...node.inputs];
  const values = factors.map((factor): Scalar => {
    const { along, read } = factor;
    const ref = along === undefined ? inputs[read.input] : laidAlong(arena, node, read, along);
    if (ref === undefined) return read;
    const { codes, scales } = quantised(arena, ref, factor);
    const place = along?.map((axis) => arena.axis(axis)) ?? read.index;
    const blocks = place.map((index, k) => {
      const width = factor.widths[k] ?? 1;
      return width === 1 ? index : arena.apply("floordiv", index, arena.const("i32", width));
    });
    const bounds = along === undefined ? read.bounds : "proved";
    const position = (made: Ref): number => inputs.push(made) - 1;
    const code = arena.readAt(position(codes), "f32", place, bounds, undefined);
    const scale = arena.readAt(position(scales), "f32", blocks, bounds, undefined);
    return arena.apply("mul", code, scale);
  });
  const [left, right] = values;
  const [carrier] = node.carriers;
  if (left === undefined || right === undefined || carrier === undefined) return node;
  const lift = arena.apply("mul", left, right);
  return arena.loop({ ...node, inputs, carriers: [{ ...carrier, lift, every: run }] });
}

/** What a factor reads as a tensor along these axes of the loop. */
function laidAlong(
  arena: Arena,
  node: LoopNode,
  read: ScalarRead,
  along: readonly number[],
): Ref | undefined {
  const ref = node.inputs[read.input];
  if (ref === undefined) return undefined;
  const all = [...node.axes, ...node.over];
  const [value] = rewriteScalars(arena, [read], (s) =>
    s.kind === "axis" ? arena.axis(along.indexOf(s.axis)) : s,
  );
  const { dtype } = typeOf(ref);
  return arena.ref(
    arena.loop({
      axes: along.map((axis) => all[axis] ?? { name: "i", extent: constant(1) }),
      results: [{ value: arena.round(dtype, value ?? read), dtype, axes: along.map((_, k) => k) }],
      inputs: node.inputs,
    }),
  );
}

/** The scales of a tensor's blocks, and its codes. */
function quantised(
  arena: Arena,
  ref: Ref,
  { type, widths }: Factor,
): { readonly codes: Ref; readonly scales: Ref } {
  const { shape } = typeOf(ref);
  const rank = shape.length;
  const blocked = widths.flatMap((width, k) => (width > 1 ? [k] : []));
  const size = (k: number): Scalar => arena.const("i32", widths[k] ?? 1);
  let inside: Scalar | undefined;
  const places = shape.map((extent, k): Scalar => {
    const within = blocked.indexOf(k);
    if (within < 0) return arena.axis(k);
    const place = arena.apply("add", arena.apply("mul", arena.axis(k), size(k)), arena.axis(rank + within));
    const rest = mod(extent, constant(widths[k] ?? 1));
    if (rest.kind === "const" && rest.value === 0) return place;
    const below = arena.apply("lt", place, arena.dim(extent));
    inside = inside === undefined ? below : arena.apply("and", inside, below);
    return arena.apply("min", place, arena.dim(sub(extent, constant(1))));
  });
  const names = shape.map((_, k) => `i${k}`);
  const own: Ref[] = [];
  const magnitude = arena.apply("abs", arena.read(own, ref, places));
  const lift = inside === undefined ? magnitude : arena.apply("select", inside, magnitude, arena.f32(0));
  const scales = arena.loop({
    axes: shape.map((extent, k) => ({
      name: names[k] ?? "i",
      extent: (widths[k] ?? 1) === 1 ? extent : ceildiv(extent, constant(widths[k] ?? 1)),
    })),
    over: blocked.map((k) => ({ name: "j", extent: constant(widths[k] ?? 1) })),
    carriers: [{ name: "absmax", monoid: "max", lift }],
    results: [
      {
        value: scaleOf(arena, arena.carrier(0, "f32"), type.dtype, type.format),
        dtype: "f32",
        axes: shape.map((_, k) => k),
      },
    ],
    inputs: own,
  });
  const reads: Ref[] = [];
  const here = shape.map((_, k) => arena.axis(k));
  const block = here.map((axis, k) => (widths[k] === 1 ? axis : arena.apply("floordiv", axis, size(k))));
  const element = arena.read(reads, ref, here);
  const scale = arena.read(reads, arena.ref(scales), block);
  const codes = arena.loop({
    axes: shape.map((extent, k) => ({ name: names[k] ?? "i", extent })),
    results: [
      {
        value: codeOf(arena, element, scale, type.dtype),
        dtype: storedAs(type.dtype),
        axes: shape.map((_, k) => k),
      },
    ],
    inputs: reads,
  });
  const hint = arena.hint(ref) ?? (ref.node.kind === "input" ? ref.node.name : undefined);
  if (hint !== undefined) {
    arena.setHint(arena.ref(scales), `${hint}_scale`);
    arena.setHint(arena.ref(codes), `${hint}_code`);
  }
  return { codes: arena.ref(codes), scales: arena.ref(scales) };
}
