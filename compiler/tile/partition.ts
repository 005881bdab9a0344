/**
 * Cuts a sequential tile program into roles at its channels.
 *
 * The copy role fills slots; the math role does the rest. Loops are in both, with what they need to run: a value
 * that both use is computed by both. The channels between carry all synchronisation, so each role is the program
 * with the other's work left out. Without a copy role those who multiply fill the slots too, where the program says.
 */
import type { Channel, Counter, Role, Tile, TileExpr, TileOp, TileProgram } from "./ir.ts";
import { bodiesOf, expressionsOf, isInRegisters, visitExpressions, visitOps, withBodies } from "./walk.ts";

export type RoleShape = Pick<Role, "threads" | "registers">;

/**
 * A program that fills no channel stays as it is. No shape of `copy`: there is no such role. `beside`: roles that are no
 * part of the sequence, whole as they are.
 */
export function partition(
  program: TileProgram,
  shapes: { readonly copy: RoleShape | undefined; readonly math: RoleShape },
  beside: readonly Role[] = [],
): TileProgram {
  const taken = channelsTaken(program.body);
  const handed = new Set(
    beside.flatMap(({ body }) => [...channelsTaken(body)]).filter((one) => !taken.has(one)),
  );
  // What other roles alone take is handed to them by those who compute it.
  const isFill = (op: TileOp): op is TileOp<"fill"> => op.kind === "fill" && !handed.has(op.channel);
  const isCopy = (op: TileOp): boolean => isFill(op) || op.kind === "prefetch";
  const fills: TileOp<"fill">[] = [];
  visitOps(program.body, (op) => {
    if (isFill(op)) fills.push(op);
  });
  if (fills.length === 0) return program;
  const math: Role = {
    name: "math",
    active: "all",
    ...shapes.math,
    body: slice(program.body, (op) => shapes.copy === undefined || !isCopy(op)),
  };
  const others = beside.map((role) => ({ ...role, body: slice(role.body, () => true) }));
  const roles = [math, ...others];
  if (shapes.copy !== undefined)
    roles.push({
      name: "copy",
      // One thread tells the copy engine what to do; what is computed on the way takes all of them.
      active: fills.every((op) => op.body.length === 0) ? "one" : "all",
      ...shapes.copy,
      body: slice(program.body, isCopy),
    });
  return {
    ...program,
    threads: roles.reduce((sum, role) => sum + role.threads, 0),
    body: [{ kind: "roles", roles }],
  };
}

function channelsTaken(ops: readonly TileOp[]): ReadonlySet<Channel> {
  const channels = new Set<Channel>();
  visitOps(ops, (op) => {
    if (op.kind === "take") channels.add(op.channel);
  });
  return channels;
}

/** Tiles that an op changes, or multiplies as they lie in registers. */
function tilesChangedBy(op: TileOp): readonly Tile[] {
  switch (op.kind) {
    case "update":
    case "fold":
      return [op.tile];
    case "mma":
      return isInRegisters(op.a) ? [op.acc, op.a.registers] : [op.acc];
    default:
      return [];
  }
}

/** The ops that are kept, the loops around them, and the definitions that these use. */
function slice(ops: readonly TileOp[], keeps: (op: TileOp) => boolean): TileOp[] {
  const used = new Set<Tile | Counter>();
  const useExpressions = (exprs: readonly TileExpr[]): void =>
    visitExpressions(exprs, (expr) => {
      if (expr.kind === "tile") used.add(expr.tile);
      if (expr.kind === "counter") used.add(expr.counter);
    });
  const use = (op: TileOp): void =>
    visitOps([op], (part) => {
      useExpressions(expressionsOf(part));
      for (const tile of tilesChangedBy(part)) used.add(tile);
    });
  const walk = (body: readonly TileOp[]): TileOp[] => {
    const kept: TileOp[] = [];
    for (const op of body.toReversed()) {
      const bodies = bodiesOf(op);
      if (bodies.length > 0 && op.kind !== "fill") {
        const inner = bodies.map(walk);
        if (inner.every((part) => part.every((one) => one.kind === "line"))) continue;
        useExpressions(expressionsOf(op));
        kept.push(withBodies(op, inner));
        continue;
      }
      const isNeeded =
        op.kind === "line" ||
        (op.kind === "let" || op.kind === "var"
          ? used.has(op.tile)
          : op.kind === "index"
            ? used.has(op.counter)
            : keeps(op));
      if (!isNeeded) continue;
      use(op);
      kept.push(op);
    }
    return kept.toReversed();
  };
  return walk(ops);
}
