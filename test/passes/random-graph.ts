/**
 * Random graphs for properties of passes: chains of pointwise loops, reductions, contractions, reshapes, slices and
 * gathers over a few axes. On small whole numbers every value is exact in f64, whatever the order of its terms.
 */
import { Arena } from "../../compiler/tensor/arena.ts";
import { typeOf } from "../../compiler/tensor/refs.ts";
import type { Graph, InputNode, LoopAxis, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { mul, symbol, type Dim } from "../../compiler/types/dim.ts";
import { tensor } from "../tensor/tensors.ts";

export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }
  below(n: number): number {
    // xorshift32
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick");
    return item;
  }
}

export interface RandomGraph {
  readonly arena: Arena;
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, StoredTensor>;
  readonly dims: ReadonlyMap<string, number>;
}

interface Value {
  readonly ref: Ref;
  /** Names of axes; a name stands for one size. */
  readonly axes: readonly string[];
}

const sizes: Readonly<Record<string, number>> = { A: 3, B: 4, C: 2 };
const names = Object.keys(sizes);

function extentOf(name: string): Dim {
  return mul(...name.split("").map((letter) => symbol(letter)));
}

export function randomGraph(seed: number, kind: "whole" | "smooth", steps: number): RandomGraph {
  return new Generator(seed, kind).generate(steps);
}

class Generator {
  readonly #arena = new Arena();
  readonly #random: Random;
  readonly #kind: "whole" | "smooth";
  readonly #values: Value[] = [];
  readonly #inputs: InputNode[] = [];
  readonly #tensors = new Map<string, StoredTensor>();

  constructor(seed: number, kind: "whole" | "smooth") {
    this.#random = new Random(seed);
    this.#kind = kind;
  }

  generate(steps: number): RandomGraph {
    for (const axes of [["A", "B"], ["B", "C"], ["A", "B", "C"], ["B"]]) this.#input(axes);
    for (let i = 0; i < steps; i++) this.#values.push(this.#step());
    const results = this.#values
      .filter(
        (v, i) =>
          v.ref.node.kind !== "input" && (i >= this.#values.length - 2 || this.#random.below(5) === 0),
      )
      .map((v, i) => ({ name: `r${i}`, value: v.ref }));
    const graph = this.#arena.graph({
      name: "random",
      inputs: this.#inputs,
      results,
      updates: [],
      dims: names,
      checks: [],
    });
    return { arena: this.#arena, graph, inputs: this.#tensors, dims: new Map(Object.entries(sizes)) };
  }

