/**
 * Moves what does not change out of loops.
 *
 *     for k in 0..64 { %a = mul %row, 7168  ..  }     =>     %a = mul %row, 7168   for k in 0..64 { .. }
 *
 * Pure ops move, and loads of buffers that the kernel never writes: a loop here runs at least once (sizes are
 * positive), so nothing is read that would not have been. Ops do not leave an `if`, whose condition may guard them.
 *
 * What moves out takes a register for all of the loop. Where that is many, comparisons stay: each costs one
 * instruction and few threads have predicates to spare.
 */
import type { Kernel, Op, Value } from "../ir.ts";
import { partsOf, visitOps } from "../walk.ts";

export function hoist(kernel: Kernel): Kernel {
  const body = hoistBody(kernel.body);
  return body === kernel.body ? kernel : { ...kernel, body };
}

function hoistBody(ops: readonly Op[]): readonly Op[] {
  const out: Op[] = [];
  let changed = false;
  for (const op of ops) {
    if (op.kind === "for") {
      const inner = hoistBody(op.body);
      const { free, bound } = separateWithin(inner, op.index);
      out.push(...free);
      const same = free.length === 0 && inner === op.body;
      out.push(same ? op : { ...op, body: bound });
      changed ||= !same;
    } else if (op.kind === "if") {
      const [then, otherwise] = [hoistBody(op.then), hoistBody(op.else)];
      const same = then === op.then && otherwise === op.else;
      out.push(same ? op : { ...op, then, else: otherwise });
      changed ||= !same;
    } else if (op.kind === "roles") {
      const roles = op.roles.map((role) => ({ ...role, body: hoistBody(role.body) }));
      const same = roles.every((role, k) => role.body === op.roles[k]?.body);
      out.push(same ? op : { ...op, roles });
      changed ||= !same;
    } else {
      out.push(op);
    }
  }
  return changed ? out : ops;
}

/** Values that a loop may be given without a thought for its registers. */
const fewValues = 48;

function separateWithin(body: readonly Op[], index: Value): Separated {
  const all = separate(body, index, () => true);
  const made = new Set(all.free.flatMap((op) => partsOf(op).results));
  const used = new Set<Value>();
  for (const op of all.bound)
    visitOps([op], (part) => partsOf(part).operands.forEach((value) => used.add(value)));
  const kept = [...made].filter((value) => used.has(value)).length;
  return kept <= fewValues
    ? all
    : separate(body, index, (op) => !(op.kind === "binary" && op.dst.type === "bool"));
}

interface Separated {
  readonly free: readonly Op[];
  readonly bound: readonly Op[];
}

/** Splits a body into the ops that depend on nothing it defines and may move, in order, and the rest. */
function separate(body: readonly Op[], index: Value, allows: (op: Op) => boolean): Separated {
  const inside = new Set<Value>([index]);
  const free: Op[] = [];
  const bound: Op[] = [];
  for (const op of body) {
    const parts = partsOf(op);
    const moves = isMovable(op) && allows(op) && parts.operands.every((value) => !inside.has(value));
    (moves ? free : bound).push(op);
    if (!moves) for (const value of parts.results) inside.add(value);
  }
  return { free, bound };
}

function isMovable(op: Op): boolean {
  switch (op.kind) {
    case "const":
    case "size":
    case "thread":
    case "lane":
    case "block":
    case "unary":
    case "binary":
    case "fma":
    case "select":
    case "convert":
    case "bitcast":
    case "pack":
    case "unpack":
    case "descriptor":
      return true;
    case "load":
      return op.buffer.space === "global" && op.buffer.access === "read";
    case "var":
    case "get":
    case "set":
    case "store":
    case "atomic":
    case "barrier":
    case "shuffle-xor":
    case "shuffle-index":
    case "instruction":
    case "roles":
    case "for":
    case "if":
    case "line":
    case "comment":
      return false;
  }
}
