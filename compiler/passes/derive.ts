/**
 * Reassociation: another order for a sum of products whose factor is itself a sum of products.
 *
 *     y = sum n: q[n] * (sum l: c[l] * w[n, l])
 *       = sum l: (sum n: q[n] * w[n, l]) * c[l]          w into q
 *     o = sum t: p[t] * (sum l: c[t, l] * w[l])
 *       = sum l: (sum t: p[t] * c[t, l]) * w[l]          w after p
 *
 * Both are distributivity and an exchange of sums. The loop that holds the product is expanded to
 * `sum over variables of a product of terms`, through the loops between it and the factor; the terms are put into
 * two groups, and what is summed in one group alone becomes a loop of its own. Typed roundings between the factor
 * and the product go (the rewrite holds rounding apart), and the inner sum is rounded as any contraction's factor
 * is. Keep bits stand with the group that is summed where they vary. What does not fit is refused with the reason.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dtypes, storedAs, type DType } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import { sameRef, typeOf } from "../tensor/refs.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import type { Graph, LoopAxis, LoopNode, Node, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { reachable, rewriteScalars } from "../tensor/scalars.ts";

export interface Reassociation {
  /** The weight that moves: one ref, or codes and scales. */
  readonly factor: readonly Ref[];
  readonly where: "into" | "after";
  readonly target: readonly Ref[];
  /** Nodes that came from outside what is rewritten: nothing below them is looked at. */
  readonly outside: ReadonlySet<Node>;
  /** `exact` where `numerics` says `contract: f32`. */
  readonly rounding: "contraction" | "exact";
}

export type Reassociated =
  | { readonly kind: "done"; readonly find: (ref: Ref) => Ref }
  | { readonly kind: "refused"; readonly why: string };

/** Rewrites every sum below `roots` that multiplies the target with what the factor makes. */
export function reassociate(arena: Arena, roots: readonly Ref[], step: Reassociation): Reassociated {
  const nodes = nodesBelow(roots, step.outside);
  const made = new Set(nodes.filter((node) => readsAny(node, step.factor)));
  for (const node of nodes) if (node.inputs.some((input) => made.has(input.node))) made.add(node);
  const replacements = new Map<Node, Node>();
  let why = "no sum multiplies the two";
  for (const node of nodes) {
    if (node.kind !== "loop" || !isSum(node)) continue;
    const product = expand(arena, node, step, made);
    if (!product.terms.some((term) => reads(term, product.inputs, step.target))) continue;
    if (!product.terms.some((term) => reads(term, product.inputs, step.factor))) {
      if (product.terms.some((term) => readsMade(term, product.inputs, made)))
        why = "between them stands more than sums of products";
      continue;
    }
    const regrouped = regroup(arena, node, product, step);
    if (typeof regrouped === "string") why = regrouped;
    else replacements.set(node, regrouped);
  }
  if (replacements.size === 0) return { kind: "refused", why };
  return replaceNodes(arena, roots, replacements);
}

function replaceNodes(
  arena: Arena,
  roots: readonly Ref[],
  replacements: ReadonlyMap<Node, Node>,
): Reassociated {
  const graph: Graph = {
    name: "derived",
    inputs: [],
    results: roots.map((value, k) => ({ name: String(k), value })),
    updates: [],
    dims: [],
    checks: [],
  };
  const used = new Set<Node>();
  const rewritten = rewriteGraph(arena, graph, (node) => {
    const by = replacements.get(node);
    if (by === undefined) return undefined;
    used.add(node);
    return node.types.map((_, output) => arena.ref(by, output));
  });
  if (used.size < replacements.size) return { kind: "refused", why: "one of the sums depends on another" };
  const find = (ref: Ref): Ref => {
    const at = roots.findIndex((root) => sameRef(root, ref));
    return rewritten.results[at]?.value ?? ref;
  };
  return { kind: "done", find };
}

// ---------------------------------------------------------------- expansion

/** `sum over variables of (every keep holds ? product of terms : 0)`; axis numbers are those of the loop, then new ones. */
interface Product {
  readonly variables: { readonly axis: number; readonly extent: LoopAxis }[];
  readonly terms: Scalar[];
  readonly keeps: Scalar[];
  readonly inputs: Ref[];
}

function isSum(node: LoopNode): boolean {
  const [carrier] = node.carriers;
  return (
    carrier !== undefined &&
    node.carriers.length === 1 &&
    carrier.monoid === "sum" &&
    carrier.lift.type === "f32" &&
    node.results.every((r) => r.axes.length === node.axes.length)
  );
}

