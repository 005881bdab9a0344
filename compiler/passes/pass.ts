/**
 * Passes over tensor graphs: what one is, and how a list of them runs. A pass is pure and has a name; after each
 * one the graph is verified, so that a broken graph names the pass that broke it.
 */
import { InternalError } from "../diagnostics/diagnostic.ts";
import type { Arena } from "../tensor/arena.ts";
import type { Graph } from "../tensor/ir.ts";
import { print } from "../tensor/print.ts";
import { verify } from "../tensor/verify.ts";

export interface PassContext {
  readonly arena: Arena;
}

export interface Pass<P> {
  /** Kebab-case; what `--after` takes. */
  readonly name: string;
  /** Returns the same object when nothing changed. */
  run(program: P, cx: PassContext): P;
}

/** Called after each pass; `text` prints the graph, and costs nothing unless it is called. */
export type Trace = (pass: string, text: () => string) => void;

/** Runs the passes in order, verifying before the first and after each that changed something. */
export function runPasses(
  passes: readonly Pass<Graph>[],
  graph: Graph,
  cx: PassContext,
  trace?: Trace,
): Graph {
  let current = graph;
  check("lower", current, cx);
  for (const pass of passes) {
    const next = pass.run(current, cx);
    if (next !== current) check(pass.name, next, cx);
    current = next;
    trace?.(pass.name, () => print(cx.arena, next));
  }
  return current;
}

function check(pass: string, graph: Graph, cx: PassContext): void {
  const [violation] = verify(graph);
  if (violation === undefined) return;
  const node =
    violation.node === undefined ? "the graph" : `node ${violation.node.id} (${violation.node.kind})`;
  throw new InternalError(`pass ${pass} broke ${node}: ${violation.message}\n${print(cx.arena, graph)}`);
}
