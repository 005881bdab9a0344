/**
 * Runs a loop node for the oracle.
 *
 * The parallel axes are an outer nest. Inside it, carriers that use no carrier are accumulated in one sweep over
 * `over`, those that use them in the next, and so on; then results without `over` are stored, then one more sweep
 * stores the results that have it.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { BodyMachine, type Step } from "./body-machine.ts";
import { errorStep, errorTotals, type ErrorTotal } from "./error-bound.ts";
import type { Carrier, LoopNode, LoopResult, Scalar } from "./ir.ts";
import { monoidOf } from "./monoids.ts";
import { storerOf } from "./number-formats.ts";
import { scalarFunctions } from "./scalar-functions.ts";
import { operandsOf, reachable } from "./scalars.ts";
import { emptyValues, type Values } from "./values.ts";
import type { Running } from "./interpret.ts";

export function runLoop(cx: Running, node: LoopNode, tensors: readonly Values[]): readonly Values[] {
  return new LoopRun(cx, node, tensors).run();
}

/**
 * For each scalar: the level of the innermost axis that it depends on, the same of the loop's own axes alone, and the
 * sweep that its carriers are known in.
 */
interface Placing {
  readonly level: number;
  readonly outer: number;
  readonly phase: number;
}

class LoopRun {
  readonly #cx: Running;
  readonly #node: LoopNode;
  readonly #machine: BodyMachine;
  readonly #errors: Float64Array | undefined;
  readonly #extents: readonly number[];
  readonly #position: Int32Array;
  readonly #placing = new Map<Scalar, Placing>();
  readonly #phaseOf: readonly number[];
  readonly #outputs: readonly Values[];
  readonly #tensors: readonly Values[];

  constructor(cx: Running, node: LoopNode, tensors: readonly Values[]) {
    this.#cx = cx;
    this.#node = node;
    this.#tensors = tensors;
    const roots = [...node.carriers.map((c) => c.lift), ...node.results.map((r) => r.value)];
    this.#machine = new BodyMachine(roots, tensors, cx.size, cx.bounds === "error");
    this.#errors = cx.errors ? new Float64Array(this.#machine.scalars.length) : undefined;
    this.#extents = [...node.axes, ...node.over, ...node.inner].map((axis) => cx.size(axis.extent));
    this.#position = new Int32Array(this.#extents.length);
    this.#phaseOf = carrierPhases(node);
    this.#place();
    this.#outputs = node.results.map((r) =>
      emptyValues(
        r.dtype,
        r.merged?.map(({ extent }) => cx.size(extent)) ?? r.axes.map((k) => this.#extents[k] ?? 0),
        cx.errors,
      ),
    );
  }

