/**
 * Which contractions lose nothing that matters when their factors are scaled by block. What is asked of a contraction is
 * what it computes from and what is made of it; no name is.
 */
import type { Graph, LoopNode, Node, Ref, Scalar, ScalarRead } from "../tensor/ir.ts";
import { outputsOf, topological } from "../tensor/graphs.ts";
import { bodyOf } from "../tensor/node-body.ts";
import { parameterNodes } from "../tensor/parameters.ts";
import { sameRef, typeOf } from "../tensor/refs.ts";
import { operandsOf, reachable } from "../tensor/scalars.ts";
import { isContraction } from "./loops.ts";

/** Functions that turn an error of their argument into a larger one, or into another choice. */
const sensitive: ReadonlySet<string> = new Set(["exp", "exp2", "eq", "ne", "lt", "le", "gt", "ge"]);
const exponentials: ReadonlySet<string> = new Set(["exp", "exp2"]);

export class FactorCriteria {
  readonly #graph: Graph;
  readonly #readers = new Map<Node, Node[]>();
  readonly #fixed: ReadonlySet<Node>;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#fixed = parameterNodes(graph);
    for (const node of topological(graph))
      for (const maker of new Set(node.inputs.map((ref) => ref.node))) {
        const list = this.#readers.get(maker);
        if (list === undefined) this.#readers.set(maker, [node]);
        else list.push(node);
      }
  }

  /** Whether the graph has parameters, which are the same from run to run. */
  get hasParameters(): boolean {
    return this.#graph.inputs.some(({ role }) => role === "param");
  }

  /** Whether a node is computed from parameters alone. */
  isParameter(node: Node): boolean {
    return this.#fixed.has(node);
  }

  /** How many nodes read a tensor. */
  readersOf({ node, output }: Ref): number {
    return (this.#readers.get(node) ?? []).filter(({ inputs }) =>
      inputs.some((ref) => ref.node === node && ref.output === output),
    ).length;
  }

  /** Whether an exponential makes the values: within a block they span more magnitudes than a scale leaves room for. */
  isExponential(node: Node, seen: Set<Node> = new Set()): boolean {
    if (node.kind === "input" || seen.has(node) || isContraction(node)) return false;
    seen.add(node);
    const isOwn =
      node.kind === "loop" &&
      reachable(node.results.map(({ value }) => value)).some(
        (s) => s.kind === "apply" && exponentials.has(s.fn) && s.args.some((arg) => arg.type === "f32"),
      );
    return isOwn || node.inputs.some((ref) => this.isExponential(ref.node, seen));
  }

  /** Whether a tensor, as it is but for conversions, is an output of the graph in f32. */
  #isHandedOut(ref: Ref): boolean {
    const isOutput = outputsOf(this.#graph).some((other) => sameRef(other, ref));
    if (isOutput && typeOf(ref).dtype === "f32") return true;
    return (this.#readers.get(ref.node) ?? []).some(
      (reader) =>
        reader.kind === "loop" &&
        reader.results.some(({ value }, output) => {
          const read = converted(value);
          const from = read === undefined ? undefined : reader.inputs[read.input];
          return from !== undefined && sameRef(from, ref) && this.#isHandedOut({ node: reader, output });
        }),
    );
  }

  /** What is made of a node's results, before another contraction sums them up, that an error would change most. */
  use(node: LoopNode): string | undefined {
    if (this.#isHandedOut({ node, output: 0 })) return "its result is handed out in f32";
    const seen = new Set<string>();
    const stack = node.types.map((_, output): Ref => ({ node, output }));
    for (let ref = stack.pop(); ref !== undefined; ref = stack.pop()) {
      const key = `${ref.node.id}.${ref.output}`;
      if (seen.has(key)) continue;
      seen.add(key);
      for (const reader of this.#readers.get(ref.node) ?? []) {
        const found = useBy(reader, ref);
        if (found === "choice") return "an order is made of its result";
        if (found === "exponential") return "an exponential, or a comparison, is made of its result";
        if (!isContraction(reader)) stack.push(...found);
      }
    }
    return undefined;
  }
}

function converted(s: Scalar): ScalarRead | undefined {
  if (s.kind === "round" || s.kind === "cast") return converted(s.arg);
  return s.kind === "read" ? s : undefined;
}

/** The outputs of a node that depend on one of its inputs, or what is made of it there. */
function useBy(node: Node, from: Ref): "choice" | "exponential" | readonly Ref[] {
  const position = node.inputs.findIndex((ref) => ref.node === from.node && ref.output === from.output);
  if (position < 0) return [];
  if (node.kind === "topk" || node.kind === "sort" || node.kind === "dispatch") return "choice";
  if (node.kind === "scan") return [{ node, output: 0 }];
  const touched = new Set<Scalar>();
  const carriers = new Set<number>();
  const isTouched = (s: Scalar): boolean =>
    touched.has(s) ||
    (s.kind === "read" && s.input === position) ||
    (s.kind === "carrier" && carriers.has(s.carrier));
  const { roots, scalars } = bodyOf(node);
  // Carriers are used by later ones: as many rounds as there may be steps.
  for (let size = -1; size !== touched.size + carriers.size;) {
    size = touched.size + carriers.size;
    for (const s of scalars) if (isTouched(s) || operandsOf(s).some(isTouched)) touched.add(s);
    if (node.kind === "loop")
      node.carriers.forEach(({ lift }, k) => {
        if (isTouched(lift)) carriers.add(k);
      });
  }
  for (const s of scalars) {
    if (s.kind !== "apply" || !sensitive.has(s.fn)) continue;
    if (s.args.some((arg) => arg.type === "f32" && isTouched(arg))) return "exponential";
  }
  if (node.kind !== "loop") return roots.some(isTouched) ? [{ node, output: 0 }] : [];
  return node.results.flatMap(({ value }, output) => (isTouched(value) ? [{ node, output }] : []));
}
