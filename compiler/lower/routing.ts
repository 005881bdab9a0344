/**
 * `dispatch` and `combine`. A dispatch node lays the rows of each expert together in blocks that belong to one
 * expert each; the rows themselves are then an ordinary loop over (block, row of the block) that gathers, and
 * combining is a sum over the choices that gathers back.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Builtin, TypedExpr } from "../check/typed.ts";
import { constant, floordiv, mul } from "../types/dim.ts";
import { dispatchRows as capacity } from "../tensor/arena.ts";
import { typeOf } from "../tensor/refs.ts";
import { sizeIn, type Frame, type Lowering } from "./frame.ts";
import { bindAxes, emitLoop, expertOf } from "./loops.ts";
import { tensorAt } from "./scopes.ts";
import { materialise, readBack, storageOf, storeElement, storeTogether } from "./tensors.ts";
import { elementAt, raggedAxis, type RaggedRows, type TensorValue, type Value } from "./value.ts";

type Call = Extract<TypedExpr, { kind: "builtin" }>;

function argument(expr: Call, k: number): TypedExpr {
  const arg = expr.args[k];
  invariant(arg !== undefined, `${expr.builtin.name} lacks argument ${k}`);
  return arg;
}

/** `(rows: A[E, R[E], D], plan)`. A row of padding is 0. */
export function dispatchRows(
  cx: Lowering,
  expr: Call,
  builtin: Extract<Builtin, { name: "dispatch" }>,
  frame: Frame,
): Value {
  const { arena, terms } = cx;
  const x = tensorAt(cx, argument(expr, 0), frame);
  const index = tensorAt(cx, argument(expr, 1), frame);
  const [tokens, choices] = index.axes;
  const width = x.axes[1];
  invariant(
    tokens !== undefined && choices !== undefined && width !== undefined,
    "dispatch of rows [N, D] by [N, K]",
  );
  const experts = sizeIn(cx, frame, builtin.experts);
  const stored = storeTogether(cx, index, expr.place);
  invariant(stored.outer.length === 0, "dispatch inside a loop");
  const node = arena.dispatch(stored.ref, experts.extent, cx.align);
  arena.setPlace(node, expr.place);
  const align = constant(cx.align);
  cx.fresh += 1;
  const rows: RaggedRows = {
    id: cx.fresh,
    by: experts.key,
    experts: experts.extent,
    align,
    blocks: floordiv(capacity(typeOf(stored.ref).shape, experts.extent, cx.align), align),
    most: mul(tokens.extent, choices.extent),
    expert: arena.ref(node, 2),
    start: arena.ref(node, 3),
    count: arena.ref(node, 4),
  };
  frame.ragged.set(builtin.instance, rows);
  const axes = [experts, raggedAxis(rows), width];
  const bound = bindAxes(
    cx,
    axes.map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const [block, row, d] = bound.variables;
  invariant(block !== undefined && row !== undefined && d !== undefined, "rows have three axes");
  const flat = terms.add(terms.mul(block.term, terms.dim(align)), row.term);
  const source = terms.read(arena.ref(node, 1), [flat]);
  const token = terms.floordiv(terms.apply("max", source, terms.i32(0)), terms.dim(choices.extent));
  const used = terms.apply("ge", source, terms.i32(0));
  const element = elementAt(terms, x, [token, d.term]);
  const zero = terms.constant(element.term.type, 0);
  const value = terms.select(terms.both(used, element.keep) ?? used, element.term, zero);
  const gathered = storeElement(cx, bound, value, storageOf(x), "rows", expr.place);
  cx.zeroPadded.set(gathered.ref, gathered.ref);
  return {
    kind: "record",
    fields: [
      { name: "rows", value: readBack(cx, x, gathered, axes, undefined, []) },
      { name: "plan", value: { kind: "plan", rows, position: arena.ref(node, 0), tokens, choices } },
    ],
  };
}

/** `combine(y, plan, weight)`: out[n, d] = sum over k of weight[n, k] times the row of (n, k); a copy that went nowhere counts 0. */
export function combineRows(cx: Lowering, expr: Call, frame: Frame): TensorValue {
  const { terms } = cx;
  const given = tensorAt(cx, argument(expr, 0), frame);
  const plan = cx.evaluate(cx, argument(expr, 1), frame);
  const weight = tensorAt(cx, argument(expr, 2), frame);
  invariant(plan.kind === "plan", "combine without a plan");
  const y = given.settled ? given : materialise(cx, given, undefined, expr.place);
  const rest = y.axes.slice(2);
  const bound = bindAxes(
    cx,
    [plan.tokens, ...rest].map((axis) => ({ name: undefined, axis, expert: undefined })),
  );
  const [n, ...others] = bound.indices;
  invariant(n !== undefined, "combine has a token axis");
  const k = terms.variable("k", plan.choices.extent);
  const position = terms.read(plan.position, [n, k.term]);
  const sent = terms.apply("ge", position, terms.i32(0));
  const flat = terms.apply("max", position, terms.i32(0));
  const block = terms.floordiv(flat, terms.dim(plan.rows.align));
  const expert = expertOf(terms, plan.rows, block);
  const row = elementAt(terms, y, [
    expert,
    terms.sub(flat, terms.read(plan.rows.start, [expert])),
    ...others,
  ]);
  const factor = elementAt(terms, weight, [n, k.term]);
  const product = terms.mul(factor.term, row.term);
  const keep = terms.both(terms.both(sent, row.keep), factor.keep) ?? sent;
  const node = emitLoop(cx, {
    axes: bound.variables,
    over: [k],
    carriers: [{ name: "sum", monoid: "sum", lift: terms.select(keep, product, terms.f32(0)) }],
    results: [{ value: cx.arena.carrier(0, "f32"), dtype: "f32" }],
    place: expr.place,
  });
  const ref = cx.arena.ref(node);
  cx.arena.setHint(ref, "combined");
  const kind = { dtype: "f32", written: false, scaling: undefined } as const;
  return readBack(cx, kind, { ref, outer: [] }, [plan.tokens, ...rest], undefined, []);
}
