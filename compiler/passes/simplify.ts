/**
 * Makes graphs smaller without changing a value: rules on bodies (`simplify-rules.ts`), and reads through views.
 *
 *     %1 = loop n in N, d in D { yield bf16[n, d]: %x[floordiv(n, S), mod(n, S), d] }
 *     .. %1[b * S + s, d] ..                                    =>   .. %x[b, s, d] ..
 *
 * A loop that only moves, broadcasts or renames is read through by every loop and scatter; it stays where a
 * structured node or a result needs it. What nothing reads any more is not reached, and so is gone.
 */
import { outputsOfNode, rewriteGraph } from "../tensor/graphs.ts";
import { typeOf } from "../tensor/refs.ts";
import type { Graph, LoopNode, Node, Scalar, ScatterNode } from "../tensor/ir.ts";
import { bodyOf } from "../tensor/node-body.ts";
import { rewriteScalars } from "../tensor/scalars.ts";
import { learn, noFacts, type Facts } from "../types/prover.ts";
import { bodyRewriter } from "./bodies.ts";
import { inlined, viewsRead } from "./inline.ts";
import type { Pass, PassContext } from "./pass.ts";
import { simplifyRules, type Rule, type RuleContext } from "./simplify-rules.ts";
import { Templates } from "./templates.ts";

export const simplify: Pass<Graph> = { name: "simplify", run: simplifyGraph };

/** What this pass has made: the next run of it has nothing to do. */
const simpleGraphs = new WeakSet<Graph>();

/** A body that reads through a view may be simpler, and a simpler body may read through more: rounds of that. */
const maxRounds = 4;
/** Rewrites of one scalar, each of which makes it smaller or simpler; a bound on mistakes, not on programs. */
const maxSteps = 16;

function simplifyGraph(graph: Graph, cx: PassContext): Graph {
  if (simpleGraphs.has(graph)) return graph;
  const { arena } = cx;
  const facts = learn(noFacts, graph.checks);
  const templates = new Templates(arena);
  const simplifyBodies = bodyRewriter(arena, templates, (node) => simplifyRoots(cx, node, facts));
  // What a node reads is simple when the node is met, so that one walk finds every view.
  const made = rewriteGraph(arena, graph, (node) => {
    let current: Node = node;
    for (let round = 0; round < maxRounds; round++) {
      if (current.kind !== "loop" && current.kind !== "scatter") break;
      const views = viewsRead(current);
      const next: Node =
        views.length === 0
          ? simplifyBodies(current)
          : inlined(arena, templates, current, current.inputs, views, simplifyBodies);
      if (next === current) break;
      current = next;
    }
    return current === node ? undefined : outputsOfNode(arena, current);
  });
  simpleGraphs.add(made);
  return made;
}

function simplifyRoots(cx: PassContext, node: LoopNode | ScatterNode, facts: Facts): readonly Scalar[] {
  const rules = contextOf(cx, node, facts);
  const { roots, scalars } = bodyOf(node);
  return rewriteScalars(cx.arena, roots, (s) => simplifyScalar(rules, s), scalars);
}

function contextOf(cx: PassContext, node: LoopNode | ScatterNode, facts: Facts): RuleContext {
  const type = (input: number): ReturnType<typeof typeOf> | undefined => {
    const ref = node.inputs[input];
    return ref === undefined ? undefined : typeOf(ref);
  };
  return {
    arena: cx.arena,
    axes: node.kind === "loop" ? [...node.axes, ...node.over] : node.axes,
    facts,
    dtypeOf: (input) => type(input)?.dtype ?? "f32",
    shapeOf: (input) => type(input)?.shape ?? [],
  };
}

const rulesByRoot: ReadonlyMap<string, readonly Rule[]> = indexByRoot(simplifyRules);

function indexByRoot(rules: readonly Rule[]): ReadonlyMap<string, readonly Rule[]> {
  const byRoot = new Map<string, Rule[]>();
  for (const rule of rules) {
    for (const root of rule.roots) {
      const list = byRoot.get(root);
      if (list === undefined) byRoot.set(root, [rule]);
      else list.push(rule);
    }
  }
  return byRoot;
}

/** Applies rules at the scalar's root until none does. Its operands are simple already. */
function simplifyScalar(cx: RuleContext, scalar: Scalar): Scalar {
  let current = scalar;
  for (let step = 0; step < maxSteps; step++) {
    const rules = rulesByRoot.get(current.kind === "apply" ? current.fn : current.kind);
    const next = rules === undefined ? undefined : firstRewrite(rules, cx, current);
    if (next === undefined || next === current) return current;
    current = next;
  }
  return current;
}

function firstRewrite(rules: readonly Rule[], cx: RuleContext, scalar: Scalar): Scalar | undefined {
  for (const rule of rules) {
    const next = rule.rewrite(cx, scalar);
    if (next !== undefined && next !== scalar) return next;
  }
  return undefined;
}
