/**
 * The arena's sizes, types and scalars: each is made once, so that equality is `===`.
 *
 * Ids of scalars are dense, and an operand's id is below its user's.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dtypes, isRounding, type DType, type Rounding } from "../types/dtype.ts";
import { dimKey, type Dim } from "../types/dim.ts";
import type { Ref, Scalar, ScalarRead, ScalarType, TensorType } from "./ir.ts";
import { foldApply } from "./fold.ts";
import { Interner } from "./intern.ts";
import { sameRef, typeOf } from "./refs.ts";
import { inferApply } from "./scalar-functions.ts";
import { dtypeNames, scalarTypeOf, scalarTypes } from "./scalar-types.ts";

/** First words of the encodings: kinds, and the bounds of reads. */
const scalarKinds = {
  const: 0,
  dim: 1,
  axis: 2,
  read: 3,
  carrier: 4,
  apply: 5,
  round: 6,
  cast: 7,
  reduce: 8,
} as const;
const boundsCodes = { proved: 0, clamp: 1, else: 2 } as const;

export class ScalarArena {
  readonly #names = new Map<string, number>();
  readonly #dimsByKey = new Map<string, number>();
  readonly #dimIds = new WeakMap<Dim, number>();
  readonly #typeTable = new Interner();
  readonly #types: TensorType[] = [];
  readonly #typeIds = new Map<TensorType, number>();
  readonly #scalarTable = new Interner();
  readonly #scalars: Scalar[] = [];
  readonly #float = new Float64Array(1);
  readonly #floatWords = new Int32Array(this.#float.buffer);

  /** Scalars made so far: ids are below it. */
  get scalarCount(): number {
    return this.#scalars.length;
  }

  scalarById(id: number): Scalar {
    const scalar = this.#scalars[id];
    invariant(scalar !== undefined, `no scalar ${id}`);
    return scalar;
  }

  /** Interned: equal types are one object. */
  type(dtype: DType, shape: readonly Dim[]): TensorType {
    const t = this.#typeTable;
    t.begin();
    t.word(dtypeNames.indexOf(dtype));
    for (const dim of shape) t.word(this.dimId(dim));
    const id = t.id();
    const known = this.#types[id];
    if (known !== undefined) return known;
    const type: TensorType = { dtype, shape };
    this.#types.push(type);
    this.#typeIds.set(type, id);
    return type;
  }

  const(type: ScalarType, value: number | bigint | boolean): Scalar {
    const t = this.#begin("const");
    t.word(scalarTypes.indexOf(type));
    this.#constWords(type, value);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "const", id, type, value });
  }
  f32(value: number): Scalar {
    return this.const("f32", value);
  }
  i32(value: number): Scalar {
    return this.const("i32", value);
  }
  bool(value: boolean): Scalar {
    return this.const("bool", value);
  }

