/** Parts of a block in CUDA C++: roles, barriers of fewer threads, matrix descriptors, and what a wait gives back. */
import type { Op, Register, Swizzle } from "../../kernel/ir.ts";
import { isRegister, partsOf } from "../../kernel/walk.ts";
import { call, indexed, infix, primary, type Expr } from "../c/expression.ts";
import { opTable } from "../c/op-table.ts";
import { touchesMemory, type Printer } from "../c/printer.ts";

export function printRoles({ roles }: Op<"roles">, cx: Printer): void {
  cx.flushFor(roles.map(({ body }) => body));
  let first = 0;
  for (const [i, { name, threads, body }] of roles.entries()) {
    first += threads;
    const isLast = i === roles.length - 1;
    const condition = isLast ? "" : `if (threadIdx.x < ${first}) `;
    cx.out.line(`${i === 0 ? "" : "} else "}${condition}{  // ${name}`);
    cx.out.indented(() => cx.nested(body));
  }
  cx.out.line("}");
}

export function printBarrier(op: Op<"barrier">, cx: Printer): void {
  const { group } = op;
  if (group === undefined) {
    opTable.barrier(op, cx);
    return;
  }
  cx.flush(touchesMemory);
  const own = infix("/", primary("int(threadIdx.x)"), primary(String(group.threads)));
  const barrier = group.first === 0 ? own : infix("+", own, primary(String(group.first)));
  cx.out.line(`${call(cx.use("group_barrier"), barrier, primary(String(group.threads))).text};`);
}

const swizzleCodes: Readonly<Record<Swizzle, number>> = { 0: 0, 128: 1, 64: 2, 32: 3 };

export function printDescriptor(op: Op<"descriptor">, cx: Printer): void {
  const { buffer, index, leading, stride, swizzle } = op;
  const make = (): Expr =>
    call(
      cx.use("matrix_descriptor"),
      primary(`&${indexed(cx.buffer(buffer), cx.expr(index)).text}`),
      ...[leading, stride, swizzleCodes[swizzle]].map((part) => primary(String(part))),
    );
  cx.define(op.dst, make, [index], "inherited");
}

/**
 * Registers that asynchronous instructions may be writing at each instruction that waits for them. C++ takes a
 * register for written where the assembly stands, and might read it before the wait.
 */
export function registersOfWaits(body: readonly Op[]): ReadonlyMap<Op, readonly Register[]> {
  const written = new Set<Register>();
  collectWritten(body, written);
  const found = new Map<Op, readonly Register[]>();
  const walk = (ops: readonly Op[], outer: readonly Register[]): void => {
    const visible = [...outer];
    for (const op of ops) {
      if (op.kind === "var" && written.has(op.register)) visible.push(op.register);
      if (op.kind === "instruction" && op.name.startsWith("wgmma.wait")) found.set(op, [...visible]);
      for (const nested of partsOf(op).bodies) walk(nested, visible);
    }
  };
  if (written.size > 0) walk(body, []);
  return found;
}

/** Registers of a kernel's that warpgroups' matrix instructions accumulate in. */
function collectWritten(ops: readonly Op[], written: Set<Register>): void {
  for (const op of ops) {
    if (op.kind === "instruction" && op.name.startsWith("wgmma."))
      for (const register of op.dst.filter(isRegister)) written.add(register);
    for (const nested of partsOf(op).bodies) collectWritten(nested, written);
  }
}

/** The wait, and after it each register as if written there. */
export function printWait(op: Op<"instruction">, registers: readonly Register[], cx: Printer): void {
  cx.flush({ memory: true, registers: new Set(registers) });
  opTable.instruction(op, cx);
  if (registers.length === 0) return;
  cx.out.line(`${cx.use("written")}(${registers.map((register) => cx.register(register)).join(", ")});`);
}
