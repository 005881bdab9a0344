/**
 * Runs the body of a loop or scatter for the oracle: a register machine whose steps are closures.
 *
 * Each scalar has a register. A scalar is computed at the outermost loop level that it depends on, so that what
 * does not vary along an axis is not computed again along it. i64 registers are bigints, all others f64; a bool is
 * 0 or 1. Beside values the machine may carry `marks`: whether a value came from an index outside its axis, so that
 * only such a value that is used is an error.
 */
import { InternalError, invariant } from "../diagnostics/diagnostic.ts";
import type { Dim } from "../types/dim.ts";
import type { Scalar, ScalarRead, ScalarType } from "./ir.ts";
import { rounderTo } from "./number-formats.ts";
import { scalarFunctions } from "./scalar-functions.ts";
import { operandsOf, reachable } from "./scalars.ts";
import type { Values } from "./values.ts";

export type Step = () => void;

/** Turns a register into what the scalar's type holds; see the table's header for integer wrapping. */
type Wrap = (x: number) => number;
const wrapI32: Wrap = (x) => x | 0;
const wrapU32: Wrap = (x) => x >>> 0;
const keepNumber: Wrap = (x) => x;

export class BodyMachine {
  readonly scalars: readonly Scalar[];
  readonly numbers: Float64Array;
  readonly bigs: BigInt64Array;
  /** One for each register where indices outside are errors; else empty. */
  readonly marks: Uint8Array;
  readonly #tensors: readonly Values[];
  readonly #registers = new Map<Scalar, number>();
  /** The register of each axis and carrier that some scalar names. */
  readonly #axisRegisters = new Map<number, number>();
  readonly #carrierRegisters = new Map<number, number>();
  /** The first index found outside its axis, for the message. */
  outside: { readonly input: number; readonly axis: number; readonly index: number } | undefined;

  constructor(
    roots: readonly Scalar[],
    tensors: readonly Values[],
    size: (dim: Dim) => number,
    marked: boolean,
  ) {
    this.scalars = reachable(roots);
    this.#tensors = tensors;
    this.numbers = new Float64Array(this.scalars.length);
    this.bigs = new BigInt64Array(this.scalars.length);
    this.marks = new Uint8Array(marked ? this.scalars.length : 0);
    this.scalars.forEach((scalar, register) => {
      this.#registers.set(scalar, register);
      if (scalar.kind === "axis") this.#axisRegisters.set(scalar.axis, register);
      if (scalar.kind === "carrier") this.#carrierRegisters.set(scalar.carrier, register);
      if (scalar.kind === "dim") this.numbers[register] = size(scalar.dim);
      if (scalar.kind === "const" && typeof scalar.value === "bigint") this.bigs[register] = scalar.value;
      else if (scalar.kind === "const") this.numbers[register] = Number(scalar.value);
    });
  }

  register(scalar: Scalar): number {
    const register = this.#registers.get(scalar);
    invariant(register !== undefined, "a scalar outside its body");
    return register;
  }

  /** -1 where no scalar names the axis. */
  axisRegister(axis: number): number {
    return this.#axisRegisters.get(axis) ?? -1;
  }
  carrierRegister(carrier: number): number {
    return this.#carrierRegisters.get(carrier) ?? -1;
  }

  /** The step that computes a scalar, or undefined where its register is set from outside. */
  step(scalar: Scalar): Step | undefined {
    const step = this.#valueStep(scalar);
    if (step === undefined || this.marks.length === 0) return step;
    const mark = this.#markStep(scalar);
    return () => {
      step();
      mark();
    };
  }

