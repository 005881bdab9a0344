/**
 * Scalar bodies while they grow, before it is known which node they belong to.
 *
 * A term is a scalar of the arena in which an axis number is the number of a `LoopVariable` of this lowering, and
 * an input position is a position in one list of all tensors read so far. `emit` renumbers both when a loop is
 * made of a term, so that terms of different places can be put into each other freely.
 *
 * Index arithmetic is kept small as it is built: views of views (a reshape of a split, a ragged row read where it
 * was written) must give the index that was meant, not a chain of quotients and remainders.
 */
import { dimEquals, mul, type Dim } from "../types/dim.ts";
import type { DType, Rounding } from "../types/dtype.ts";
import type { Arena } from "../tensor/arena.ts";
import type { Ref, Scalar, ScalarRead, ScalarType } from "../tensor/ir.ts";
import { operandsOf, reachable, rewriteScalars } from "../tensor/scalars.ts";
import { scalarTypeOf } from "../tensor/scalar-types.ts";
import { typeOf } from "../tensor/refs.ts";
import { invariant } from "../diagnostics/diagnostic.ts";

/** A variable that a loop will range over. */
export interface LoopVariable {
  readonly id: number;
  readonly name: string;
  readonly extent: Dim;
  /** The size that it ranges over, where that is one name of the entry's. */
  readonly size: string | undefined;
  /** Its value as a term. */
  readonly term: Scalar;
}

export class Terms {
  readonly arena: Arena;
  /** Every tensor that some term reads; a read's `input` is a position here. */
  readonly tensors: Ref[] = [];
  readonly #positions = new Map<Ref, number>();
  readonly #variables: LoopVariable[] = [];
  /** Ids of the variables that a term depends on, ascending, by the term's id. */
  readonly #free = new Map<number, readonly number[]>();

  constructor(arena: Arena) {
    this.arena = arena;
  }

  variable(name: string, extent: Dim, size?: string): LoopVariable {
    const id = this.#variables.length;
    const made: LoopVariable = { id, name, extent, size, term: this.arena.axis(id) };
    this.#variables.push(made);
    return made;
  }

  i32(value: number): Scalar {
    return this.arena.i32(value);
  }
  f32(value: number): Scalar {
    return this.arena.f32(value);
  }
  bool(value: boolean): Scalar {
    return this.arena.bool(value);
  }
  dim(dim: Dim): Scalar {
    return this.arena.dim(dim);
  }

  /** A number or bool as a constant of the type. */
  constant(type: ScalarType, value: number | bigint | boolean): Scalar {
    if (type === "bool") return this.arena.bool(Boolean(value));
    return this.arena.const(type, type === "i64" ? BigInt(value) : Number(value));
  }

  read(
    tensor: Ref,
    index: readonly Scalar[],
    bounds: ScalarRead["bounds"] = "proved",
    otherwise?: Scalar,
  ): Scalar {
    const known = this.arena.ref(tensor.node, tensor.output);
    let position = this.#positions.get(known);
    if (position === undefined) {
      position = this.tensors.push(known) - 1;
      this.#positions.set(known, position);
    }
    const type = typeOf(known);
    invariant(
      type.shape.length === index.length,
      `a read of ${type.shape.length} axes with ${index.length} indices`,
    );
    const kind = otherwise === undefined ? bounds : "else";
    return this.arena.readAt(position, scalarTypeOf(type.dtype), index, kind, otherwise);
  }

  /** The tensor that a read of a term reads. */
  tensorOf(read: ScalarRead): Ref {
    const tensor = this.tensors[read.input];
    invariant(tensor !== undefined, `no tensor ${read.input} in this lowering`);
    return tensor;
  }

  apply(fn: string, ...args: readonly Scalar[]): Scalar {
    return this.#smaller(this.arena.apply(fn, ...args));
  }
  round(to: Rounding, arg: Scalar, scaled = false): Scalar {
    return this.arena.round(to, arg, scaled);
  }
  cast(to: DType, arg: Scalar): Scalar {
    if (arg.kind === "const" && arg.type === "i32" && to === "f32")
      return this.f32(Math.fround(Number(arg.value)));
    return this.arena.cast(to, arg);
  }

