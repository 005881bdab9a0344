/** Calls: of functions and methods with their bindings, of casts, scalar functions, reductions and built-ins. */
import type { CallExpr } from "../../grammar/ast.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { noGradientYet, noMeshYet } from "../diagnostics/directives.ts";
import { stateRepeated } from "../diagnostics/linear.ts";
import { notAFunction, unknownMember, unknownName } from "../diagnostics/names.ts";
import { argumentCount, badOperator, brackets, typeMismatch } from "../diagnostics/values.ts";
import { isFormat } from "../types/dtype.ts";
import { classOf, dtypeRef, printType } from "./axes.ts";
import { applyScalars, convert, scalarFunctions, tensorOf } from "./arithmetic.ts";
import { builtins } from "./builtins.ts";
import { checkPagedRead, checkPagedVisible } from "./paged.ts";
import { type Context, errorExpr, fail, inner, placeIn } from "./context.ts";
import { elementwise } from "./elementwise.ts";
import { callFn } from "./function-calls.ts";
import { checkReduction, isReduction } from "./loops.ts";
import type { DTypeRef, TensorType, TypedExpr } from "./typed.ts";

const notYet: Readonly<Record<string, "gradient" | "mesh">> = {
  grad: "gradient",
  vjp: "gradient",
  all_gather: "mesh",
  reduce_scatter: "mesh",
  send: "mesh",
  recv: "mesh",
};

export function checkCall(cx: Context, e: CallExpr): TypedExpr {
  const { callee } = e;
  if (callee.kind === "field") return checkMethod(cx, e, callee);
  const place = placeIn(cx, e.span);
  if (callee.kind === "call") {
    // `grad(f)(x)`: the inner call says what is missing.
    const value = cx.expr(inner(cx), callee);
    return value.kind === "error"
      ? value
      : fail(cx, place, notAFunction(place, "this", printType(value.type)));
  }
  if (callee.kind !== "name")
    return callee.kind === "error"
      ? errorExpr(place)
      : fail(cx, place, notAFunction(place, "this", "an expression"));
  return checkNamed(cx, e, callee.name.text, place);
}

function checkNamed(cx: Context, e: CallExpr, name: string, place: Place): TypedExpr {
  const own = placeIn(cx, e.callee.span);
  const local = cx.locals.get(name);
  if (local !== undefined) {
    if (local.kind === "variable" && local.variable.type.kind === "error") return errorExpr(place);
    const what =
      local.kind === "variable" &&
      local.variable.type.kind === "tensor" &&
      local.variable.type.axes.length > 0
        ? "a tensor"
        : "a value";
    return fail(cx, own, notAFunction(own, name, what));
  }
  const member = cx.module?.entity.fns.get(name);
  if (member !== undefined) return callFn(cx, e, member, undefined, undefined);
  const entity = cx.scope.names.get(name);
  if (entity?.kind === "fn") return callFn(cx, e, entity, undefined, undefined);
  if (entity !== undefined)
    return fail(cx, own, notAFunction(own, name, entity.kind === "const" ? "a const" : `a ${entity.kind}`));
  if (isFormat(name)) return checkCast(cx, e, dtypeRef(name), place);
  if (cx.bounds.has(name)) return checkCast(cx, e, { kind: "param", name }, place);
  if (isReduction(name) && (e.dims !== undefined || !scalarFunctions.has(name)))
    return checkReduction(cx, e, name);
  const arity = scalarFunctions.get(name);
  if (arity !== undefined) return checkScalar(cx, e, name, arity, place);
  const builtin = builtins.get(name);
  if (builtin !== undefined) return builtin(cx, e);
  const missing = Object.hasOwn(notYet, name) ? notYet[name] : undefined;
  if (missing !== undefined) return checkNotYet(cx, e, name, missing, own);
  return fail(cx, own, unknownName(own, name, callables(cx)));
}

function* callables(cx: Context): Generator<string> {
  yield* cx.module?.entity.fns.keys() ?? [];
  for (const [name, entity] of cx.scope.names) if (entity.kind === "fn") yield name;
  yield* scalarFunctions.keys();
  yield* ["sum", "prod", "any", "all", "mean", "argmax", "logsumexp"];
  yield* builtins.keys();
}

