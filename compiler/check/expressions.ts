/** Every kind of expression, to its own file; the short ones here. */
import type { Expr } from "../../grammar/ast.ts";
import { packMisplaced } from "../diagnostics/axes.ts";
import { planUnused } from "../diagnostics/linear.ts";
import { notAValue, unknownDim, unknownMember, unknownName } from "../diagnostics/names.ts";
import { badOperator, typeMismatch } from "../diagnostics/values.ts";
import { symbol } from "../types/dim.ts";
import {
  carried,
  classOf,
  findAxis,
  printAxis,
  printType,
  sameAxis,
  scalar,
  substituteType,
} from "./axes.ts";
import { axisTwice } from "../diagnostics/axes.ts";
import {
  applyScalars,
  dimExpr,
  floatLiteral,
  intLiteral,
  negate,
  operatorNames,
  tensorOf,
} from "./arithmetic.ts";
import { checkCall } from "./calls.ts";
import { type Context, errorExpr, fail, inner, placeIn, report } from "./context.ts";
import { broadcast, elementwise, indexExpr } from "./elementwise.ts";
import { planPaths, usePlans } from "./linear.ts";
import { checkFor } from "./loops.ts";
import { checkIndex } from "./reads.ts";
import { checkAs } from "./reshape.ts";
import { isCapital } from "./scope.ts";
import type { TypedExpr } from "./typed.ts";

export function checkExpr(cx: Context, e: Expr): TypedExpr {
  const place = placeIn(cx, e.span);
  switch (e.kind) {
    case "int":
      if (e.value >= 2n ** 63n)
        return fail(
          cx,
          place,
          typeMismatch(place, {
            found: "beyond 64 bits",
            wanted: "a number that i64 can hold",
            what: "this number",
          }),
        );
      return intLiteral(e.value, place);
    case "float":
      return floatLiteral(e.value, place);
    case "inf":
      return floatLiteral(Infinity, place);
    case "bool":
      return { kind: "literal", value: e.value, type: scalar("bool"), place };
    case "error":
      return errorExpr(place);
    case "paren":
      return checkExpr(cx, e.value);
    case "name":
      return checkName(cx, e.name.text, e);
    case "unary":
      return checkUnary(cx, e);
    case "binary":
      return checkBinary(cx, e);
    case "for":
      return checkFor(cx, e);
    case "if":
      return checkIf(cx, e);
    case "call":
      return checkCall(cx, e);
    case "index":
      return checkIndex(cx, e);
    case "field":
      return checkField(cx, e);
    case "as":
      return checkAs(cx, e);
    case "where":
      return checkWhere(cx, e);
    case "record":
      return checkRecord(cx, e);
  }
}

// ---------------------------------------------------------------- names and fields

function checkName(cx: Context, name: string, e: Expr): TypedExpr {
  const typed = nameUnused(cx, name, e);
  if (typed.kind === "local") usePlans(cx, typed.variable, "", typed.place);
  return typed;
}

/** What the name is, without counting it as used. */
function nameUnused(cx: Context, name: string, e: Expr): TypedExpr {
  const place = placeIn(cx, e.span);
  const local = cx.locals.get(name);
  if (local?.kind === "index") return indexExpr(local.variable, place);
  if (local?.kind === "const") return { ...local.value, place };
  if (local?.kind === "variable")
    return { kind: "local", variable: local.variable, type: local.variable.type, place };
  if (cx.module !== undefined) {
    const member = cx.module.header.types.get(name);
    if (member !== undefined) return { kind: "member", name, type: member.type, place };
    const own = cx.module.entity.consts.get(name);
    if (own !== undefined) return cx.constant(cx, own, place);
    if (cx.module.entity.fns.has(name)) return fail(cx, place, notAValue(place, name, "a function"));
  }
  const entity = cx.scope.names.get(name);
  if (entity?.kind === "const") return cx.constant(cx, entity, place);
  if (entity !== undefined)
    return fail(cx, place, notAValue(place, name, entity.kind === "fn" ? "a function" : `a ${entity.kind}`));
  if (!isCapital(name)) return fail(cx, place, unknownName(place, name, valueNames(cx)));
  if (cx.scope.ragged.has(name) || cx.bounds.has(name))
    return fail(cx, place, notAValue(place, name, cx.bounds.has(name) ? "a type" : "a ragged size"));
  if (!cx.useDim(name)) return fail(cx, place, unknownDim(place, name, cx.dimNames()));
  return dimExpr(symbol(name), place);
}

