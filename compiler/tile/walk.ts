/** The parts of tile ops and expressions, for passes that treat all kinds alike. */
import type { MatrixOperand, RegisterOperand, TileExpr, TileOp } from "./ir.ts";

export function partsOf(expr: TileExpr): readonly TileExpr[] {
  switch (expr.kind) {
    case "read":
      return expr.otherwise === undefined ? expr.index : [...expr.index, expr.otherwise];
    case "shared":
      return expr.index;
    case "apply":
      return expr.args;
    case "round":
    case "cast":
      return [expr.arg];
    case "const":
    case "size":
    case "counter":
    case "coordinate":
    case "tile":
      return [];
  }
}

export function isInRegisters(operand: MatrixOperand | RegisterOperand): operand is RegisterOperand {
  return "registers" in operand;
}

/** An op's own expressions, without those of a loop's body. */
export function expressionsOf(op: TileOp): readonly TileExpr[] {
  const given = (...list: readonly (TileExpr | undefined)[]): TileExpr[] =>
    list.filter((e) => e !== undefined);
  switch (op.kind) {
    case "let":
      return given(op.where, op.expr, op.otherwise);
    case "var":
      return given(op.init);
    case "fold":
      return given(op.where, op.expr);
    case "update":
    case "index":
      return [op.expr];
    case "store":
      return given(...op.index, op.where, op.expr);
    case "put":
      return given(...op.index, op.where, op.expr, op.otherwise);
    case "mma":
      return isInRegisters(op.a)
        ? given(op.a.row, op.a.k, op.m, op.n, op.accumulate)
        : given(op.m, op.n, op.accumulate);
    case "for":
      return given(op.from, op.below);
    case "if":
      return [op.condition];
    case "fill":
      return [...op.copies.flatMap((copy) => copy.box.at), ...given(op.where)];
    case "prefetch":
      return [...op.boxes.flatMap((box) => box.at), ...given(op.where)];
    case "drain":
      return op.copies.flatMap((copy) => copy.box.at);
    case "release":
      return given(op.where);
    case "raise":
    case "meet":
      return [op.index];
    case "reduce":
    case "turn":
    case "persistent":
    case "roles":
    case "await":
    case "commit":
    case "take":
    case "line":
      return [];
  }
}

/** Calls `visit` once on every distinct expression below the roots, parts first. */
export function visitExpressions(roots: readonly TileExpr[], visit: (expr: TileExpr) => void): void {
  const seen = new Set<TileExpr>();
  const go = (expr: TileExpr): void => {
    if (seen.has(expr)) return;
    seen.add(expr);
    partsOf(expr).forEach(go);
    visit(expr);
  };
  roots.forEach(go);
}

/** Whether something of it is read from memory. */
export function readsData(expr: TileExpr): boolean {
  let found = false;
  visitExpressions([expr], ({ kind }) => (found ||= kind === "read"));
  return found;
}

/** What an op contains. */
export function bodiesOf(op: TileOp): readonly (readonly TileOp[])[] {
  switch (op.kind) {
    case "for":
    case "persistent":
    case "fill":
    case "turn":
      return [op.body];
    case "if":
      return [op.then, op.otherwise];
    case "roles":
      return op.roles.map((role) => role.body);
    default:
      return [];
  }
}

/** An op with other bodies, as many as it has. */
export function withBodies(op: TileOp, bodies: readonly (readonly TileOp[])[]): TileOp {
  const [first = []] = bodies;
  switch (op.kind) {
    case "for":
    case "persistent":
    case "fill":
    case "turn":
      return { ...op, body: first };
    case "if":
      return { ...op, then: first, otherwise: bodies[1] ?? [] };
    case "roles":
      return { ...op, roles: op.roles.map((role, k) => ({ ...role, body: bodies[k] ?? [] })) };
    default:
      return op;
  }
}

export function visitOps(ops: readonly TileOp[], visit: (op: TileOp) => void): void {
  for (const op of ops) {
    visit(op);
    for (const body of bodiesOf(op)) visitOps(body, visit);
  }
}
