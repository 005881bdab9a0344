/**
 * The forms of a derived function: the rewrite that makes one of the other, and what each costs.
 *
 * FLOPs are those of the form's own loops; bytes those that are moved once its loops are fused, and its reductions
 * streamed, as far as that goes on a target with a schedule for each of them.
 */
import { add, constant, mul, type Dim } from "../types/dim.ts";
import { noFacts, proveAtMost } from "../types/prover.ts";
import type { Arena } from "../tensor/arena.ts";
import { namesOfSizes, rewriteGraph, topological } from "../tensor/graphs.ts";
import type { Graph, Node, Ref } from "../tensor/ir.ts";
import { cascade } from "./cascade.ts";
import { costOf, estimate } from "./cost.ts";
import { reassociate } from "./derive.ts";
import { expand } from "./expand.ts";
import { fuse } from "./fuse.ts";
import { runPasses } from "./pass.ts";
import { simplify } from "./simplify.ts";

export interface FormCost {
  readonly flops: Dim;
  readonly bytes: Dim;
}

export interface Forms {
  readonly reassociate: typeof reassociate;
  /** Of what makes `roots` from the nodes outside. */
  readonly costOfForm: (arena: Arena, roots: readonly Ref[], outside: ReadonlySet<Node>) => FormCost;
  readonly isCheaper: (a: FormCost, b: FormCost) => boolean;
}

export const forms: Forms = { reassociate, costOfForm, isCheaper };

function costOfForm(arena: Arena, roots: readonly Ref[], outside: ReadonlySet<Node>): FormCost {
  const graph = runPasses([simplify, expand, simplify], graphOf(arena, roots, outside), { arena });
  const fused = runPasses([fuse(), cascade(() => true)], graph, { arena });
  const costs = (of: Graph): ReturnType<typeof costOf>[] => topological(of).map(costOf);
  return {
    flops: add(constant(0), ...costs(graph).map(({ flops }) => flops)),
    bytes: add(constant(0), ...costs(fused).flatMap(({ read, written }) => [leastOf(read), written])),
  };
}

/** Without the choices between two sizes that are decided whatever the sizes are. */
function leastOf(size: Dim): Dim {
  switch (size.kind) {
    case "sum":
      return add(...size.terms.map(leastOf));
    case "product":
      return mul(...size.factors.map(leastOf));
    case "min": {
      const { left, right } = size;
      if (proveAtMost(noFacts, left, right)) return left;
      return proveAtMost(noFacts, right, left) ? right : size;
    }
    default:
      return size;
  }
}

/** Fewer FLOPs, and of as many fewer bytes; a size that is not known counts as it does elsewhere. */
function isCheaper(a: FormCost, b: FormCost): boolean {
  const flops = estimate(a.flops) - estimate(b.flops);
  return flops < 0 || (flops === 0 && estimate(a.bytes) < estimate(b.bytes));
}

/** A graph of the form alone: what comes from outside is its input. */
function graphOf(arena: Arena, roots: readonly Ref[], outside: ReadonlySet<Node>): Graph {
  const whole: Graph = {
    name: "form",
    inputs: [],
    results: roots.map((value, k) => ({ name: String(k), value })),
    updates: [],
    dims: [],
    checks: [],
  };
  let count = 0;
  const cut = rewriteGraph(arena, whole, (node) => {
    if (node.kind === "input" || !outside.has(node)) return undefined;
    return node.types.map((type) => arena.ref(arena.input(`outside ${(count += 1)}`, "argument", type)));
  });
  const inputs = topological(cut).filter((node) => node.kind === "input");
  const dims = new Set<string>();
  namesOfSizes(cut, dims);
  return { ...cut, inputs, dims: [...dims] };
}
