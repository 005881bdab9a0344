/** What each op does to a block, thread by thread. */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Kind, Op, Value } from "../ir.ts";
import {
  evaluateBinary,
  evaluateBitcast,
  evaluateConvert,
  evaluateFma,
  evaluateUnary,
  type ScalarValue,
} from "../scalar.ts";
import type { Active, Block } from "./block.ts";
import { runInstruction } from "./instruction.ts";
import { encodeDescriptor } from "./matrix-unit.ts";

/** One that waits for nothing. */
export function runOp<K extends Kind>(op: Op<K>, active: Active, cx: Block): void {
  table[op.kind](op, active, cx);
}

type InterpretTable = { readonly [K in Kind]: (op: Op<K>, active: Active, cx: Block) => void };

const table: InterpretTable = {
  const: (op, active, cx) => cx.define(op.dst, active, () => op.value),
  size: (op, active, cx) => {
    const size = cx.launch.sizes[op.param] ?? 0;
    cx.define(op.dst, active, () => (op.dst.type === "i64" ? BigInt(size) : size));
  },
  thread: (op, active, cx) => cx.define(op.dst, active, (thread) => thread),
  lane: (op, active, cx) => cx.define(op.dst, active, (thread) => thread % cx.launch.subgroup),
  subgroup: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => Math.floor(thread / cx.launch.subgroup)),
  block: (op, active, cx) => cx.define(op.dst, active, () => cx.position[op.axis]),
  unary: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => evaluateUnary(op.fn, op.a.type, cx.read(op.a, thread))),
  binary: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => {
      const value = evaluateBinary(op.fn, op.a.type, cx.read(op.a, thread), cx.read(op.b, thread));
      // Division by zero has no value, but nothing else happens either: a select may well drop it.
      return value ?? cx.read(op.a, thread);
    }),
  fma: (op, active, cx) =>
    cx.define(op.dst, active, (thread) =>
      evaluateFma(op.dst.type, cx.read(op.a, thread), cx.read(op.b, thread), cx.read(op.c, thread)),
    ),
  select: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => cx.read(cx.holds(op.condition, thread) ? op.a : op.b, thread)),
  convert: (op, active, cx) =>
    cx.define(op.dst, active, (thread) =>
      evaluateConvert(op.a.type, op.dst.type, op.storage, cx.read(op.a, thread)),
    ),
  bitcast: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => evaluateBitcast(op.a.type, op.dst.type, cx.read(op.a, thread))),
  pack: (op, active, cx) => {
    const bits = 32 / op.parts.length;
    cx.define(op.dst, active, (thread) =>
      op.parts.reduce((word, part, k) => (word | (cx.number(part, thread) << (k * bits))) >>> 0, 0),
    );
  },
  unpack: (op, active, cx) => {
    const bits = 32 / op.dst.length;
    op.dst.forEach((dst, k) =>
      cx.define(dst, active, (thread) => (cx.number(op.a, thread) >>> (k * bits)) & (2 ** bits - 1)),
    );
  },
  var: (op, active, cx) => {
    if (op.init === undefined) return;
    for (const thread of active) cx.write(op.register, thread, cx.read(op.init, thread));
  },
  get: (op, active, cx) => cx.define(op.dst, active, (thread) => cx.read(op.register, thread)),
  set: (op, active, cx) => {
    for (const thread of active) cx.write(op.register, thread, cx.read(op.value, thread));
  },
  load,
  store,
  atomic,
  barrier: (op, active, cx) => cx.barrier(active, op.group?.threads ?? cx.kernel.threads),
  "shuffle-xor": (op, active, cx) => shuffle(op.dst, op.value, active, cx, (lane) => lane ^ op.mask),
  "shuffle-index": (op, active, cx) =>
    shuffle(op.dst, op.value, active, cx, (_lane, thread) => cx.number(op.lane, thread)),
  instruction: runInstruction,
  descriptor: (op, active, cx) =>
    cx.define(op.dst, active, (thread) => {
      const { address } = cx.shared(op.buffer, cx.number(op.index, thread));
      return encodeDescriptor({ ...op, start: address });
    }),
  // Its parts wait for one another: `flow` runs them.
  roles: () => undefined,
  for: runFor,
  if: (op, active, cx) => {
    const [met, unmet] = parted(op, active, cx);
    cx.ops(op.then, met);
    cx.ops(op.else, unmet);
  },
  line: (op, _active, cx) => cx.at(` (${cx.kernel.files[op.file] ?? ""}:${op.line}:${op.column})`),
  comment: () => undefined,
};

