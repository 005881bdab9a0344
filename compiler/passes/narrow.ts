/**
 * Stores a float in the dtype that all its readers round it to.
 *
 *     %h = loop .. { yield f32[n, f]: e }                 %h = loop .. { yield bf16[n, f]: bf16(e) }
 *     %y = loop .. { sum: bf16(%h[n, f]) * .. }     =>    %y = loop .. { sum: bf16(%h[n, f]) * .. }
 *
 * The same values reach every reader: rounding once is rounding twice. It halves what is written and read between
 * two loops that fusion left apart, and lets matrix units take the tensor as it is. Results of the graph stay.
 */
import { dtypes, isDType, type DType } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import { outputsOf, rewriteGraph, topological } from "../tensor/graphs.ts";
import type { Graph, LoopNode, Node, Ref } from "../tensor/ir.ts";
import { bodyOf } from "../tensor/node-body.ts";
import { operandsOf } from "../tensor/scalars.ts";
import type { Pass } from "./pass.ts";

export const narrow: Pass<Graph> = {
  name: "narrow",
  run: (graph, { arena }) => {
    // What a narrowed loop reads may now be rounded by all its readers: rounds of that.
    let current = graph;
    for (let targets = narrowTargets(current); targets.size > 0; targets = narrowTargets(current)) {
      const round = targets;
      current = rewriteGraph(arena, current, (node, original) =>
        node.kind === "loop" ? narrowed(arena, node, original, round) : undefined,
      );
    }
    return current;
  },
};

/** By the arena's own refs. */
type Targets = ReadonlyMap<Ref, DType>;

/** For each f32 output of a loop whose readers all round to one dtype, that dtype. */
function narrowTargets(graph: Graph): Targets {
  const found = new Map<Ref, DType | "no">();
  const note = (ref: Ref, to: DType | "no"): void => {
    if (ref.node.kind !== "loop" || ref.node.types[ref.output]?.dtype !== "f32") return;
    const before = found.get(ref);
    found.set(ref, before === undefined || before === to ? to : "no");
  };
  for (const ref of outputsOf(graph)) note(ref, "no");
  const forms: (readonly Rounding[] | undefined)[] = [];
  for (const node of topological(graph)) {
    if (node.kind !== "loop") for (const ref of node.inputs) note(ref, "no");
    else
      for (const { input, to } of (forms[node.form.id] ??= roundingsOf(node))) {
        const ref = node.inputs[input];
        if (ref !== undefined) note(ref, to);
      }
  }
  const targets = new Map<Ref, DType>();
  for (const [ref, to] of found) if (to !== "no" && dtypes[to].bytes < 4) targets.set(ref, to);
  return targets;
}

/** What a read of an input is rounded to. */
interface Rounding {
  readonly input: number;
  readonly to: DType | "no";
}

/** The same for every node of a form: each read of an f32. */
function roundingsOf(node: LoopNode): readonly Rounding[] {
  const { roots, scalars: all } = bodyOf(node);
  const rounded = new Map<number, DType | "no">();
  const use = (id: number, to: DType | "no"): void => {
    const before = rounded.get(id);
    rounded.set(id, before === undefined || before === to ? to : "no");
  };
  for (const root of roots) if (root.kind === "read") use(root.id, "no");
  for (const scalar of all) {
    for (const operand of operandsOf(scalar))
      if (operand.kind === "read")
        use(operand.id, scalar.kind === "round" && isDType(scalar.to) ? scalar.to : "no");
  }
  const found: Rounding[] = [];
  for (const scalar of all) {
    if (scalar.kind !== "read") continue;
    const ref = node.inputs[scalar.input];
    if (ref?.node.types[ref.output]?.dtype !== "f32") continue;
    // What a read outside gives would have to be rounded too.
    found.push({
      input: scalar.input,
      to: scalar.bounds === "else" ? "no" : (rounded.get(scalar.id) ?? "no"),
    });
  }
  return found;
}

/** The loop with the outputs narrowed that are targets in the graph as it was, where it was `original`. */
function narrowed(
  arena: Arena,
  node: LoopNode,
  original: Node,
  targets: Targets,
): readonly Ref[] | undefined {
  const to = node.results.map((result, output) =>
    result.dtype === "f32" ? targets.get(arena.ref(original, output)) : undefined,
  );
  if (to.every((dtype) => dtype === undefined)) return undefined;
  const results = node.results.map((result, output) => {
    const dtype = to[output];
    return dtype === undefined ? result : { ...result, dtype, value: arena.round(dtype, result.value) };
  });
  const made = arena.loop({
    axes: node.axes,
    over: node.over,
    inner: node.inner,
    carriers: node.carriers,
    results,
    inputs: node.inputs,
  });
  return made.types.map((_, output) => arena.ref(made, output));
}