  /** A size as an i32; a constant size is a constant. */
  dim(dim: Dim): Scalar {
    if (dim.kind === "const") return this.i32(dim.value);
    const key = this.dimId(dim);
    const t = this.#begin("dim");
    t.word(key);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "dim", id, type: "i32", dim });
  }

  axis(axis: number): Scalar {
    const t = this.#begin("axis");
    t.word(axis);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "axis", id, type: "i32", axis });
  }

  carrier(carrier: number, type: ScalarType): Scalar {
    const t = this.#begin("carrier");
    t.word(carrier);
    t.word(scalarTypes.indexOf(type));
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "carrier", id, type, carrier });
  }

  /**
   * Reads `tensor` inside a body whose node is made with `inputs`: the ref is appended to that list when it is not
   * there yet. `otherwise` makes the bounds "else".
   */
  read(
    inputs: Ref[],
    tensor: Ref,
    index: readonly Scalar[],
    bounds: ScalarRead["bounds"] = "proved",
    otherwise?: Scalar,
  ): ScalarRead {
    let position = inputs.findIndex((ref) => sameRef(ref, tensor));
    if (position < 0) position = inputs.push(tensor) - 1;
    const type = typeOf(tensor);
    invariant(
      type.shape.length === index.length,
      `a read of ${type.shape.length} axes with ${index.length} indices`,
    );
    return this.readAt(
      position,
      scalarTypeOf(type.dtype),
      index,
      otherwise === undefined ? bounds : "else",
      otherwise,
    );
  }

  /** `read` by position in the list of inputs, for passes. */
  readAt(
    input: number,
    type: ScalarType,
    index: readonly Scalar[],
    bounds: ScalarRead["bounds"],
    otherwise: Scalar | undefined,
  ): ScalarRead {
    for (const i of index) invariant(i.type === "i32", `an index of type ${i.type}`);
    invariant(
      (bounds === "else") === (otherwise !== undefined),
      "a read has a value for outside exactly when its bounds are 'else'",
    );
    invariant(
      otherwise === undefined || otherwise.type === type,
      "a read and its value for outside differ in type",
    );
    const t = this.#begin("read");
    t.word(input);
    t.word(scalarTypes.indexOf(type));
    t.word(boundsCodes[bounds]);
    t.word(otherwise === undefined ? -1 : otherwise.id);
    for (const i of index) t.word(i.id);
    const id = t.id();
    const known = this.#scalars[id];
    if (known !== undefined && known.kind === "read") return known;
    const read: ScalarRead = { kind: "read", id, type, input, index, bounds, otherwise };
    this.#keep(read);
    return read;
  }

  /** A row of the scalar-function table; integer and bool constants fold. */
  apply(fn: string, ...args: readonly Scalar[]): Scalar {
    const type = inferApply(
      fn,
      args.map((arg) => arg.type),
    );
    if (typeof type === "object") invariant(false, type.problem);
    const folded = foldApply(this, fn, type, args);
    if (folded !== undefined) return folded;
    const name = this.nameId(fn);
    const t = this.#begin("apply");
    t.word(name);
    for (const arg of args) t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "apply", id, type, fn, args });
  }

  /** Rounds a float where a type was written, or at any scale. Rounding twice to one dtype is rounding once. */
  round(to: Rounding, arg: Scalar, scaled = false): Scalar {
    invariant(isRounding(to) && arg.type === "f32", `round to ${to} of ${arg.type}`);
    if (arg.kind === "round" && arg.to === to && (scaled || !arg.scaled)) return arg;
    const rounding = this.nameId(to);
    const t = this.#begin("round");
    t.word(rounding);
    t.word(scaled ? 1 : 0);
    t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "round", id, type: "f32", to, arg, scaled });
  }

  /** `arg` reduced over inner axes. */
  reduce(monoid: string, axes: readonly number[], arg: Scalar): Scalar {
    const name = this.nameId(monoid);
    const t = this.#begin("reduce");
    t.word(name);
    t.word(axes.length);
    for (const axis of axes) t.word(axis);
    t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "reduce", id, type: arg.type, monoid, axes, arg });
  }

  /** Numeric conversion; to a float only as `f32` (a float is made narrower by `round`). */
  cast(to: DType, arg: Scalar): Scalar {
    invariant(dtypes[to].kind !== "float" || to === "f32", `a cast to ${to}: round does that`);
    if (to === arg.type) return arg;
    const t = this.#begin("cast");
    t.word(dtypeNames.indexOf(to));
    t.word(arg.id);
    const id = t.id();
    return this.#scalars[id] ?? this.#keep({ kind: "cast", id, type: scalarTypeOf(to), to, arg });
  }

  // ---------------------------------------------------------------- encoding

  #begin(kind: keyof typeof scalarKinds): Interner {
    this.#scalarTable.begin();
    this.#scalarTable.word(scalarKinds[kind]);
    return this.#scalarTable;
  }

  #keep<S extends Scalar>(scalar: S): S {
    this.#scalars.push(scalar);
    return scalar;
  }

  #constWords(type: ScalarType, value: number | bigint | boolean): void {
    const t = this.#scalarTable;
    if (typeof value === "bigint") {
      invariant(type === "i64", `a bigint constant of type ${type}`);
      t.word(Number(BigInt.asIntN(32, value)));
      t.word(Number(BigInt.asIntN(32, value >> 32n)));
      return;
    }
    invariant(
      type !== "i64" && (typeof value === "boolean") === (type === "bool"),
      `a ${typeof value} constant of type ${type}`,
    );
    this.#float[0] = Number(value);
    t.word(this.#floatWords[0] ?? 0);
    t.word(this.#floatWords[1] ?? 0);
  }

  /** The number of a type of this arena's; -1 for another's. */
  protected typeId(type: TensorType): number {
    return this.#typeIds.get(type) ?? -1;
  }

  protected dimId(dim: Dim): number {
    const known = this.#dimIds.get(dim);
    if (known !== undefined) return known;
    const key = dimKey(dim);
    let id = this.#dimsByKey.get(key);
    if (id === undefined) this.#dimsByKey.set(key, (id = this.#dimsByKey.size));
    this.#dimIds.set(dim, id);
    return id;
  }

  protected nameId(name: string): number {
    let id = this.#names.get(name);
    if (id === undefined) this.#names.set(name, (id = this.#names.size));
    return id;
  }
}