  #valueStep(scalar: Scalar): Step | undefined {
    const { numbers } = this;
    const d = this.register(scalar);
    switch (scalar.kind) {
      case "const":
      case "dim":
      case "axis":
      case "carrier":
      case "reduce":
        return undefined;
      case "read":
        return this.#readStep(scalar, d);
      case "apply":
        return scalar.args.some((arg) => arg.type === "i64")
          ? this.#bigStep(scalar, d)
          : this.#numberStep(scalar, d);
      case "round": {
        const round = rounderTo(scalar.to);
        const a = this.register(scalar.arg);
        return () => {
          numbers[d] = round(numbers[a] ?? 0);
        };
      }
      case "cast":
        return this.#castStep(scalar, d);
    }
  }

  #numberStep(scalar: Extract<Scalar, { kind: "apply" }>, d: number): Step {
    const { numbers } = this;
    const row = scalarFunctions.get(scalar.fn);
    invariant(row !== undefined, `no function ${scalar.fn}`);
    const [a = 0, b = 0, c = 0] = scalar.args.map((arg) => this.register(arg));
    const operand = scalar.args.at(-1)?.type;
    if (operand === "f32") {
      if (scalar.fn === "add") return () => void (numbers[d] = (numbers[a] ?? 0) + (numbers[b] ?? 0));
      if (scalar.fn === "mul") return () => void (numbers[d] = (numbers[a] ?? 0) * (numbers[b] ?? 0));
    }
    const evaluate = operand === "f32" ? row.float : row.int;
    const wrap = scalar.type === "i32" ? wrapI32 : scalar.type === "u32" ? wrapU32 : keepNumber;
    return () => {
      numbers[d] = wrap(evaluate(numbers[a] ?? 0, numbers[b] ?? 0, numbers[c] ?? 0));
    };
  }

  /** A function with an i64 operand; the condition of a select is a number. */
  #bigStep(scalar: Extract<Scalar, { kind: "apply" }>, d: number): Step {
    const { numbers, bigs } = this;
    const row = scalarFunctions.get(scalar.fn);
    invariant(row !== undefined, `no function ${scalar.fn}`);
    const reads = scalar.args.map((arg): (() => bigint) => {
      const r = this.register(arg);
      return arg.type === "i64" ? () => bigs[r] ?? 0n : () => BigInt(numbers[r] ?? 0);
    });
    const zero = (): bigint => 0n;
    const [a = zero, b = zero, c = zero] = reads;
    return () => {
      const value = row.big(a(), b(), c());
      // A store into a BigInt64Array wraps to 64 bits.
      if (typeof value === "bigint") bigs[d] = value;
      else numbers[d] = value ? 1 : 0;
    };
  }

  #castStep(scalar: Extract<Scalar, { kind: "cast" }>, d: number): Step {
    const { numbers, bigs } = this;
    const a = this.register(scalar.arg);
    if (scalar.arg.type === "i64") {
      if (scalar.type === "i64") return () => void (bigs[d] = bigs[a] ?? 0n);
      return () => {
        const value = bigs[a] ?? 0n;
        numbers[d] = scalar.type === "f32" ? Number(value) : intCast("i64", scalar.to, value);
      };
    }
    if (scalar.type === "i64") return () => void (bigs[d] = toBig(numbers[a] ?? 0));
    if (scalar.type === "f32") return () => void (numbers[d] = numbers[a] ?? 0);
    if (scalar.type === "bool") return () => void (numbers[d] = (numbers[a] ?? 0) !== 0 ? 1 : 0);
    if (scalar.arg.type === "f32") return () => void (numbers[d] = saturate(scalar.to, numbers[a] ?? 0));
    return () => void (numbers[d] = intCast(scalar.arg.type, scalar.to, BigInt(numbers[a] ?? 0)));
  }

  #readStep(scalar: ScalarRead, d: number): Step {
    const tensor = this.#tensors[scalar.input];
    invariant(tensor !== undefined, "a read of no input");
    const { numbers, bigs } = this;
    const rank = scalar.index.length;
    const offset = this.#offset(scalar, tensor);
    const otherwise = scalar.otherwise === undefined ? -1 : this.register(scalar.otherwise);
    const { data } = tensor;
    if (data instanceof BigInt64Array) {
      return () => {
        const at = offset();
        bigs[d] = (at < 0 ? bigs[otherwise] : data[at]) ?? 0n;
      };
    }
    if (scalar.bounds === "proved" && rank === 0) return () => void (numbers[d] = data[0] ?? 0);
    return () => {
      const at = offset();
      numbers[d] = (at < 0 ? numbers[otherwise] : data[at]) ?? 0;
    };
  }

  /** The element that a read takes now: -1 for the value for outside. */
  #offset(scalar: ScalarRead, tensor: Values): () => number {
    const { numbers } = this;
    const registers = Int32Array.from(scalar.index, (i) => this.register(i));
    const shape = Int32Array.from(tensor.shape);
    const rank = shape.length;
    const { bounds, input } = scalar;
    return () => {
      let at = 0;
      for (let k = 0; k < rank; k++) {
        const extent = shape[k] ?? 0;
        let i = numbers[registers[k] ?? 0] ?? 0;
        if (i < 0 || i >= extent) {
          if (bounds === "else") return -1;
          if (bounds === "proved")
            throw new InternalError(
              `a read that was proved in range has index ${i} in axis ${k} of ${extent} (input ${input})`,
            );
          this.outside ??= { input, axis: k, index: i };
          i = i < 0 ? 0 : extent - 1;
        }
        at = at * extent + i;
      }
      return at;
    };
  }

  /** Whether the scalar's value now rests on an index outside: the operands', less what is not chosen. */
  #markStep(scalar: Scalar): Step {
    const { numbers, marks } = this;
    const d = this.register(scalar);
    const operands = Int32Array.from(operandsOf(scalar), (s) => this.register(s));
    const any = (): number => operands.reduce((found, r) => found | (marks[r] ?? 0), 0);
    const [a = 0, b = 0, c = 0] = operands;
    if (scalar.kind === "apply" && scalar.fn === "select") {
      return () => void (marks[d] = (marks[a] ?? 0) | (marks[(numbers[a] ?? 0) !== 0 ? b : c] ?? 0));
    }
    if (scalar.kind === "apply" && (scalar.fn === "and" || scalar.fn === "or")) {
      // The left operand decides alone where it can, and so does the right one.
      const deciding = scalar.fn === "and" ? 0 : 1;
      const decides = (r: number): boolean => marks[r] === 0 && numbers[r] === deciding;
      return () => void (marks[d] = decides(a) || decides(b) ? 0 : any());
    }
    if (scalar.kind !== "read") return () => void (marks[d] = any());
    const tensor = this.#tensors[scalar.input];
    const { bounds } = scalar;
    const indices = operands.subarray(0, scalar.index.length);
    const outside = (): boolean =>
      indices.some((r, k) => (numbers[r] ?? 0) < 0 || (numbers[r] ?? 0) >= (tensor?.shape[k] ?? 0));
    return () => {
      const indexMark = indices.reduce((found, r) => found | (marks[r] ?? 0), 0);
      const isOutside = outside();
      const last = bounds === "else" && isOutside ? (marks[operands.at(-1) ?? 0] ?? 0) : 0;
      marks[d] = indexMark | last | (bounds === "clamp" && isOutside ? 1 : 0);
    };
  }
}