function* valueNames(cx: Context): Generator<string> {
  yield* cx.locals.names();
  yield* cx.module?.header.types.keys() ?? [];
  yield* cx.module?.entity.consts.keys() ?? [];
  for (const [name, entity] of cx.scope.names) if (entity.kind !== "module") yield name;
}

function checkField(cx: Context, e: Extract<Expr, { kind: "field" }>): TypedExpr {
  const { value, path, root } = fieldUnused(cx, e);
  if (value.kind === "error") return value;
  if (root !== undefined) usePlans(cx, root, path, value.place);
  return value;
}

interface FieldOf {
  readonly value: TypedExpr;
  readonly path: string;
  /** The variable that holds it, where one does. */
  readonly root: Extract<TypedExpr, { kind: "local" }>["variable"] | undefined;
}

function fieldUnused(cx: Context, e: Expr): FieldOf {
  const place = placeIn(cx, e.span);
  if (e.kind === "paren") return fieldUnused(cx, e.value);
  if (e.kind === "name") {
    const value = nameUnused(cx, e.name.text, e);
    return { value, path: "", root: value.kind === "local" ? value.variable : undefined };
  }
  if (e.kind !== "field") return { value: cx.expr(inner(cx), e), path: "", root: undefined };
  const base = fieldUnused(cx, e.value);
  const name = e.field.text;
  const { type } = base.value;
  if (type.kind === "error") return { value: errorExpr(place), path: "", root: undefined };
  const names =
    type.kind === "record"
      ? type.fields.map((field) => field.name)
      : type.kind === "module"
        ? type.module.params.map((param) => param.name)
        : [];
  const found =
    type.kind === "record"
      ? type.fields.find((field) => field.name === name)?.type
      : type.kind === "module"
        ? [...type.module.params, ...type.module.states].find((param) => param.name === name)?.type
        : undefined;
  if (found === undefined) {
    const own = placeIn(cx, e.field.span);
    return {
      value: fail(cx, own, unknownMember(own, name, printType(type), names)),
      path: "",
      root: undefined,
    };
  }
  // A plan that a field leaves behind in a value without a name can never be used.
  if (
    base.root === undefined &&
    planPaths(type).some((path) => path !== `.${name}` && !path.startsWith(`.${name}.`))
  )
    report(cx, planUnused(place, "plan"));
  const seen = type.kind === "module" ? substituteType(found, type.bindings) : found;
  return {
    value: { kind: "field", value: base.value, field: name, type: seen, place },
    path: `${base.path}.${name}`,
    root: base.root,
  };
}

function checkRecord(cx: Context, e: Extract<Expr, { kind: "record" }>): TypedExpr {
  const place = placeIn(cx, e.span);
  const fields = e.fields.map(({ name, value }) => ({ name: name.text, value: cx.expr(inner(cx), value) }));
  if (fields.some(({ value }) => value.type.kind === "error")) return errorExpr(place);
  return {
    kind: "record",
    fields,
    type: { kind: "record", fields: fields.map(({ name, value }) => ({ name, type: value.type })) },
    place,
  };
}

// ---------------------------------------------------------------- operators

function checkUnary(cx: Context, e: Extract<Expr, { kind: "unary" }>): TypedExpr {
  const place = placeIn(cx, e.span);
  const value = cx.expr(inner(cx), e.value);
  if (value.type.kind === "error") return value;
  return elementwise(cx, place, [value], ([v]) => {
    if (v === undefined) return errorExpr(place);
    return e.op === "-" ? negate(cx, place, v) : applyScalars(cx, place, "not", [v], "not");
  });
}