/** Names inside are checked, so that this is the last thing to mend. */
function checkNotYet(
  cx: Context,
  e: CallExpr,
  name: string,
  what: "gradient" | "mesh",
  place: Place,
): TypedExpr {
  for (const argument of e.args) {
    const isFn =
      argument.kind === "name" &&
      (cx.scope.names.get(argument.name.text)?.kind === "fn" ||
        cx.module?.entity.fns.has(argument.name.text));
    if (!isFn && cx.expr(inner(cx), argument).kind === "error") return errorExpr(place);
  }
  return fail(cx, place, what === "gradient" ? noGradientYet(place, name) : noMeshYet(place, `'${name}'`));
}

function checkScalar(cx: Context, e: CallExpr, name: string, arity: number, place: Place): TypedExpr {
  const args = e.args.map((argument) => cx.expr(inner(cx), argument));
  if (args.length !== arity) {
    return fail(
      cx,
      place,
      argumentCount(place, {
        callee: name,
        wanted: `${arity} argument${arity === 1 ? "" : "s"}`,
        found: args.length,
      }),
    );
  }
  if (args.some((arg) => arg.type.kind === "error")) return errorExpr(place);
  if (e.dims !== undefined)
    return fail(
      cx,
      place,
      brackets(place, `'${name}' takes no brackets`, `${name}(x) works element by element`),
    );
  return elementwise(cx, place, args, (values) => applyScalars(cx, place, name, values, name));
}

function checkCast(cx: Context, e: CallExpr, dtype: DTypeRef, place: Place): TypedExpr {
  const [argument, ...more] = e.args;
  if (argument === undefined || more.length > 0)
    return fail(
      cx,
      place,
      argumentCount(place, { callee: "a cast", wanted: "one value", found: e.args.length }),
    );
  const value = cx.expr(inner(cx), argument);
  const type = tensorOf(value);
  if (value.type.kind === "error") return value;
  if (type === undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a number or a tensor",
        what: "what is cast",
      }),
    );
  const to: TensorType = {
    kind: "tensor",
    dtype,
    axes: type.axes,
    scale: undefined,
    written: true,
    masked: false,
  };
  if (type.scale !== undefined && type.axes.length > 0) {
    return fail(
      cx,
      value.place,
      badOperator(value.place, "a cast", printType(type), "dequantize(x) gives the f32 values"),
    );
  }
  if (value.kind === "literal" && typeof value.value === "number" && classOf(dtype, cx.bounds) === "int") {
    return { kind: "cast", value, type: to, place };
  }
  const converted =
    value.kind === "literal" &&
    typeof value.value !== "boolean" &&
    !(dtype.kind === "dtype" && dtype.dtype === "bool")
      ? convert(cx, value, to)
      : value;
  if (
    converted !== value &&
    dtype.kind === "dtype" &&
    (dtype.dtype === "f32" || classOf(dtype, cx.bounds) === "int")
  )
    return converted;
  return { kind: "cast", value, type: to, place };
}

// ---------------------------------------------------------------- methods

function checkMethod(
  cx: Context,
  e: CallExpr,
  callee: Extract<CallExpr["callee"], { kind: "field" }>,
): TypedExpr {
  const place = placeIn(cx, e.span);
  const own = placeIn(cx, callee.field.span);
  const name = callee.field.text;
  const receiver = cx.expr(inner(cx), callee.value);
  switch (receiver.type.kind) {
    case "error":
      return errorExpr(place);
    case "paged":
      if (name === "read") return checkPagedRead(cx, e, receiver, receiver.type);
      if (name === "visible") return checkPagedVisible(cx, e, receiver, receiver.type);
      if (name === "append") return fail(cx, own, stateRepeated(own, "the cache"));
      return fail(cx, own, unknownMember(own, name, printType(receiver.type), ["append", "read", "visible"]));
    case "module": {
      const fn = cx.moduleFn(receiver.type.module, name);
      if (fn !== undefined) return callFn(cx, e, fn, receiver, receiver.type);
      return fail(
        cx,
        own,
        unknownMember(own, name, `module ${receiver.type.module.name}`, cx.moduleFns(receiver.type.module)),
      );
    }
    case "record":
    case "tensor":
    case "plan":
      return fail(cx, own, unknownMember(own, name, printType(receiver.type), []));
  }
}
