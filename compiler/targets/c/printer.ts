/**
 * Prints a kernel's body in a C-like language, by a `Dialect`.
 *
 * A pure value with one use in its own body stands inside of its user; it is given a name of its own where it has
 * a hint of its own, where the expression would be long, or where what it reads (a register, memory) is about to
 * change. Everything else is one declaration an op. The order of effects is the IR's.
 */
import { invariant } from "../../diagnostics/diagnostic.ts";
import type { Buffer, Kernel, Kind, Op, Register, TensorMap, Value } from "../../kernel/ir.ts";
import { partsOf, visitOps } from "../../kernel/walk.ts";
import type { Names, Writer } from "../writer.ts";
import type { Dialect } from "./dialect.ts";
import { primary, type Expr } from "./expression.ts";
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
    readonly table: OpTable;
  }) {
    this.kernel = parts.kernel;
    this.dialect = parts.dialect;
    this.names = parts.names;
    this.out = parts.out;
    this.#table = parts.table;
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

/** How each kind of op is printed. */
export type OpTable = { readonly [K in Kind]: (op: Op<K>, cx: Printer) => void };

export const touchesMemory: Reads = { registers: new Set(), memory: true };