function expand(arena: Arena, node: LoopNode, step: Reassociation, made: ReadonlySet<Node>): Product {
  const first = node.axes.length;
  const product: Product = {
    variables: node.over.map((extent, k) => ({ axis: first + k, extent })),
    terms: [],
    keeps: [],
    inputs: [...node.inputs],
  };
  const lift = node.carriers[0]?.lift;
  invariant(lift !== undefined, "a sum has a carrier");
  const work = [lift];
  for (let term = work.pop(); term !== undefined; term = work.pop()) {
    const parts = expandTerm(arena, term, product, step, made, first);
    if (parts === undefined) product.terms.push(term);
    else for (const part of [...parts].reverse()) work.push(part);
  }
  return product;
}

/** The factors that a term is the product of, once keep bits and new variables are noted; undefined where it is one. */
function expandTerm(
  arena: Arena,
  term: Scalar,
  product: Product,
  step: Reassociation,
  made: ReadonlySet<Node>,
  axes: number,
): readonly Scalar[] | undefined {
  if (term.kind === "apply" && term.fn === "mul") return term.args;
  if (term.kind === "apply" && term.fn === "select") {
    const [keep, value, otherwise] = term.args;
    if (keep === undefined || value === undefined || otherwise?.kind !== "const" || otherwise.value !== 0)
      return undefined;
    // A factor that is 0 where it has no element stays one: it is then read as it lies.
    if (!readsMade(value, product.inputs, made)) return undefined;
    product.keeps.push(keep);
    return [value];
  }
  if (!readsMade(term, product.inputs, made)) return undefined;
  // The target may have been made with the factor too, by an earlier step; it stands as it is, rounded or not.
  if (isTarget(term, product.inputs, step)) return undefined;
  if (term.kind === "round") return [term.arg];
  if (term.kind !== "read" || term.bounds !== "proved") return undefined;
  const ref = product.inputs[term.input];
  if (ref === undefined || ref.node.kind !== "loop" || step.outside.has(ref.node)) return undefined;
  return expandLoop(arena, ref.node, ref.output, term.index, product, axes);
}

function isTarget(term: Scalar, inputs: readonly Ref[], { target }: Reassociation): boolean {
  const bare = term.kind === "round" ? term.arg : term;
  const ref = bare.kind === "read" ? inputs[bare.input] : undefined;
  return ref !== undefined && target.some((one) => sameRef(one, ref));
}

/** The body of a pointwise loop or a sum at an index, in the product's numbering. */
function expandLoop(
  arena: Arena,
  node: LoopNode,
  output: number,
  index: readonly Scalar[],
  product: Product,
  axes: number,
): readonly Scalar[] | undefined {
  const result = node.results[output];
  if (result === undefined || result.axes.length !== node.axes.length) return undefined;
  const [carrier] = node.carriers;
  const bare = result.value.kind === "round" ? result.value.arg : result.value;
  const body = carrier === undefined ? result.value : carrier.lift;
  if (carrier !== undefined && (!isSum(node) || bare.kind !== "carrier")) return undefined;
  const by = new Map<number, Scalar>();
  result.axes.forEach((axis, k) => {
    const at = index[k];
    if (at !== undefined) by.set(axis, at);
  });
  node.over.forEach((extent, k) => {
    const axis = axes + product.variables.length;
    product.variables.push({ axis, extent });
    by.set(node.axes.length + k, arena.axis(axis));
  });
  return [moved(arena, body, by, node.inputs, product.inputs)];
}

/** A body with terms in place of its axes, reading from another list of inputs. */
function moved(
  arena: Arena,
  body: Scalar,
  by: ReadonlyMap<number, Scalar>,
  from: readonly Ref[],
  to: Ref[],
): Scalar {
  const [out] = rewriteScalars(arena, [body], (s) => {
    if (s.kind === "axis") return by.get(s.axis) ?? s;
    if (s.kind !== "read") return s;
    const ref = from[s.input];
    invariant(ref !== undefined, "a read of no input");
    return arena.read(to, ref, s.index, s.bounds, s.otherwise);
  });
  return out ?? body;
}

// ---------------------------------------------------------------- regrouping

function regroup(arena: Arena, node: LoopNode, product: Product, step: Reassociation): Node | string {
  const { terms, keeps, variables, inputs } = product;
  const ofFactor = (term: Scalar): boolean => reads(term, inputs, step.factor);
  const within = terms.filter((term) =>
    step.where === "into" ? ofFactor(term) || reads(term, inputs, step.target) : !ofFactor(term),
  );
  const without = terms.filter((term) => !within.includes(term));
  const outer = axesOf(without);
  const inner = variables.filter(({ axis }) => !outer.has(axis) && axesOf(within).has(axis));
  const rest = variables.filter((v) => !inner.includes(v));
  if (without.length === 0) return "the product has no other factor";
  if (inner.length === 0) return "every axis that is summed varies in the rest of the product too";
  if (rest.length === 0) return "no axis is left to sum after it";
  const isInner = (scalar: Scalar): boolean =>
    [...axesOf([scalar])].some((axis) => inner.some((v) => v.axis === axis));
  const sum = innerSum(arena, node, product, within, keeps.filter(isInner), inner);
  const rounding = step.rounding === "exact" ? undefined : narrowest(without, inputs);
  const first = rounding === undefined ? sum : arena.round(rounding, sum);
  const lift = masked(
    arena,
    [first, ...without].reduce((a, b) => arena.apply("mul", a, b)),
    keeps.filter((keep) => !isInner(keep)),
  );
  const order = [...node.axes.keys(), ...rest.map((v) => v.axis)];
  const made = arena.loop({
    axes: node.axes,
    over: rest.map((v) => v.extent),
    carriers: [
      {
        name: node.carriers[0]?.name ?? "sum",
        monoid: "sum",
        lift: renumbered(arena, lift, order),
        every: node.carriers[0]?.every,
      },
    ],
    results: node.results,
    inputs,
  });
  const place = arena.place(node);
  if (place !== undefined) arena.setPlace(made, place);
  return made;
}