  run(): readonly Values[] {
    const own = this.#node.axes.length;
    const last = this.#phaseOf.reduce((most, phase) => Math.max(most, phase + 1), 0);
    const phases: Step[] = [];
    for (let phase = 0; phase < last; phase++) phases.push(this.#sweep(phase));
    phases.push(this.#stores(last));
    const inner = sequence(phases);
    this.#nest(0, own, (scalar) => this.#placing.get(scalar)?.phase === 0, inner)();
    return this.#outputs;
  }

  #place(): void {
    const own = this.#node.axes.length + this.#node.over.length;
    for (const scalar of this.#machine.scalars) {
      let level = scalar.kind === "axis" ? scalar.axis + 1 : 0;
      let outer = level > own ? 0 : level;
      let phase = scalar.kind === "carrier" ? (this.#phaseOf[scalar.carrier] ?? 0) + 1 : 0;
      for (const operand of operandsOf(scalar)) {
        const placing = this.#placing.get(operand);
        level = Math.max(level, placing?.level ?? 0);
        outer = Math.max(outer, placing?.outer ?? 0);
        phase = Math.max(phase, placing?.phase ?? 0);
      }
      this.#placing.set(scalar, { level: scalar.kind === "reduce" ? outer : level, outer, phase });
    }
  }

  /** Steps of the scalars that belong at `level`, among those that `wanted` takes. */
  #steps(level: number, wanted: (scalar: Scalar) => boolean): Step[] {
    const steps: Step[] = [];
    for (const scalar of this.#machine.scalars) {
      if (this.#placing.get(scalar)?.level !== level || !wanted(scalar)) continue;
      steps.push(...this.#stepsOf(scalar));
    }
    return steps;
  }

  #stepsOf(scalar: Scalar): Step[] {
    if (scalar.kind === "reduce") return [this.#reduce(scalar)];
    const steps: Step[] = [];
    const step = this.#machine.step(scalar);
    if (step !== undefined) steps.push(step);
    if (this.#errors !== undefined) {
      const error = errorStep(this.#machine, this.#errors, this.#tensors, scalar);
      if (error !== undefined) steps.push(error);
    }
    return steps;
  }

  /** A reduction inside a body: a nest over its axes, which computes what varies along them. */
  #reduce(scalar: Extract<Scalar, { kind: "reduce" }>): Step {
    const machine = this.#machine;
    const own = this.#node.axes.length + this.#node.over.length;
    const varying = reachable([scalar.arg]).filter((s) => (this.#placing.get(s)?.level ?? 0) > own);
    const total = this.#accumulation(
      { monoid: scalar.monoid, lift: scalar.arg, every: undefined },
      machine.register(scalar),
    );
    const body = sequence([...varying.flatMap((s) => this.#stepsOf(s)), ...total.takes]);
    const nest = this.#nestOver(scalar.axes, body, () => undefined);
    return sequence([...total.begins, nest, ...total.ends]);
  }

  /** Loops over axes `from .. to`, running the steps of each level; the level of `from` is run before. */
  #nest(from: number, to: number, wanted: (scalar: Scalar) => boolean, inner: Step): Step {
    const before = sequence(this.#steps(from, wanted));
    if (from === to) return sequence([before, inner]);
    const body = this.#nest(from + 1, to, wanted, inner);
    const { numbers } = this.#machine;
    const register = this.#machine.axisRegister(from);
    const extent = this.#extents[from] ?? 0;
    const position = this.#position;
    return () => {
      before();
      for (let i = 0; i < extent; i++) {
        position[from] = i;
        if (register >= 0) numbers[register] = i;
        body();
      }
    };
  }

  /** A nest over `over` that computes what the roots need there. */
  #over(roots: readonly Scalar[], inner: Step): Step {
    const own = this.#node.axes.length;
    const needed = new Set(reachable(roots));
    const wanted = (scalar: Scalar): boolean =>
      needed.has(scalar) && (this.#placing.get(scalar)?.level ?? 0) > own;
    return this.#nest(own, own + this.#node.over.length, wanted, inner);
  }

  /** Scalars of the outer axes that need the carriers of the phase before, and no later ones. */
  #outer(phase: number): Step {
    const own = this.#node.axes.length;
    const steps: Step[] = [];
    if (phase === 0) return sequence(steps);
    for (let level = 0; level <= own; level++)
      steps.push(...this.#steps(level, (s) => this.#placing.get(s)?.phase === phase));
    return sequence(steps);
  }

  #sweep(phase: number): Step {
    const carriers = this.#node.carriers.flatMap((carrier, i) =>
      this.#phaseOf[i] === phase ? [{ ...carrier, i }] : [],
    );
    const totals = carriers.map(({ i, ...carrier }) =>
      this.#accumulation(carrier, this.#machine.carrierRegister(i)),
    );
    const sweep = this.#over(
      carriers.map((c) => c.lift),
      sequence(totals.flatMap(({ takes }) => takes)),
    );
    const begins = totals.flatMap((total) => total.begins);
    const ends = totals.flatMap((total) => total.ends);
    return sequence([this.#outer(phase), ...begins, sweep, ...ends]);
  }

  /** A reduction's steps before, at and after its terms; its result goes to register `to`, unless that is -1. */
  #accumulation(
    reduction: Omit<Carrier, "name">,
    to: number,
  ): { readonly begins: Step[]; readonly takes: Step[]; readonly ends: Step[] } {
    const { monoid, lift } = reduction;
    const { numbers, bigs, marks } = this.#machine;
    const [begins, takes, ends]: [Step[], Step[], Step[]] = [[], [], []];
    const row = monoidOf(monoid);
    const combine = scalarFunctions.get(row.combine);
    invariant(combine !== undefined, `no function ${row.combine}`);
    const from = this.#machine.register(lift);
    const identity = row.identity(lift.type);
    if (lift.type === "i64") {
      const state = new BigInt64Array(1);
      begins.push(() => void (state[0] = BigInt(identity)));
      takes.push(() => void (state[0] = BigInt(combine.big(state[0] ?? 0n, bigs[from] ?? 0n, 0n))));
      if (to >= 0) ends.push(() => void (bigs[to] = state[0] ?? 0n));
    } else {
      const state = new Float64Array(1);
      const evaluate = lift.type === "f32" ? combine.float : combine.int;
      const wrap =
        lift.type === "i32"
          ? (x: number): number => x | 0
          : lift.type === "u32"
            ? (x: number): number => x >>> 0
            : (x: number): number => x;
      begins.push(() => void (state[0] = Number(identity)));
      takes.push(() => void (state[0] = wrap(evaluate(state[0] ?? 0, numbers[from] ?? 0, 0))));
      if (to >= 0) ends.push(() => void (numbers[to] = state[0] ?? 0));
      const total = this.#errors === undefined ? undefined : this.#errorTotal(reduction, this.#errors);
      if (total !== undefined) {
        begins.push(total.begin);
        takes.push(total.take);
        if (to >= 0) ends.push(() => total.end(to, state[0] ?? 0));
      }
    }
    if (marks.length > 0) takes.push(() => this.#refuse(from));
    return { begins, takes, ends };
  }

  #errorTotal(reduction: Omit<Carrier, "name">, errors: Float64Array): ErrorTotal {
    const [machine, tensors] = [this.#machine, this.#tensors];
    const isSum = reduction.monoid === "sum" && reduction.lift.type === "f32";
    const known = isSum
      ? this.#cx.sums?.({ node: this.#node, reduction, machine, errors, tensors })
      : undefined;
    return known ?? errorTotals(machine, errors, reduction, tensors);
  }

  #stores(phase: number): Step {
    const own = this.#node.axes.length;
    const all = own + this.#node.over.length;
    const plain: Step[] = [];
    const swept: Step[] = [];
    const sweptRoots: Scalar[] = [];
    this.#node.results.forEach((result, i) => {
      const output = this.#outputs[i];
      invariant(output !== undefined, "an output for each result");
      const store = this.#store(result, output);
      const inside = result.axes.filter((k) => k >= all);
      if (inside.length > 0) plain.push(this.#inside(inside, result.value, store));
      else if (result.axes.some((k) => k >= own)) {
        swept.push(store);
        sweptRoots.push(result.value);
      } else plain.push(store);
    });
    const steps: Step[] = [this.#outer(phase), ...plain];
    if (swept.length > 0) steps.push(this.#over(sweptRoots, sequence(swept)));
    return sequence(steps);
  }

  /** A nest over axes of `inner`, which computes what varies along them. */
  #inside(axes: readonly number[], value: Scalar, store: Step): Step {
    const all = this.#node.axes.length + this.#node.over.length;
    const varying = reachable([value]).filter((s) => (this.#placing.get(s)?.level ?? 0) > all);
    const body = sequence([...varying.flatMap((s) => this.#stepsOf(s)), store]);
    const position = this.#position;
    return this.#nestOver(axes, body, (axis, i) => (position[axis] = i));
  }

  #nestOver(axes: readonly number[], body: Step, at: (axis: number, i: number) => void): Step {
    const { numbers } = this.#machine;
    return axes.reduceRight<Step>((inside, axis) => {
      const register = this.#machine.axisRegister(axis);
      const extent = this.#extents[axis] ?? 0;
      return () => {
        for (let i = 0; i < extent; i++) {
          if (register >= 0) numbers[register] = i;
          at(axis, i);
          inside();
        }
      };
    }, body);
  }

  #store({ value, axes, merged }: LoopResult, output: Values): Step {
    const { numbers, bigs, marks } = this.#machine;
    const from = this.#machine.register(value);
    const at = this.#placeOf(axes, merged, output.shape);
    const { data } = output;
    if (data instanceof BigInt64Array) {
      return () => {
        if (marks.length > 0) this.#refuse(from);
        const offset = at();
        if (offset >= 0) data[offset] = bigs[from] ?? 0n;
      };
    }
    const stored = storerOf(output.dtype);
    const errors = this.#errors;
    return () => {
      if (marks.length > 0) this.#refuse(from);
      const offset = at();
      if (offset < 0) return;
      data[offset] = stored(numbers[from] ?? 0);
      if (errors !== undefined && output.error !== undefined) {
        output.error[offset] = this.#cx.storedError(output.dtype, numbers[from] ?? 0, errors[from] ?? 0);
      }
    };
  }

  /** Where the point that the loop is at goes in a result; -1: nowhere, beyond the last block. */
  #placeOf(axes: readonly number[], merged: LoopResult["merged"], sizes: readonly number[]): () => number {
    const position = this.#position;
    const order = Int32Array.from(axes);
    const shape = Int32Array.from(sizes);
    if (merged === undefined)
      return () => {
        let offset = 0;
        for (let k = 0; k < order.length; k++)
          offset = offset * (shape[k] ?? 0) + (position[order[k] ?? 0] ?? 0);
        return offset;
      };
    const extents = axes.map((axis) => this.#extents[axis] ?? 0);
    return () => {
      let offset = 0;
      let k = 0;
      for (const [axis, { count }] of merged.entries()) {
        let place = 0;
        for (const end = k + count; k < end; k++)
          place = place * (extents[k] ?? 0) + (position[order[k] ?? 0] ?? 0);
        const size = shape[axis] ?? 0;
        if (place >= size) return -1;
        offset = offset * size + place;
      }
      return offset;
    };
  }

  #refuse(register: number): void {
    const { marks, outside } = this.#machine;
    if ((marks[register] ?? 0) !== 0) this.#cx.refuse(this.#node, outside);
  }
}

/** The sweep of each carrier: one after those of the carriers that its lift uses. */
export function carrierPhases(node: LoopNode): readonly number[] {
  const phases: number[] = [];
  for (const carrier of node.carriers) {
    let phase = 0;
    for (const s of reachable([carrier.lift]))
      if (s.kind === "carrier") phase = Math.max(phase, (phases[s.carrier] ?? 0) + 1);
    phases.push(phase);
  }
  return phases;
}

export function sequence(steps: readonly Step[]): Step {
  const [a, b, c] = steps;
  if (a === undefined) return () => undefined;
  if (b === undefined) return a;
  if (c === undefined) {
    return () => {
      a();
      b();
    };
  }
  return () => {
    for (let i = 0; i < steps.length; i++) steps[i]?.();
  };
}
