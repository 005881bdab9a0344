/** Typed trees by hand, so that lowering is tested apart from the parser and the checker. */
import type { Place } from "../../compiler/diagnostics/diagnostic.ts";
import { constant, symbol, type Dim } from "../../compiler/types/dim.ts";
import type { DType } from "../../compiler/types/dtype.ts";
import type {
  Axis,
  Bindings,
  DTypeRef,
  IndexVariable,
  ReduceOp,
  TensorType,
  Type,
  TypedExpr,
  TypedFn,
  TypedParam,
  TypedProgram,
  TypedStatement,
  Variable,
} from "../../compiler/check/typed.ts";

export const place: Place = { file: "hand.dsl", start: 0, end: 1 };

export function dimension(d: Dim | string | number): Dim {
  if (typeof d === "string") return symbol(d);
  return typeof d === "number" ? constant(d) : d;
}

export type AxisText = Dim | string | number | Axis;

export function axis(a: AxisText): Axis {
  if (typeof a === "object" && (a.kind === "pack" || a.kind === "ragged" || a.kind === "dim")) return a;
  return { kind: "dim", dim: dimension(a) };
}

export const pack: Axis = { kind: "pack" };

const types: readonly string[] = [
  "f32",
  "f16",
  "bf16",
  "e4m3",
  "e5m2",
  "i64",
  "i32",
  "u32",
  "i8",
  "u8",
  "bool",
];

export function tensor(
  dtype: string,
  axes: readonly AxisText[] = [],
  more: Partial<TensorType> = {},
): TensorType {
  const ref: DTypeRef = types.includes(dtype)
    ? { kind: "dtype", dtype: dtype as DType }
    : { kind: "param", name: dtype };
  return {
    kind: "tensor",
    dtype: ref,
    axes: axes.map(axis),
    scale: undefined,
    written: true,
    masked: false,
    ...more,
  };
}

/** A float that no type was written for. */
export const bare: TensorType = tensor("f32", [], { written: false });

export function variable(name: string, over: AxisText, by?: IndexVariable): IndexVariable {
  return { name, axis: axis(over), by };
}

export function at(v: IndexVariable): TypedExpr {
  return { kind: "index", variable: v, type: tensor("i32"), place };
}
export function number(value: number | bigint | boolean, dtype = "f32"): TypedExpr {
  return { kind: "literal", value, type: tensor(dtype), place };
}
export function local(v: Variable): TypedExpr {
  return { kind: "local", variable: v, type: v.type, place };
}
export function read(
  of: TypedExpr,
  indices: readonly (IndexVariable | TypedExpr | "...")[],
  more: { otherwise?: TypedExpr; gathers?: boolean } = {},
): TypedExpr {
  const type = of.type.kind === "tensor" ? { ...of.type, axes: [] } : bare;
  return {
    kind: "read",
    tensor: of,
    otherwise: more.otherwise,
    gathers: more.gathers ?? false,
    type,
    place,
    indices: indices.map((i) =>
      i === "..." ? { kind: "pack" } : { kind: "at", value: "axis" in i ? at(i) : i },
    ),
  };
}
export function apply(fn: string, ...args: readonly TypedExpr[]): TypedExpr {
  const first = args[fn === "select" ? 1 : 0]?.type;
  const compares = ["eq", "ne", "lt", "le", "gt", "ge"].includes(fn);
  const type = compares
    ? tensor("bool")
    : first?.kind === "tensor" &&
        first.dtype.kind === "dtype" &&
        ["i32", "bool", "i64"].includes(first.dtype.dtype)
      ? { ...first, axes: [] }
      : bare;
  return { kind: "apply", fn, args, type, place };
}
export function over(variables: readonly IndexVariable[], body: TypedExpr): TypedExpr {
  const inner = body.type.kind === "tensor" ? body.type : bare;
  return {
    kind: "for",
    variables,
    body,
    type: { ...inner, axes: [...variables.map((v) => v.axis), ...inner.axes] },
    place,
  };
}
export function reduce(op: ReduceOp, variables: readonly IndexVariable[], body: TypedExpr): TypedExpr {
  const type =
    op === "argmax"
      ? tensor("i32")
      : body.type.kind === "tensor" && body.type.dtype.kind === "dtype" && body.type.dtype.dtype !== "bf16"
        ? { ...body.type, axes: [] }
        : bare;
  return { kind: "reduce", op, variables, body, type, place };
}
export function cast(value: TypedExpr, type: TensorType): TypedExpr {
  return { kind: "cast", value, type, place };
}
export function where(value: TypedExpr, mask: TypedExpr): TypedExpr {
  return {
    kind: "where",
    value,
    mask,
    type: value.type.kind === "tensor" ? { ...value.type, masked: true } : bare,
    place,
  };
}
export function reshape(value: TypedExpr, axes: readonly AxisText[]): TypedExpr {
  return {
    kind: "reshape",
    value,
    type: value.type.kind === "tensor" ? { ...value.type, axes: axes.map(axis) } : bare,
    place,
  };
}
export function bind(
  name: string,
  value: TypedExpr,
): { readonly variable: Variable; readonly statement: TypedStatement } {
  const v: Variable = { name, type: value.type };
  return { variable: v, statement: { kind: "let", variables: [v], destructure: false, value, place } };
}
export function param(name: string, type: Type): TypedParam {
  return { name, mut: false, type, place };
}
export function call(
  callee: TypedFn,
  args: readonly TypedExpr[],
  bindings: Partial<Bindings>,
  type: Type,
): TypedExpr {
  const none: Bindings = {
    dims: new Map(),
    dtypes: new Map(),
    unwritten: new Set(),
    scales: new Map(),
    pack: undefined,
    ragged: new Map(),
  };
  return { kind: "call", callee, receiver: undefined, bindings: { ...none, ...bindings }, args, type, place };
}
export function fn(
  name: string,
  params: readonly TypedParam[],
  statements: readonly TypedStatement[],
  result: TypedExpr,
  more: Partial<TypedFn> = {},
): TypedFn {
  return {
    kind: "fn",
    name,
    file: "hand.dsl",
    doc: undefined,
    module: undefined,
    typeParams: [],
    dims: [],
    freeDims: [],
    params,
    result: result.type,
    requires: [],
    checks: [],
    body: { kind: "body", statements, result },
    place,
    ...more,
  };
}
export function program(...fns: readonly TypedFn[]): TypedProgram {
  return {
    file: "hand.dsl",
    fns,
    modules: [],
    numerics: [],
    schedules: [],
    dimValues: new Map(),
    pipelines: [],
  };
}
