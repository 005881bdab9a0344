/**
 * Prints a kernel's body in a C-like language, by a `Dialect`.
 *
 * A pure value with one use in its own body stands inside of its user; it is given a name of its own where it has
 * a hint of its own, where the expression would be long, or where what it reads (a register, memory) is about to
 * change. Everything else is one declaration an op. The order of effects is the IR's.
 */
import { InternalError, invariant } from "../../diagnostics/diagnostic.ts";
import type { Buffer, Kernel, Kind, Op, Register, TensorMap, Value } from "../../kernel/ir.ts";
import { partsOf, visitOps } from "../../kernel/walk.ts";
import { oneLine, type Names, type Writer } from "../writer.ts";
import type { Dialect } from "./dialect.ts";
import { conditional, primary, type Expr } from "./expression.ts";
import { findUses, type Uses } from "./uses.ts";

/** Longest expression that stands inside of another one. */
const longest = 72;

/** What an expression reads that may change before it is used. */
export interface Reads {
  readonly registers: ReadonlySet<Register>;
  readonly memory: boolean;
}

interface Pending extends Reads {
  readonly value: Value;
  readonly e: Expr;
}

const nothing: Reads = { registers: new Set(), memory: false };

export class Printer {
  readonly kernel: Kernel;
  readonly dialect: Dialect;
  readonly names: Names;
  readonly out: Writer;
  readonly #table: OpTable;
  readonly #uses: Uses;
  /** Values that have a name, or are spelled out wherever they stand: constants, sizes, thread numbers. */
  readonly #settled = new Map<Value, Expr>();
  readonly #pending = new Map<Value, Pending>();
  readonly #registers = new Map<Register, string>();
  readonly #buffers = new Map<Buffer, string>();
  readonly #maps = new Map<TensorMap, string>();
  readonly #used = new Set<string>();

  constructor(parts: {
    readonly kernel: Kernel;
    readonly dialect: Dialect;
    readonly names: Names;
    readonly out: Writer;
    readonly table?: OpTable;
  }) {
    this.kernel = parts.kernel;
    this.dialect = parts.dialect;
    this.names = parts.names;
    this.out = parts.out;
    this.#table = parts.table ?? opTable;
    this.#uses = findUses(parts.kernel);
    for (const buffer of parts.kernel.buffers) this.#buffers.set(buffer, parts.names.fresh(buffer.name));
    for (const map of parts.kernel.maps) this.#maps.set(map, parts.names.fresh(`${map.name}_map`));
  }

  body(ops: readonly Op[]): void {
    for (const op of ops) this.#print(op);
    // What is left was defined and never used.
    this.#pending.clear();
  }

