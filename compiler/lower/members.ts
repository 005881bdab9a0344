/** The inputs of the graph: parameters of an entry, and the parameters and states of modules, by their paths. */
import { InternalError, invariant } from "../diagnostics/diagnostic.ts";
import { pagesName } from "../check/paged-names.ts";
import type { BlockScaling, PagedType, TensorType, Type } from "../check/typed.ts";
import { ceildiv, constant, symbol, type Dim } from "../types/dim.ts";
import { storedAs, type DType, type Format } from "../types/dtype.ts";
import type { InputNode, Ref, Scalar } from "../tensor/ir.ts";
import { boundScope } from "./bindings.ts";
import { axesIn, elementType, extentOf, nameOf, type Lowering, type Scope } from "./frame.ts";
import { raggedInput } from "./ragged-border.ts";
import type { Terms } from "./terms.ts";
import { physicalIndex, type Stored } from "./tensors.ts";
import {
  tensorOf,
  variablesFor,
  type AxisValue,
  type CachePages,
  type CachePart,
  type CacheValue,
  type ModuleValue,
  type TensorValue,
  type Value,
} from "./value.ts";

export type InputRole = InputNode["role"];

export function memberOf(cx: Lowering, self: ModuleValue, name: string): Value {
  const known = self.members.get(name);
  if (known !== undefined) return known;
  const param = self.module.params.find((p) => p.name === name);
  const member = param ?? self.module.states.find((s) => s.name === name);
  invariant(member !== undefined, `module '${self.module.name}' has no member '${name}'`);
  const value = inputValue(
    cx,
    self.scope,
    member.type,
    self.prefix + name,
    param === undefined ? "state" : "param",
  );
  self.members.set(name, value);
  return value;
}

export function inputValue(cx: Lowering, scope: Scope, type: Type, path: string, role: InputRole): Value {
  switch (type.kind) {
    case "tensor":
      return tensorInput(cx, scope, type, path, role);
    case "paged":
      return cacheInput(cx, scope, type, path);
    case "module":
      return {
        kind: "module",
        module: type.module,
        prefix: `${path}.`,
        scope: boundScope(cx, scope, type.bindings),
        members: new Map(),
      };
    case "record":
      return {
        kind: "record",
        fields: type.fields.map((f) => ({
          name: f.name,
          value: inputValue(cx, scope, f.type, `${path}.${f.name}`, role),
        })),
      };
    default:
      throw new InternalError(`an input of kind ${type.kind}`);
  }
}

function tensorInput(
  cx: Lowering,
  scope: Scope,
  type: TensorType,
  path: string,
  role: InputRole,
): TensorValue {
  const element = elementType(scope, type.dtype);
  const scaling = type.scale ?? element.scale;
  const axes = axesIn(cx, scope, type.axes);
  if (axes.some((axis) => axis.ragged !== undefined))
    return raggedInput(cx, axes, path, element.dtype, (name, dtype, shape) =>
      input(cx, name, role, dtype, shape),
    );
  const codes = input(
    cx,
    path,
    role,
    storedAs(element.dtype),
    axes.map((axis) => axis.extent),
  );
  if (scaling === undefined) return tensorOf(cx.terms, codes, axes, element.dtype, true);
  const scales = input(cx, `${path}.scale`, role, "f32", scaleShape(axes, scaling));
  return scaledTensor(
    cx.terms,
    { ref: codes, outer: [] },
    { ref: scales, outer: [] },
    scaling,
    axes,
    element.dtype,
  );
}

export function input(cx: Lowering, name: string, role: InputRole, dtype: DType, shape: readonly Dim[]): Ref {
  const node = cx.arena.input(name, role, cx.arena.type(dtype, shape));
  cx.inputs.add(node);
  const ref = cx.arena.ref(node);
  cx.arena.setHint(ref, name);
  return ref;
}

/** One scale for each block over the last axes, a short block included. */
export function scaleShape(axes: readonly AxisValue[], scaling: BlockScaling): readonly Dim[] {
  const first = axes.length - scaling.block.length;
  return axes.map((axis, k) =>
    k < first ? axis.extent : ceildiv(axis.extent, constant(scaling.block[k - first] ?? 1)),
  );
}

/** Codes and scales as the tensor of their products. */
export function scaledTensor(
  terms: Terms,
  codes: Stored,
  scales: Stored,
  scaling: BlockScaling,
  axes: readonly AxisValue[],
  dtype: Format,
): TensorValue {
  const variables = variablesFor(terms, axes);
  const index = variables.map((v) => v.term);
  const read = (part: Stored, at: readonly Scalar[]): Scalar =>
    terms.read(part.ref, [...part.outer.map((v) => v.term), ...physicalIndex(terms, axes, at)]);
  const term = terms.mul(read(codes, index), read(scales, blockIndex(terms, index, scaling)));
  const whole = codes.outer.length === 0 && scales.outer.length === 0;
  const parts = whole ? { codes: codes.ref, scales: scales.ref } : undefined;
  return {
    kind: "tensor",
    axes,
    variables,
    element: { term, keep: undefined },
    dtype,
    written: true,
    settled: true,
    scaling,
    parts,
  };
}

export function blockIndex(terms: Terms, index: readonly Scalar[], scaling: BlockScaling): readonly Scalar[] {
  const first = index.length - scaling.block.length;
  return index.map((i, k) => (k < first ? i : terms.floordiv(i, terms.i32(scaling.block[k - first] ?? 1))));
}

/**
 * A cache is its pages, those of their scales, a table and a length. How many pages there are and how many of them a sequence may
 * have is the caller's choice, so these two sizes are symbols of their own.
 */
function cacheInput(cx: Lowering, scope: Scope, type: PagedType, path: string): CacheValue {
  const size = (dim: Dim): Dim => extentOf(cx, nameOf(scope, dim));
  const stem = path.replace(/\./g, "_");
  const [pages, slots] = [extentOf(cx, symbol(`${stem}_pages`)), extentOf(cx, symbol(`${stem}_slots`))];
  const [page, batch] = [size(type.page), size(type.batch)];
  const stored = (name: string, dtype: DType, width: Dim): CachePages => {
    const initial = input(cx, `${path}.${name}`, "state", dtype, [pages, page, width]);
    return { initial, now: initial };
  };
  const parts = type.parts.map((part, k): CachePart => {
    const name = pagesName(k, type.parts.length);
    const { dtype } = elementType(scope, part.dtype);
    const [width, scaling] = [size(part.width), part.scale];
    const codes = stored(name, storedAs(dtype), width);
    if (scaling === undefined) return { dtype, scaling, pages: codes, scales: undefined };
    const blocks = ceildiv(width, constant(scaling.block[0] ?? 1));
    return { dtype, scaling, pages: codes, scales: stored(`${name}.scale`, "f32", blocks) };
  });
  const table = input(cx, `${path}.table`, "state", "i32", [batch, slots]);
  const length = input(cx, `${path}.length`, "state", "i32", [batch]);
  const cache: CacheValue = { kind: "cache", parts, page, slots, table, initial: length, length };
  cx.caches.push(cache);
  return cache;
}
