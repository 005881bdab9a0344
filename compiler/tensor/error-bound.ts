/**
 * How far a correct target may be from the oracle: a running bound computed beside every value.
 *
 * A target computes in f32 and may flush subnormals, contract to fma, reduce in any order and use functions as
 * accurate as their rows say. For each register |target - oracle| <= error holds by induction:
 *
 * - An operation adds its own rounding (row `accuracy`, 2^-24 relative for + - *) to what its operands carry. A sum,
 *   difference or product of exact operands that an f32 holds is exact.
 * - A monotone function, a rounding to a dtype and a float-to-integer cast take their value at both ends of the
 *   operand's range: a range that crosses a rounding boundary costs the step across it, and one that does not, nothing.
 * - A sum of K terms adds (K - 1) 2^-23 of the terms' magnitudes: any order, and matrix units that truncate. A sum of
 *   integers below 2^24 is exact. Products of two 8-bit floats may be added with fewer bits (`narrow-sums.ts`). A `max`
 *   or `min` is as wrong as its worst term.
 * - A comparison whose operands are closer than their errors is uncertain (error 1). A select on an uncertain
 *   condition may give either side. An uncertain index may read any element of its range.
 * - What a range leads out of a function's domain, or beyond the f32 range, has an infinite bound: nothing is promised.
 * - A NaN or an infinity with error 0 is promised as such.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { isFloat, mantissaOf, type DType } from "../types/dtype.ts";
import type { BodyMachine, Step } from "./body-machine.ts";
import type { Carrier, LoopNode, Scalar, ScalarRead } from "./ir.ts";
import { lossOfRuns, narrowFactors, usualRun } from "./narrow-sums.ts";
import { rounderTo, storerOf } from "./number-formats.ts";
import { scalarFunctions, type ScalarFunction } from "./scalar-functions.ts";
import type { Values } from "./values.ts";

const unit = 2 ** -24;
const smallest = 2 ** -126;
const largest = 3.4028234663852886e38;
/** Elements that an uncertain index may range over before its read counts as unbounded. */
const candidates = 4096;

/** The step that computes a scalar's error, run after the one that computes its value. */
export function errorStep(
  m: BodyMachine,
  errors: Float64Array,
  tensors: readonly Values[],
  scalar: Scalar,
): Step | undefined {
  const d = m.register(scalar);
  const { numbers } = m;
  switch (scalar.kind) {
    case "const": {
      const value = numbers[d] ?? 0;
      if (scalar.type === "f32" && Number.isFinite(value))
        errors[d] = Math.abs(value - Math.fround(value)) + flushed(value);
      return undefined;
    }
    case "dim":
    case "axis":
    case "carrier":
    case "reduce":
      return undefined;
    case "read":
      return readError(m, errors, tensors, scalar);
    case "round": {
      const a = m.register(scalar.arg);
      const round = rounderTo(scalar.to);
      if (scalar.scaled) {
        // At another scale another neighbour may be nearest: half a step here, and half a step there.
        const step = 2 ** -mantissaOf(scalar.to);
        return () => {
          const [x, e] = [numbers[a] ?? 0, errors[a] ?? 0];
          errors[d] = settle(x, e + step * (Math.abs(x) + e));
        };
      }
      return () => void (errors[d] = spread(round, numbers[a] ?? 0, errors[a] ?? 0));
    }
    case "cast":
      return castError(m, errors, scalar);
    case "apply":
      return applyError(m, errors, scalar);
  }
}

/** Error of a value once it is stored as `dtype` by target and oracle; an f32 of the oracle is rounded on its way out. */
export function storedError(dtype: DType, value: number, error: number): number {
  if (!Number.isFinite(value)) return settle(value, error);
  if (dtype === "f32")
    return settle(
      value,
      error + (Math.fround(value) === value ? 0 : unit * Math.abs(value) + flushed(value)),
    );
  return isFloat(dtype) ? spread(storerOf(dtype), value, error) : error;
}

