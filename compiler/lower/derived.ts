/**
 * `derive g from f by reassociate { w into q, u after p }`: f's body where g is called, then each step as a rewrite
 * of the nodes that it made; `by cheaper` keeps f's where that takes less work. Names are told apart by the nodes that hold them, so the target of a step gets a node
 * of its own where its argument shares one.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { cannotReassociate } from "../diagnostics/lower.ts";
import type { DeriveStep, TypedBody, TypedFn } from "../check/typed.ts";
import type { Node, Ref } from "../tensor/ir.ts";
import { reachable } from "../tensor/scalars.ts";
import { isExact } from "./contractions.ts";
import type { FormCost, Frame, Lowering } from "./frame.ts";
import { memberOf } from "./members.ts";
import { materialise, settle } from "./tensors.ts";
import type { TensorValue, Value } from "./value.ts";

type Derived = Extract<TypedFn["body"], { kind: "derived" }>;

export function lowerDerived(
  cx: Lowering,
  body: Derived,
  frame: Frame,
  lowerBody: (cx: Lowering, body: TypedBody, frame: Frame) => Value,
): Value {
  invariant(body.from.body.kind === "body", "what is derived from has a body");
  const params = new Map(
    [...frame.params].map(([name, value]) => [name, standAlone(cx, body, frame, name, value)]),
  );
  const outside = new Set<Node>();
  for (const value of params.values()) for (const ref of refsOf(cx, value)) outside.add(ref.node);
  const inner: Frame = { ...frame, params };
  const plain = settle(cx, lowerBody(cx, body.from.body, inner), undefined, body.from.place);
  let value = plain;
  let locals = new Map([...inner.locals].map(([variable, local]) => [variable.name, local]));
  for (const step of body.steps) {
    const target = locals.get(step.target) ?? params.get(step.target);
    const factor =
      params.get(step.factor) ??
      (frame.self === undefined ? undefined : memberOf(cx, frame.self, step.factor));
    invariant(target !== undefined && factor !== undefined, "a step names what the function has");
    const roots = [value, ...locals.values()].flatMap((v) => refsOf(cx, v));
    const done = cx.forms.reassociate(cx.arena, roots, {
      factor: refsOf(cx, factor),
      where: step.where,
      target: valueRefs(cx, target),
      outside,
      rounding: isExact(frame.contraction) ? "exact" : "contraction",
    });
    if (done.kind === "refused") {
      refuse(cx, step, done.why);
      return value;
    }
    value = retargeted(cx, value, done.find);
    locals = new Map([...locals].map(([name, local]) => [name, retargeted(cx, local, done.find)]));
  }
  return taken(cx, body, frame, { plain, value, outside });
}

interface Both {
  readonly plain: Value;
  readonly value: Value;
  readonly outside: ReadonlySet<Node>;
}

/** The form that the rule asks for. Costs are found only where somebody needs them. */
function taken(cx: Lowering, body: Derived, frame: Frame, { plain, value, outside }: Both): Value {
  if (body.rule === "reassociate" && cx.derived === undefined) return value;
  const costOf = (form: Value): FormCost => cx.forms.costOfForm(cx.arena, refsOf(cx, form), outside);
  const cost = { from: costOf(plain), derived: costOf(value) };
  const isPlain = body.rule === "cheaper" && cx.forms.isCheaper(cost.from, cost.derived);
  cx.derived?.push({
    name: frame.fn.name,
    from: body.from.name,
    place: frame.fn.place,
    cost,
    taken: isPlain ? "from" : "derived",
  });
  return isPlain ? plain : value;
}

function refuse(cx: Lowering, step: DeriveStep, why: string): void {
  cx.report.add(cannotReassociate(step.factor, step.where, step.target, why, step.place));
}

/** The argument as it is, or with a node of its own where it is a step's target and another argument reads its node. */
function standAlone(cx: Lowering, body: Derived, frame: Frame, name: string, value: Value): Value {
  if (value.kind !== "tensor" || !body.steps.some((step) => step.target === name)) return value;
  const own = valueRefs(cx, value);
  const others = [...frame.params]
    .filter(([other]) => other !== name)
    .flatMap(([, other]) => refsOf(cx, other));
  return others.some((ref) => own.includes(ref)) ? materialise(cx, value, name, body.from.place) : value;
}

/** Every tensor that a value reads, keep bits and index arithmetic included. */
function refsOf(cx: Lowering, value: Value): readonly Ref[] {
  if (value.kind === "record") return value.fields.flatMap((f) => refsOf(cx, f.value));
  if (value.kind !== "tensor") return [];
  const { term, keep } = value.element;
  return readRefs(cx, keep === undefined ? [term] : [term, keep]);
}

/** The tensors of floats that make the value itself. */
function valueRefs(cx: Lowering, value: Value): readonly Ref[] {
  return value.kind === "tensor" ? readRefs(cx, [value.element.term], "f32") : [];
}

function readRefs(
  cx: Lowering,
  terms: readonly TensorValue["element"]["term"][],
  type?: "f32",
): readonly Ref[] {
  const reads = reachable(terms).flatMap((s) =>
    s.kind === "read" && (type === undefined || s.type === type) ? [cx.terms.tensorOf(s)] : [],
  );
  return [...new Set(reads)];
}

function retargeted(cx: Lowering, value: Value, find: (ref: Ref) => Ref): Value {
  if (value.kind === "record")
    return {
      kind: "record",
      fields: value.fields.map((f) => ({ name: f.name, value: retargeted(cx, f.value, find) })),
    };
  if (value.kind !== "tensor") return value;
  const { term, keep } = value.element;
  return {
    ...value,
    element: {
      term: cx.terms.retarget(term, find),
      keep: keep === undefined ? undefined : cx.terms.retarget(keep, find),
    },
  };
}
