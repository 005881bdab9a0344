/**
 * Scales the factors of contractions by block where `numerics` allows it, it pays, and the declared bound holds:
 *
 *     %y = loop n, f over d { sum: %x[n, d] * %w[f, d];  yield bf16[n, f]: sum }
 *  =>
 *     %s, %q = scales and e4m3 codes of %x, by 1 x 128;  %t, %r = those of %w, by 128 x 128
 *     %y = loop n, f over d {
 *       sum every 128: %q[n, d] * %s[n, d div 128] * (%r[f, d] * %t[f div 128, d div 128])
 *       yield bf16[n, f]: sum
 *     }
 *
 * A contraction of a weight with an activation is scaled: one factor comes from parameters alone, or, in a graph that has
 * none, is an argument as it stands. Not scaled are those whose result an exponential, a comparison or an order is made
 * of (attention's scores, a router, a loss), whose factor an exponential makes, or whose result is handed out in f32.
 */
import type { Arena } from "../tensor/arena.ts";
import type { BlockScaled, ScaledFactors } from "../tensor/block-scales.ts";
import type { Place } from "../diagnostics/diagnostic.ts";
import { outputsOfNode, rewriteGraph, topological } from "../tensor/graphs.ts";
import type { Graph, LoopNode, Node, Scalar, ScalarRead } from "../tensor/ir.ts";
import { usualRun } from "../tensor/narrow-sums.ts";
import { typeOf } from "../tensor/refs.ts";
import { constant, mod } from "../types/dim.ts";
import { dtypes, mantissaOf, storedAs } from "../types/dtype.ts";
import { FactorCriteria } from "./factor-criteria.ts";
import { axesOf, isContraction } from "./loops.ts";
import { scaled, type Factor } from "./scaled-loop.ts";
import { Sizes } from "./sizes.ts";

export interface FactorDecision {
  readonly node: Node;
  readonly asked: ScaledFactors;
  /** Undefined: its factors are scaled. */
  readonly why: string | undefined;
  /** How far results may be off, as a part of the sum of their terms' magnitudes. */
  readonly error: number | undefined;
  /** What is wrong is the declared bound. */
  readonly isBound: boolean;
}

/** A decision for a reader. */
export interface ExplainedContraction {
  /** The source's name of the value; undefined: it has none. */
  readonly name: string | undefined;
  readonly place: Place | undefined;
  /** The factors' types, as the source writes them. */
  readonly factors: string;
  readonly why: string | undefined;
  readonly error: number | undefined;
}

export function explainedContraction(
  arena: Arena,
  { node, asked, why, error }: FactorDecision,
): ExplainedContraction {
  const textOf = ({ dtype, block, format }: BlockScaled): string =>
    `${dtype} @ (${block.join(", ")})${format === "f32" ? "" : ` ${format}`}`;
  const factors = `${textOf(asked.left)}, ${textOf(asked.right)}`;
  return { name: arena.hint(arena.ref(node)), place: arena.place(node), factors, why, error };
}

export interface ScaledGraph {
  readonly graph: Graph;
  readonly decisions: readonly FactorDecision[];
}

/** `asked`: by the contraction's node, what `numerics` allows. */
export function scaleFactors(
  arena: Arena,
  graph: Graph,
  asked: ReadonlyMap<Node, ScaledFactors>,
): ScaledGraph {
  if (asked.size === 0) return { graph, decisions: [] };
  const cx = { arena, criteria: new FactorCriteria(graph), sizes: new Sizes() };
  const decisions: FactorDecision[] = [];
  const plans = new Map<Node, Plan>();
  for (const node of topological(graph)) {
    const wanted = asked.get(node);
    if (wanted === undefined || node.kind !== "loop" || !isContraction(node)) continue;
    const plan = planOf(cx, node, wanted);
    const found =
      typeof plan === "string" ? { why: plan, isBound: false, error: undefined } : heldTo(plan, wanted);
    decisions.push({ node, asked: wanted, ...found });
    if (typeof plan !== "string" && found.why === undefined) plans.set(node, plan);
  }
  const made = rewriteGraph(arena, graph, (node, original) => {
    const plan = plans.get(original);
    return plan === undefined || node.kind !== "loop"
      ? undefined
      : outputsOfNode(arena, scaled(arena, node, plan));
  });
  return { graph: made, decisions };
}