/** What a target that flushes subnormals loses of this value. */
function flushed(value: number): number {
  return value !== 0 && Math.abs(value) < smallest ? smallest : 0;
}

/** Infinite where a target may overflow; 0 for a NaN or an infinity that exact operands lead to. */
function settle(value: number, error: number): number {
  if (error !== error) return Infinity;
  if (!Number.isFinite(value)) return error === 0 || Number.isFinite(error) ? 0 : Infinity;
  return Math.abs(value) + error > largest ? Infinity : error;
}

/** Error of a monotone function: the larger step to either end of the operand's range. */
function spread(f: (x: number) => number, x: number, error: number): number {
  if (error === 0 || x !== x) return 0;
  const value = f(x);
  const [low, high] = [f(x - error), f(x + error)];
  if (low === value && high === value) return 0;
  const widest = Math.max(Math.abs(high - value), Math.abs(value - low));
  return widest !== widest ? Infinity : widest;
}

/** |x| e, where nothing times an infinity is nothing. */
function scaled(x: number, error: number): number {
  return error === 0 || x === 0 ? 0 : Math.abs(x) * error;
}

type Rule = (a: number, ea: number, b: number, eb: number, value: number) => number;

/** The rounding of an exactly computed + - or *: none where the operands are exact and an f32 holds the result. */
function rounding(value: number, carried: number): number {
  if (!Number.isFinite(value) || (carried === 0 && Math.fround(value) === value && flushed(value) === 0))
    return 0;
  return unit * (Math.abs(value) + carried) + smallest;
}

const sumRule: Rule = (_, ea, __, eb, value) => settle(value, ea + eb + rounding(value, ea + eb));

const productRule: Rule = (a, ea, b, eb, value) => {
  const carried = scaled(a, eb) + scaled(b, ea) + scaled(ea, eb);
  return settle(value, carried + rounding(value, carried));
};

const quotientRule: Rule = (_, ea, b, eb, value) => {
  if (eb > 0 && eb >= Math.abs(b)) return Infinity;
  const carried = ea === 0 && eb === 0 ? 0 : (ea + scaled(value, eb)) / (Math.abs(b) - eb);
  return settle(
    value,
    Number.isFinite(value) ? carried + 6 * unit * (Math.abs(value) + carried) + smallest : carried,
  );
};

/** The nearest f32 of exact operands is the same everywhere. */
const nearestQuotientRule: Rule = (a, ea, b, eb, value) =>
  ea === 0 && eb === 0 ? 0 : quotientRule(a, ea, b, eb, value);

/** `min` and `max`: the winner's error where it is sure to win. */
const extremeRule: Rule = (a, ea, b, eb, value) => {
  if (a !== a) return eb;
  if (b !== b) return ea;
  if (Math.abs(a - b) > ea + eb) return value === a ? ea : eb;
  return Math.max(ea, eb);
};

const comparisonRule: Rule = (a, ea, b, eb) =>
  ea + eb > 0 && a === a && b === b && !(Math.abs(a - b) > ea + eb) ? 1 : 0;

const andRule: Rule = (a, ea, b, eb) =>
  (a === 0 && ea === 0) || (b === 0 && eb === 0) ? 0 : Math.max(ea, eb);
const orRule: Rule = (a, ea, b, eb) =>
  (a === 1 && ea === 0) || (b === 1 && eb === 0) ? 0 : Math.max(ea, eb);

const intSum: Rule = (_, ea, __, eb) => ea + eb;
const intProduct: Rule = (a, ea, b, eb) => scaled(a, eb) + scaled(b, ea) + scaled(ea, eb);
const intOther: Rule = (_, ea, __, eb) => (ea === 0 && eb === 0 ? 0 : Infinity);

