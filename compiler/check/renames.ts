/** `x[S as T]`: the same elements under another axis. */
import type { IndexExpr, IndexPart } from "../../grammar/ast.ts";
import { axisTwice, badIndex, falseClaim, noSuchAxis } from "../diagnostics/axes.ts";
import { notAFunction } from "../diagnostics/names.ts";
import { typeMismatch } from "../diagnostics/values.ts";
import { symbol } from "../types/dim.ts";
import { printDim } from "../types/dim-text.ts";
import { proveEqual, refute } from "../types/prover.ts";
import { tensorOf } from "./arithmetic.ts";
import { dimAxis, findAxis, printType } from "./axes.ts";
import { claimLater, type Context, errorExpr, fail, placeIn } from "./context.ts";
import { isCapital } from "./scope.ts";
import { resolveDim } from "./sizes.ts";
import type { TypedExpr } from "./typed.ts";

export function checkRenames(cx: Context, e: IndexExpr, value: TypedExpr): TypedExpr {
  const place = placeIn(cx, e.span);
  if (value.type.kind === "error") return errorExpr(place);
  const type = tensorOf(value);
  if (type === undefined)
    return fail(
      cx,
      value.place,
      typeMismatch(value.place, {
        found: printType(value.type),
        wanted: "a tensor",
        what: "what is renamed",
      }),
    );
  if (e.else !== undefined) return fail(cx, place, notAFunction(place, "else", "no part of a rename"));
  let result = value;
  for (const part of e.indices) {
    if (part.kind !== "rename")
      return fail(
        cx,
        place,
        badIndex(placeIn(cx, part.span), "in a list of renames", "rename first: x[S as T][b, t]"),
      );
    result = rename(cx, result, part);
    if (result.kind === "error") return result;
  }
  return result;
}

function rename(cx: Context, value: TypedExpr, part: Extract<IndexPart, { kind: "rename" }>): TypedExpr {
  const place = placeIn(cx, part.span);
  const type = tensorOf(value);
  const from = resolveDim(cx, part.from, "floor");
  // A name that stands nowhere yet is brought into being, equal to the old one.
  const name = part.to.kind === "name" && isCapital(part.to.name.text) ? part.to.name.text : undefined;
  const binds =
    name !== undefined &&
    !cx.body.rigid.has(name) &&
    !cx.body.free.has(name) &&
    !cx.body.renamed.has(name) &&
    cx.scope.dims.get(name)?.value === undefined;
  const to = binds && name !== undefined ? symbol(name) : resolveDim(cx, part.to, "exact");
  if (from === undefined || to === undefined || type === undefined) return errorExpr(place);
  const at = findAxis(cx.known, type.axes, dimAxis(from));
  if (at === -1) return fail(cx, place, noSuchAxis(place, printDim(from), printType(type)));
  if (at === -2) return fail(cx, place, axisTwice(place, printDim(from), printType(type)));
  if (binds && name !== undefined) {
    if (cx.body.quiet === 0) {
      cx.body.renamed.add(name);
      cx.body.renames.push({ left: to, relation: "==", right: from });
    }
  } else if (!proveEqual(cx.known.sizes, from, to)) {
    const claim = { left: from, relation: "==", right: to } as const;
    const message = `${printDim(from)} == ${printDim(to)}`;
    if (refute(cx.known.sizes, claim))
      return fail(cx, place, falseClaim(place, { claim: message, why: "the sizes differ for all values" }));
    claimLater(cx, from, "==", to, message, place);
  }
  const axes = type.axes.map((axis, i) => (i === at ? dimAxis(to) : axis));
  return { kind: "rename", value, from, to, binds, type: { ...type, axes }, place };
}