function checkBinary(cx: Context, e: Extract<Expr, { kind: "binary" }>): TypedExpr {
  const place = placeIn(cx, e.span);
  const next = inner(cx);
  // A long chain leans to the left: walked, so that its length costs no stack.
  const chain: Extract<Expr, { kind: "binary" }>[] = [];
  let first: Expr = e;
  while (first.kind === "binary") {
    chain.push(first);
    first = first.left;
  }
  let left = cx.expr(next, first);
  for (const link of chain.reverse()) {
    const right = cx.expr(next, link.right);
    const own = link === e ? place : placeIn(cx, link.span);
    left = applyOperator(cx, link.op, left, right, own);
  }
  return left;
}

function applyOperator(
  cx: Context,
  op: string,
  left: TypedExpr,
  right: TypedExpr,
  place: ReturnType<typeof placeIn>,
): TypedExpr {
  if (left.type.kind === "error" || right.type.kind === "error") return errorExpr(place);
  const fn = operatorNames[op];
  if (fn === undefined)
    return fail(
      cx,
      place,
      badOperator(
        place,
        op,
        `${printType(left.type)} and ${printType(right.type)}`,
        "write exp2(x), or x * x",
      ),
    );
  return elementwise(cx, place, [left, right], (values) => applyScalars(cx, place, fn, values, op));
}

function checkIf(cx: Context, e: Extract<Expr, { kind: "if" }>): TypedExpr {
  const place = placeIn(cx, e.span);
  const args = [e.condition, e.then, e.else].map((part) => cx.expr(inner(cx), part));
  if (args.some((arg) => arg.type.kind === "error")) return errorExpr(place);
  const [condition] = args;
  const type = condition === undefined ? undefined : tensorOf(condition);
  if (condition !== undefined && (type === undefined || type.axes.length > 0)) {
    return fail(
      cx,
      condition.place,
      typeMismatch(condition.place, {
        found: printType(condition.type),
        wanted: "one condition",
        what: "the condition of 'if'",
        help: "select(c, a, b) chooses element by element",
      }),
    );
  }
  return elementwise(cx, place, args, (values) => applyScalars(cx, place, "select", values, "if"));
}

function checkWhere(cx: Context, e: Extract<Expr, { kind: "where" }>): TypedExpr {
  const place = placeIn(cx, e.span);
  const value = cx.expr(inner(cx), e.value);
  const mask = cx.expr(inner(cx), e.mask);
  const [type, keep] = [tensorOf(value), tensorOf(mask)];
  if (value.type.kind === "error" || mask.type.kind === "error") return errorExpr(place);
  if (type === undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a number or a tensor",
        what: "what 'where' masks",
      }),
    );
  if (keep === undefined || classOf(keep.dtype, cx.bounds) !== "bool") {
    return fail(
      cx,
      mask.place,
      typeMismatch(mask.place, {
        found: printType(mask.type),
        wanted: "a condition",
        what: "the mask of 'where'",
      }),
    );
  }
  const twice = type.axes.find((axis) => keep.axes.length > 0 && findAxis(cx.known, type.axes, axis) === -2);
  if (twice !== undefined) return fail(cx, place, axisTwice(place, printAxis(twice), printType(type)));
  const lacking = keep.axes.filter((axis) => !type.axes.some((own) => sameAxis(cx.known, own, axis)));
  if (cx.pack && [...lacking, ...keep.axes].some((axis) => axis.kind === "pack")) {
    return fail(
      cx,
      place,
      packMisplaced(place, "this is a whole tensor inside 'for ...': index it with [...]"),
    );
  }
  const wide = lacking.length === 0 ? value : broadcast(cx, value, [...type.axes, ...lacking]);
  const base = tensorOf(wide) ?? { ...carried };
  const plain = type.scale !== undefined && type.axes.length > 0;
  if (plain)
    return fail(
      cx,
      value.place,
      badOperator(value.place, "where", printType(type), "dequantize(x) gives the f32 values"),
    );
  return { kind: "where", value: wide, mask, type: { ...base, masked: true }, place };
}
