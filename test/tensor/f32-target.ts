/**
 * A target in a few lines, for tests of the bound: every operation rounded to f32, functions written out, sums in an
 * order of the test's choosing. It shares nothing with the oracle but the table of functions.
 */
import type { Arena } from "../../compiler/tensor/arena.ts";
import { expandScalars } from "../../compiler/tensor/expand-scalar.ts";
import { topological } from "../../compiler/tensor/graphs.ts";
import type { Graph, LoopNode, Node, Ref, Scalar } from "../../compiler/tensor/ir.ts";
import { rounderTo } from "../../compiler/tensor/number-formats.ts";
import { scalarFunctions } from "../../compiler/tensor/scalar-functions.ts";
import type { StoredTensor } from "../../compiler/tensor/values.ts";
import { evaluate } from "../../compiler/types/dim.ts";
import { numbers } from "./tensors.ts";

export type Order = "forward" | "backward" | "pairs";

interface Tensor {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

const identities: Readonly<Record<string, number>> = { sum: 0, max: -Infinity, min: Infinity };

export function runInF32(
  arena: Arena,
  graph: Graph,
  inputs: ReadonlyMap<string, StoredTensor>,
  dims: ReadonlyMap<string, number>,
  order: Order,
): ReadonlyMap<string, readonly number[]> {
  const known = new Map<Node, readonly Tensor[]>();
  for (const node of topological(graph)) {
    if (node.kind === "input") {
      const stored = inputs.get(node.name);
      known.set(node, [{ shape: stored?.shape ?? [], data: numbers(stored) }]);
    } else if (node.kind === "loop")
      known.set(
        node,
        runLoop(
          arena,
          node,
          node.inputs.map((ref) => take(known, ref)),
          dims,
          order,
        ),
      );
    else throw new Error(`no ${node.kind} here`);
  }
  return new Map(graph.results.map(({ name, value }) => [name, take(known, value).data]));
}

function take(known: ReadonlyMap<Node, readonly Tensor[]>, ref: Ref): Tensor {
  const tensor = known.get(ref.node)?.[ref.output];
  if (tensor === undefined) throw new Error("computed before");
  return tensor;
}

function runLoop(
  arena: Arena,
  node: LoopNode,
  tensors: readonly Tensor[],
  dims: ReadonlyMap<string, number>,
  order: Order,
): readonly Tensor[] {
  const size = (axes: LoopNode["axes"]): number[] => axes.map((axis) => evaluate(axis.extent, dims));
  const [own, over] = [size(node.axes), size(node.over)];
  const lifts = expandScalars(
    arena,
    node.carriers.map((c) => c.lift),
  );
  const values = expandScalars(
    arena,
    node.results.map((r) => r.value),
  );
  const outputs = node.results.map((r): { shape: number[]; data: number[] } => ({
    shape: r.axes.map((k) => [...own, ...over][k] ?? 1),
    data: [],
  }));
  for (const point of points(own)) {
    const carriers: number[] = [];
    node.carriers.forEach((carrier, i) => {
      const lift = lifts[i];
      const terms = points(over).map((inner) =>
        lift === undefined ? 0 : compute(lift, [...point, ...inner], carriers, tensors, dims),
      );
      carriers.push(reduce(carrier.monoid, terms, order));
    });
    node.results.forEach((result, i) => {
      const value = values[i];
      const full = result.axes.length > own.length;
      for (const inner of full ? points(over) : [[]]) {
        const at = [...point, ...inner];
        const output = outputs[i];
        if (value === undefined || output === undefined) continue;
        const offset = result.axes.reduce((sum, k, j) => sum * (output.shape[j] ?? 1) + (at[k] ?? 0), 0);
        output.data[offset] = rounderTo(result.dtype)(compute(value, at, carriers, tensors, dims));
      }
    });
  }
  return outputs;
}

function points(extents: readonly number[]): number[][] {
  return extents.reduce<number[][]>(
    (all, extent) => all.flatMap((point) => Array.from({ length: extent }, (_, i) => [...point, i])),
    [[]],
  );
}

function reduce(monoid: string, terms: readonly number[], order: Order): number {
  const combine = scalarFunctions.get({ sum: "add", max: "max", min: "min" }[monoid] ?? "");
  const join = (a: number, b: number): number => Math.fround(combine?.float(a, b, 0) ?? Number.NaN);
  const start = identities[monoid] ?? 0;
  if (order === "forward") return terms.reduce(join, start);
  if (order === "backward") return [...terms].reverse().reduce(join, start);
  let level = [...terms];
  while (level.length > 1)
    level = Array.from({ length: Math.ceil(level.length / 2) }, (_, i) =>
      join(level[2 * i] ?? start, level[2 * i + 1] ?? start),
    );
  return level[0] ?? start;
}

function compute(
  root: Scalar,
  at: readonly number[],
  carriers: readonly number[],
  tensors: readonly Tensor[],
  dims: ReadonlyMap<string, number>,
): number {
  const known = new Map<Scalar, number>();
  const value = (s: Scalar): number => {
    const found = known.get(s);
    if (found !== undefined) return found;
    const computed = computeOne(s);
    known.set(s, computed);
    return computed;
  };
  const computeOne = (s: Scalar): number => {
    switch (s.kind) {
      case "const":
        return s.type === "f32" ? Math.fround(Number(s.value)) : Number(s.value);
      case "dim":
        return evaluate(s.dim, dims);
      case "axis":
        return at[s.axis] ?? 0;
      case "carrier":
        return carriers[s.carrier] ?? 0;
      case "round":
        return rounderTo(s.to)(value(s.arg));
      case "reduce":
        throw new Error("the graphs of these tests have no reduction inside a body");
      case "cast":
        return s.type === "f32" ? Math.fround(value(s.arg)) : Math.trunc(value(s.arg));
      case "apply": {
        const row = scalarFunctions.get(s.fn);
        const [a = 0, b = 0, c = 0] = s.args.map(value);
        const float = s.args.at(-1)?.type === "f32";
        const result = (float ? row?.float(a, b, c) : row?.int(a, b, c)) ?? Number.NaN;
        return s.type === "f32" ? Math.fround(result) : result;
      }
      case "read": {
        const tensor = tensors[s.input];
        let offset = 0;
        for (let k = 0; k < s.index.length; k++) {
          const [extent, index] = [tensor?.shape[k] ?? 1, s.index[k]];
          let i = index === undefined ? 0 : value(index);
          if ((i < 0 || i >= extent) && s.otherwise !== undefined) return value(s.otherwise);
          i = Math.min(Math.max(i, 0), extent - 1);
          offset = offset * extent + i;
        }
        return tensor?.data[offset] ?? Number.NaN;
      }
    }
  };
  return value(root);
}
