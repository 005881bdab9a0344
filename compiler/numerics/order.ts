/**
 * The order in which a tile program adds, as a text: two programs of one text give the same bits for the same terms.
 *
 * Of a matrix unit's sum that is the unit, the products of a run and the additions after it, since products come in
 * the order of k whatever the block. Of other sums it is the nest of loops, folds and reductions that make them.
 */
import { operandExtent } from "../tile/matrix-operand.ts";
import type { TileOp, TileProgram } from "../tile/ir.ts";
import type { Caps } from "../types/caps.ts";
import { evaluate } from "../types/dim.ts";
import { reductionTree } from "./reduction-tree.ts";

/** Undefined where the program sums nothing. */
export function orderOfSums(
  program: TileProgram,
  caps: Caps,
  dims: ReadonlyMap<string, number>,
): string | undefined {
  const tree = reductionTree(program, caps, dims);
  if (tree === undefined) return undefined;
  const { unit, run, roundings } = tree;
  if (unit !== undefined)
    return `${unit.atOnce} at once, ${unit.fractionBits} bits, runs of ${run}, ${roundings} additions`;
  return nest(program.body, dims).join("; ");
}

function nest(ops: readonly TileOp[], dims: ReadonlyMap<string, number>): readonly string[] {
  return ops.flatMap((op): readonly string[] => {
    switch (op.kind) {
      case "fold":
        return op.monoid === "sum" ? [`fold ${op.over.map(({ size }) => size).join(" x ")}`] : [];
      case "reduce": {
        const across = op.over.map(
          ({ size, place }) => `${size}${place.kind === "thread" ? ` by ${place.stride}` : ""}`,
        );
        return op.monoid === "sum" ? [`across ${across.join(", ")}`] : [];
      }
      case "mma":
        return [`products of ${operandExtent(op.b).k}`];
      case "update":
        return op.tile.type === "f32" ? ["update"] : [];
      case "for": {
        const body = nest(op.body, dims);
        return body.length === 0 ? [] : [`${evaluate(op.counter.count, dims)} times (${body.join("; ")})`];
      }
      case "if":
        return [...nest(op.then, dims), ...nest(op.otherwise, dims)];
      case "persistent":
      case "fill":
      case "turn":
        return nest(op.body, dims);
      case "roles":
        return op.roles.flatMap(({ body }) => nest(body, dims));
      default:
        return [];
    }
  });
}
