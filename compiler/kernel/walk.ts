/** The parts of an op, one row a kind: what it reads, what it defines, what it contains. */
import type { Buffer, Kind, MatrixPlace, Op, Operand, Register, TensorMap, Value } from "./ir.ts";

export interface Parts {
  /** Values read by the op itself, not by its bodies. */
  readonly operands: readonly Value[];
  /** Values defined for what follows; a loop's index is defined for its body only and stands in `index`. */
  readonly results: readonly Value[];
  /** Registers read or written. */
  readonly registers: readonly Register[];
  readonly buffers: readonly Buffer[];
  readonly bodies: readonly (readonly Op[])[];
}

type PartsTable = { readonly [K in Kind]: (op: Op<K>) => Partial<Parts> };

const table: PartsTable = {
  const: (op) => ({ results: [op.dst] }),
  size: (op) => ({ results: [op.dst] }),
  thread: (op) => ({ results: [op.dst] }),
  lane: (op) => ({ results: [op.dst] }),
  subgroup: (op) => ({ results: [op.dst] }),
  block: (op) => ({ results: [op.dst] }),
  unary: (op) => ({ operands: [op.a], results: [op.dst] }),
  binary: (op) => ({ operands: [op.a, op.b], results: [op.dst] }),
  fma: (op) => ({ operands: [op.a, op.b, op.c], results: [op.dst] }),
  select: (op) => ({ operands: [op.condition, op.a, op.b], results: [op.dst] }),
  convert: (op) => ({ operands: [op.a], results: [op.dst] }),
  bitcast: (op) => ({ operands: [op.a], results: [op.dst] }),
  pack: (op) => ({ operands: op.parts, results: [op.dst] }),
  unpack: (op) => ({ operands: [op.a], results: op.dst }),
  var: (op) => ({ operands: present(op.init), registers: [op.register] }),
  get: (op) => ({ results: [op.dst], registers: [op.register] }),
  set: (op) => ({ operands: [op.value], registers: [op.register] }),
  load: (op) => ({
    operands: present(op.index, op.guard, op.otherwise),
    results: op.dst,
    buffers: [op.buffer],
  }),
  store: (op) => ({ operands: [...present(op.index, op.guard), ...op.values], buffers: [op.buffer] }),
  atomic: (op) => ({ operands: present(op.index, op.value, op.guard), buffers: [op.buffer] }),
  barrier: () => ({}),
  "shuffle-xor": (op) => ({ operands: [op.value], results: [op.dst] }),
  "shuffle-index": (op) => ({ operands: [op.value, op.lane], results: [op.dst] }),
  instruction: (op) => instructionParts(op),
  descriptor: (op) => ({ operands: [op.index], results: [op.dst], buffers: [op.buffer] }),
  roles: (op) => ({ bodies: op.roles.map((role) => role.body) }),
  for: (op) => ({ operands: [op.from, op.to], bodies: [op.body] }),
  if: (op) => ({ operands: [op.condition], bodies: [op.then, op.else] }),
  line: () => ({}),
  comment: () => ({}),
};

function present(...values: readonly (Value | undefined)[]): readonly Value[] {
  return values.filter((value) => value !== undefined);
}

function instructionParts(op: Op<"instruction">): Partial<Parts> {
  const operands: Value[] = [];
  const buffers: Buffer[] = [];
  for (const operand of op.operands) {
    if (isMap(operand)) {
      buffers.push(operand.map.buffer);
    } else if (isMatrix(operand)) {
      buffers.push(operand.matrix);
      operands.push(operand.panel);
    } else if (isAddress(operand)) {
      buffers.push(operand.buffer);
      operands.push(operand.index);
    } else {
      operands.push(operand);
    }
  }
  const results = op.dst.filter((dst) => !isRegister(dst));
  return { operands, results, registers: op.dst.filter(isRegister), buffers };
}

export function isRegister(dst: Value | Register): dst is Register {
  return "register" in dst;
}

export function isAddress(operand: Operand): operand is Extract<Operand, { readonly buffer: Buffer }> {
  return "buffer" in operand;
}

function row<K extends Kind>(op: Op<K>): Partial<Parts> {
  return table[op.kind](op);
}

export function isMap(operand: Operand): operand is Extract<Operand, { readonly map: TensorMap }> {
  return "map" in operand;
}

export function isMatrix(operand: Operand): operand is MatrixPlace {
  return "matrix" in operand;
}

const none: readonly never[] = [];

/** Ops never change, and every pass asks: the answer is kept with the op. */
const known = new WeakMap<Op, Parts>();

export function partsOf(op: Op): Parts {
  let parts = known.get(op);
  if (parts === undefined) {
    const { operands = none, results = none, registers = none, buffers = none, bodies = none } = row(op);
    parts = { operands, results, registers, buffers, bodies };
    known.set(op, parts);
  }
  return parts;
}

/** Every op, an op before what it contains. Most contain none: those are not asked for their parts. */
export function visitOps(ops: readonly Op[], visit: (op: Op) => void): void {
  for (const op of ops) {
    visit(op);
    switch (op.kind) {
      case "for":
        visitOps(op.body, visit);
        break;
      case "if":
        visitOps(op.then, visit);
        visitOps(op.else, visit);
        break;
      case "roles":
        for (const role of op.roles) visitOps(role.body, visit);
        break;
      default:
        break;
    }
  }
}

/** Ops of the kind, wherever they stand. */
export function collectOps<K extends Kind>(ops: readonly Op[], kind: K): readonly Op<K>[] {
  const found: Op<K>[] = [];
  visitOps(ops, (op) => {
    if (isKind(op, kind)) found.push(op);
  });
  return found;
}

export function isKind<K extends Kind>(op: Op, kind: K): op is Op & Op<K> {
  return op.kind === kind;
}