  #print<K extends Kind>(op: Op<K>): void {
    this.#table[op.kind](op, this);
  }

  /** A body inside of `{ }`; its pending values are its own. */
  nested(ops: readonly Op[]): void {
    const outer = [...this.#pending.values()];
    this.#pending.clear();
    this.body(ops);
    for (const entry of outer) this.#pending.set(entry.value, entry);
  }

  buffer(buffer: Buffer): string {
    const name = this.#buffers.get(buffer);
    invariant(name !== undefined, `buffer ${buffer.name} is not the kernel's`);
    return name;
  }

  map(map: TensorMap): string {
    const name = this.#maps.get(map);
    invariant(name !== undefined, `map ${map.name} is not the kernel's`);
    return name;
  }

  register(register: Register): string {
    const name = this.#registers.get(register);
    invariant(name !== undefined, `register ${register.hint} is used before its var`);
    return name;
  }

  newRegister(register: Register): string {
    const name = this.names.fresh(register.hint);
    this.#registers.set(register, name);
    return name;
  }

  /** Asks for a function of the target's own. */
  use(name: string): string {
    this.#used.add(name);
    return name;
  }

  get used(): ReadonlySet<string> {
    return this.#used;
  }

  isUsed(value: Value): boolean {
    return this.#uses.isUsed(value);
  }

  /** The value's expression; its one use where it is pending. */
  expr(value: Value): Expr {
    const settled = this.#settled.get(value);
    if (settled !== undefined) return settled;
    const pending = this.#pending.get(value);
    invariant(pending !== undefined, `value %${value.id} (${value.hint}) is used before it is defined`);
    this.#pending.delete(value);
    return pending.e;
  }

  /** Spells a value out wherever it stands. */
  settle(value: Value, e: Expr): void {
    this.#settled.set(value, e);
  }

  declareUsed(value: Value, e: Expr): void {
    if (this.#uses.isUsed(value)) this.declare(value, e);
  }

  /** Gives a value a name. */
  declare(value: Value, e: Expr): void {
    const name = this.names.fresh(value.hint);
    this.out.line(this.dialect.declare(value.type, name, e));
    this.#settled.set(value, primary(name));
  }

  /** Makes a value one that may be spelled several times. */
  hold(value: Value): Expr {
    if (this.#pending.has(value)) this.declare(value, this.expr(value));
    return this.expr(value);
  }

  /** A value that the text declares by itself. */
  name(value: Value): string {
    const name = this.names.fresh(value.hint);
    this.#settled.set(value, primary(name));
    return name;
  }

  /** Defines a pure value of these operands, now or inside of its user. `label` is "own" where the hint is the author's. */
  define(
    value: Value,
    make: () => Expr,
    operands: readonly Value[],
    label: "own" | "inherited",
    also: Reads = nothing,
  ): void {
    if (!this.#uses.isUsed(value)) {
      for (const operand of operands) this.#pending.delete(operand);
      return;
    }
    const reads = this.#readsOf(operands, also);
    const e = make();
    const keepsName = label === "own" && value.hint !== "";
    if (keepsName || !this.#uses.isSingle(value) || e.text.length > longest) this.declare(value, e);
    else this.#pending.set(value, { value, e, ...reads });
  }

  #readsOf(operands: readonly Value[], also: Reads): Reads {
    const registers = new Set(also.registers);
    let memory = also.memory;
    for (const operand of operands) {
      const entry = this.#pending.get(operand);
      for (const register of entry?.registers ?? []) registers.add(register);
      memory ||= entry?.memory ?? false;
    }
    return { registers, memory };
  }

  /** Names the pending values that a write would change, before it is printed; call after its operands are spelled. */
  flush(touched: Reads): void {
    for (const entry of this.#pending.values()) {
      const isTouched =
        (touched.memory && entry.memory) ||
        [...touched.registers].some((register) => entry.registers.has(register));
      if (!isTouched) continue;
      this.#pending.delete(entry.value);
      this.declare(entry.value, entry.e);
    }
  }

  /** As `flush`, for all that the ops in these bodies write. */
  flushFor(bodies: readonly (readonly Op[])[]): void {
    const registers = new Set<Register>();
    let memory = false;
    for (const body of bodies) {
      visitOps(body, (op) => {
        for (const register of partsOf(op).registers) registers.add(register);
        memory ||=
          op.kind === "store" || op.kind === "atomic" || op.kind === "barrier" || op.kind === "instruction";
      });
    }
    this.flush({ registers, memory });
  }
}

export type OpTable = { readonly [K in Kind]: (op: Op<K>, cx: Printer) => void };

export const touchesMemory: Reads = { registers: new Set(), memory: true };

/** What all C-like targets share; a target spreads it and overrides rows. */
export const opTable: OpTable = {
  const: (op, cx) => cx.settle(op.dst, cx.dialect.literal(cx, op.dst.type, op.value)),
  size: (op, cx) => cx.settle(op.dst, cx.dialect.size(cx, op.param)),
  thread: (op, cx) => cx.settle(op.dst, cx.dialect.thread(cx)),
  lane: (op, cx) => cx.settle(op.dst, cx.dialect.lane(cx)),
  subgroup: (op, cx) => cx.settle(op.dst, cx.dialect.subgroup(cx)),
  block: (op, cx) => cx.settle(op.dst, cx.dialect.block(cx, op.axis)),
  unary: (op, cx) =>
    cx.define(op.dst, () => cx.dialect.unary(cx, op.fn, op.a.type, cx.expr(op.a)), [op.a], "own"),
  binary: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.binary(cx, op.fn, op.a.type, cx.expr(op.a), cx.expr(op.b)),
      [op.a, op.b],
      "own",
    ),
  fma: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.fma(cx, op.dst.type, cx.expr(op.a), cx.expr(op.b), cx.expr(op.c)),
      [op.a, op.b, op.c],
      "own",
    ),
  select: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.select(cx, cx.expr(op.condition), cx.expr(op.a), cx.expr(op.b)),
      [op.condition, op.a, op.b],
      "own",
    ),
  convert: (op, cx) =>
    cx.define(
      op.dst,
      () => cx.dialect.convert(cx, op.a.type, op.dst.type, op.storage, cx.expr(op.a)),
      [op.a],
      "inherited",
    ),
  bitcast: (op, cx) =>
    cx.define(op.dst, () => cx.dialect.bitcast(cx, op.a.type, op.dst.type, cx.expr(op.a)), [op.a], "own"),
  pack: (op, cx) => {
    const type = op.parts[0]?.type ?? "f16";
    cx.define(
      op.dst,
      () =>
        cx.dialect.pack(
          cx,
          op.parts.map((part) => cx.expr(part)),
          type,
        ),
      op.parts,
      "own",
    );
  },
  unpack: printUnpack,
  var: printVar,
  get: (op, cx) => {
    const reads: Reads = { registers: new Set([op.register]), memory: false };
    cx.define(op.dst, () => primary(cx.register(op.register)), [], "inherited", reads);
  },
  set: (op, cx) => {
    const e = cx.expr(op.value);
    cx.flush({ registers: new Set([op.register]), memory: false });
    cx.out.line(cx.dialect.assign(op.register.type, cx.register(op.register), e));
  },
  load: printLoad,
  store: printStore,
  atomic: printAtomic,
  barrier: (op, cx) => {
    if (op.group !== undefined) refuse(op, cx);
    cx.flush(touchesMemory);
    cx.out.line(cx.dialect.barrier);
  },
  // A shuffle stays where it is: it means something to all lanes at once.
  "shuffle-xor": (op, cx) =>
    cx.declareUsed(op.dst, cx.dialect.shuffleXor(cx, op.value, cx.expr(op.value), op.mask)),
  "shuffle-index": (op, cx) =>
    cx.declareUsed(op.dst, cx.dialect.shuffleIndex(cx, op.value, cx.expr(op.value), cx.expr(op.lane))),
  instruction: (op, cx) => cx.dialect.instruction(cx, op),
  descriptor: refuse,
  roles: refuse,
  for: printFor,
  if: printIf,
  line: (op, cx) => cx.out.at(`${cx.kernel.files[op.file] ?? ""}:${op.line}:${op.column}`),
  comment: (op, cx) => cx.out.line(`// ${oneLine(op.text)}`),
};

