/** Axes and types as values: comparison, substitution, printing. Nothing here reads syntax. */
import { type Dim, dimEquals, orderedKey, substitute, symbols } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import type { Format } from "../types/dtype.ts";
import { isFloat } from "../types/dtype.ts";
import { type Facts, proveEqual, simplify } from "../types/prover.ts";
import type { Known } from "./scope.ts";
import type { Axis, Bindings, BlockScaling, DTypeRef, TensorType, Type } from "./typed.ts";

export const errorType: Type = { kind: "error" };

export function dtypeRef(dtype: Format): DTypeRef {
  return { kind: "dtype", dtype };
}

/** A scalar that a type was written for. */
export function scalar(dtype: Format): TensorType {
  return { kind: "tensor", dtype: dtypeRef(dtype), axes: [], scale: undefined, written: true, masked: false };
}

/** The f32 that an unannotated float intermediate carries. */
export const carried: TensorType = { ...scalar("f32"), written: false };

export function dimAxis(dim: Dim): Axis {
  return { kind: "dim", dim };
}

export function sameDtype(a: DTypeRef, b: DTypeRef): boolean {
  return a.kind === "dtype"
    ? b.kind === "dtype" && a.dtype === b.dtype
    : b.kind === "param" && a.name === b.name;
}

export function sameScale(a: BlockScaling | undefined, b: BlockScaling | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.format === b.format && a.block.length === b.block.length && a.block.every((n, i) => n === b.block[i])
  );
}

/**
 * One axis, by name: canonical sizes that agree, with sums in the same order. A name whose value is a number is
 * its own axis among other names, and agrees with that number.
 */
export function sameAxis(known: Known, a: Axis, b: Axis): boolean {
  if (a === b) return true;
  if (a.kind === "pack" || b.kind === "pack") return a.kind === b.kind;
  if (a.kind === "ragged" || b.kind === "ragged") {
    return (
      a.kind === "ragged" &&
      b.kind === "ragged" &&
      a.instance === b.instance &&
      sameAxisDim(known, a.by, b.by)
    );
  }
  return sameAxisDim(known, a.dim, b.dim);
}

export function sameAxisDim(known: Known, a: Dim, b: Dim): boolean {
  if (a.kind === "symbol" && b.kind === "symbol" && a.name === b.name) return true;
  if (dimEquals(a, b)) return orderedKey(a) === orderedKey(b) || a.kind !== "sum" || hasConstant(a);
  if (symbols(a).size === 0 || symbols(b).size === 0) return proveEqual(known.sizes, a, b);
  const [left, right] = [simplified(known.axes, a), simplified(known.axes, b)];
  return dimEquals(left, right) || (hasDivision(left) && hasDivision(right) && proveEqual(known.axes, a, b));
}

/** `S + 1` and `1 + S` are not joined from parts. */
function hasConstant(d: Dim): boolean {
  return d.kind === "sum" && d.terms.some((term) => term.kind === "const");
}

function hasDivision(d: Dim): boolean {
  if (d.kind === "const" || d.kind === "symbol") return false;
  if (d.kind === "sum") return d.terms.some(hasDivision);
  if (d.kind === "product") return d.factors.some(hasDivision);
  return true;
}

function simplified(facts: Facts, d: Dim): Dim {
  return facts.values.size === 0 && facts.multiples.length === 0 ? d : simplify(facts, d);
}

/** Where `axis` stands among `axes`, once; -1 for nowhere, -2 where it stands more than once. */
export function findAxis(known: Known, axes: readonly Axis[], axis: Axis): number {
  const at = axes.findIndex((other) => sameAxis(known, other, axis));
  if (at < 0) return -1;
  return axes.slice(at + 1).some((other) => sameAxis(known, other, axis)) ? -2 : at;
}

// ---------------------------------------------------------------- classes

export type Class = "float" | "int" | "bool";

/** What a dtype is, a type parameter by its bound. */
export function classOf(ref: DTypeRef, bounds: ReadonlyMap<string, string>): Class {
  if (ref.kind === "param") return bounds.get(ref.name) === "int" ? "int" : "float";
  if (ref.dtype === "bool") return "bool";
  return isFloat(ref.dtype) ? "float" : "int";
}

// ---------------------------------------------------------------- substitution

export function substituteAxis(axis: Axis, by: Bindings): readonly Axis[] {
  switch (axis.kind) {
    case "pack":
      return by.pack ?? [axis];
    case "dim":
      return [dimAxis(substitute(axis.dim, by.dims))];
    case "ragged":
      return [
        {
          kind: "ragged",
          name: axis.name,
          instance: by.ragged.get(axis.instance) ?? axis.instance,
          by: substitute(axis.by, by.dims),
        },
      ];
  }
}

