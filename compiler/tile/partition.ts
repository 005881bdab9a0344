/**
 * Cuts a sequential tile program into roles at its channels.
 *
 * The copy role fills slots; the math role does the rest. Loops are in both, with what they need to run: a value
 * that both use is computed by both. The channels between carry all synchronisation, so each role is the program
 * with the other's work left out.
 */
import type { Role, Tile, TileOp, TileProgram } from "./ir.ts";
import { bodiesOf, expressionsOf, visitExpressions, visitOps, withBodies } from "./walk.ts";

export type RoleShape = Pick<Role, "threads" | "registers">;

/** A program that fills no channel stays as it is. */
export function partition(
  program: TileProgram,
  shapes: Readonly<Record<"copy" | "math", RoleShape>>,
): TileProgram {
  let fills = 0;
  visitOps(program.body, (op) => {
    if (op.kind === "fill") fills += 1;
  });
  if (fills === 0) return program;
  const math: Role = {
    name: "math",
    active: "all",
    ...shapes.math,
    body: slice(program.body, (op) => op.kind !== "fill"),
  };
  const copy: Role = {
    name: "copy",
    active: "one",
    ...shapes.copy,
    body: slice(program.body, (op) => op.kind === "fill"),
  };
  return {
    ...program,
    threads: math.threads + copy.threads,
    body: [{ kind: "roles", roles: [math, copy] }],
  };
}

/** The ops that are kept, the loops around them, and the definitions that these use. */
function slice(ops: readonly TileOp[], keeps: (op: TileOp) => boolean): TileOp[] {
  const used = new Set<Tile>();
  const use = (op: TileOp): void =>
    visitExpressions(expressionsOf(op), (expr) => {
      if (expr.kind === "tile") used.add(expr.tile);
    });
  const walk = (body: readonly TileOp[]): TileOp[] => {
    const kept: TileOp[] = [];
    for (const op of body.toReversed()) {
      const bodies = bodiesOf(op);
      if (bodies.length > 0) {
        const inner = bodies.map(walk);
        if (inner.some((part) => part.some((one) => one.kind !== "line"))) kept.push(withBodies(op, inner));
        continue;
      }
      const isNeeded = op.kind === "line" || (op.kind === "let" ? used.has(op.tile) : keeps(op));
      if (!isNeeded) continue;
      use(op);
      kept.push(op);
    }
    return kept.toReversed();
  };
  return walk(ops);
}
