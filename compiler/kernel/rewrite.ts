/**
 * Kernel to kernel, op by op: a table rewrites the kinds it names, everything else is built again as it was. Since
 * it is built by a `KernelBuilder`, constants fold and repeated work goes on the way.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { KernelBuilder } from "./builder.ts";
import type { Buffer, Kernel, Kind, Op, Operand, Register, TensorMap, Value } from "./ir.ts";
import { isAddress, isMap, isMatrix, isRegister } from "./walk.ts";

export type RewriteTable<C> = { readonly [K in Kind]?: (op: Op<K>, cx: C) => void };

type CopyTable = { readonly [K in Kind]: (op: Op<K>, cx: Rewriter) => void };

export class Rewriter {
  readonly b: KernelBuilder;
  readonly kernel: Kernel;
  readonly #values = new Map<Value, Value>();
  readonly #registers = new Map<Register, Register>();
  readonly #buffers = new Map<Buffer, Buffer>();
  readonly #maps = new Map<TensorMap, TensorMap>();
  #rewrite: (op: Op) => void = (op) => this.copy(op);

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.b = new KernelBuilder(kernel.threads);
  }

  /** Builds the whole kernel again. `buffers` changes a buffer's parts; undefined keeps them. */
  run(
    table: RewriteTable<this>,
    buffers: (buffer: Buffer) => Partial<Buffer> | undefined = () => undefined,
  ): Kernel {
    this.#rewrite = (op) => rewriteBy(table, op, this);
    const { kernel, b } = this;
    for (const buffer of kernel.buffers)
      this.#buffers.set(buffer, b.addBuffer({ ...buffer, ...buffers(buffer) }));
    for (const size of kernel.sizes) b.addSize(size);
    for (const map of kernel.maps) this.#maps.set(map, b.map({ ...map, buffer: this.buffer(map.buffer) }));
    this.ops(kernel.body);
    return b.finish(kernel);
  }

  ops(ops: readonly Op[]): void {
    for (const op of ops) this.#rewrite(op);
  }

  /** Builds the op again with its operands' new values. */
  copy<K extends Kind>(op: Op<K>): void {
    copyTable[op.kind](op, this);
  }

  value(value: Value): Value {
    const mapped = this.#values.get(value);
    invariant(
      mapped !== undefined,
      `${this.kernel.name}: %${value.id} (${value.hint}) is used before it is defined`,
    );
    return mapped;
  }

  optional(value: Value | undefined): Value | undefined {
    return value === undefined ? undefined : this.value(value);
  }

  define(value: Value, as: Value): void {
    this.#values.set(value, as);
  }

  register(register: Register): Register {
    const mapped = this.#registers.get(register);
    invariant(mapped !== undefined, `${this.kernel.name}: register ${register.hint} is used before its var`);
    return mapped;
  }

  defineRegister(register: Register, as: Register): void {
    this.#registers.set(register, as);
  }

  buffer(buffer: Buffer): Buffer {
    const mapped = this.#buffers.get(buffer);
    invariant(mapped !== undefined, `${this.kernel.name}: buffer ${buffer.name} is not the kernel's`);
    return mapped;
  }

  map(map: TensorMap): TensorMap {
    const mapped = this.#maps.get(map);
    invariant(mapped !== undefined, `${this.kernel.name}: map ${map.name} is not the kernel's`);
    return mapped;
  }

  operand(operand: Operand): Operand {
    if (isMap(operand)) return { map: this.map(operand.map) };
    if (isMatrix(operand))
      return { ...operand, matrix: this.buffer(operand.matrix), panel: this.value(operand.panel) };
    return isAddress(operand)
      ? { buffer: this.buffer(operand.buffer), index: this.value(operand.index) }
      : this.value(operand);
  }
}

function rewriteBy<K extends Kind, C extends Rewriter>(table: RewriteTable<C>, op: Op<K>, cx: C): void {
  const row = table[op.kind];
  if (row === undefined) cx.copy(op);
  else row(op, cx);
}

