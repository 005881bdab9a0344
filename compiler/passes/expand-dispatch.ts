/**
 * The routing plan as loops. Copies c = n * K + k are cut into chunks of 64; each chunk counts its copies for each
 * expert, a running sum over chunks tells how many came before, and a copy adds those of its own chunk. Work is
 * copies times (experts + 64).
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { ceildiv, constant, mul, type Dim } from "../types/dim.ts";
import type { Arena } from "../tensor/arena.ts";
import { typeOf } from "../tensor/refs.ts";
import type { DispatchNode, Ref, Scalar } from "../tensor/ir.ts";
import { axesFor, expandScan } from "./expand-scan.ts";

const chunk = 64;

export function expandDispatch(arena: Arena, node: DispatchNode): readonly Ref[] {
  return new DispatchWriter(arena, node).write();
}

class DispatchWriter {
  readonly #arena: Arena;
  readonly #node: DispatchNode;
  readonly #index: Ref;
  readonly #rows: Dim;
  readonly #choices: Dim;

  constructor(arena: Arena, node: DispatchNode) {
    const [index] = node.inputs;
    const [rows, choices] = index === undefined ? [] : typeOf(index).shape;
    invariant(
      index !== undefined && rows !== undefined && choices !== undefined,
      "a dispatch has an index of two axes",
    );
    this.#arena = arena;
    this.#node = node;
    this.#index = index;
    this.#rows = rows;
    this.#choices = choices;
  }

  write(): readonly Ref[] {
    const scanned = expandScan(this.#arena, this.#histogram(), 0);
    const count = this.#count(scanned);
    const start = this.#start(count);
    const position = this.#position(scanned, start);
    return [position, this.#source(position), this.#experts(start, count), start, count];
  }

  /** Expert of copy c, or -1 beyond the last copy. */
  #expertOf(inputs: Ref[], copy: Scalar): Scalar {
    const a = this.#arena;
    const choices = a.dim(this.#choices);
    const at = [a.apply("floordiv", copy, choices), a.apply("mod", copy, choices)];
    return a.read(inputs, this.#index, at, "else", a.i32(-1));
  }

  #histogram(): Ref {
    const a = this.#arena;
    const chunks = ceildiv(mul(this.#rows, this.#choices), constant(chunk));
    const inputs: Ref[] = [];
    const copy = a.apply("add", a.apply("mul", a.axis(0), a.i32(chunk)), a.axis(2));
    const hit = a.apply("eq", this.#expertOf(inputs, copy), a.axis(1));
    return this.#sum([chunks, this.#node.experts], constant(chunk), inputs, a.cast("i32", hit));
  }

  /** A loop that sums an i32 lift; `finish` makes the result of the sum. */
  #sum(
    shape: readonly Dim[],
    over: Dim,
    inputs: Ref[],
    lift: Scalar,
    finish: (sum: Scalar) => Scalar = (sum) => sum,
  ): Ref {
    const a = this.#arena;
    const loop = a.loop({
      axes: axesFor(shape),
      over: [{ name: "r", extent: over }],
      inputs,
      carriers: [{ name: "sum", monoid: "sum", lift }],
      results: [{ value: finish(a.carrier(0, "i32")), dtype: "i32", axes: shape.map((_, i) => i) }],
    });
    return a.ref(loop);
  }

  #count(scanned: Ref): Ref {
    const a = this.#arena;
    const inputs: Ref[] = [];
    const chunks = typeOf(scanned).shape[0] ?? constant(0);
    const last = a.apply("sub", a.dim(chunks), a.i32(1));
    const value = a.read(inputs, scanned, [last, a.axis(0)], "else", a.i32(0));
    return a.ref(
      a.loop({ axes: axesFor([this.#node.experts]), inputs, results: [{ value, dtype: "i32", axes: [0] }] }),
    );
  }

  /** Rows of an expert, padded to whole blocks. */
  #padded(count: Scalar): Scalar {
    const a = this.#arena;
    const align = a.i32(this.#node.align);
    const blocks = a.apply("floordiv", a.apply("add", count, a.i32(this.#node.align - 1)), align);
    return a.apply("mul", blocks, align);
  }

  #start(count: Ref): Ref {
    const a = this.#arena;
    const inputs: Ref[] = [];
    const before = a.apply("lt", a.axis(1), a.axis(0));
    const lift = a.apply("select", before, this.#padded(a.read(inputs, count, [a.axis(1)])), a.i32(0));
    return this.#sum([this.#node.experts], this.#node.experts, inputs, lift);
  }

  #position(scanned: Ref, start: Ref): Ref {
    const a = this.#arena;
    const inputs: Ref[] = [];
    const own = a.read(inputs, this.#index, [a.axis(0), a.axis(1)]);
    const copy = a.apply("add", a.apply("mul", a.axis(0), a.dim(this.#choices)), a.axis(1));
    const block = a.apply("floordiv", copy, a.i32(chunk));
    const other = a.apply("add", a.apply("mul", block, a.i32(chunk)), a.axis(2));
    const earlier = a.apply(
      "and",
      a.apply("lt", other, copy),
      a.apply("eq", this.#expertOf(inputs, other), own),
    );
    const valid = a.apply("and", a.apply("ge", own, a.i32(0)), a.apply("lt", own, a.dim(this.#node.experts)));
    const first = a.read(inputs, start, [own], "else", a.i32(0));
    const before = a.read(inputs, scanned, [a.apply("sub", block, a.i32(1)), own], "else", a.i32(0));
    const row = (sum: Scalar): Scalar =>
      a.apply("select", valid, a.apply("add", a.apply("add", first, before), sum), a.i32(-1));
    return this.#sum([this.#rows, this.#choices], constant(chunk), inputs, a.cast("i32", earlier), row);
  }

  #source(position: Ref): Ref {
    const a = this.#arena;
    const type = this.#node.types[1];
    invariant(type !== undefined, "a dispatch has a source");
    const blank = a.loop({
      axes: axesFor(type.shape),
      inputs: [],
      results: [{ value: a.i32(-1), dtype: "i32", axes: [0] }],
    });
    const inputs: Ref[] = [a.ref(blank)];
    const row = a.read(inputs, position, [a.axis(0), a.axis(1)]);
    const value = a.apply("add", a.apply("mul", a.axis(0), a.dim(this.#choices)), a.axis(1));
    const keep = a.apply("ge", row, a.i32(0));
    return a.ref(
      a.scatter({ axes: axesFor([this.#rows, this.#choices]), inputs, target: [row], value, keep }),
    );
  }

  /** A block's expert is how many experts' rows end at or before it. */
  #experts(start: Ref, count: Ref): Ref {
    const a = this.#arena;
    const blocks = this.#node.types[2]?.shape[0];
    invariant(blocks !== undefined, "a dispatch has blocks");
    const inputs: Ref[] = [];
    const end = a.apply(
      "add",
      a.read(inputs, start, [a.axis(1)]),
      this.#padded(a.read(inputs, count, [a.axis(1)])),
    );
    const past = a.apply("le", end, a.apply("mul", a.axis(0), a.i32(this.#node.align)));
    return this.#sum([blocks], this.#node.experts, inputs, a.cast("i32", past));
  }
}
