/**
 * Which values need no register of their own, because the variable that they come from or go to holds them.
 *
 *     %1 = get acc                          fma.rn.f32 %acc, %x, %x, %acc;
 *     %2 = fma %x, %x, %1        =>
 *     set acc, %2
 *
 * A `get`'s value stands in the variable if nothing writes that between the get and the value's last use. A `set`'s
 * value is computed into it if the set is its only use and stands in the same body, with no access to the variable
 * between. ptxas would arrive there too; this is so that a reader does.
 */
import type { Kind, Op, Register, Value } from "../../kernel/ir.ts";
import { partsOf, visitOps } from "../../kernel/walk.ts";

/** Ops that read all their operands before they write their one result, in every spelling. */
const computed: ReadonlySet<Kind> = new Set<Kind>([
  "unary",
  "binary",
  "fma",
  "convert",
  "bitcast",
  "shuffle-xor",
  "shuffle-index",
]);

export function inPlaceValues(body: readonly Op[]): ReadonlyMap<Value, Register> {
  const uses = new Map<Value, number>();
  visitOps(body, (op) => {
    for (const value of partsOf(op).operands) uses.set(value, (uses.get(value) ?? 0) + 1);
  });
  const found = new Map<Value, Register>();
  const visit = (ops: readonly Op[]): void => {
    inBody(ops, uses, found);
    for (const op of ops) for (const nested of partsOf(op).bodies) visit(nested);
  };
  visit(body);
  return found;
}

interface Positions {
  /** Of the op that defines it, in this body. */
  readonly definition: Map<Value, number>;
  /** Of the last op that uses it or contains a use. */
  readonly lastUse: Map<Value, number>;
  readonly reads: Map<Register, number[]>;
  readonly writes: Map<Register, number[]>;
}

function inBody(ops: readonly Op[], uses: ReadonlyMap<Value, number>, found: Map<Value, Register>): void {
  const at = positions(ops);
  for (const [position, op] of ops.entries()) {
    if (op.kind === "set") computeInto(op, position, { ops, at, uses, found });
  }
  for (const [position, op] of ops.entries()) {
    if (op.kind !== "get") continue;
    const last = at.lastUse.get(op.dst) ?? position;
    const isOverwritten = (at.writes.get(op.register) ?? []).some(
      (write) => write > position && write <= last && !isOwnResult(ops, write, last, found),
    );
    if (!isOverwritten) found.set(op.dst, op.register);
  }
}

interface BodyView {
  readonly ops: readonly Op[];
  readonly at: Positions;
  readonly uses: ReadonlyMap<Value, number>;
  readonly found: Map<Value, Register>;
}

function computeInto(op: Op<"set">, position: number, { ops, at, uses, found }: BodyView): void {
  const definition = at.definition.get(op.value);
  const source = definition === undefined ? undefined : ops[definition];
  if (
    definition === undefined ||
    source === undefined ||
    !computed.has(source.kind) ||
    uses.get(op.value) !== 1
  )
    return;
  const between = (places: readonly number[] | undefined): boolean =>
    (places ?? []).some((place) => place > definition && place < position);
  if (between(at.reads.get(op.register)) || between(at.writes.get(op.register))) return;
  found.set(op.value, op.register);
  // The write now happens where the value is computed.
  const writes = at.writes.get(op.register) ?? [];
  writes[writes.indexOf(position)] = definition;
}

/** A last use that is the very op whose result goes into the variable reads before it writes. */
function isOwnResult(
  ops: readonly Op[],
  write: number,
  last: number,
  found: ReadonlyMap<Value, Register>,
): boolean {
  const op = ops[write];
  return write === last && op !== undefined && partsOf(op).results.some((result) => found.has(result));
}

function positions(ops: readonly Op[]): Positions {
  const at: Positions = { definition: new Map(), lastUse: new Map(), reads: new Map(), writes: new Map() };
  const push = (map: Map<Register, number[]>, register: Register, position: number): void => {
    const places = map.get(register);
    if (places === undefined) map.set(register, [position]);
    else if (places.at(-1) !== position) places.push(position);
  };
  for (const [position, outer] of ops.entries()) {
    for (const result of partsOf(outer).results) at.definition.set(result, position);
    visitOps([outer], (op) => {
      const { operands, registers } = partsOf(op);
      for (const value of operands) at.lastUse.set(value, position);
      for (const register of registers) {
        if (op.kind === "get" || op.kind === "instruction") push(at.reads, register, position);
        if (op.kind !== "get") push(at.writes, register, position);
      }
    });
  }
  return at;
}