function load(op: Op<"load">, active: Active, cx: Block): void {
  const memory = cx.memory(op.buffer);
  for (const thread of active) {
    const index = cx.number(op.index, thread);
    const reads = cx.holds(op.guard, thread);
    if (reads) memory.touch(index, op.dst.length, "read", cx.who(thread));
    op.dst.forEach((dst, k) =>
      cx.write(dst, thread, reads ? memory.get(index + k) : otherwise(op, dst, thread, cx)),
    );
  }
}

function otherwise(op: Op<"load">, dst: Value, thread: number, cx: Block): ScalarValue {
  if (op.otherwise !== undefined) return cx.read(op.otherwise, thread);
  return dst.type === "i64" ? 0n : dst.type === "bool" ? false : 0;
}

function store(op: Op<"store">, active: Active, cx: Block): void {
  const memory = cx.memory(op.buffer);
  for (const thread of active) {
    if (!cx.holds(op.guard, thread)) continue;
    const index = cx.number(op.index, thread);
    memory.touch(index, op.values.length, "write", cx.who(thread));
    op.values.forEach((value, k) => memory.set(index + k, cx.read(value, thread)));
  }
}

function atomic(op: Op<"atomic">, active: Active, cx: Block): void {
  const memory = cx.memory(op.buffer);
  for (const thread of active) {
    if (!cx.holds(op.guard, thread)) continue;
    const index = cx.number(op.index, thread);
    memory.touch(index, 1, "atomic", cx.who(thread));
    const value = evaluateBinary(op.fn, op.value.type, memory.get(index), cx.read(op.value, thread));
    invariant(value !== undefined, `an atomic ${op.fn} has a value`);
    memory.set(index, value);
  }
}

function shuffle(
  dst: Value,
  value: Value,
  active: Active,
  cx: Block,
  source: (lane: number, thread: number) => number,
): void {
  const { subgroup } = cx.launch;
  const present = new Set(active);
  const taken = active.map((thread) => {
    const lane = thread % subgroup;
    const from = source(lane, thread);
    const other = thread - lane + from;
    if (from < 0 || from >= subgroup || !present.has(other))
      cx.fault(`thread ${thread} shuffles with lane ${from}, which is not there`);
    return cx.read(value, other);
  });
  active.forEach((thread, k) => cx.write(dst, thread, taken[k] ?? 0));
}

/** Who goes where. The conditions are read before either body changes anything. */
export function parted(op: Op<"if">, active: Active, cx: Block): readonly [Active, Active] {
  return [
    active.filter((thread) => cx.holds(op.condition, thread)),
    active.filter((thread) => !cx.holds(op.condition, thread)),
  ];
}

function runFor(op: Op<"for">, active: Active, cx: Block): void {
  for (const running of trips(op, active, cx)) cx.ops(op.body, running);
}

/** The threads of each trip, with the index set. */
export function* trips(op: Op<"for">, active: Active, cx: Block): Generator<Active> {
  const isWide = op.index.type === "i64";
  const at = new Map(active.map((thread) => [thread, cx.number(op.from, thread)]));
  for (let trip = 0; ; trip += 1) {
    const running = active.filter(
      (thread) => (at.get(thread) ?? 0) + trip * op.step < cx.number(op.to, thread),
    );
    if (running.length === 0) return;
    for (const thread of running) {
      const index = (at.get(thread) ?? 0) + trip * op.step;
      cx.write(op.index, thread, isWide ? BigInt(index) : index);
    }
    yield running;
  }
}
