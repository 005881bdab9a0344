/**
 * Matrix products under way have their registers to themselves: from a `wgmma` to the `wgmma.wait.N` that covers it,
 * no other op names its accumulators or the registers of its left operand (PTX ISA 9.7.15.7.4); and a register that
 * was touched since the last `wgmma.fence` is not handed to a product (9.7.15.7.1), but for one accumulator after
 * another product on it.
 *
 * A walk in the order of execution keeps, of each register in flight, how many groups were committed after its
 * product's; where paths join, the youngest counts. A loop's body is walked until what it is entered with is stable.
 */
import type { Kernel, Op, Register, Value } from "./ir.ts";
import type { Violation } from "./verify.ts";
import { partsOf, visitOps } from "./walk.ts";

type Part = Value | Register;

interface State {
  /** Groups committed since the product's own: -1 where it is in none yet. */
  readonly flying: Map<Part, number>;
  /** Touched since the last fence. */
  readonly touched: Set<Part>;
}

/** Groups that a wait may leave: more need not be told apart. */
const oldest = 8;

export function findInFlight(kernel: Kernel): readonly Violation[] {
  const ours = new Set<Part>();
  visitOps(kernel.body, (op) => {
    if (isProduct(op)) for (const part of partsOfProduct(op)) ours.add(part);
  });
  if (ours.size === 0) return [];
  const found = new Map<Op, string>();
  const fail = (op: Op, part: Part, what: string): void => {
    found.set(op, `${op.kind}: ${"register" in part ? "$" : "%"}${part.id} (${part.hint}) ${what}`);
  };
  const walk = (ops: readonly Op[], state: State): void => {
    for (const op of ops) {
      if (op.kind === "for") walkLoop(op, state);
      else if (op.kind === "if" || op.kind === "roles") {
        touch(op, state);
        // A role's registers are no other's, so that joining all paths says nothing false of any.
        const paths = partsOf(op).bodies.map((body) => {
          const path = copyOf(state);
          walk(body, path);
          return path;
        });
        for (const path of paths) join(state, path);
        forget(state, paths);
      } else if (op.kind === "instruction") walkInstruction(op, state);
      else touch(op, state);
    }
  };
  const walkLoop = (op: Op<"for">, state: State): void => {
    touch(op, state);
    for (let before = ""; before !== signature(state);) {
      before = signature(state);
      const trip = copyOf(state);
      walk(op.body, trip);
      join(state, trip);
    }
  };
  const walkInstruction = (op: Op<"instruction">, state: State): void => {
    if (op.name === "wgmma.fence") return state.touched.clear();
    if (op.name === "wgmma.commit") {
      for (const [part, age] of state.flying) state.flying.set(part, Math.min(oldest, age + 1));
      return;
    }
    const wait = /^wgmma\.wait\.(\d+)$/.exec(op.name);
    if (wait !== null) {
      for (const [part, age] of state.flying) if (age >= Number(wait[1])) state.flying.delete(part);
      return;
    }
    if (!isProduct(op)) return touch(op, state);
    for (const part of partsOfProduct(op)) {
      if (state.touched.has(part)) fail(op, part, "is not behind a wgmma.fence since it was touched");
      state.flying.set(part, -1);
    }
  };
  const touch = (op: Op, state: State): void => {
    const { operands, results, registers } = partsOf(op);
    for (const part of [...operands, ...results, ...registers]) {
      if (!ours.has(part)) continue;
      if (state.flying.has(part)) fail(op, part, "is in flight");
      state.touched.add(part);
    }
  };
  walk(kernel.body, { flying: new Map(), touched: new Set(ours) });
  return [...found].map(([op, message]) => ({ op, message }));
}

function isProduct(op: Op): op is Op & Op<"instruction"> {
  return op.kind === "instruction" && op.name.startsWith("wgmma.m64");
}

/** Accumulators, and the registers of a left operand that is not in shared memory. */
function partsOfProduct(op: Op<"instruction">): readonly Part[] {
  const left = partsOf(op).operands.filter((value) => value.type !== "i64" && value.type !== "bool");
  return [...op.dst, ...left];
}

function copyOf({ flying, touched }: State): State {
  return { flying: new Map(flying), touched: new Set(touched) };
}

/** Adds what holds on the path to what may hold. */
function join(state: State, path: State): void {
  for (const [part, age] of path.flying)
    state.flying.set(part, Math.min(age, state.flying.get(part) ?? oldest));
  for (const part of path.touched) state.touched.add(part);
}

/** Drops what no path leaves. */
function forget(state: State, paths: readonly State[]): void {
  for (const part of state.flying.keys())
    if (!paths.some((path) => path.flying.has(part))) state.flying.delete(part);
  for (const part of state.touched)
    if (!paths.some((path) => path.touched.has(part))) state.touched.delete(part);
}

function signature({ flying, touched }: State): string {
  const ages = [...flying].map(([part, age]) => `${"register" in part ? "$" : "%"}${part.id}:${age}`);
  return `${ages.sort().join(" ")}|${touched.size}`;
}
