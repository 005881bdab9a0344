/**
 * Where threads of a block may part: barriers, and shuffles, must stand where they cannot.
 *
 * A value is uniform where all threads of a block have the same: constants, sizes, block numbers, what is computed
 * from uniform values, what is read at a uniform place from a buffer that the kernel only reads, and registers that
 * are only set to uniform values in uniform flow. These are the rules of WGSL's uniformity analysis (section 15.2),
 * so that a kernel that passes here passes there.
 */
import type { Kernel, Op, Register, Value } from "./ir.ts";
import { isRegister, partsOf } from "./walk.ts";
import type { Violation } from "./verify.ts";

export function findDivergence(kernel: Kernel): readonly Violation[] {
  const divergent = divergentParts(kernel);
  const found: Violation[] = [];
  const walk = (ops: readonly Op[], isUniform: boolean): void => {
    for (const op of ops) {
      const isTogether = op.kind === "barrier" || op.kind === "shuffle-xor" || op.kind === "shuffle-index";
      if (isTogether && !isUniform) found.push({ op, message: `${op.kind}: not all threads arrive here` });
      const stays = isUniform && !parted(op).some((value) => divergent.has(value));
      for (const body of partsOf(op).bodies) walk(body, stays);
    }
  };
  walk(kernel.body, true);
  return found;
}

/** Values that decide who goes where. */
function parted(op: Op): readonly Value[] {
  return op.kind === "for" ? [op.from, op.to] : op.kind === "if" ? [op.condition] : [];
}

/** Grows until nothing is added: a register that is found divergent makes earlier reads of it in a loop divergent. */
function divergentParts(kernel: Kernel): ReadonlySet<Value | Register> {
  const divergent = new Set<Value | Register>();
  const mark = (parts: readonly (Value | Register)[]): void => {
    for (const part of parts) divergent.add(part);
  };
  const walk = (ops: readonly Op[], isUniform: boolean): void => {
    for (const op of ops) {
      const parts = partsOf(op);
      const reads: readonly (Value | Register)[] = op.kind === "get" ? [op.register] : parts.operands;
      const isMade = isSource(op) || reads.some((part) => divergent.has(part));
      if (isMade) mark(parts.results);
      // Values set in divergent flow differ between those who went there and those who did not.
      if ((op.kind === "set" || op.kind === "var") && (isMade || (op.kind === "set" && !isUniform)))
        mark([op.register]);
      if (op.kind === "instruction") mark(op.dst.filter(isRegister));
      if (op.kind === "for" && isMade) mark([op.index]);
      const stays = isUniform && !parted(op).some((value) => divergent.has(value));
      for (const body of parts.bodies) walk(body, stays);
    }
  };
  for (let before = -1; before !== divergent.size;) {
    before = divergent.size;
    walk(kernel.body, true);
  }
  return divergent;
}

/** Ops whose results differ between threads whatever they are given. */
function isSource(op: Op): boolean {
  switch (op.kind) {
    case "thread":
    case "lane":
    case "instruction":
    case "shuffle-xor":
    case "shuffle-index":
      return true;
    case "load":
      return op.buffer.space === "shared" || op.buffer.access !== "read";
    default:
      return false;
  }
}