/** Ends of the integer dtypes that a float or a wider integer saturates to. */
const ends: Readonly<Record<string, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  i8: [-128, 127],
  u8: [0, 255],
};

/** A float to an integer: truncates and saturates; NaN gives 0. */
function saturate(to: string, x: number): number {
  const [low, high] = ends[to] ?? [0, 1];
  return x !== x ? 0 : Math.min(Math.max(Math.trunc(x), low), high) + 0;
}

function toBig(x: number): bigint {
  if (x !== x) return 0n;
  // 2^63 - 1 is no f64, so that the ends are compared and not clamped to.
  if (x >= 2 ** 63) return 2n ** 63n - 1n;
  return x <= -(2 ** 63) ? -(2n ** 63n) : BigInt(Math.trunc(x));
}

/** An integer to an integer: i32 and u32 keep each other's bits; every other saturates; to bool is `!= 0`. */
function intCast(from: ScalarType, to: string, value: bigint): number {
  if (to === "bool") return value !== 0n ? 1 : 0;
  if (from !== "i64" && to === "i32") return Number(BigInt.asIntN(32, value));
  if (from !== "i64" && to === "u32") return Number(BigInt.asUintN(32, value));
  const [low, high] = ends[to] ?? [0, 1];
  return Number(value < BigInt(low) ? BigInt(low) : value > BigInt(high) ? BigInt(high) : value);
}
