/**
 * Where matrix operands begin, step by step along k, is one sum each from where the tile begins. A loop whose tile
 * stays where it is could hold them all, and ptxas does: 36 descriptors of 64 bits for a tile of 576 columns, which its
 * uniform registers have no room for. Many are made again where they are used.
 */
import type { Kernel, Op, Operand, Value } from "../../kernel/ir.ts";
import { collectOps, isAddress, isKind, isMap, isMatrix, partsOf, visitOps } from "../../kernel/walk.ts";

/** Sums that a loop may hold. */
const mostHeld = 24;

export function remakeSteps(kernel: Kernel): Kernel {
  const constants = new Set(collectOps(kernel.body, "const").map((op) => op.dst));
  let next = 0;
  visitOps(kernel.body, (op) => {
    for (const value of partsOf(op).results) next = Math.max(next, value.id + 1);
    if (op.kind === "for") next = Math.max(next, op.index.id + 1);
  });
  /** `outside`: sums with a constant that are made before the ops. */
  const walk = (ops: readonly Op[], outside: ReadonlyMap<Value, Op<"binary">>): readonly Op[] => {
    const known = new Map(outside);
    return ops.map((op): Op => {
      if (isKind(op, "binary") && op.fn === "add" && op.dst.type === "i64" && constants.has(op.b))
        known.set(op.dst, op);
      if (op.kind === "for") return { ...op, body: remade(walk(op.body, known), known) };
      if (op.kind === "if") return { ...op, then: walk(op.then, known), else: walk(op.else, known) };
      if (op.kind !== "roles") return op;
      return { ...op, roles: op.roles.map((role) => ({ ...role, body: walk(role.body, known) })) };
    });
  };
  /** A loop's body, in which sums from outside are made again, if they are many. */
  const remade = (body: readonly Op[], outside: ReadonlyMap<Value, Op<"binary">>): readonly Op[] => {
    const sumOf = (operand: Operand): Op<"binary"> | undefined =>
      isAddress(operand) || isMap(operand) || isMatrix(operand) ? undefined : outside.get(operand);
    const instructions = body.filter((op) => isKind(op, "instruction"));
    const held = new Set(
      instructions.flatMap((op) => op.operands.flatMap((operand) => sumOf(operand) ?? [])),
    );
    if (held.size <= mostHeld) return body;
    return body.flatMap((op): Op[] => {
      if (!isKind(op, "instruction")) return [op];
      const sums: Op[] = [];
      const operands = op.operands.map((operand): Operand => {
        const sum = sumOf(operand);
        if (sum === undefined) return operand;
        const dst: Value = { ...sum.dst, id: next++ };
        sums.push({ ...sum, kind: "binary", dst });
        return dst;
      });
      return [...sums, { ...op, operands }];
    });
  };
  const descriptors = collectOps(kernel.body, "descriptor");
  return descriptors.length === 0 ? kernel : { ...kernel, body: walk(kernel.body, new Map()) };
}
