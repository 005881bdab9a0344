/**
 * Moves constants to the outside of indices, where an address's immediate offset takes them.
 *
 *     %3 = add %col, 8                       %2 = add %row, %col
 *     %4 = add %row, %3             =>       %9 = add %2, 8
 *     load @x[%4]                            load @x[%9]
 *
 * Accesses that are a constant apart then share %2, and so one register: eight loads of an unrolled loop have one
 * address. Exact, since sums and products of integers agree modulo the type's width however they are arranged.
 * Leaves the old sums where something else uses them. An unsigned index of global memory stays as it is: what is
 * left of it without its constant might be negative.
 */
import type { Buffer, Kernel, Op, Operand, Value } from "../../kernel/ir.ts";
import { removeUnused } from "../../kernel/legalize/unused.ts";
import { Rewriter } from "../../kernel/rewrite.ts";
import { isAddress } from "../../kernel/walk.ts";

export function shareAddresses(kernel: Kernel): Kernel {
  const rewritten = new AddressRewriter(kernel).run({
    load: (op, cx) => cx.access(op, op.buffer, op.index, (index) => ({ ...op, index })),
    store: (op, cx) => cx.access(op, op.buffer, op.index, (index) => ({ ...op, index })),
    atomic: (op, cx) => cx.access(op, op.buffer, op.index, (index) => ({ ...op, index })),
    descriptor: (op, cx) => cx.access(op, op.buffer, op.index, (index) => ({ ...op, index })),
    instruction: (op, cx) =>
      cx.copy({ ...op, operands: op.operands.map((operand) => cx.peeledOperand(operand)) }),
  });
  return removeUnused(rewritten);
}

/** An index as `root + constant`; a constant alone has no root. */
interface Peeled {
  readonly root: Value | undefined;
  readonly constant: number;
}

class AddressRewriter extends Rewriter {
  access<K extends "load" | "store" | "atomic" | "descriptor">(
    op: Op<K>,
    buffer: Buffer,
    index: Value,
    withIndex: (index: Value) => Op<K>,
  ): void {
    const peeled = this.peeledIndex(buffer, index);
    if (peeled === undefined) this.copy(op);
    else this.copy(withIndex(peeled));
  }

  peeledOperand(operand: Operand): Operand {
    if (!isAddress(operand)) return operand;
    const index = this.peeledIndex(operand.buffer, operand.index);
    return index === undefined ? operand : { buffer: operand.buffer, index };
  }

  /** The old kernel's name for the new index: `copy` looks its operands up. Undefined where nothing is to be moved. */
  peeledIndex(buffer: Buffer, index: Value): Value | undefined {
    if (index.type === "u32" && buffer.space === "global") return undefined;
    const now = this.value(index);
    const { root, constant } = this.#peel(now);
    if (root === undefined || root === now || constant === 0) return undefined;
    const moved = this.b.add(root, this.b.constant(index.type, constant), index.hint);
    const stand: Value = { ...index };
    this.define(stand, moved);
    return stand;
  }

  #peel(value: Value): Peeled {
    const whole: Peeled = { root: value, constant: 0 };
    const known = this.#constantOf(value);
    if (known !== undefined) return { root: undefined, constant: known };
    const op = this.b.definitionOf(value);
    if (op?.kind === "fma") return this.#peelSum(value, this.b.mul(op.a, op.b), op.c);
    if (op?.kind !== "binary") return whole;
    switch (op.fn) {
      case "add":
        return this.#peelSum(value, op.a, op.b);
      case "mul":
        return this.#peelProduct(value, op.a, this.#constantOf(op.b), (root) => this.b.mul(root, op.b));
      case "shl":
        return this.#peelProduct(value, op.a, this.#powerOf(op.b), (root) =>
          this.b.binary("shl", root, op.b),
        );
      default:
        return whole;
    }
  }

  #peelSum(value: Value, a: Value, b: Value): Peeled {
    const [left, right] = [this.#peel(a), this.#peel(b)];
    const constant = left.constant + right.constant;
    if (!isSmall(constant) || (left.constant === 0 && right.constant === 0))
      return { root: value, constant: 0 };
    if (left.root === undefined || right.root === undefined)
      return { root: left.root ?? right.root, constant };
    return { root: this.b.add(left.root, right.root), constant };
  }

  #peelProduct(value: Value, a: Value, factor: number | undefined, scale: (root: Value) => Value): Peeled {
    const whole: Peeled = { root: value, constant: 0 };
    if (factor === undefined) return whole;
    const inner = this.#peel(a);
    const constant = inner.constant * factor;
    if (inner.root === undefined || inner.constant === 0 || !isSmall(constant)) return whole;
    return { root: scale(inner.root), constant };
  }

  #constantOf(value: Value): number | undefined {
    const known = this.b.constantOf(value);
    return known === undefined || typeof known === "boolean" ? undefined : Number(known);
  }

  #powerOf(shift: Value): number | undefined {
    const by = this.#constantOf(shift);
    return by === undefined ? undefined : 2 ** by;
  }
}

/** Far beyond what an address takes, and far from where a number stops being exact. */
function isSmall(constant: number): boolean {
  return Math.abs(constant) < 2 ** 24;
}