const copyTable: CopyTable = {
  const: (op, cx) => cx.define(op.dst, cx.b.constant(op.dst.type, op.value)),
  size: (op, cx) => cx.define(op.dst, cx.b.sizeParam(op.param, op.dst)),
  thread: (op, cx) => cx.define(op.dst, cx.b.thread()),
  lane: (op, cx) => cx.define(op.dst, cx.b.lane()),
  subgroup: (op, cx) => cx.define(op.dst, cx.b.subgroup()),
  block: (op, cx) => cx.define(op.dst, cx.b.block(op.axis)),
  unary: (op, cx) => cx.define(op.dst, cx.b.unary(op.fn, cx.value(op.a), op.dst.hint)),
  binary: (op, cx) => cx.define(op.dst, cx.b.binary(op.fn, cx.value(op.a), cx.value(op.b), op.dst.hint)),
  fma: (op, cx) => cx.define(op.dst, cx.b.fma(cx.value(op.a), cx.value(op.b), cx.value(op.c), op.dst.hint)),
  select: (op, cx) =>
    cx.define(op.dst, cx.b.select(cx.value(op.condition), cx.value(op.a), cx.value(op.b), op.dst.hint)),
  convert: (op, cx) => cx.define(op.dst, cx.b.convert(cx.value(op.a), op.dst.type, op.storage, op.dst.hint)),
  bitcast: (op, cx) => cx.define(op.dst, cx.b.bitcast(cx.value(op.a), op.dst.type, op.dst.hint)),
  pack: (op, cx) =>
    cx.define(
      op.dst,
      cx.b.pack(
        op.parts.map((part) => cx.value(part)),
        op.dst.hint,
      ),
    ),
  unpack: (op, cx) => {
    const dst = op.dst.map((value) => cx.b.result(value.type, value.hint));
    cx.b.push({ kind: "unpack", dst, a: cx.value(op.a) });
    op.dst.forEach((value, k) => defineAt(cx, value, dst[k]));
  },
  var: (op, cx) => {
    const { type, hint } = op.register;
    const made = op.init === undefined ? cx.b.open(type, hint) : cx.b.var(cx.value(op.init), hint);
    cx.defineRegister(op.register, made);
  },
  get: (op, cx) => cx.define(op.dst, cx.b.get(cx.register(op.register), op.dst.hint)),
  set: (op, cx) => cx.b.set(cx.register(op.register), cx.value(op.value)),
  load: (op, cx) => {
    const options = {
      count: op.dst.length,
      guard: cx.optional(op.guard),
      otherwise: cx.optional(op.otherwise),
    };
    const loaded = cx.b.loadWide(cx.buffer(op.buffer), cx.value(op.index), {
      ...options,
      hint: op.dst[0]?.hint ?? "",
    });
    op.dst.forEach((value, k) => defineAt(cx, value, loaded[k]));
  },
  store: (op, cx) =>
    cx.b.store(
      cx.buffer(op.buffer),
      cx.value(op.index),
      op.values.map((value) => cx.value(value)),
      cx.optional(op.guard),
    ),
  atomic: (op, cx) =>
    cx.b.atomic(cx.buffer(op.buffer), cx.value(op.index), op.fn, cx.value(op.value), cx.optional(op.guard)),
  barrier: (op, cx) => cx.b.barrier(op.group),
  "shuffle-xor": (op, cx) => cx.define(op.dst, cx.b.shuffleXor(cx.value(op.value), op.mask, op.dst.hint)),
  "shuffle-index": (op, cx) =>
    cx.define(op.dst, cx.b.shuffleIndex(cx.value(op.value), cx.value(op.lane), op.dst.hint)),
  instruction: (op, cx) => {
    const operands = op.operands.map((operand) => cx.operand(operand));
    const dst = op.dst.map((result) => {
      if (isRegister(result)) return cx.register(result);
      const made = cx.b.result(result.type, result.hint);
      cx.define(result, made);
      return made;
    });
    cx.b.instruction(op.name, dst, operands);
  },
  descriptor: (op, cx) => cx.define(op.dst, cx.b.descriptor(cx.buffer(op.buffer), cx.value(op.index), op)),
  roles: (op, cx) =>
    cx.b.roles(op.roles.map(({ name, threads, body }) => ({ name, threads, body: () => cx.ops(body) }))),
  for: (op, cx) => {
    const body = (index: Value): void => {
      cx.define(op.index, index);
      cx.ops(op.body);
    };
    cx.b.for(cx.value(op.from), cx.value(op.to), op.step, op.index.hint, body, op.unroll ? "unroll" : "roll");
  },
  if: (op, cx) =>
    cx.b.if(
      cx.value(op.condition),
      () => cx.ops(op.then),
      () => cx.ops(op.else),
    ),
  line: (op, cx) => cx.b.push(op),
  comment: (op, cx) => cx.b.push(op),
};

function defineAt(cx: Rewriter, value: Value, as: Value | undefined): void {
  invariant(as !== undefined, "as many values as before");
  cx.define(value, as);
}