const binaryRules: Readonly<Record<string, { readonly float: Rule; readonly int: Rule }>> = {
  add: { float: sumRule, int: intSum },
  sub: { float: sumRule, int: intSum },
  mul: { float: productRule, int: intProduct },
  div: { float: quotientRule, int: intOther },
  nearestQuotient: { float: nearestQuotientRule, int: intOther },
  floordiv: { float: intOther, int: intOther },
  mod: { float: intOther, int: intOther },
  min: { float: extremeRule, int: extremeRule },
  max: { float: extremeRule, int: extremeRule },
  and: { float: andRule, int: andRule },
  or: { float: orRule, int: orRule },
};

/** Bounds on the slope of the functions that are not monotone. */
const slopes: Readonly<Record<string, number>> = {
  neg: 1,
  abs: 1,
  not: 1,
  sin: 1,
  cos: 1,
  silu: 1.1,
  gelu: 1.13,
};

function applyError(m: BodyMachine, errors: Float64Array, scalar: Extract<Scalar, { kind: "apply" }>): Step {
  const { numbers } = m;
  const d = m.register(scalar);
  const registers = scalar.args.map((arg) => m.register(arg));
  const [a = 0, b = 0, c = 0] = registers;
  const row = scalarFunctions.get(scalar.fn);
  invariant(row !== undefined, `no function ${scalar.fn}`);
  if (scalar.args.some((arg) => arg.type === "i64")) {
    return () => void (errors[d] = registers.some((r) => (errors[r] ?? 0) > 0) ? Infinity : 0);
  }
  if (scalar.fn === "select") return () => void (errors[d] = selectError(numbers, errors, a, b, c));
  if (scalar.fn === "clamp")
    return () => void (errors[d] = Math.max(errors[a] ?? 0, errors[b] ?? 0, errors[c] ?? 0));
  if (row.arity === 1)
    return () => void (errors[d] = unaryError(row, numbers[a] ?? 0, errors[a] ?? 0, numbers[d] ?? 0));
  const rules = binaryRules[scalar.fn];
  const rule = rules === undefined ? comparisonRule : scalar.type === "f32" ? rules.float : rules.int;
  return () =>
    void (errors[d] = rule(
      numbers[a] ?? 0,
      errors[a] ?? 0,
      numbers[b] ?? 0,
      errors[b] ?? 0,
      numbers[d] ?? 0,
    ));
}

function unaryError(row: ScalarFunction, x: number, error: number, value: number): number {
  const slope = slopes[row.name];
  const carried = slope !== undefined ? slope * error : spread((v) => row.float(v, 0, 0), x, error);
  const { relative, perArgument, absolute } = row.accuracy;
  if (relative === 0) return carried;
  const size = Math.abs(value);
  // An infinite argument gives a limit, which is exact.
  const own =
    Number.isFinite(x) && size !== 0
      ? (relative + perArgument * Math.abs(x)) * unit * (size + carried) + absolute
      : 0;
  return settle(value, carried + own + (Number.isFinite(x) ? smallest : 0));
}

function selectError(numbers: Float64Array, errors: Float64Array, c: number, a: number, b: number): number {
  if ((errors[c] ?? 0) === 0) return errors[(numbers[c] ?? 0) !== 0 ? a : b] ?? 0;
  const either = Math.max(errors[a] ?? 0, errors[b] ?? 0);
  const [x, y] = [numbers[a] ?? 0, numbers[b] ?? 0];
  if (x === y) return either;
  const step = Math.abs(x - y) + either;
  return step !== step ? Infinity : step;
}