export function substituteType(type: Type, by: Bindings): Type {
  switch (type.kind) {
    case "tensor": {
      const dtype = type.dtype.kind === "param" ? (by.dtypes.get(type.dtype.name) ?? type.dtype) : type.dtype;
      const name = type.dtype.kind === "param" ? type.dtype.name : undefined;
      return {
        kind: "tensor",
        dtype,
        axes: type.axes.flatMap((axis) => substituteAxis(axis, by)),
        scale: name === undefined ? type.scale : (by.scales.get(name) ?? type.scale),
        written: type.written && !(name !== undefined && by.unwritten.has(name)),
        masked: type.masked,
      };
    }
    case "record":
      return {
        kind: "record",
        fields: type.fields.map(({ name, type: t }) => ({ name, type: substituteType(t, by) })),
      };
    case "paged": {
      const dim = (d: Dim): Dim => substitute(d, by.dims);
      return {
        kind: "paged",
        parts: type.parts.map(({ dtype, scale, width }) => ({
          dtype: dtype.kind === "param" ? (by.dtypes.get(dtype.name) ?? dtype) : dtype,
          scale,
          width: dim(width),
        })),
        page: dim(type.page),
        batch: dim(type.batch),
        length: dim(type.length),
      };
    }
    case "plan": {
      const dim = (d: Dim): Dim => substitute(d, by.dims);
      return {
        kind: "plan",
        rows: dim(type.rows),
        choices: dim(type.choices),
        experts: dim(type.experts),
        instance: by.ragged.get(type.instance) ?? type.instance,
      };
    }
    case "module":
      return { kind: "module", module: type.module, bindings: composeBindings(type.bindings, by) };
    case "error":
      return type;
  }
}

/** `inner` and then `outer`, as one. */
export function composeBindings(inner: Bindings, outer: Bindings): Bindings {
  const dtypes = new Map(
    [...inner.dtypes].map(([name, ref]) => [
      name,
      ref.kind === "param" ? (outer.dtypes.get(ref.name) ?? ref) : ref,
    ]),
  );
  const scales = new Map(inner.scales);
  const unwritten = new Set(inner.unwritten);
  for (const [name, ref] of inner.dtypes) {
    if (ref.kind !== "param") continue;
    const scale = outer.scales.get(ref.name);
    if (scale !== undefined) scales.set(name, scale);
    if (outer.unwritten.has(ref.name)) unwritten.add(name);
  }
  return {
    dims: new Map([...inner.dims].map(([name, dim]) => [name, substitute(dim, outer.dims)])),
    dtypes,
    scales,
    unwritten,
    pack: inner.pack?.flatMap((axis) => substituteAxis(axis, outer)),
    ragged: new Map(
      [...inner.ragged].map(([name, instance]) => [name, outer.ragged.get(instance) ?? instance]),
    ),
  };
}

export const noBindings: Bindings = {
  dims: new Map(),
  dtypes: new Map(),
  unwritten: new Set(),
  scales: new Map(),
  pack: undefined,
  ragged: new Map(),
};

/** Sizes that a type names, in order of appearance. */
export function dimsOfType(type: Type, into: Set<string>): void {
  switch (type.kind) {
    case "tensor":
      for (const axis of type.axes) {
        if (axis.kind === "dim") symbols(axis.dim, into);
        else if (axis.kind === "ragged") symbols(axis.by, into);
      }
      return;
    case "record":
      for (const field of type.fields) dimsOfType(field.type, into);
      return;
    case "paged":
      for (const dim of [type.batch, type.length, ...type.parts.map(({ width }) => width), type.page])
        symbols(dim, into);
      return;
    case "plan":
      for (const dim of [type.rows, type.choices, type.experts]) symbols(dim, into);
      return;
    case "module":
      for (const dim of type.bindings.dims.values()) symbols(dim, into);
      return;
    case "error":
  }
}

export function raggedOfType(type: Type, into: Set<string>): void {
  if (type.kind === "record") for (const field of type.fields) raggedOfType(field.type, into);
  else if (type.kind === "plan") into.add(type.instance);
  else if (type.kind === "tensor")
    for (const axis of type.axes) if (axis.kind === "ragged") into.add(axis.instance);
}

// ---------------------------------------------------------------- printing

export function printAxis(axis: Axis): string {
  switch (axis.kind) {
    case "pack":
      return "...";
    case "dim":
      return printDim(axis.dim);
    case "ragged":
      return `${axis.name}[${printDim(axis.by)}]`;
  }
}

export function printAxes(axes: readonly Axis[]): string {
  return axes.map(printAxis).join(", ");
}

export function printDtype(ref: DTypeRef): string {
  return ref.kind === "dtype" ? ref.dtype : ref.name;
}

function printScale(scale: BlockScaling | undefined): string {
  if (scale === undefined) return "";
  return ` @ (${scale.block.join(", ")})${scale.format === "ue8m0" ? " ue8m0" : ""}`;
}

export function printType(type: Type): string {
  switch (type.kind) {
    case "tensor": {
      const axes = type.axes.length === 0 ? "" : `[${printAxes(type.axes)}]`;
      const scale = type.axes.length === 0 ? undefined : type.scale;
      return `${printDtype(type.dtype)}${axes}${printScale(scale)}`;
    }
    case "record":
      return `(${type.fields.map(({ name, type: t }) => `${name}: ${printType(t)}`).join(", ")})`;
    case "paged": {
      const elements = type.parts.map(({ dtype, scale }) => printDtype(dtype) + printScale(scale));
      const sizes = [type.batch, type.length, ...type.parts.map(({ width }) => width)];
      return `Paged<${[...elements, printDim(type.page)].join(", ")}>[${sizes.map(printDim).join(", ")}]`;
    }
    case "plan":
      return `Plan[${[type.rows, type.choices, type.experts].map(printDim).join(", ")}]`;
    case "module":
      return type.module.name;
    case "error":
      return "something unknown";
  }
}
