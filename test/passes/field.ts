/**
 * What a graph of loops means over finite fields, where sums, products, quotients and exponentials are exact: two
 * graphs that are equal by algebra have equal results, and two that are not nearly never.
 *
 * Values are of two kinds. Exponents are numbers modulo a prime q; `exp` takes them to powers of an element of order q
 * in the field of a prime p = k q + 1, where all other values are. So exp(a + b) = exp(a) exp(b) holds exactly.
 * Constants are rational and become what they meet. There is no order: `max` chooses by a fixed rank that has nothing to
 * do with arithmetic, associative, commutative and idempotent as it is. Written from the IR's definition alone.
 */
import type { Graph, LoopNode, Node, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import type { Dim } from "../../compiler/types/dim.ts";

export type Kind = "exponent" | "value";

/** An element of a field; a constant that has met none yet; or, for indices and conditions, a whole number. */
type Value = { readonly kind: Kind | "constant" | "whole"; readonly n: number };

export interface FieldTensor {
  readonly kind: Kind;
  readonly shape: readonly number[];
  readonly elements: readonly number[];
}

/** Something was divided by zero: such a case says nothing. */
export class ZeroDivision extends Error {
  override readonly name = "ZeroDivision";
}

// Products of two elements are below 2^53.
const q = 1_000_003;
const p = firstPrime((k) => k * q + 1, 2);
const generator = firstOf((h) => power(h, (p - 1) / q, p), 2);

const primes: Readonly<Record<Kind, number>> = { exponent: q, value: p };

function firstPrime(at: (k: number) => number, from: number): number {
  for (let k = from; ; k++) {
    const n = at(k);
    let isPrime = n % 2 === 1;
    for (let d = 3; isPrime && d * d <= n; d += 2) isPrime = n % d !== 0;
    if (isPrime) return n;
  }
}

function firstOf(at: (h: number) => number, from: number): number {
  for (let h = from; ; h++) if (at(h) !== 1) return at(h);
}

function power(base: number, exponent: number, modulus: number): number {
  let [result, square] = [1, base % modulus];
  for (let left = exponent; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function residue(n: number, modulus: number): number {
  return ((n % modulus) + modulus) % modulus;
}

/** A constant in a field: a whole number over a power of two. */
function embedded(n: number, modulus: number): number {
  let [top, bottom] = [n, 1];
  while (!Number.isInteger(top)) {
    top *= 2;
    bottom *= 2;
  }
  return (residue(top, modulus) * power(bottom, modulus - 2, modulus)) % modulus;
}

/** How `max` chooses: a bijection of 32 bits. */
function rank(n: number): number {
  return (Math.imul(n ^ 0x5bd1e995, 0x9e3779b1) ^ 0x2545f491) >>> 0;
}

/** Elements of the results, by name; every input is given, every size is in `dims` or a constant. */
export function evaluateInFields(
  graph: Graph,
  inputs: ReadonlyMap<string, FieldTensor>,
): ReadonlyMap<string, readonly number[]> {
  const known = new Map<Node, readonly FieldTensor[]>();
  const tensorOf = (ref: Ref): FieldTensor => {
    let made = known.get(ref.node);
    if (made === undefined) known.set(ref.node, (made = run(ref.node)));
    const tensor = made[ref.output];
    if (tensor === undefined) throw new Error("a node has the outputs that are read");
    return tensor;
  };
  const run = (node: Node): readonly FieldTensor[] => {
    if (node.kind === "input") {
      const given = inputs.get(node.name);
      if (given === undefined) throw new Error(`${node.name} is not given`);
      return [given];
    }
    if (node.kind !== "loop") throw new Error(`a ${node.kind} has no meaning in a field`);
    return new LoopInFields(node, node.inputs.map(tensorOf)).run();
  };
  return new Map(graph.results.map(({ name, value }) => [name, tensorOf(value).elements]));
}

function sizeOf(extent: Dim): number {
  if (extent.kind !== "const") throw new Error("sizes are constant here");
  return extent.value;
}

class LoopInFields {
  readonly #node: LoopNode;
  readonly #tensors: readonly FieldTensor[];
  readonly #extents: readonly number[];
  /** Where the loop is, along all of its axes. */
  readonly #at: number[];
  /** Carriers that are known at the point of `axes`. */
  #carriers: Value[] = [];

  constructor(node: LoopNode, tensors: readonly FieldTensor[]) {
    this.#node = node;
    this.#tensors = tensors;
    this.#extents = [...node.axes, ...node.over, ...node.inner].map(({ extent }) => sizeOf(extent));
    this.#at = this.#extents.map(() => 0);
  }

  run(): readonly FieldTensor[] {
    const { axes, over, carriers, results } = this.#node;
    const rank = axes.length;
    const swept = over.map((_, k) => rank + k);
    const outputs = results.map(({ axes: order }) => {
      const shape = order.map((k) => this.#extents[k] ?? 1);
      return {
        shape,
        elements: Array<number>(shape.reduce((a, b) => a * b, 1)).fill(0),
        kind: "value" as Kind,
      };
    });
    const store = (k: number): void => {
      const [result, output] = [results[k], outputs[k]];
      if (result === undefined || output === undefined) return;
      const value = this.#value(result.value);
      // A constant is stored as a value.
      output.kind = value.kind === "exponent" ? "exponent" : "value";
      const place = result.axes.reduce(
        (sum, axis) => sum * (this.#extents[axis] ?? 1) + (this.#at[axis] ?? 0),
        0,
      );
      output.elements[place] = value.kind === "constant" ? embedded(value.n, p) : value.n;
    };
    this.#each(
      axes.map((_, k) => k),
      () => {
        this.#carriers = [];
        // A lift may use the carriers before it, as they are in the end.
        for (const { monoid, lift } of carriers) this.#carriers.push(this.#reduced(monoid, swept, lift));
        results.forEach((result, k) => {
          if (result.axes.length === rank) store(k);
          else this.#each(swept, () => store(k));
        });
      },
    );
    return outputs;
  }

  #each(axes: readonly number[], body: () => void): void {
    const [axis, ...rest] = axes;
    if (axis === undefined) {
      body();
      return;
    }
    for (let i = 0; i < (this.#extents[axis] ?? 0); i++) {
      this.#at[axis] = i;
      this.#each(rest, body);
    }
  }

  #reduced(monoid: string, axes: readonly number[], lift: Scalar): Value {
    let total: Value | undefined;
    this.#each(axes, () => {
      const value = this.#value(lift);
      total = total === undefined ? value : combined(monoid, total, value);
    });
    if (total === undefined) throw new Error("something is reduced");
    return total;
  }

  #value(s: Scalar): Value {
    switch (s.kind) {
      case "const":
        return { kind: s.type === "f32" ? "constant" : "whole", n: Number(s.value) };
      case "dim":
        return { kind: "whole", n: sizeOf(s.dim) };
      case "axis":
        return { kind: "whole", n: this.#at[s.axis] ?? 0 };
      case "carrier": {
        const value = this.#carriers[s.carrier];
        if (value === undefined) throw new Error("a carrier is used before it is known");
        return value;
      }
      case "read": {
        const tensor = this.#tensors[s.input];
        if (tensor === undefined || s.bounds !== "proved") throw new Error("reads are plain");
        const place = s.index.reduce(
          (sum, index, k) => sum * (tensor.shape[k] ?? 1) + this.#value(index).n,
          0,
        );
        const n = tensor.elements[place];
        if (n === undefined) throw new Error("a read is inside");
        return { kind: tensor.kind, n };
      }
      case "reduce":
        return this.#reduced(s.monoid, s.axes, s.arg);
      case "apply":
        if (s.fn === "select") return this.#value((this.#condition(s.args[0]) ? s.args[1] : s.args[2]) ?? s);
        return applied(
          s.fn,
          s.args.map((arg) => this.#value(arg)),
        );
      // Elements of a field are exact as they are.
      case "round":
        return this.#value(s.arg);
      case "cast":
        throw new Error("nothing is cast in a field");
    }
  }

  #condition(s: Scalar | undefined): boolean {
    if (s === undefined) throw new Error("a condition");
    return this.#value(s).n === 1;
  }
}

function applied(fn: string, args: readonly Value[]): Value {
  const [a, b] = args;
  if (a === undefined) throw new Error(fn);
  if (fn === "exp") return { kind: "value", n: power(generator, elementOf(a, "exponent"), p) };
  if (fn === "neg") return applied("sub", [{ ...a, n: 0 }, a]);
  if (b === undefined) throw new Error(`${fn} has no meaning in a field`);
  if (fn === "max") return combined("max", a, b);
  if (a.kind === "whole") return { kind: "whole", n: wholes(fn, a.n, b.n) };
  if (a.kind === "constant" && b.kind === "constant") {
    if (fn === "eq") return { kind: "whole", n: a.n === b.n ? 1 : 0 };
    const n = fn === "add" ? a.n + b.n : fn === "sub" ? a.n - b.n : fn === "mul" ? a.n * b.n : a.n / b.n;
    return { kind: "constant", n };
  }
  const kind = kindOf(a, b);
  const modulus = primes[kind];
  const [x, y] = [elementOf(a, kind), elementOf(b, kind)];
  switch (fn) {
    case "eq":
      return { kind: "whole", n: x === y ? 1 : 0 };
    case "add":
      return { kind, n: (x + y) % modulus };
    case "sub":
      return { kind, n: residue(x - y, modulus) };
    case "mul":
      return { kind, n: (x * y) % modulus };
    case "div":
      if (y === 0) throw new ZeroDivision();
      return { kind, n: (x * power(y, modulus - 2, modulus)) % modulus };
    default:
      throw new Error(`${fn} has no meaning in a field`);
  }
}

function combined(monoid: string, a: Value, b: Value): Value {
  if (monoid === "sum") return applied("add", [a, b]);
  if (monoid !== "max") throw new Error(`${monoid} has no meaning in a field`);
  const kind = kindOf(a, b);
  const [x, y] = [elementOf(a, kind), elementOf(b, kind)];
  return { kind, n: rank(x) > rank(y) ? x : y };
}

function kindOf(a: Value, b: Value): Kind {
  const kind = a.kind === "constant" ? b.kind : a.kind;
  if (kind === "constant" || kind === "whole") throw new Error("an element of a field");
  return kind;
}

function elementOf({ kind, n }: Value, wanted: Kind): number {
  if (kind === "constant") return embedded(n, primes[wanted]);
  if (kind !== wanted) throw new Error(`a ${kind} where a ${wanted} is`);
  return n;
}

function wholes(fn: string, a: number, b: number): number {
  switch (fn) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "floordiv":
      return Math.floor(a / b);
    case "mod":
      return residue(a, b);
    case "eq":
      return a === b ? 1 : 0;
    default:
      throw new Error(`${fn} of whole numbers`);
  }
}