function castError(m: BodyMachine, errors: Float64Array, scalar: Extract<Scalar, { kind: "cast" }>): Step {
  const { numbers } = m;
  const [d, a] = [m.register(scalar), m.register(scalar.arg)];
  const { to, arg } = scalar;
  if (arg.type === "f32" && to !== "bool") {
    return () => {
      const [x, e] = [numbers[a] ?? 0, errors[a] ?? 0];
      errors[d] =
        e === 0 || x !== x
          ? 0
          : Math.max(Math.trunc(x + e) - Math.trunc(x), Math.trunc(x) - Math.trunc(x - e));
    };
  }
  if (to === "bool")
    return () =>
      void (errors[d] = (errors[a] ?? 0) === 0 || Math.abs(numbers[a] ?? 0) > (errors[a] ?? 0) ? 0 : 1);
  if (scalar.type !== "f32") return () => void (errors[d] = errors[a] ?? 0);
  return () => {
    const value = numbers[d] ?? 0;
    errors[d] = (errors[a] ?? 0) + (Math.fround(value) === value ? 0 : unit * Math.abs(value));
  };
}

/** Where an index is certain, the element's own error; else the farthest element that it may be. */
function readError(
  m: BodyMachine,
  errors: Float64Array,
  tensors: readonly Values[],
  scalar: ScalarRead,
): Step {
  const { numbers } = m;
  const tensor = tensors[scalar.input];
  invariant(tensor !== undefined, "a read of no input");
  const d = m.register(scalar);
  const registers = scalar.index.map((i) => m.register(i));
  const otherwise = scalar.otherwise === undefined ? -1 : m.register(scalar.otherwise);
  const { shape, data, error } = tensor;
  return () => {
    let at = 0;
    let outside = false;
    let uncertain = false;
    for (let k = 0; k < registers.length; k++) {
      const extent = shape[k] ?? 0;
      const i = numbers[registers[k] ?? 0] ?? 0;
      if ((errors[registers[k] ?? 0] ?? 0) > 0) uncertain = true;
      if (i < 0 || i >= extent) outside = true;
      at = at * extent + Math.min(Math.max(i, 0), extent - 1);
    }
    if (uncertain) errors[d] = farthest(numbers, errors, registers, otherwise, tensor, m, d);
    else if (outside && otherwise >= 0) errors[d] = errors[otherwise] ?? 0;
    else errors[d] = (error?.[at] ?? 0) + (scalar.type === "f32" ? flushed(Number(data[at] ?? 0)) : 0);
  };
}

function farthest(
  numbers: Float64Array,
  errors: Float64Array,
  registers: readonly number[],
  otherwise: number,
  tensor: Values,
  m: BodyMachine,
  d: number,
): number {
  let offsets = [0];
  let leaves = false;
  for (let k = 0; k < registers.length; k++) {
    const extent = tensor.shape[k] ?? 0;
    const [i, e] = [numbers[registers[k] ?? 0] ?? 0, errors[registers[k] ?? 0] ?? 0];
    if (i - e < 0 || i + e >= extent) leaves = true;
    const low = Math.min(Math.max(i - e, 0), extent - 1);
    const high = Math.min(Math.max(i + e, 0), extent - 1);
    if ((high - low + 1) * offsets.length > candidates) return Infinity;
    const wider: number[] = [];
    for (const offset of offsets) for (let j = low; j <= high; j++) wider.push(offset * extent + j);
    offsets = wider;
  }
  const value = Number(tensor.dtype === "i64" ? m.bigs[d] : numbers[d]);
  let most = 0;
  const consider = (other: number, error: number): void => {
    const step = (other === value ? 0 : Math.abs(other - value)) + error;
    most = step !== step ? Infinity : Math.max(most, step);
  };
  for (const offset of offsets) consider(Number(tensor.data[offset] ?? 0), tensor.error?.[offset] ?? 0);
  if (leaves && otherwise >= 0) consider(numbers[otherwise] ?? 0, errors[otherwise] ?? 0);
  return most;
}

// ---------------------------------------------------------------- reductions

export interface ErrorTotal {
  readonly begin: Step;
  readonly take: Step;
  /** Writes the carrier's error, its value being known. */
  readonly end: (register: number, value: number) => void;
}

