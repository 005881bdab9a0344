/**
 * Expands structured nodes (topk, scan, sort, dispatch) into plain loops and scatters, so that what follows knows
 * nothing else. Values are those of the structured node, exactly for integers and indices; a float scan adds in
 * another order.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import type { Arena } from "../tensor/arena.ts";
import { rewriteGraph } from "../tensor/graphs.ts";
import type { Graph, Node, Ref } from "../tensor/ir.ts";
import { expandDispatch } from "./expand-dispatch.ts";
import { expandSort, expandTopk } from "./expand-order.ts";
import { expandScan } from "./expand-scan.ts";
import type { Pass } from "./pass.ts";

export const expand: Pass<Graph> = {
  name: "expand",
  run: (graph, cx) => rewriteGraph(cx.arena, graph, (node) => expansionOf(cx.arena, node)),
};

function expansionOf(arena: Arena, node: Node): readonly Ref[] | undefined {
  switch (node.kind) {
    case "topk":
      return expandTopk(arena, node);
    case "sort":
      return expandSort(arena, node);
    case "dispatch":
      return expandDispatch(arena, node);
    case "scan": {
      const [x] = node.inputs;
      invariant(x !== undefined, "a scan has an input");
      return [expandScan(arena, x, node.axis)];
    }
    case "input":
    case "loop":
    case "scatter":
      return undefined;
  }
}
