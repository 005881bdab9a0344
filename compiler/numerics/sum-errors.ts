/**
 * What the sums of a program lose, from the tree by which they are added, for `interpret`.
 *
 * Worst case. A sum of n terms t that goes through R roundings to f32 errs by at most ((1 + u)^R - 1) sum |t|, u = 2^-24
 * (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 4.2); and, of n - 1 additions that each
 * round a sum of some of the terms, by (n - 1) u times the larger of the positive and the negative terms' sums. To that
 * comes what a matrix unit drops (`unit-loss.ts`) and what the terms carry.
 *
 * Probable. Rounding errors are taken for independent and of mean zero; then their sum stays below
 * lambda (sum of squares of their bounds)^(1/2) but with probability 2 exp(-lambda^2 / 2) (Hoeffding and Azuma; Higham and
 * Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41, 2019; Ipsen and Zhou,
 * Probabilistic error analysis for inner products, SIAM J. Matrix Anal. Appl. 41, 2020). What terms carry from elsewhere
 * adds up in that way only where each term has it from roundings of its own (`independence.ts`). Dropped bits are no
 * rounding: they have a drift, which adds up with its sign.
 */
import type { ErringSum, ErrorTotal, SumError } from "../tensor/error-bound.ts";
import type { LoopNode, ScalarRead } from "../tensor/ir.ts";
import { factorsOf } from "../tensor/narrow-sums.ts";
import type { DType } from "../types/dtype.ts";
import type { Independence } from "./independence.ts";
import type { ReductionTree } from "./reduction-tree.ts";
import { UnitLoss, type Loss, type LossKind } from "./unit-loss.ts";

const unit = 2 ** -24;
const smallest = 2 ** -126;
const largest = 3.4028234663852886e38;

/** The least normal magnitude of each. */
const leastNormal: Partial<Record<DType, number>> = {
  e4m3: 2 ** -6,
  e5m2: 2 ** -14,
  f16: 2 ** -14,
  bf16: 2 ** -126,
};

export interface SumModel {
  readonly treeOf: (node: LoopNode) => ReductionTree | undefined;
  /** Told the terms' magnitudes of each sum. */
  readonly seen: (node: LoopNode, magnitude: number) => void;
}

/** A bound that holds always. */
export function worstOfSums(model: SumModel): SumError {
  return (sum) => totalOf(model, sum, "worst", worst);
}

/** A bound that each sum keeps with probability 1 - 2 exp(-lambda^2 / 2). */
export function probableOfSums(model: SumModel, independence: Independence, lambda: number): SumError {
  return (sum) => {
    const apart = independence.termsApart(sum.node, sum.reduction.lift);
    return totalOf(model, sum, "probable", (terms) => probable(terms, lambda, apart));
  };
}

/** What is known of a sum when its last term has come. */
interface Terms {
  readonly tree: ReductionTree;
  readonly count: number;
  readonly magnitude: number;
  /** The larger of what the positive and the negative terms add up to. */
  readonly oneSided: number;
  readonly carried: number;
  readonly carriedSquares: number;
  readonly loss: Loss;
  /** Of the sums after each term, if it is added in order. */
  readonly partials: { readonly sum: number; readonly squares: number };
  /** Whole numbers that an f32 holds: nothing is rounded. */
  readonly exact: boolean;
}

function worst(terms: Terms): number {
  const { carried, loss, count } = terms;
  return carried + loss.worst + roundedWorst(terms, carried + loss.worst) + count * smallest;
}

function probable(terms: Terms, lambda: number, apart: boolean): number {
  const { carried, carriedSquares, loss, count } = terms;
  const isApart = apart && lambda * Math.sqrt(carriedSquares) < carried;
  const known = loss.squares + (isApart ? carriedSquares : 0);
  const given = Math.abs(loss.drift) + (isApart ? 0 : carried);
  const before = given + lambda * Math.sqrt(known);
  const random = lambda * Math.sqrt(known + roundedSquares(terms, before));
  return Math.min(given + random, before + roundedWorst(terms, before)) + count * smallest;
}

/** How much larger errors get on their way through the roundings after them. */
function growthOf(roundings: number): number {
  return roundings === 0 ? 1 : Math.expm1(roundings * Math.log1p(unit)) / (roundings * unit);
}

/** What rounding loses at most, where the terms are off by `off` already. */
function roundedWorst({ tree, count, exact, magnitude, oneSided, partials }: Terms, off: number): number {
  const { roundings } = tree;
  if (exact || roundings === 0) return 0;
  const each = unit * growthOf(roundings);
  const byLevel = each * roundings * (magnitude + off);
  if (tree.inOrder) return Math.min(byLevel, each * (partials.sum + count * (off + byLevel)));
  // A tree with no more levels than additions rounds partial sums, each once, and nothing else.
  return roundings < count ? Math.min(byLevel, each * (count - 1) * (oneSided + off)) : byLevel;
}

