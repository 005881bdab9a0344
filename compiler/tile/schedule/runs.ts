/**
 * The factors of a sum of products as a matrix unit takes them, and the runs of k that it sums before the rest is done.
 *
 *     sum[k](a[m, k] s[m, k / 128] * b[n, k] t[n / 128, k / 128])
 *   = sum[run](s[m, run] t[n / 128, run] * sum[k in run](a[m, k] b[n, k]))
 *
 * What stays the same over a run of k comes out of that run's sum by distributivity, so that the unit multiplies the
 * narrow floats that are stored, and the scales multiply sums. Products of 8-bit floats have runs of their own besides:
 * the unit keeps fewer bits of their sum than f32 has, and the program says how many may be added so.
 */
import type { LoopNode, Scalar } from "../../tensor/ir.ts";
import { usualRun } from "../../tensor/narrow-sums.ts";
import { operandsOf } from "../../tensor/scalars.ts";
import { dtypes, type DType } from "../../types/dtype.ts";
import { axesOf, constantOf, volume } from "./analysis.ts";
import { factorDType, type Contraction } from "./matrices.ts";

/** A product's factors, and what multiplies the sum of a run of it. */
export interface RunProduct {
  readonly left: Scalar;
  readonly right: Scalar;
  readonly scales: readonly Scalar[];
}

export interface Runs {
  readonly products: readonly RunProduct[];
  /** What the unit multiplies: a dtype for each factor, of as many bytes. */
  readonly dtypeOf: ReadonlyMap<Scalar, DType>;
  /** Elements of k whose sum the unit makes alone: whole panels. Undefined: all of them. */
  readonly length: number | undefined;
}

/** Bytes of a panel along k, which is what a product takes at least. */
export function runsOf(loop: LoopNode, contraction: Contraction, panelBytes: number): Runs | undefined {
  const products: RunProduct[] = [];
  let within = 0;
  for (const product of contraction.products) {
    const [left, right] = [apart(loop, product.left), apart(loop, product.right)];
    if (left === undefined || right === undefined) return undefined;
    const scales = [...left.scales, ...right.scales];
    for (const scale of scales) within = commonDivisor(within, constantRun(loop, overAxes(loop), scale));
    products.push({ left: left.core, right: right.core, scales });
  }
  const cores = new Set(products.flatMap(({ left, right }) => [left, right]));
  const stored = new Map([...cores].map((core) => [core, factorDType(loop, core)]));
  const wide = new Set([...stored.values()].filter((dtype) => dtypes[dtype].bytes > 1));
  const every = loop.carriers.reduce(
    (least, carrier) => Math.min(least, carrier.every ?? usualRun),
    Infinity,
  );
  const all = constantOf(volume(loop.over));
  const panelOf = (bytes: number): number => panelBytes / bytes;

  // The unit's own 8-bit products, where the runs that it may make are long enough; else the exact values of 16 bits.
  if (wide.size === 0) {
    const length = wholePanels(within, every, all, panelOf(1));
    if (length !== "none") return { products, dtypeOf: stored, length };
  }
  const [other, ...more] = wide;
  if (more.length > 0 || (other !== undefined && dtypes[other].bytes !== 2)) return undefined;
  const dtype = other ?? "bf16";
  const length = wholePanels(within, Infinity, all, panelOf(2));
  if (length === "none") return undefined;
  return { products, dtypeOf: new Map([...cores].map((core) => [core, dtype])), length };
}

/**
 * The longest run of whole panels that is no longer than `every` and that `within` is whole numbers of (0: nothing
 * changes along k).
 */
function wholePanels(
  within: number,
  every: number,
  all: number | undefined,
  panel: number,
): number | undefined | "none" {
  if (within === 0 && (every === Infinity || (all !== undefined && all <= every))) return undefined;
  const most = Math.min(every, within === 0 ? Infinity : within);
  for (let length = Math.floor(most / panel) * panel; length > 0; length -= panel)
    if (within % length === 0) return all !== undefined && all <= length ? undefined : length;
  return "none";
}