  #input(axes: readonly string[]): void {
    const name = `x${this.#inputs.length}`;
    const node = this.#arena.input(name, "argument", this.#arena.type("f32", axes.map(extentOf)));
    this.#inputs.push(node);
    const shape = axes.map((axis) => sizes[axis] ?? 1);
    const count = shape.reduce((product, extent) => product * extent, 1);
    const next = (): number =>
      this.#kind === "whole" ? this.#random.below(7) - 3 : this.#random.below(2000) / 1000 - 1;
    this.#tensors.set(name, tensor("f32", shape, Array.from({ length: count }, next)));
    this.#values.push({ ref: this.#arena.ref(node), axes });
  }

  /** Mostly recent values, so that chains grow. */
  #value(): Value {
    const recent = this.#values.slice(-4);
    return this.#random.pick(this.#random.below(3) === 0 ? this.#values : recent);
  }

  #step(): Value {
    switch (this.#random.below(8)) {
      case 0:
        return this.#reduce();
      case 1:
        return this.#contract();
      case 2:
        return this.#reshape();
      case 3:
        return this.#shift();
      default:
        return this.#pointwise();
    }
  }

  #pointwise(): Value {
    const operands = [this.#value(), this.#value(), this.#value()].slice(0, 1 + this.#random.below(3));
    const axes = [...new Set(operands.flatMap((v) => v.axes))];
    if (this.#random.below(4) === 0) axes.reverse();
    // Values have three axes at most, so that graphs stay small.
    if (axes.length > 3) return this.#reduce();
    const inputs: Ref[] = [];
    const reads = operands.map((v) => this.#read(inputs, v, axes));
    return this.#loop(axes, [], inputs, this.#combine(reads));
  }

  #combine(reads: readonly Scalar[]): Scalar {
    const a = this.#arena;
    let value = reads[0] ?? a.f32(1);
    for (const other of reads.slice(1)) {
      const fn = this.#random.pick(["add", "sub", "max", "min"]);
      value =
        this.#random.below(4) === 0
          ? a.apply("select", a.apply("lt", value, other), value, a.apply("neg", other))
          : a.apply(fn, value, other);
    }
    if (this.#kind === "smooth") return a.apply(this.#random.pick(["tanh", "sigmoid", "sin"]), value);
    return this.#random.below(3) === 0
      ? a.round("bf16", value)
      : a.apply(this.#random.pick(["abs", "neg"]), value);
  }

  #reduce(): Value {
    const value = this.#value();
    if (value.axes.length === 0) return value;
    const over = this.#random.pick(value.axes);
    const axes = value.axes.filter((axis) => axis !== over);
    const inputs: Ref[] = [];
    const all = [...axes, over];
    const lift = this.#read(inputs, value, all);
    const monoid = this.#random.pick(["sum", "max", "min"]);
    return this.#loop(axes, [over], inputs, this.#arena.carrier(0, "f32"), [{ name: "r", monoid, lift }]);
  }

  #contract(): Value {
    const [x, y] = [this.#value(), this.#random.pick(this.#values)];
    const common = x.axes.filter((axis) => y.axes.includes(axis));
    if (common.length === 0) return this.#reduce();
    const over = this.#random.pick(common);
    const axes = [...new Set([...x.axes, ...y.axes])].filter((axis) => axis !== over);
    if (axes.length > 3) return this.#reduce();
    const inputs: Ref[] = [];
    const all = [...axes, over];
    // A sign keeps whole numbers small.
    const sign = this.#arena.apply(
      "clamp",
      this.#read(inputs, y, all),
      this.#arena.f32(-1),
      this.#arena.f32(1),
    );
    const lift = this.#arena.apply("mul", this.#read(inputs, x, all), sign);
    return this.#loop(axes, [over], inputs, this.#arena.carrier(0, "f32"), [
      { name: "r", monoid: "sum", lift },
    ]);
  }

  /** Merges the last two axes, or splits a merged one. */
  #reshape(): Value {
    const value = this.#value();
    const a = this.#arena;
    const inputs: Ref[] = [];
    const merged = value.axes.findIndex((axis) => axis.length > 1);
    if (merged >= 0) {
      const axes = value.axes.flatMap((axis, i) => (i === merged ? axis.split("") : [axis]));
      if (new Set(axes).size < axes.length) return this.#pointwise();
      const parts = (value.axes[merged] ?? "").split("");
      const index = value.axes.map((axis, i) => {
        if (i !== merged) return a.axis(axes.indexOf(axis));
        return parts.reduce(
          (sum, part) => a.apply("add", a.apply("mul", sum, a.dim(symbol(part))), a.axis(axes.indexOf(part))),
          a.i32(0) as Scalar,
        );
      });
      return this.#loop(axes, [], inputs, a.read(inputs, value.ref, index));
    }
    if (value.axes.length < 2) return this.#pointwise();
    const last = value.axes.slice(-2).join("");
    const axes = [...value.axes.slice(0, -2), last];
    const inner = a.dim(symbol(last.slice(1)));
    const flat = a.axis(axes.length - 1);
    const index = [
      ...value.axes.slice(0, -2).map((_, i) => a.axis(i)),
      a.apply("floordiv", flat, inner),
      a.apply("mod", flat, inner),
    ];
    return this.#loop(axes, [], inputs, a.read(inputs, value.ref, index));
  }

  /** The value moved along an axis, with 5 from outside; or clamped. */
  #shift(): Value {
    const value = this.#value();
    const a = this.#arena;
    if (value.axes.length === 0) return this.#pointwise();
    const along = this.#random.below(value.axes.length);
    const index = value.axes.map((_, i) => (i === along ? a.apply("sub", a.axis(i), a.i32(1)) : a.axis(i)));
    const inputs: Ref[] = [];
    const read =
      this.#random.below(2) === 0
        ? a.read(inputs, value.ref, index, "clamp")
        : a.read(inputs, value.ref, index, "else", a.f32(5));
    return this.#loop(value.axes, [], inputs, read);
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
    value: Scalar,
    carriers: Parameters<Arena["loop"]>[0]["carriers"] = [],
  ): Value {
    const named = (list: readonly string[]): LoopAxis[] =>
      list.map((axis) => ({ name: axis.toLowerCase(), extent: extentOf(axis) }));
    const dtype = this.#random.below(6) === 0 ? "bf16" : "f32";
    const node = this.#arena.loop({
      axes: named(axes),
      over: named(over),
      carriers,
      inputs,
      results: [{ value, dtype, axes: axes.map((_, i) => i) }],
    });
    const ref = this.#arena.ref(node);
    if (typeOf(ref).shape.length !== axes.length) throw new Error("a result has the loop's axes");
    return { ref, axes };
  }
}
