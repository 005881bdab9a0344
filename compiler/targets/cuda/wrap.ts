/**
 * Which integer values may overflow: those that come from memory or from a conversion.
 *
 * What is computed from thread and block numbers, sizes, loop indices and constants alone is index arithmetic,
 * which a plan's size checks keep in range; C++'s signed operators are right for it and read best.
 */
import type { Op, Register, Value } from "../../kernel/ir.ts";
import { partsOf, visitOps } from "../../kernel/walk.ts";

export function valuesThatMayWrap(ops: readonly Op[]): ReadonlySet<Value> {
  const found = new Set<Value>();
  const registers = new Set<Register>();
  // A register's later `set` may reach an earlier `get` of the next trip, so until nothing is added.
  for (let before = -1; before !== found.size + registers.size;) {
    before = found.size + registers.size;
    visitOps(ops, (op) => markOp(op, found, registers));
  }
  return found;
}

const sources: ReadonlySet<Op["kind"]> = new Set<Op["kind"]>([
  "load",
  "convert",
  "bitcast",
  "instruction",
  "unpack",
]);

function markOp(op: Op, found: Set<Value>, registers: Set<Register>): void {
  const parts = partsOf(op);
  const isFromFound = parts.operands.some((value) => found.has(value));
  if (op.kind === "var" || op.kind === "set") {
    if (isFromFound || (op.kind === "set" && isInteger(op.value))) registers.add(op.register);
    return;
  }
  if (op.kind === "for") return;
  const isFromRegister = op.kind === "get" && registers.has(op.register);
  if (!sources.has(op.kind) && !isFromFound && !isFromRegister) return;
  for (const result of parts.results) if (isInteger(result)) found.add(result);
}

/** An integer register that is set again may be a sum without bound, so it counts as one that may overflow. */
function isInteger(value: Value): boolean {
  return value.type === "i32" || value.type === "i64";
}