/** What only some targets have; those bring rows of their own. */
function refuse(op: Op, cx: Printer): never {
  throw new InternalError(`${cx.kernel.name}: this target has no ${op.kind} of threads or memory in parts`);
}

function printUnpack(op: Op<"unpack">, cx: Printer): void {
  const whole = cx.names.fresh(op.a.hint === "" ? "packed" : op.a.hint);
  cx.out.line(cx.dialect.declare(op.a.type, whole, cx.expr(op.a)));
  op.dst.forEach((dst, part) => {
    cx.declareUsed(dst, cx.dialect.unpack(cx, primary(whole), part, dst.type));
  });
}

function printVar(op: Op<"var">, cx: Printer): void {
  const e = op.init === undefined ? undefined : cx.expr(op.init);
  cx.out.line(cx.dialect.declareVariable(op.register.type, cx.newRegister(op.register), e));
}

/** An index that is used several times, under a name unless it is one already. */
function repeated(cx: Printer, index: Value): Expr {
  const e = cx.expr(index);
  if (/^[A-Za-z0-9_]+$/.test(e.text)) return e;
  const name = cx.names.fresh(index.hint === "" ? "at" : index.hint);
  cx.out.line(cx.dialect.declare(index.type, name, e));
  return primary(name);
}

function printLoad(op: Op<"load">, cx: Printer): void {
  if (op.dst.length === 1) printLoadOne(op, cx);
  else printLoadWide(op, cx);
}