interface Plan {
  readonly factors: readonly [Factor, Factor];
  readonly run: number;
  readonly terms: number;
}

interface Deciding {
  readonly arena: Arena;
  readonly criteria: FactorCriteria;
  readonly sizes: Sizes;
}

/** Or why the factors stay as they are. */
function planOf({ criteria, sizes }: Deciding, node: LoopNode, asked: ScaledFactors): Plan | string {
  const [carrier, second] = node.carriers;
  const pair = carrier === undefined || second !== undefined ? undefined : coresOf(carrier.lift);
  if (carrier === undefined || pair === undefined) return "it is no sum of products of two tensors";
  const makers = pair.map((read) => node.inputs[read.input]?.node);
  const [left, right] = makers;
  if (left === undefined || right === undefined) return "it is no sum of products of two tensors";
  const isWeight = [left, right].map((maker) =>
    criteria.hasParameters ? criteria.isParameter(maker) : maker.kind === "input",
  );
  if (criteria.hasParameters && isWeight[0] === true && isWeight[1] === true)
    return "both factors are parameters, and their product is computed once";
  if (isWeight[0] !== true && isWeight[1] !== true) return "neither factor is a weight";
  // The first type is the activation's. Of two arguments the second one is taken for the weight.
  const weight = isWeight[1] === true ? 1 : 0;
  const [activation, parameter] = weight === 1 ? pair : ([pair[1], pair[0]] as const);
  const shared = axesOf(activation) & axesOf(parameter) & (2 ** node.axes.length - 1);
  if (!criteria.hasParameters && shared !== 0) return "its factors share an axis that is not summed";
  if ([left, right].some((maker) => criteria.isExponential(maker)))
    return "an exponential makes one of its factors";
  const use = criteria.use(node);
  if (use !== undefined) return use;
  const factors = [
    { read: activation, type: asked.left },
    { read: parameter, type: asked.right },
  ].map(({ read, type }): Factor | string => {
    const own = { read, type, along: undefined };
    const widths = widthsOf(node, read.index, own);
    if (typeof widths !== "string") return { ...own, widths };
    // What is read in another order, or by an index, is laid along the loop's axes as it is quantised.
    const along = [...node.axes, ...node.over].flatMap((_, k) =>
      ((axesOf(read) >> k) & 1) === 1 ? [k] : [],
    );
    const laid = widthsOf(node, along, own);
    return typeof laid === "string" ? laid : { read, type, along, widths: laid };
  });
  const [a, b] = factors;
  if (typeof a === "string" || a === undefined) return a ?? "";
  if (typeof b === "string" || b === undefined) return b ?? "";
  const terms = sizes.points(node.over);
  const loss = costOf(node, [a, b], criteria, sizes);
  if (loss > 0) return `it does not pay: about ${(loss * 1e6).toPrecision(2)} us more`;
  return { factors: [a, b], run: carrier.every ?? usualRun, terms };
}

/** The two tensors that are multiplied, but for conversions. */
function coresOf(lift: Scalar): readonly [ScalarRead, ScalarRead] | undefined {
  if (lift.kind !== "apply" || lift.fn !== "mul") return undefined;
  const [a, b] = lift.args.map(coreOf);
  return a === undefined || b === undefined ? undefined : [a, b];
}

function coreOf(s: Scalar): ScalarRead | undefined {
  if (s.kind === "round" || (s.kind === "cast" && s.to === "f32")) return coreOf(s.arg);
  return s.kind === "read" && s.type === "f32" && s.bounds !== "else" ? s : undefined;
}