function roundedSquares({ tree, count, exact, magnitude, oneSided, partials }: Terms, off: number): number {
  const { roundings } = tree;
  if (exact || roundings === 0) return 0;
  const each = unit * growthOf(roundings);
  const byLevel = each * each * roundings * (magnitude + off) ** 2;
  if (tree.inOrder) {
    const away = off + each * roundings * (magnitude + off);
    return Math.min(byLevel, each * each * (Math.sqrt(partials.squares) + Math.sqrt(count) * away) ** 2);
  }
  return roundings < count ? Math.min(byLevel, each * each * (count - 1) * (oneSided + off) ** 2) : byLevel;
}

const noLoss: Loss = { worst: 0, drift: 0, squares: 0 };

function totalOf(
  model: SumModel,
  sum: ErringSum,
  kind: LossKind,
  bound: (terms: Terms) => number,
): ErrorTotal | undefined {
  const { node, reduction, machine, errors, tensors } = sum;
  const emitted = model.treeOf(node);
  if (emitted === undefined) return undefined;
  // The order of a sweep over one axis is the loop's; that of several, or of a sum inside a term, may be another.
  const isSweep = node.over.length === 1 && node.carriers.some(({ lift }) => lift === reduction.lift);
  const tree = { ...emitted, inOrder: emitted.inOrder && isSweep };
  const { numbers } = machine;
  const from = machine.register(reduction.lift);
  const units = unitLossOf(tree, sum, kind, (read) => tensors[read.input]?.dtype);
  let [count, plus, minus, carried, carriedSquares, whole] = [0, 0, 0, 0, 0, true];
  let partials = { sum: 0, squares: 0 };
  return {
    begin: () => {
      [count, plus, minus, carried, carriedSquares, whole] = [0, 0, 0, 0, 0, true];
      partials = { sum: 0, squares: 0 };
      units?.loss.begin();
    },
    take: () => {
      const [x, e] = [numbers[from] ?? 0, errors[from] ?? 0];
      count += 1;
      if (x > 0) plus += x;
      else minus -= x;
      carried += e;
      carriedSquares += e * e;
      if (x !== Math.floor(x)) whole = false;
      if (tree.inOrder) {
        const partial = plus - minus;
        partials.sum += Math.abs(partial);
        partials.squares += partial * partial;
      }
      if (units !== undefined) {
        const [a, b] = units.registers;
        if (a < 0) units.loss.take(x, x, 1, e, 0);
        else units.loss.take(x, numbers[a] ?? 0, numbers[b] ?? 0, errors[a] ?? 0, errors[b] ?? 0);
      }
    },
    end: (register, value) => {
      const magnitude = plus + minus;
      model.seen(node, magnitude);
      if (!Number.isFinite(value)) {
        errors[register] = carried === 0 || Number.isFinite(carried) ? 0 : Infinity;
        return;
      }
      const loss = units?.loss.end() ?? noLoss;
      const whole24 = whole && carried === 0 && magnitude <= 2 ** 24;
      const terms: Terms = {
        tree,
        count,
        magnitude,
        oneSided: Math.max(plus, minus),
        carried,
        carriedSquares,
        loss,
        partials,
        exact: count <= 1 || (whole24 && loss.worst === 0 && loss.squares === 0),
      };
      const error = bound(terms);
      errors[register] = error !== error || Math.abs(value) + error > largest ? Infinity : error;
    },
  };
}

/** The unit's loss, and the registers of the factors that it multiplies; -1 where the program names none. */
function unitLossOf(
  tree: ReductionTree,
  { reduction, machine }: ErringSum,
  kind: LossKind,
  stored: (read: ScalarRead) => DType | undefined,
): { readonly loss: UnitLoss; readonly registers: readonly [number, number] } | undefined {
  if (tree.unit === undefined || tree.run === 0) return undefined;
  const factors = factorsOf(reduction.lift, stored, 1) ?? factorsOf(reduction.lift, stored, 2);
  const [a, b] = factors ?? [];
  const least = [leastNormal[a?.dtype ?? "f32"] ?? 0, leastNormal[b?.dtype ?? "f32"] ?? 0] as const;
  const registers =
    a === undefined || b === undefined
      ? ([-1, -1] as const)
      : ([machine.register(a.factor), machine.register(b.factor)] as const);
  return { loss: new UnitLoss(tree.unit, tree.run, least, kind), registers };
}
