/**
 * Moves what does not change out of loops.
 *
 *     for k in 0..64 { %a = mul %row, 7168  ..  }     =>     %a = mul %row, 7168   for k in 0..64 { .. }
 *
 * Pure ops move, and loads of buffers that the kernel never writes: a loop here runs at least once (sizes are
 * positive), so nothing is read that would not have been. Ops do not leave an `if`, whose condition may guard them.
 *
 * What moves out takes a register for all of the loop. Where that is many, comparisons with constants stay: each
 * costs one instruction, and predicates are few. Out of a loop that holds another one nothing moves then: it
 * would take its register from the inner loop, to save what is done once a trip of the outer.
 */
import type { Kernel, Op, Value } from "../ir.ts";
import { collectOps, partsOf, visitOps } from "../walk.ts";

export function hoist(kernel: Kernel): Kernel {
  const constants = new Set(collectOps(kernel.body, "const").map((op) => op.dst));
  const body = hoistBody(kernel.body, constants);
  return body === kernel.body ? kernel : { ...kernel, body };
}

function hoistBody(ops: readonly Op[], constants: ReadonlySet<Value>): readonly Op[] {
  const out: Op[] = [];
  let changed = false;
  for (const op of ops) {
    if (op.kind === "for") {
      const inner = hoistBody(op.body, constants);
      const { free, bound } = separateWithin(inner, op.index, constants);
      out.push(...free);
      const same = free.length === 0 && inner === op.body;
      out.push(same ? op : { ...op, body: bound });
      changed ||= !same;
    } else if (op.kind === "if") {
      const [then, otherwise] = [hoistBody(op.then, constants), hoistBody(op.else, constants)];
      const same = then === op.then && otherwise === op.else;
      out.push(same ? op : { ...op, then, else: otherwise });
      changed ||= !same;
    } else if (op.kind === "roles") {
      const roles = op.roles.map((role) => ({ ...role, body: hoistBody(role.body, constants) }));
      const same = roles.every((role, k) => role.body === op.roles[k]?.body);
      out.push(same ? op : { ...op, roles });
      changed ||= !same;
    } else {
      out.push(op);
    }
  }
  return changed ? out : ops;
}

/** Values that a loop may be given without a thought for its registers; and through one inside, what no thread has room for. */
const fewValues = 48;
const fewOuterValues = 64;

function separateWithin(body: readonly Op[], index: Value, constants: ReadonlySet<Value>): Separated {
  const all = separate(body, index, () => true);
  const made = new Set(all.free.flatMap((op) => partsOf(op).results));
  const used = new Set<Value>();
  let loops = 0;
  visitOps(all.bound, (op) => {
    if (op.kind === "for") loops += 1;
    for (const value of partsOf(op).operands) used.add(value);
  });
  const kept = [...made].filter((value) => used.has(value)).length;
  if (loops > 0) return kept <= fewOuterValues ? all : { free: [], bound: body };
  return kept <= fewValues ? all : separate(body, index, (op) => !comparesWithConstant(op, constants));
}

function comparesWithConstant(op: Op, constants: ReadonlySet<Value>): boolean {
  return op.kind === "binary" && op.dst.type === "bool" && (constants.has(op.a) || constants.has(op.b));
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
    case "subgroup":
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
