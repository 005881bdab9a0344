/**
 * Where threads of a block may part: barriers, and shuffles, must stand where they cannot.
 *
 * A value is uniform where all threads of a block have the same: constants, sizes, block numbers, what is computed
 * from uniform values, what is read at a uniform place from a buffer that the kernel only reads, and registers that
 * are only set to uniform values in uniform flow. These are the rules of WGSL's uniformity analysis (section 15.2),
 * so that a kernel that passes here passes there.
 *
 * A role's body begins as uniform: its threads are all there. Between uniform and divergent lies what each warpgroup
 * has the same of, the thread's number divided by 128 and what is computed from it: in flow that it decides stand
 * instructions of warpgroups, barriers of 128 threads, and in roles shuffles, which no target with roles minds.
 */
import { instructionOf } from "./instructions.ts";
import type { Kernel, Op, Register, Value } from "./ir.ts";
import { collectOps, isRegister, partsOf, visitOps } from "./walk.ts";
import type { Violation } from "./verify.ts";

/** How many threads have the same: all of them, a warpgroup's, or not even those. */
type Level = 0 | 1 | 2;
const uniform = 0;
const byWarpgroup = 1;
const divergent = 2;

const warpgroup = 128;

export function findDivergence(kernel: Kernel): readonly Violation[] {
  const levels = levelsOf(kernel);
  const found: Violation[] = [];
  const walk = (ops: readonly Op[], flow: Level, isInRole: boolean): void => {
    for (const op of ops) {
      if (flow > highest(op, isInRole)) {
        const what = op.kind === "instruction" ? op.name : op.kind;
        found.push({ op, message: `${what}: not all threads arrive here` });
      }
      const { bodies } = partsOf(op);
      if (bodies.length === 0) continue;
      const inner = op.kind === "roles" ? uniform : worst(flow, levels.worstOf(parted(op)));
      for (const body of bodies) walk(body, inner, isInRole || op.kind === "roles");
    }
  };
  walk(kernel.body, uniform, false);
  return found;
}

/** The least uniform flow that the op may stand in. */
function highest(op: Op, isInRole: boolean): Level {
  switch (op.kind) {
    case "barrier":
      return op.group !== undefined && op.group.threads <= warpgroup ? byWarpgroup : uniform;
    case "shuffle-xor":
    case "shuffle-index":
      return isInRole ? byWarpgroup : uniform;
    case "instruction":
      return instructionOf(op.name).scope === "warpgroup" ? byWarpgroup : divergent;
    default:
      return divergent;
  }
}

/** Values that decide who goes where. */
function parted(op: Op): readonly Value[] {
  return op.kind === "for" ? [op.from, op.to] : op.kind === "if" ? [op.condition] : [];
}

function worst(a: Level, b: Level): Level {
  return a > b ? a : b;
}

/** What is not uniform; levels only grow. */
class Levels {
  readonly #levels = new Map<Value | Register, Level>();
  /** Counts changes. */
  changes = 0;

  of(part: Value | Register): Level {
    return this.#levels.get(part) ?? uniform;
  }

  worstOf(parts: readonly (Value | Register)[]): Level {
    let level: Level = uniform;
    for (const part of parts) level = worst(level, this.of(part));
    return level;
  }

  raise(parts: readonly (Value | Register)[], level: Level): void {
    for (const part of parts) {
      if (level <= this.of(part)) continue;
      this.#levels.set(part, level);
      this.changes += 1;
    }
  }
}

/** Grows until nothing is added: a register that is found divergent makes earlier reads of it in a loop divergent. */
function levelsOf(kernel: Kernel): Levels {
  const levels = new Levels();
  const numbers = numbersOf(kernel);
  const walk = (ops: readonly Op[], flow: Level, isInRole: boolean): void => {
    for (const op of ops) {
      const parts = partsOf(op);
      const read = op.kind === "get" ? levels.of(op.register) : levels.worstOf(parts.operands);
      const made = dividesByWarpgroups(op, numbers) ? byWarpgroup : worst(sourceOf(op, levels), read);
      levels.raise(parts.results, made);
      // Values set in divergent flow differ between those who went there and those who did not.
      if (op.kind === "set") levels.raise([op.register], worst(made, flow));
      // What a role sets of the block's differs between roles, which are warpgroups.
      if (op.kind === "set" && isInRole && numbers.ofBlock.has(op.register))
        levels.raise([op.register], byWarpgroup);
      if (op.kind === "var") levels.raise([op.register], made);
      if (op.kind === "instruction") levels.raise(op.dst.filter(isRegister), divergent);
      if (op.kind === "for") levels.raise([op.index], made);
      if (parts.bodies.length === 0) continue;
      const inner = worst(flow, levels.worstOf(parted(op)));
      for (const body of parts.bodies) walk(body, inner, isInRole || op.kind === "roles");
    }
  };
  for (let before = -1; before !== levels.changes;) {
    before = levels.changes;
    walk(kernel.body, uniform, false);
  }
  return levels;
}

interface Numbers {
  /** Values that are the thread's number. */
  readonly threads: ReadonlySet<Value>;
  readonly constants: ReadonlyMap<Value, number>;
  /** Registers that are declared outside of roles. */
  readonly ofBlock: ReadonlySet<Register>;
}

function numbersOf(kernel: Kernel): Numbers {
  const threads = new Set<Value>();
  const constants = new Map<Value, number>();
  visitOps(kernel.body, (op) => {
    if (op.kind === "const") constants.set(op.dst, Number(op.value));
    if (op.kind === "thread") threads.add(op.dst);
    // The same bits, and never negative.
    if ((op.kind === "convert" || op.kind === "bitcast") && threads.has(op.a) && isWhole(op.dst.type))
      threads.add(op.dst);
  });
  const ofRoles = new Set<Register>();
  for (const { roles } of collectOps(kernel.body, "roles"))
    for (const { body } of roles) for (const op of collectOps(body, "var")) ofRoles.add(op.register);
  const all = collectOps(kernel.body, "var").map((op) => op.register);
  return { threads, constants, ofBlock: new Set(all.filter((register) => !ofRoles.has(register))) };
}

function isWhole(type: Value["type"]): boolean {
  return type === "i32" || type === "u32" || type === "i64";
}

/** The quotient of the thread's number by whole warpgroups. */
function dividesByWarpgroups(op: Op, { threads, constants }: Numbers): boolean {
  if (op.kind !== "binary" || !threads.has(op.a)) return false;
  const by = constants.get(op.b) ?? 0;
  return (
    (op.fn === "div" && by > 0 && by % warpgroup === 0) || (op.fn === "shr" && by >= Math.log2(warpgroup))
  );
}

/** What an op's results are whatever it is given. */
function sourceOf(op: Op, levels: Levels): Level {
  switch (op.kind) {
    case "thread":
    case "lane":
    case "subgroup":
    case "instruction":
      return divergent;
    case "shuffle-xor":
      return worst(byWarpgroup, levels.of(op.value));
    case "shuffle-index":
      return worst(byWarpgroup, worst(levels.of(op.value), levels.of(op.lane)));
    case "load":
      return op.buffer.space === "shared" || op.buffer.access !== "read" ? divergent : uniform;
    default:
      return uniform;
  }
}