/** The sum of one group as a loop of its own, read back in the product's numbering. */
function innerSum(
  arena: Arena,
  node: LoopNode,
  product: Product,
  within: readonly Scalar[],
  keeps: readonly Scalar[],
  inner: Product["variables"],
): Scalar {
  const body = masked(
    arena,
    within.reduce((a, b) => arena.apply("mul", a, b)),
    keeps,
  );
  const over = new Set(inner.map((v) => v.axis));
  const parallel = [...axesOf([body])].filter((axis) => !over.has(axis)).sort((a, b) => a - b);
  const axes = parallel.map((axis): LoopAxis => {
    const own = node.axes[axis] ?? product.variables.find((v) => v.axis === axis)?.extent;
    invariant(own !== undefined, "an axis of the product");
    return own;
  });
  const loop = arena.loop({
    axes,
    over: inner.map((v) => v.extent),
    carriers: [
      {
        name: "sum",
        monoid: "sum",
        lift: renumbered(arena, body, [...parallel, ...inner.map((v) => v.axis)]),
        every: node.carriers[0]?.every,
      },
    ],
    results: [{ value: arena.carrier(0, "f32"), dtype: "f32", axes: axes.map((_, k) => k) }],
    inputs: product.inputs,
  });
  const place = arena.place(node);
  if (place !== undefined) arena.setPlace(loop, place);
  return arena.read(
    product.inputs,
    arena.ref(loop),
    parallel.map((axis) => arena.axis(axis)),
  );
}

function masked(arena: Arena, value: Scalar, keeps: readonly Scalar[]): Scalar {
  return keeps.reduce((inside, keep) => arena.apply("select", keep, inside, arena.f32(0)), value);
}

function renumbered(arena: Arena, body: Scalar, order: readonly number[]): Scalar {
  const by = new Map(order.map((axis, k) => [axis, arena.axis(k)]));
  return rewriteScalars(arena, [body], (s) => (s.kind === "axis" ? (by.get(s.axis) ?? s) : s))[0] ?? body;
}

/** What the inner sum, for which no type was written, rounds to beside these factors. */
function narrowest(terms: readonly Scalar[], inputs: readonly Ref[]): DType | undefined {
  let best: DType | undefined;
  for (const scalar of reachable(terms)) {
    const dtype =
      scalar.kind === "round"
        ? storedAs(scalar.to)
        : scalar.kind === "read" && scalar.type === "f32"
          ? readType(scalar, inputs)
          : undefined;
    if (dtype === undefined || dtypes[dtype].bytes >= 4) continue;
    best = dtypes[dtype].bytes === 1 ? "bf16" : dtype;
  }
  return best;
}

function readType(read: ScalarRead, inputs: readonly Ref[]): DType | undefined {
  const ref = inputs[read.input];
  return ref === undefined ? undefined : typeOf(ref).dtype;
}

// ---------------------------------------------------------------- what is read

function nodesBelow(roots: readonly Ref[], outside: ReadonlySet<Node>): Node[] {
  const seen = new Set<Node>();
  const stack = roots.map((root) => root.node);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (seen.has(node) || outside.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) stack.push(input.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

function readsAny(node: Node, refs: readonly Ref[]): boolean {
  return node.inputs.some((input) => refs.some((ref) => sameRef(ref, input)));
}

function reads(term: Scalar, inputs: readonly Ref[], refs: readonly Ref[]): boolean {
  return reachable([term]).some((s) => {
    const ref = s.kind === "read" ? inputs[s.input] : undefined;
    return ref !== undefined && refs.some((r) => sameRef(r, ref));
  });
}

function readsMade(term: Scalar, inputs: readonly Ref[], made: ReadonlySet<Node>): boolean {
  return reachable([term]).some((s) => {
    const ref = s.kind === "read" ? inputs[s.input] : undefined;
    return ref !== undefined && made.has(ref.node);
  });
}

function axesOf(terms: readonly Scalar[]): ReadonlySet<number> {
  return new Set(reachable(terms).flatMap((s) => (s.kind === "axis" ? [s.axis] : [])));
}
