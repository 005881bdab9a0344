/**
 * Writes scalar functions in the few that targets have: `exp(x)` as `exp2(x * log2 e)`, `sigmoid`, `gelu` and the rest.
 * Last at the tensor level, since algebra sees more in a name than in what it stands for.
 */
import { expandScalars } from "../tensor/expand-scalar.ts";
import { outputsOfNode, rewriteGraph } from "../tensor/graphs.ts";
import type { Graph } from "../tensor/ir.ts";
import { rootsOf } from "../tensor/scalars.ts";
import { bodyRewriter } from "./bodies.ts";
import type { Pass } from "./pass.ts";
import { Templates } from "./templates.ts";

export const lowerFunctions: Pass<Graph> = {
  name: "lower-functions",
  run: (graph, { arena }) => {
    const rewrite = bodyRewriter(arena, new Templates(arena), (node) => expandScalars(arena, rootsOf(node)));
    return rewriteGraph(arena, graph, (node) => {
      const made = rewrite(node);
      return made === node ? undefined : outputsOfNode(arena, made);
    });
  },
};
