/**
 * Random chains for the passes that fuse: pointwise functions, reductions and contractions over a few axes, of exponents
 * and of values. Nothing else than + - x / and exp is in them, and `max` of what no sum is in, so that a finite field
 * has a meaning for each. A step may be a whole weighting: exp(x - m) / z times v, summed.
 */
import { Arena } from "../../compiler/tensor/arena.ts";
import type { Graph, InputNode, LoopAxis, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import { constant } from "../../compiler/types/dim.ts";
import type { Kind } from "./field.ts";
import { Random } from "./random-graph.ts";

export interface ChainInput {
  readonly name: string;
  readonly kind: Kind;
  readonly shape: readonly number[];
}

export interface Chain {
  readonly arena: Arena;
  readonly graph: Graph;
  readonly inputs: readonly ChainInput[];
}

interface Value {
  readonly ref: Ref;
  readonly axes: readonly string[];
  readonly kind: Kind;
  /** Made of inputs by pointwise functions alone. */
  readonly isPlain: boolean;
}

const sizes: Readonly<Record<string, number>> = { a: 2, b: 4, c: 4, d: 3 };

/** `signed`: differences of values too, so that some may vanish. */
export function randomChain(seed: number, steps: number, signed: "signed" | "positive"): Chain {
  return new Generator(seed, signed === "signed").generate(steps);
}

class Generator {
  readonly #arena = new Arena();
  readonly #random: Random;
  readonly #isSigned: boolean;
  readonly #values: Value[] = [];
  readonly #inputs: InputNode[] = [];
  readonly #given: ChainInput[] = [];

  constructor(seed: number, isSigned: boolean) {
    this.#random = new Random(seed);
    this.#isSigned = isSigned;
  }

  generate(steps: number): Chain {
    this.#input("exponent", ["a", "b"]);
    this.#input("exponent", ["b", "c"]);
    this.#input("value", ["b", "d"]);
    this.#input("value", ["a", "b"]);
    this.#input("value", ["c", "d"]);
    // In some nothing leaves but the last value, so that what is before can be one loop with it.
    const isAlone = this.#random.below(2) === 0;
    if (isAlone) this.#weighting();
    else for (let i = 0; i < steps; i++) this.#step();
    const made = this.#values.filter(({ ref }) => ref.node.kind !== "input");
    const results = made
      .filter((_, i) => i >= made.length - 1 || (!isAlone && this.#random.below(6) === 0))
      .map(({ ref }, i) => ({ name: `r${i}`, value: ref }));
    const graph = this.#arena.graph({
      name: "chain",
      inputs: this.#inputs,
      results,
      updates: [],
      dims: [],
      checks: [],
    });
    return { arena: this.#arena, graph, inputs: this.#given };
  }

  #input(kind: Kind, axes: readonly string[]): void {
    const name = `x${this.#inputs.length}`;
    const shape = axes.map((axis) => sizes[axis] ?? 1);
    const node = this.#arena.input(name, "argument", this.#arena.type("f32", shape.map(constant)));
    this.#inputs.push(node);
    this.#given.push({ name, kind, shape });
    this.#values.push({ ref: this.#arena.ref(node), axes, kind, isPlain: true });
  }

  #pick(fits: (value: Value) => boolean): Value | undefined {
    const found = this.#values.filter(fits);
    if (found.length === 0) return undefined;
    return this.#random.pick(this.#random.below(3) === 0 ? found : found.slice(-3));
  }

  #step(): void {
    const kind: Kind = this.#random.below(2) === 0 ? "exponent" : "value";
    const value = this.#pick((one) => one.kind === kind);
    if (value === undefined) return;
    switch (this.#random.below(7)) {
      case 0:
        return this.#weighting();
      case 1:
        return void this.#sum(value);
      case 2:
        return void this.#contract(value);
      case 3: {
        const plain = this.#pick((one) => one.kind === "exponent" && one.isPlain && one.axes.length > 0);
        return plain && void this.#reduce(plain, "max", this.#random.pick(plain.axes));
      }
      case 4: {
        const exponent = this.#pick((one) => one.kind === "exponent");
        return (
          exponent &&
          void this.#pointwise("value", [exponent], ([x]) => this.#arena.apply("exp", x ?? this.#one()))
        );
      }
      default: {
        const other = this.#pick((one) => one.kind === kind) ?? value;
        const fns = kind === "exponent" || this.#isSigned ? ["add", "sub", "mul"] : ["add", "mul"];
        const fn = this.#random.pick(kind === "value" ? [...fns, "div"] : fns);
        return void this.#pointwise(kind, [value, other], ([x, y]) =>
          this.#arena.apply(fn, x ?? this.#one(), y ?? this.#one()),
        );
      }
    }
  }

  /** exp(x - max x) v summed, over the sum of the exponentials; x a product or what is there, the scale at either end. */
  #weighting(): void {
    const a = this.#arena;
    const x =
      this.#random.below(2) === 0
        ? this.#pick((one) => one.kind === "exponent" && one.isPlain && one.axes.length === 2)
        : this.#contract(this.#pick((one) => one.kind === "exponent" && one.axes.length === 2));
    if (x === undefined || x.axes.length === 0) return;
    const over = this.#random.pick(x.axes);
    // A maximum has no place in a field but as some number: what is weighted does not depend on it.
    const m = this.#reduce(x, "max", over);
    const e = this.#pointwise("value", [x, m], ([left, right]) =>
      a.apply("exp", a.apply("sub", left ?? this.#one(), right ?? this.#one())),
    );
    const z = e && this.#reduce(e, "sum", over);
    const weigh = ([left, right]: readonly Scalar[]): Scalar =>
      a.apply("div", left ?? this.#one(), right ?? this.#one());
    if (e === undefined || z === undefined) return;
    const w = this.#random.below(3) === 0 ? e : this.#pointwise("value", [e, z], weigh);
    const isFactor = ({ kind, axes }: Value): boolean => kind === "value" && axes.includes(over);
    const isOther = (one: Value): boolean => one.axes.some((axis) => !x.axes.includes(axis));
    const v = this.#pick((one) => isFactor(one) && isOther(one)) ?? this.#pick(isFactor);
    if (w === undefined || v === undefined) return;
    const y = this.#contraction(w, v, over);
    if (y !== undefined && w === e) this.#pointwise("value", [y, z], weigh);
  }

  #one(): Scalar {
    return this.#arena.f32(1);
  }

  #sum(value: Value): Value | undefined {
    return value.axes.length === 0 ? undefined : this.#reduce(value, "sum", this.#random.pick(value.axes));
  }

  #contract(value: Value | undefined): Value | undefined {
    if (value === undefined) return undefined;
    const other = this.#pick(
      (one) => one.kind === value.kind && one.axes.some((axis) => value.axes.includes(axis)),
    );
    if (other === undefined) return undefined;
    return this.#contraction(
      value,
      other,
      this.#random.pick(value.axes.filter((axis) => other.axes.includes(axis))),
    );
  }

  #contraction(x: Value, y: Value, over: string): Value | undefined {
    const axes = [...new Set([...x.axes, ...y.axes])].filter((axis) => axis !== over);
    if (axes.length > 3) return undefined;
    const inputs: Ref[] = [];
    const lift = this.#arena.apply(
      "mul",
      this.#read(inputs, x, [...axes, over]),
      this.#read(inputs, y, [...axes, over]),
    );
    return this.#loop(axes, [over], inputs, lift, "sum", { kind: x.kind, isPlain: false });
  }

  #reduce(value: Value, monoid: string, over: string): Value {
    const axes = value.axes.filter((axis) => axis !== over);
    const inputs: Ref[] = [];
    return this.#loop(axes, [over], inputs, this.#read(inputs, value, [...axes, over]), monoid, {
      kind: value.kind,
      isPlain: false,
    });
  }

  #pointwise(
    kind: Kind,
    operands: readonly Value[],
    make: (reads: readonly Scalar[]) => Scalar,
  ): Value | undefined {
    const axes = [...new Set(operands.flatMap((value) => value.axes))];
    if (axes.length > 3) return undefined;
    const inputs: Ref[] = [];
    const value = make(operands.map((operand) => this.#read(inputs, operand, axes)));
    const isPlain = operands.every((operand) => operand.isPlain);
    return this.#loop(axes, [], inputs, value, undefined, { kind, isPlain });
  }

  #read(inputs: Ref[], value: Value, axes: readonly string[]): Scalar {
    return this.#arena.read(
      inputs,
      value.ref,
      value.axes.map((axis) => this.#arena.axis(axes.indexOf(axis))),
    );
  }

  #loop(
    axes: readonly string[],
    over: readonly string[],
    inputs: Ref[],
    body: Scalar,
    monoid: string | undefined,
    what: Pick<Value, "kind" | "isPlain">,
  ): Value {
    const named = (list: readonly string[]): LoopAxis[] =>
      list.map((name) => ({ name, extent: constant(sizes[name] ?? 1) }));
    const node = this.#arena.loop({
      axes: named(axes),
      over: named(over),
      carriers: monoid === undefined ? [] : [{ name: "r", monoid, lift: body }],
      inputs,
      results: [
        {
          value: monoid === undefined ? body : this.#arena.carrier(0, "f32"),
          dtype: "f32",
          axes: axes.map((_, k) => k),
        },
      ],
    });
    const value: Value = { ref: this.#arena.ref(node), axes, ...what };
    this.#values.push(value);
    return value;
  }
}