  add(a: Scalar, b: Scalar): Scalar {
    return this.apply("add", a, b);
  }
  sub(a: Scalar, b: Scalar): Scalar {
    return this.apply("sub", a, b);
  }
  mul(a: Scalar, b: Scalar): Scalar {
    return this.apply("mul", a, b);
  }
  floordiv(a: Scalar, b: Scalar): Scalar {
    return this.apply("floordiv", a, b);
  }
  mod(a: Scalar, b: Scalar): Scalar {
    return this.apply("mod", a, b);
  }
  select(condition: Scalar, then: Scalar, otherwise: Scalar): Scalar {
    return this.apply("select", condition, then, otherwise);
  }
  /** Conjunction; undefined stands for true. */
  both(a: Scalar | undefined, b: Scalar | undefined): Scalar | undefined {
    if (a === undefined || a === b) return b;
    return b === undefined ? a : this.apply("and", a, b);
  }

  /** Ids of the loop variables that the term depends on, ascending. */
  free(term: Scalar): readonly number[] {
    const known = this.#free.get(term.id) ?? this.#freeOf(term);
    if (known !== undefined) return known;
    for (const part of reachable([term])) if (!this.#free.has(part.id)) this.#freeOf(part);
    return this.#free.get(term.id) ?? [];
  }

  /** Undefined where an operand is not known yet. */
  #freeOf(term: Scalar): readonly number[] | undefined {
    let ids: readonly number[] = term.kind === "axis" ? [term.axis] : none;
    for (const operand of operandsOf(term)) {
      const own = this.#free.get(operand.id);
      if (own === undefined) return undefined;
      ids = union(ids, own);
    }
    this.#free.set(term.id, ids);
    return ids;
  }

  variableById(id: number): LoopVariable {
    const found = this.#variables[id];
    invariant(found !== undefined, `no loop variable ${id}`);
    return found;
  }

  /** The variables, outermost first, that any of the terms depends on. */
  freeVariables(terms: readonly (Scalar | undefined)[]): readonly LoopVariable[] {
    const ids = terms.reduce<readonly number[]>(
      (all, term) => (term === undefined ? all : union(all, this.free(term))),
      none,
    );
    return ids.map((id) => this.variableById(id));
  }

  dependsOn(term: Scalar | undefined, variables: readonly LoopVariable[]): boolean {
    return term !== undefined && this.free(term).some((id) => variables.some((v) => v.id === id));
  }

  /** Puts terms in place of variables, all at once. */
  substitute<T extends Scalar | undefined>(term: T, by: ReadonlyMap<number, Scalar>): T | Scalar {
    if (term === undefined || by.size === 0) return term;
    if (term.kind === "axis") return by.get(term.axis) ?? term;
    if (!this.free(term).some((id) => by.has(id))) return term;
    if (term.kind === "read" && term.otherwise === undefined) {
      // Nearly every view is one read of a node: no walk is needed to move it.
      return this.arena.readAt(
        term.input,
        term.type,
        term.index.map((i) => this.substitute(i, by)),
        term.bounds,
        undefined,
      );
    }
    const [out] = rewriteScalars(this.arena, [term], (s) =>
      s.kind === "axis" ? (by.get(s.axis) ?? s) : this.#smaller(s),
    );
    return out ?? term;
  }

  /** Terms as bodies of a node whose axes are these variables, and the tensors that they read, after `pinned`. */
  bodies(
    roots: readonly Scalar[],
    variables: readonly LoopVariable[],
    pinned: readonly Ref[] = [],
  ): { readonly bodies: readonly Scalar[]; readonly inputs: readonly Ref[] } {
    const { arena } = this;
    const axes = new Map(variables.map((v, k) => [v.id, arena.axis(k)]));
    const inputs = [...pinned];
    const positions = new Map<number, number>();
    const positionOf = (input: number): number => {
      let at = positions.get(input);
      if (at === undefined) {
        const ref = this.tensors[input];
        invariant(ref !== undefined, `no tensor ${input} in this lowering`);
        at = inputs.push(ref) - 1;
        positions.set(input, at);
      }
      return at;
    };
    const bodies = rewriteScalars(arena, roots, (s) => {
      if (s.kind === "read") return arena.readAt(positionOf(s.input), s.type, s.index, s.bounds, s.otherwise);
      if (s.kind !== "axis") return s;
      const axis = axes.get(s.axis);
      invariant(axis !== undefined, `loop variable '${this.variableById(s.axis).name}' escapes its loop`);
      return axis;
    });
    return { bodies, inputs };
  }

  /** A term that reads other tensors. */
  retarget(term: Scalar, find: (ref: Ref) => Ref): Scalar {
    const rule = (s: Scalar): Scalar => {
      if (s.kind !== "read") return s;
      const ref = this.tensorOf(s);
      const other = find(ref);
      return other === ref ? s : this.read(other, s.index, s.bounds, s.otherwise);
    };
    return rewriteScalars(this.arena, [term], rule)[0] ?? term;
  }

