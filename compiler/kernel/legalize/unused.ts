/** Drops what nobody reads: pure ops, loads, and registers that are only written. Leaves everything with an effect. */
import type { Kernel, Op, Register, Value } from "../ir.ts";
import { partsOf, visitOps } from "../walk.ts";

export function removeUnused(kernel: Kernel): Kernel {
  const live = findLive(kernel.body);
  return { ...kernel, body: keep(kernel.body, live) };
}

interface Live {
  readonly values: ReadonlySet<Value>;
  readonly registers: ReadonlySet<Register>;
}

/** From effects to what they use, and on: a loop's registers may keep one another alive in any order. */
function findLive(body: readonly Op[]): Live {
  const values = new Set<Value>();
  const registers = new Set<Register>();
  /** The op that defines a value, and those that write a register. */
  const definitions = new Map<Value, Op>();
  const writes = new Map<Register, Op[]>();
  const work: Op[] = [];
  visitOps(body, (op) => {
    if (op.kind === "var" || op.kind === "set") {
      const known = writes.get(op.register);
      if (known === undefined) writes.set(op.register, [op]);
      else known.push(op);
    } else if (isLive(op, { values, registers })) {
      work.push(op);
    } else {
      for (const result of partsOf(op).results) if (!("register" in result)) definitions.set(result, op);
    }
  });
  for (let op = work.pop(); op !== undefined; op = work.pop()) {
    const parts = partsOf(op);
    for (const value of parts.operands) {
      if (values.has(value)) continue;
      values.add(value);
      const definition = definitions.get(value);
      if (definition !== undefined) work.push(definition);
    }
    if (op.kind !== "get" && op.kind !== "instruction") continue;
    for (const register of parts.registers) {
      if (registers.has(register)) continue;
      registers.add(register);
      for (const write of writes.get(register) ?? []) work.push(write);
    }
  }
  return { values, registers };
}

function isLive(op: Op, live: Live): boolean {
  switch (op.kind) {
    case "store":
    case "atomic":
    case "barrier":
    case "instruction":
    case "line":
    case "comment":
      return true;
    case "for":
    case "if":
    case "roles":
      return true;
    case "var":
    case "set":
      return live.registers.has(op.register);
    default:
      return partsOf(op).results.some((result) => !("register" in result) && live.values.has(result));
  }
}

function keep(ops: readonly Op[], live: Live): readonly Op[] {
  return ops.flatMap((op): readonly Op[] => {
    if (!isLive(op, live)) return [];
    if (op.kind === "for") {
      const body = keep(op.body, live);
      return isEmpty(body) ? [] : [{ ...op, body }];
    }
    if (op.kind === "if") {
      const [then, otherwise] = [keep(op.then, live), keep(op.else, live)];
      return isEmpty(then) && isEmpty(otherwise) ? [] : [{ ...op, then, else: otherwise }];
    }
    if (op.kind === "roles")
      return [{ ...op, roles: op.roles.map((role) => ({ ...role, body: keep(role.body, live) })) }];
    return [op];
  });
}

function isEmpty(ops: readonly Op[]): boolean {
  return ops.every((op) => op.kind === "line" || op.kind === "comment");
}