/** A sum of f32 terms inside a body, for whoever knows more of it than that its order may be any. */
export interface ErringSum {
  readonly node: LoopNode;
  readonly reduction: Omit<Carrier, "name">;
  readonly machine: BodyMachine;
  /** By register. */
  readonly errors: Float64Array;
  readonly tensors: readonly Values[];
}

/** How such a sum errs; undefined leaves it to the rule for any order. */
export type SumError = (sum: ErringSum) => ErrorTotal | undefined;

/** The error of a carrier, from its terms as they come. */
export function errorTotals(
  m: BodyMachine,
  errors: Float64Array,
  { monoid, lift, every = usualRun }: Omit<Carrier, "name">,
  tensors: readonly Values[],
): ErrorTotal {
  const from = m.register(lift);
  const { numbers } = m;
  if (monoid === "sum") {
    const total = sumTotal(numbers, errors, from, lift.type === "f32");
    const stored = ({ input }: ScalarRead): DType | undefined => tensors[input]?.dtype;
    const factors = lift.type === "f32" ? narrowFactors(lift, stored) : undefined;
    if (factors === undefined) return total;
    const runs = lossOfRuns(every, factors, stored);
    const [a, b] = factors.map((factor) => m.register(factor));
    return {
      begin: () => {
        total.begin();
        runs.begin();
      },
      take: () => {
        total.take();
        runs.take(numbers[from] ?? 0, numbers[a ?? -1] ?? 0, numbers[b ?? -1] ?? 0);
      },
      end: (at, value) => {
        total.end(at, value);
        if (Number.isFinite(value)) errors[at] = settle(value, (errors[at] ?? 0) + runs.end());
      },
    };
  }
  if (monoid === "prod") return productTotal(numbers, errors, from, lift.type === "f32");
  if (monoid === "any" || monoid === "all") return boolTotal(numbers, errors, from, monoid === "any" ? 1 : 0);
  let most = 0;
  return {
    begin: () => void (most = 0),
    take: () => void (most = Math.max(most, errors[from] ?? 0)),
    end: (register) => void (errors[register] = most),
  };
}

function sumTotal(numbers: Float64Array, errors: Float64Array, from: number, float: boolean): ErrorTotal {
  let [carried, magnitude, count, whole] = [0, 0, 0, true];
  return {
    begin: () => void ([carried, magnitude, count, whole] = [0, 0, 0, true]),
    take: () => {
      const x = numbers[from] ?? 0;
      carried += errors[from] ?? 0;
      magnitude += Math.abs(x);
      count += 1;
      if (x !== Math.floor(x)) whole = false;
    },
    end: (register, value) => {
      const exact = !float || count <= 1 || (whole && carried === 0 && magnitude <= 2 ** 24);
      const own = exact ? 0 : (count - 1) * (2 * unit * (magnitude + carried) + smallest);
      errors[register] = settle(value, Number.isFinite(value) ? carried + own : carried);
    },
  };
}

function productTotal(numbers: Float64Array, errors: Float64Array, from: number, float: boolean): ErrorTotal {
  let [product, error] = [1, 0];
  const rule = float ? productRule : intProduct;
  return {
    begin: () => void ([product, error] = [1, 0]),
    take: () => {
      const x = numbers[from] ?? 0;
      error =
        2 * rule(product, error, x, errors[from] ?? 0, product * x) -
        rule(product, error, x, errors[from] ?? 0, 0);
      product *= x;
    },
    end: (register, value) => void (errors[register] = float ? settle(value, error) : error),
  };
}

/** Certain where one certain term decides, uncertain where only uncertain ones could. */
function boolTotal(numbers: Float64Array, errors: Float64Array, from: number, deciding: number): ErrorTotal {
  let [decided, uncertain] = [false, false];
  return {
    begin: () => void ([decided, uncertain] = [false, false]),
    take: () => {
      if ((errors[from] ?? 0) > 0) uncertain = true;
      else if (numbers[from] === deciding) decided = true;
    },
    end: (register) => void (errors[register] = !decided && uncertain ? 1 : 0),
  };
}