  /** One step of index arithmetic that is exact for all values; floats are left alone. */
  #smaller(term: Scalar): Scalar {
    if (term.kind !== "apply" || term.type !== "i32") return term;
    const [a, b] = term.args;
    if (a === undefined || b === undefined || term.args.length !== 2) return term;
    switch (term.fn) {
      case "add":
        return this.#sum(term, a, b);
      case "sub":
        if (a === b) return this.i32(0);
        if (isApply(a, "add"))
          return a.args[0] === b ? (a.args[1] ?? term) : a.args[1] === b ? (a.args[0] ?? term) : term;
        return term;
      case "mul": {
        const [left, right] = [sizeOf(a), sizeOf(b)];
        return left !== undefined && right !== undefined ? this.dim(mul(left, right)) : term;
      }
      case "floordiv":
        return this.#quotient(a, b) ?? term;
      case "mod":
        return this.#remainder(a, b) ?? term;
      default:
        return term;
    }
  }

  #sum(term: Scalar, a: Scalar, b: Scalar): Scalar {
    // start + (row - start) = row, and (e / x) * x + e % x = e.
    if (isApply(b, "sub") && b.args[1] === a) return b.args[0] ?? term;
    if (isApply(a, "sub") && a.args[1] === b) return a.args[0] ?? term;
    const product = isApply(a, "mul") ? a : undefined;
    const quotient = product?.args[0];
    const divisor = product?.args[1];
    if (
      quotient !== undefined &&
      divisor !== undefined &&
      isApply(quotient, "floordiv") &&
      isApply(b, "mod")
    ) {
      const same = quotient.args[0] === b.args[0] && quotient.args[1] === divisor && b.args[1] === divisor;
      if (same) return b.args[0] ?? term;
    }
    return term;
  }

  /** a = q * x + r with 0 <= r < x, as it was built. */
  #parts(a: Scalar, x: Scalar): { readonly quotient: Scalar; readonly rest: Scalar } | undefined {
    if (this.#below(a, x)) return { quotient: this.i32(0), rest: a };
    if (isApply(a, "mul") && a.args[1] === x && a.args[0] !== undefined)
      return { quotient: a.args[0], rest: this.i32(0) };
    if (!isApply(a, "add")) return undefined;
    const [product, rest] = a.args;
    if (product === undefined || rest === undefined || !isApply(product, "mul") || product.args[1] !== x)
      return undefined;
    const quotient = product.args[0];
    return quotient !== undefined && this.#below(rest, x) ? { quotient, rest } : undefined;
  }

  #quotient(a: Scalar, x: Scalar): Scalar | undefined {
    return this.#parts(a, x)?.quotient;
  }
  #remainder(a: Scalar, x: Scalar): Scalar | undefined {
    return this.#parts(a, x)?.rest;
  }

  /** True where 0 <= a < x for certain. */
  #below(a: Scalar, x: Scalar): boolean {
    const size = sizeOf(x);
    if (size === undefined) return false;
    if (a.kind === "axis")
      return (
        dimEquals(this.variableById(a.axis).extent, size) || atMost(this.variableById(a.axis).extent, size)
      );
    if (a.kind === "const")
      return typeof a.value === "number" && a.value >= 0 && size.kind === "const" && a.value < size.value;
    return isApply(a, "mod") && a.args[1] === x;
  }
}

function atMost(a: Dim, b: Dim): boolean {
  return a.kind === "const" && b.kind === "const" && a.value <= b.value;
}

function isApply(term: Scalar, fn: string): term is Extract<Scalar, { kind: "apply" }> {
  return term.kind === "apply" && term.fn === fn;
}

/** The size that a term stands for, if it is one. */
function sizeOf(term: Scalar): Dim | undefined {
  if (term.kind === "dim") return term.dim;
  return term.kind === "const" && term.type === "i32" && typeof term.value === "number" && term.value >= 0
    ? { kind: "const", value: term.value }
    : undefined;
}

const none: readonly number[] = [];

/** Both ascending lists as one; the same list where the other adds nothing. */
function union(a: readonly number[], b: readonly number[]): readonly number[] {
  if (a === b || b.length === 0) return a;
  if (a.length === 0) return b;
  if (b.every((id) => a.includes(id))) return a;
  return [...new Set([...a, ...b])].sort((x, y) => x - y);
}
