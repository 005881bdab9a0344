/**
 * Turns on the machine: each place of a thread axis has a barrier that counts phases (PTX ISA 9.7.13.15, "mbarrier"),
 * on which the place before it arrives when it is through. A phase is a turn; the first place's first turn is the one
 * that nobody has to hand over.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Axis, Role, TileOp } from "../../tile/ir.ts";
import { visitOps } from "../../tile/walk.ts";
import type { Buffer, Register, Value } from "../ir.ts";
import { coordinateValue, type Context } from "./context.ts";

interface Lowered {
  readonly barriers: Buffer;
  phase: Register | undefined;
}

export class Turns {
  readonly #axes = new Map<Axis, Lowered>();

  /** Barriers for the axes along which some role takes turns. */
  declare(cx: Context, roles: readonly Role[]): void {
    for (const role of roles) {
      for (const axis of axesOf(role.body)) {
        if (this.#axes.has(axis)) continue;
        const barriers = cx.b.shared({ name: `${axis.name}_turns`, dtype: "i64", length: axis.size });
        this.#axes.set(axis, { barriers, phase: undefined });
      }
    }
  }

  /** By one thread of the block. */
  initialise(cx: Context): void {
    const { b } = cx;
    for (const [axis, { barriers }] of this.#axes) {
      for (let place = 0; place < axis.size; place += 1)
        b.instruction(
          "mbarrier.init",
          [],
          [{ buffer: barriers, index: b.i32(place) }, b.i32(warps(cx, axis))],
        );
    }
  }

  /** The phase that each thread of a role waits for next. */
  enter(cx: Context, ops: readonly TileOp[]): void {
    const { b } = cx;
    for (const axis of axesOf(ops)) {
      const isFirst = b.binary("eq", place(cx, axis), b.i32(0));
      // A phase that has not begun counts as the end of the one before.
      this.#of(axis).phase = b.var(b.select(isFirst, b.i32(1), b.i32(0)), `${axis.name}_turn`);
    }
  }

  take(cx: Context, axis: Axis, body: () => void): void {
    const { b } = cx;
    if (axis.size === 1) {
      body();
      return;
    }
    const { barriers, phase } = this.#of(axis);
    invariant(phase !== undefined, `turns along ${axis.name} are a role's`);
    const own = place(cx, axis);
    const now = b.get(phase);
    b.instruction("mbarrier.wait", [], [{ buffer: barriers, index: own }, now]);
    b.set(phase, b.binary("xor", now, b.i32(1)));
    body();
    const next = b.add(own, b.i32(1));
    const after = b.select(b.binary("eq", next, b.i32(axis.size)), b.i32(0), next);
    b.if(b.binary("eq", b.lane(), b.i32(0)), () =>
      b.instruction("mbarrier.arrive", [], [{ buffer: barriers, index: b.bound(after, 0, axis.size - 1) }]),
    );
  }

  #of(axis: Axis): Lowered {
    const lowered = this.#axes.get(axis);
    invariant(lowered !== undefined, `nobody takes turns along ${axis.name}`);
    return lowered;
  }
}

function place(cx: Context, axis: Axis): Value {
  return cx.common.get(axis) ?? coordinateValue(cx, axis);
}

/** Arrivals that hand a turn over: one of each warp. */
function warps(cx: Context, axis: Axis): number {
  invariant(axis.place.kind === "thread", "turns are taken along a thread axis");
  return axis.place.stride / cx.caps.subgroup;
}

function axesOf(ops: readonly TileOp[]): ReadonlySet<Axis> {
  const axes = new Set<Axis>();
  visitOps(ops, (op) => {
    if (op.kind === "turn" && op.axis.size > 1) axes.add(op.axis);
  });
  return axes;
}
