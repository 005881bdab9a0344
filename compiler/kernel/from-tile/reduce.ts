/**
 * Reduces values across threads along one thread axis; every thread gets the result. Lanes of a subgroup exchange
 * values directly; beyond a subgroup, or where the target has none, values go through shared memory.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Axis } from "../../tile/ir.ts";
import type { Caps } from "../../types/caps.ts";
import type { DType } from "../../types/dtype.ts";
import type { Buffer, Value } from "../ir.ts";
import type { Context } from "./context.ts";
import { valueAt } from "./evaluate.ts";

type Combine = (a: Value, b: Value) => Value;

/** Threads of an axis that each read all of them, rather than halving: fewer barriers than steps saved. */
const serialLimit = 8;

/** `values[k]` is the k-th register of each thread; each is reduced by itself. */
export function reduceAcross(cx: Context, values: readonly Value[], axis: Axis, combine: Combine): Value[] {
  invariant(axis.place.kind === "thread", "only thread axes are reduced across threads");
  if (axis.size === 1) return [...values];
  const plain = values.map((value) =>
    value.type === "bool" ? cx.b.select(value, cx.b.i32(1), cx.b.i32(0)) : value,
  );
  const isBool = values[0]?.type === "bool";
  const joined: Combine = isBool
    ? (a, c) => cx.b.select(combine(isOne(cx, a), isOne(cx, c)), cx.b.i32(1), cx.b.i32(0))
    : combine;
  const { stride } = axis.place;
  const lanes = butterfly(axis, cx.caps);
  let reduced = plain;
  for (let mask = 1; mask < lanes; mask *= 2)
    reduced = reduced.map((value) => joined(value, cx.b.shuffleXor(value, mask)));
  if (lanes < axis.size) reduced = throughShared(cx, reduced, { size: axis.size, stride, lanes }, joined);
  return isBool ? reduced.map((value) => isOne(cx, value)) : reduced;
}

/** Combinations that a value goes through at most on its way through `reduceAcross`. */
export function stepsAcross(axis: Axis, caps: Pick<Caps, "subgroup">): number {
  invariant(axis.place.kind === "thread", "only thread axes are reduced across threads");
  const lanes = butterfly(axis, caps);
  const parts = axis.size / lanes;
  return Math.log2(lanes) + (halves(parts) ? Math.log2(parts) : parts - 1);
}

/** Lanes that exchange values directly. */
function butterfly({ size, place }: Axis, { subgroup }: Pick<Caps, "subgroup">): number {
  return place.kind === "thread" && place.stride === 1 && subgroup > 1 ? lanesOf(size, subgroup) : 1;
}

/** Whether parts in shared memory are halved again and again, not read by all. */
function halves(parts: number): boolean {
  return parts > serialLimit && (parts & (parts - 1)) === 0;
}

function isOne(cx: Context, value: Value): Value {
  return cx.b.binary("ne", value, cx.b.i32(0));
}

/** Lanes that butterflies cover: all of a short axis, or whole subgroups of a long one. */
function lanesOf(size: number, subgroup: number): number {
  const power = (size & (size - 1)) === 0;
  if (size <= subgroup) return power && subgroup % size === 0 ? size : 1;
  return size % subgroup === 0 ? subgroup : 1;
}

interface Across {
  readonly size: number;
  readonly stride: number;
  /** Neighbouring threads that hold the same partial result already. */
  readonly lanes: number;
}

function throughShared(cx: Context, values: readonly Value[], across: Across, combine: Combine): Value[] {
  const { b } = cx;
  const parts = across.size / across.lanes;
  const step = across.stride * across.lanes;
  // slot = (threads outside the axis) and the part's number; one array for all registers.
  const slots = cx.team.threads / across.lanes;
  const type = values[0]?.type;
  invariant(type === "f32" || type === "i32" || type === "u32" || type === "i64", "a reduction of numbers");
  const buffer = b.shared({ name: "partial", dtype: type satisfies DType, length: slots * values.length });
  const slot = b.div(b.thread(), b.i32(across.lanes), "slot");
  const part = b.rem(b.div(b.thread(), b.i32(step)), b.i32(parts), "part");
  const place = (register: number, index: Value): Value => b.add(index, b.i32(register * slots));
  const slotStep = step / across.lanes;
  const first = b.sub(slot, b.mul(part, b.i32(slotStep)));
  const owner =
    across.lanes === 1 ? undefined : b.binary("eq", b.rem(b.thread(), b.i32(across.lanes)), b.i32(0));
  // A role comes here again and again: all have read what it was left with the time before.
  if (cx.team.isRole) barrier(cx);
  values.forEach((value, k) => b.store(buffer, place(k, slot), [value], owner));
  barrier(cx);
  if (halves(parts))
    halve(cx, buffer, { parts, slotStep, slot, part, owner, registers: values.length, slots }, combine);
  const count = halves(parts) ? 1 : parts;
  return values.map((_, k) => {
    const loaded = Array.from({ length: count }, (_unused, j) =>
      b.load(buffer, place(k, b.add(first, b.i32(j * slotStep)))),
    );
    return loaded.slice(1).reduce((sum, value) => combine(sum, value), valueAt(loaded, 0));
  });
}

interface Halving {
  readonly parts: number;
  readonly slotStep: number;
  readonly slot: Value;
  readonly part: Value;
  readonly owner: Value | undefined;
  readonly registers: number;
  readonly slots: number;
}

/** Tree in shared memory: in each step the lower half takes in the upper one. */
function halve(cx: Context, buffer: Buffer, tree: Halving, combine: Combine): void {
  const { b } = cx;
  for (let half = tree.parts / 2; half >= 1; half /= 2) {
    const active = b.lt(tree.part, b.i32(half));
    const guard = tree.owner === undefined ? active : b.and(active, tree.owner);
    b.if(guard, () => {
      for (let k = 0; k < tree.registers; k += 1) {
        const own = b.add(tree.slot, b.i32(k * tree.slots));
        const other = b.load(buffer, b.add(own, b.i32(half * tree.slotStep)));
        b.store(buffer, own, [combine(b.load(buffer, own), other)]);
      }
    });
    barrier(cx);
  }
}

function barrier(cx: Context): void {
  cx.team.barrier();
  cx.hazards.separated();
}