/** A factor that is a narrow float, but for what multiplies it. */
function apart(
  loop: LoopNode,
  factor: Scalar,
): { readonly core: Scalar; readonly scales: readonly Scalar[] } | undefined {
  if (dtypes[factorDType(loop, factor)].bytes < 4) return { core: factor, scales: [] };
  const terms = termsOf(factor);
  const cores = terms.filter((term) => dtypes[factorDType(loop, term)].bytes < 4);
  // Of several narrow terms one varies along k.
  const [core, second] = cores.filter((term) => constantRun(loop, overAxes(loop), term) === 1);
  if (core === undefined || second !== undefined) return undefined;
  return { core, scales: terms.filter((term) => term !== core) };
}

function termsOf(factor: Scalar): readonly Scalar[] {
  return factor.kind === "apply" && factor.fn === "mul" ? factor.args.flatMap(termsOf) : [factor];
}

function overAxes(loop: LoopNode): readonly number[] {
  return loop.over.map((_, k) => loop.axes.length + k);
}

/**
 * How many neighbours along some axes, flattened in their order, a scalar is the same for: blocks of so many, counted
 * from the first. 0: it is the same for all of them; 1: it may change from each to the next.
 */
export function constantRun(loop: LoopNode, along: readonly number[], scalar: Scalar): number {
  const all = [...loop.axes, ...loop.over, ...loop.inner];
  const extent = (axis: number): number | undefined => {
    const dim = all[axis]?.extent;
    return dim === undefined ? undefined : constantOf(dim);
  };
  /** Places of the axes that are faster than this one. */
  const inner = (axis: number): number =>
    along
      .slice(along.indexOf(axis) + 1)
      .reduce((product, other) => product * (extent(other) ?? Number.NaN), 1);
  const known = new Map<Scalar, number>();
  const runOf = (s: Scalar): number => {
    const found = known.get(s) ?? make(s);
    known.set(s, found);
    return found;
  };
  const make = (s: Scalar): number => {
    if (s.kind === "axis") {
      if (!along.includes(s.axis)) return 0;
      const places = inner(s.axis);
      return Number.isInteger(places) ? places : 1;
    }
    if (s.kind === "apply" && s.fn === "floordiv") {
      const block = blocked(s);
      if (block !== undefined) return block;
    }
    return operandsOf(s).reduce((run, part) => commonDivisor(run, runOf(part)), 0);
  };
  /** The quotient of an axis, or of one and whole blocks more, by the block's size. */
  const blocked = (s: Extract<Scalar, { kind: "apply" }>): number | undefined => {
    const [dividend, divisor] = s.args;
    const size = divisor?.kind === "const" ? Number(divisor.value) : 0;
    if (dividend === undefined || !Number.isInteger(size) || size < 1) return undefined;
    const terms = dividend.kind === "apply" && dividend.fn === "add" ? dividend.args : [dividend];
    const moving = terms.filter((term) => [...axesOf(term)].some((axis) => along.includes(axis)));
    const still = terms.filter((term) => !moving.includes(term));
    const [axis, other] = moving;
    if (axis?.kind !== "axis" || other !== undefined || !still.every((term) => isMultiple(term, size)))
      return undefined;
    // A block must not reach from one line of the axis into the next.
    const line = extent(axis.axis);
    const isWhole = along[0] === axis.axis || (line !== undefined && line % size === 0);
    return isWhole ? size * inner(axis.axis) || undefined : undefined;
  };
  return runOf(scalar);
}

function isMultiple(s: Scalar, of: number): boolean {
  if (s.kind === "const") return Number(s.value) % of === 0;
  if (s.kind !== "apply") return false;
  if (s.fn === "mul") return s.args.some((arg) => isMultiple(arg, of));
  return s.fn === "add" && s.args.every((arg) => isMultiple(arg, of));
}

export function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
