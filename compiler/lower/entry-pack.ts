/**
 * What `...` stands for where a function is compiled by itself: axes that the request gives, or as many as an input
 * of known shape has there. An axis given by its size alone has a name that nobody can write.
 */
import type { Axis, Type, TypedFn } from "../check/typed.ts";
import { openEntry } from "../diagnostics/lower.ts";
import { constant, symbol } from "../types/dim.ts";
import { freshSymbol, sizeIn, type Lowering, type Scope } from "./frame.ts";
import type { AxisValue } from "./value.ts";

/** A size, or the name of one, for each axis. */
export type PackAxes = readonly (number | string)[];

/** Undefined after a report. `axes` are undefined where nothing says them. */
export function entryPack(
  cx: Lowering,
  fn: TypedFn,
  scope: Scope,
  axes: PackAxes | undefined,
): readonly AxisValue[] | undefined {
  if (!takesPack(fn)) return [];
  const refuse = (why: string, help: string): undefined => {
    cx.report.add(openEntry(fn.name, why, help, fn.place));
    return undefined;
  };
  if (axes === undefined)
    return refuse(
      "nothing says what ... stands for",
      "say which axes: --dims ...=4x128, or ...=BxS for sizes that stay open",
    );
  const taken = new Set([...fn.dims, ...fn.freeDims, ...(fn.module?.dims ?? [])]);
  const found: AxisValue[] = [];
  for (const axis of axes) {
    if (typeof axis === "number") {
      const name = freshSymbol(cx, "Lead");
      if (name.kind === "symbol") cx.extents.set(name.name, constant(axis));
      found.push(sizeIn(cx, scope, name));
    } else {
      if (taken.has(axis))
        return refuse(`'${axis}' is the name of another axis`, `give another name, such as ...=${axis}0`);
      taken.add(axis);
      found.push(sizeIn(cx, scope, symbol(axis)));
    }
  }
  return found;
}

/** Whether the signature has `...`. */
export function takesPack(fn: TypedFn): boolean {
  return [...fn.params.map(({ type }) => type), fn.result].some(hasPack);
}

function hasPack(type: Type): boolean {
  if (type.kind === "record") return type.fields.some((field) => hasPack(field.type));
  return type.kind === "tensor" && type.axes.some(isPack);
}

function isPack(axis: Axis): boolean {
  return axis.kind === "pack";
}

/** The sizes that the first input of known shape whose type has `...` has in its place. */
export function packToldBy(
  fn: TypedFn,
  shapes: ReadonlyMap<string, readonly number[]>,
): PackAxes | undefined {
  for (const { name, type } of fn.params) {
    const shape = shapes.get(name);
    if (shape === undefined || type.kind !== "tensor") continue;
    const at = type.axes.findIndex(isPack);
    const count = shape.length - (type.axes.length - 1);
    if (at >= 0 && count >= 0) return shape.slice(at, at + count);
  }
  return undefined;
}