function printLoadWide(op: Op<"load">, cx: Printer): void {
  const { dialect } = cx;
  const index = repeated(cx, op.index);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const element = (k: number): Expr => dialect.element(cx, op.buffer, dialect.offset(index, k));
  if (guard === undefined) {
    op.dst.forEach((dst, k) => cx.declareUsed(dst, element(k)));
    return;
  }
  if (op.otherwise !== undefined) cx.hold(op.otherwise);
  const names = op.dst.map((dst) => declareOtherwise(op, dst, cx));
  cx.out.block(`if (${guard.text})`, () => {
    op.dst.forEach((dst, k) => cx.out.line(dialect.assign(dst.type, names[k] ?? "", element(k))));
  });
}

function printLoadOne(op: Op<"load">, cx: Printer): void {
  const { dialect } = cx;
  const { guard } = op;
  const [dst] = op.dst;
  invariant(dst !== undefined, "a load defines something");
  if (guard === undefined) {
    cx.define(
      dst,
      () => dialect.element(cx, op.buffer, cx.expr(op.index)),
      [op.index],
      "inherited",
      touchesMemory,
    );
    return;
  }
  if (dialect.conditionalExpression) {
    const operands = op.otherwise === undefined ? [guard, op.index] : [guard, op.index, op.otherwise];
    const make = (): Expr =>
      conditional(cx.expr(guard), dialect.element(cx, op.buffer, cx.expr(op.index)), otherwise(op, dst, cx));
    cx.define(dst, make, operands, "inherited", touchesMemory);
    return;
  }
  const condition = cx.expr(guard);
  const index = cx.expr(op.index);
  const name = declareOtherwise(op, dst, cx);
  cx.out.block(`if (${condition.text})`, () =>
    cx.out.line(dialect.assign(dst.type, name, dialect.element(cx, op.buffer, index))),
  );
}

function otherwise(op: Op<"load">, dst: Value, cx: Printer): Expr {
  return op.otherwise === undefined
    ? cx.dialect.literal(cx, dst.type, dst.type === "i64" ? 0n : dst.type === "bool" ? false : 0)
    : cx.expr(op.otherwise);
}

function declareOtherwise(op: Op<"load">, dst: Value, cx: Printer): string {
  const e = otherwise(op, dst, cx);
  const name = cx.name(dst);
  cx.out.line(cx.dialect.declareVariable(dst.type, name, e));
  return name;
}

function printStore(op: Op<"store">, cx: Printer): void {
  const index = op.values.length === 1 ? cx.expr(op.index) : repeated(cx, op.index);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  const statements = op.values.map((value, k) =>
    cx.dialect.storeElement(cx, op.buffer, k === 0 ? index : cx.dialect.offset(index, k), cx.expr(value)),
  );
  guarded(cx, guard, statements);
}

function printAtomic(op: Op<"atomic">, cx: Printer): void {
  const index = cx.expr(op.index);
  const guard = op.guard === undefined ? undefined : cx.expr(op.guard);
  guarded(cx, guard, [cx.dialect.atomic(cx, op, index, cx.expr(op.value))]);
}

function guarded(cx: Printer, guard: Expr | undefined, statements: readonly string[]): void {
  cx.flush(touchesMemory);
  const print = (): void => {
    for (const statement of statements) cx.out.line(statement);
  };
  if (guard === undefined) print();
  else cx.out.block(`if (${guard.text})`, print);
}

function printFor(op: Op<"for">, cx: Printer): void {
  const from = cx.expr(op.from);
  const to = cx.expr(op.to);
  cx.flushFor([op.body]);
  const index = cx.name(op.index);
  cx.out.block(cx.dialect.forLoop(op, index, from, to), () => cx.nested(op.body));
}

function printIf(op: Op<"if">, cx: Printer): void {
  const condition = cx.expr(op.condition);
  cx.flushFor([op.then, op.else]);
  if (op.then.length === 0) {
    cx.out.block(`if (!(${condition.text}))`, () => cx.nested(op.else));
    return;
  }
  if (op.else.length === 0) {
    cx.out.block(`if (${condition.text})`, () => cx.nested(op.then));
    return;
  }
  cx.out.block(`if (${condition.text})`, () => cx.nested(op.then), "} else {");
  cx.out.indented(() => cx.nested(op.else));
  cx.out.line("}");
}