/** A block's extents along the tensor's axes: the type's last along the sum, the one before along the factor's side. */
function widthsOf(
  node: LoopNode,
  index: readonly (Scalar | number)[],
  { read, type: { block, dtype } }: Pick<Factor, "read" | "type">,
): readonly number[] | string {
  const ref = node.inputs[read.input];
  const stored = ref === undefined ? undefined : typeOf(ref).dtype;
  if (stored === undefined || dtypes[stored].bytes <= dtypes[storedAs(dtype)].bytes)
    return "a factor is that narrow already";
  const [across, along] = block.length === 1 ? [1, block[0] ?? 1] : [block[0] ?? 1, block[1] ?? 1];
  const last = node.axes.length + node.over.length - 1;
  const axes = index.map((at) => (typeof at === "number" ? at : at.kind === "axis" ? at.axis : -1));
  const summed = axes.indexOf(last);
  const side = axes.findLastIndex((axis) => axis >= 0 && axis < node.axes.length);
  const extent = node.over.at(-1)?.extent;
  if (summed < 0 || extent === undefined || (across > 1 && side < 0))
    return "its blocks do not lie along the sum";
  const rest = mod(extent, constant(along));
  if (node.over.length > 1 && !(rest.kind === "const" && rest.value === 0))
    return `blocks of ${along} would reach over the end of an axis that is summed with others`;
  if (extent.kind === "const" && extent.value < along)
    return `its sum has ${extent.value} terms, less than a block`;
  return axes.map((_, k) => (k === summed ? along : k === side ? across : 1));
}

/**
 * FLOP for each byte of memory that a machine does with 16-bit products; with 8-bit ones twice as many (NVIDIA's H200:
 * 989 TFLOP/s, 4.8 TB/s). The same for all targets, so that a program means the same on all of them.
 */
const machine = { flops: 989e12, bandwidth: 4.8e12 } as const;

/** Seconds that scaled factors take more, with the quantisation of the activation; below 0: they pay. */
function costOf(
  node: LoopNode,
  [activation, weight]: readonly [Factor, Factor],
  criteria: FactorCriteria,
  sizes: Sizes,
): number {
  const flops = 2 * sizes.points([...node.axes, ...node.over]);
  const refs = [activation, weight].map(({ read }) => node.inputs[read.input]);
  const elements = refs.map((ref) =>
    ref === undefined ? 0 : sizes.ref(ref) / dtypes[typeOf(ref).dtype].bytes,
  );
  const results = node.types.reduce((sum, type) => sum + sizes.bytes(type), 0);
  const seconds = (bytes: number, rate: number): number =>
    Math.max((bytes + results) / machine.bandwidth, flops / (machine.flops * rate));
  const [few = 0, many = 0] = elements;
  // Codes are written and read once more; each reader of the tensor shares them. Parameters are scaled once, at load.
  const [ref] = refs;
  const shared = ref === undefined ? 1 : Math.max(1, criteria.readersOf(ref));
  const isPrepared = refs[1] !== undefined && criteria.isParameter(refs[1].node);
  const made = (3 * few) / shared + (isPrepared ? 0 : 3 * many);
  return seconds(few + many, 2) + made / machine.bandwidth - seconds(2 * (few + many), 1);
}

// ---------------------------------------------------------------- bounds

/** Deviations that a bound allows for: beyond so many lies less than one of 10^8 results. */
const deviations = 6;
/** Bits that a matrix unit keeps below its largest term; products that it adds at once (tensor/narrow-sums.ts). */
const keptBits = 13;
const atOnce = 32;

/**
 * How far a result may be off, as a part of the sum of its terms' magnitudes, rounding being independent from term to
 * term and no term much larger than the others; and the loss of the unit's own sums, which always goes one way.
 */
export function errorOf({ factors, run, terms }: Plan): number {
  const squares = factors.reduce((sum, { type }) => {
    const step = 2 ** -mantissaOf(type.dtype);
    return sum + step ** 2 / 12;
  }, 0);
  const rounding = deviations * Math.sqrt(squares / Math.max(1, terms));
  return rounding + (1 + Math.min(run, terms) / atOnce) * 2 ** -keptBits;
}

function heldTo(plan: Plan, { bound }: ScaledFactors): Pick<FactorDecision, "why" | "error" | "isBound"> {
  const error = errorOf(plan);
  if (bound === undefined || error <= bound) return { why: undefined, error, isBound: false };
  return {
    why: `its result may be off by ${error.toPrecision(2)} of its terms, and ${bound.toPrecision(2)} is declared`,
    error,
    isBound: true,
  };
}
