/**
 * How kernel IR is built: one method an op, nested bodies as callbacks.
 *
 *     const b = new KernelBuilder(128);
 *     const x = b.buffer({ name: "x", dtype: "f32", length: n, access: "read", align: 16 });
 *     b.for(b.i32(0), b.size("n", n), 1, "i", (i) => { .. b.load(x, i) .. });
 *     return b.finish({ name: "scale", grid, summary, files: [] });
 *
 * Constants fold, and pure ops that were already computed in an enclosing scope are not repeated (the first hint
 * stays). Only identities that are exact in the op's own arithmetic are applied: `x + 0.0` stays (x may be -0).
 * Division by a power of two becomes a shift only where the dividend is known not to be negative; `bound` hands
 * such knowledge in.
 */
import { invariant } from "../diagnostics/diagnostic.ts";
import { dimKey, type Dim } from "../types/dim.ts";
import type { DType } from "../types/dtype.ts";
import { isComparison, simplifyBinary, simplifyFma, simplifySelect, simplifyUnary } from "./fold.ts";
import type {
  BinaryFn,
  Buffer,
  Kernel,
  Op,
  Operand,
  Register,
  SizeParam,
  TensorMap,
  UnaryFn,
  Value,
  ValueType,
} from "./ir.ts";
import { binaryRange, joinRanges, wholeRange, type Range } from "./range.ts";
import { evaluateBitcast, evaluateConvert, normalizeScalar, type ScalarValue } from "./scalar.ts";

export interface LoadOptions {
  /** Elements read, side by side. */
  readonly count?: number;
  readonly guard?: Value | undefined;
  readonly otherwise?: Value | undefined;
  readonly hint?: string;
}

export type KernelHead = Pick<Kernel, "name" | "grid" | "summary" | "files" | "cluster" | "resident">;

/** Type that an element of a storage dtype has in a register. */
export function elementType(dtype: DType): ValueType {
  switch (dtype) {
    case "e4m3":
    case "e5m2":
    case "i8":
    case "u8":
      return "b8";
    default:
      return dtype;
  }
}

interface Scope {
  readonly ops: Op[];
  /** Spellings of the pure ops that it computed. */
  readonly known: string[];
}

export class KernelBuilder {
  readonly threads: number;
  readonly #buffers: Buffer[] = [];
  readonly #sizes: SizeParam[] = [];
  readonly #maps: TensorMap[] = [];
  readonly #constants = new Map<Value, ScalarValue>();
  readonly #definitions = new Map<Value, Op>();
  readonly #ranges = new Map<Value, Range>();
  #scopes: Scope[] = [{ ops: [], known: [] }];
  /** What the scopes that are open have computed: each in one of them, since none repeats another's. */
  readonly #known = new Map<string, Value>();
  #values = 0;
  #registers = 0;
  #bufferIds = 0;

  constructor(threads: number) {
    this.threads = threads;
  }

  // The kernel's own parts.

  buffer(parts: Pick<Buffer, "name" | "dtype" | "length" | "access" | "align">): Buffer {
    return this.addBuffer({ ...parts, space: "global" });
  }

  shared(parts: {
    readonly name: string;
    readonly dtype: DType;
    readonly length: number;
    readonly align?: number;
    readonly panel?: number;
  }): Buffer {
    const length: Dim = { kind: "const", value: parts.length };
    return this.addBuffer({
      name: parts.name,
      dtype: parts.dtype,
      length,
      align: parts.align ?? 16,
      space: "shared",
      access: "read-write",
      ...(parts.panel === undefined ? {} : { panel: parts.panel }),
    });
  }

  /** A buffer like another; its id is this kernel's. */
  addBuffer(parts: Omit<Buffer, "id">): Buffer {
    const buffer: Buffer = { ...parts, id: this.#bufferIds };
    this.#bufferIds += 1;
    this.#buffers.push(buffer);
    return buffer;
  }

  /** A view of a buffer for the copy engine; one for equal parts. */
  map(parts: Omit<TensorMap, "id">): TensorMap {
    const known = this.#maps.find((map) => mapKey(map) === mapKey(parts));
    if (known !== undefined) return known;
    const map: TensorMap = { ...parts, id: this.#maps.length };
    this.#maps.push(map);
    return map;
  }

  finish(head: KernelHead): Kernel {
    invariant(this.#scopes.length === 1, "finish inside of a body");
    return {
      ...head,
      buffers: this.#buffers,
      sizes: this.#sizes,
      maps: this.#maps,
      threads: this.threads,
      body: this.#top().ops,
    };
  }

  // Values that are there from the start.

  constant(type: ValueType, value: ScalarValue): Value {
    const scalar = normalizeScalar(type, value);
    const key = constantKey(type, scalar);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const dst = this.#value(type, "");
    const op: Op<"const"> = { kind: "const", dst, value: scalar };
    this.#push(op);
    this.#remember(key, dst);
    this.#definitions.set(dst, op);
    this.#constants.set(dst, scalar);
    if (typeof scalar === "number" && wholeRange(type) !== undefined)
      this.#ranges.set(dst, { low: scalar, high: scalar });
    return dst;
  }

  i32(value: number): Value {
    return this.constant("i32", value);
  }

  u32(value: number): Value {
    return this.constant("u32", value);
  }

  f32(value: number): Value {
    return this.constant("f32", value);
  }

  bool(value: boolean): Value {
    return this.constant("bool", value);
  }

  /** A size as i32: a constant where it is one, else the launch's parameter of this dim (added on first use). */
  size(name: string, dim: Dim): Value {
    if (dim.kind === "const") return this.i32(dim.value);
    let param = this.#sizes.findIndex((size) => size.name === name);
    if (param < 0) param = this.addSize({ name, dim });
    return this.sizeParam(param, { type: "i32", hint: name });
  }

  /** A size parameter that may never be read; its position. */
  addSize(size: SizeParam): number {
    return this.#sizes.push(size) - 1;
  }

  /** Reads a size parameter by position, in the type and with the hint of `like`. */
  sizeParam(param: number, like: Pick<Value, "type" | "hint">): Value {
    return this.#pure(
      { kind: "size", dst: this.#value(like.type, like.hint), param },
      like.type === "i32" ? { low: 0, high: 2 ** 31 - 1 } : undefined,
    );
  }

  thread(): Value {
    if (this.threads === 1) return this.i32(0);
    return this.#pure(
      { kind: "thread", dst: this.#value("i32", "thread") },
      { low: 0, high: this.threads - 1 },
    );
  }

  lane(): Value {
    if (this.threads === 1) return this.i32(0);
    return this.#pure({ kind: "lane", dst: this.#value("i32", "lane") }, { low: 0, high: this.threads - 1 });
  }

  subgroup(): Value {
    if (this.threads === 1) return this.i32(0);
    return this.#pure(
      { kind: "subgroup", dst: this.#value("i32", "subgroup") },
      { low: 0, high: this.threads - 1 },
    );
  }

  block(axis: 0 | 1 | 2): Value {
    const hint = (["block_x", "block_y", "block_z"] as const)[axis];
    return this.#pure({ kind: "block", dst: this.#value("i32", hint), axis }, { low: 0, high: 2 ** 31 - 1 });
  }

  // Knowledge.

  /** Promises that an i32 or u32 lies in low..high wherever it is defined, and gives it back. */
  bound(value: Value, low: number, high: number): Value {
    const known = this.rangeOf(value);
    if (known !== undefined)
      this.#ranges.set(value, { low: Math.max(low, known.low), high: Math.min(high, known.high) });
    return value;
  }

  rangeOf(value: Value): Range | undefined {
    return this.#ranges.get(value) ?? wholeRange(value.type);
  }

  constantOf(value: Value): ScalarValue | undefined {
    return this.#constants.get(value);
  }

  /** The op that defines a value; undefined for a loop's index and for values of another builder. */
  definitionOf(value: Value): Op | undefined {
    return this.#definitions.get(value);
  }

  // Arithmetic.

  unary(fn: UnaryFn, a: Value, hint = ""): Value {
    const type = fn === "popcount" || fn === "clz" ? "u32" : a.type;
    const simple = simplifyUnary(this, fn, a);
    if (simple !== undefined) return simple;
    return this.#pure({ kind: "unary", dst: this.#value(type, hint), fn, a }, undefined);
  }

  binary(fn: BinaryFn, a: Value, b: Value, hint = ""): Value {
    const isShift = fn === "shl" || fn === "shr";
    invariant(isShift ? b.type === "u32" : a.type === b.type, `${fn} of ${a.type} and ${b.type}`);
    const simple = simplifyBinary(this, fn, a, b);
    if (simple !== undefined) return simple;
    const type = isComparison(fn) ? "bool" : a.type;
    const left = this.rangeOf(a);
    const right = this.rangeOf(b);
    const range = left === undefined || right === undefined ? undefined : binaryRange(fn, type, left, right);
    return this.#pure({ kind: "binary", dst: this.#value(type, hint), fn, a, b }, range);
  }

  add(a: Value, b: Value, hint = ""): Value {
    return this.binary("add", a, b, hint);
  }

  sub(a: Value, b: Value, hint = ""): Value {
    return this.binary("sub", a, b, hint);
  }

  mul(a: Value, b: Value, hint = ""): Value {
    return this.binary("mul", a, b, hint);
  }

  div(a: Value, b: Value, hint = ""): Value {
    return this.binary("div", a, b, hint);
  }

  rem(a: Value, b: Value, hint = ""): Value {
    return this.binary("rem", a, b, hint);
  }

  lt(a: Value, b: Value, hint = ""): Value {
    return this.binary("lt", a, b, hint);
  }

  and(a: Value, b: Value, hint = ""): Value {
    return this.binary("and", a, b, hint);
  }

  fma(a: Value, b: Value, c: Value, hint = ""): Value {
    invariant(a.type === b.type && b.type === c.type, `fma of ${a.type}, ${b.type} and ${c.type}`);
    const simple = simplifyFma(this, a, b, c);
    if (simple !== undefined) return simple;
    return this.#pure({ kind: "fma", dst: this.#value(a.type, hint), a, b, c }, undefined);
  }

  select(condition: Value, a: Value, b: Value, hint = ""): Value {
    invariant(condition.type === "bool" && a.type === b.type, `select of ${a.type} and ${b.type}`);
    const simple = simplifySelect(this, condition, a, b);
    if (simple !== undefined) return simple;
    const left = this.rangeOf(a);
    const right = this.rangeOf(b);
    const range = left === undefined || right === undefined ? undefined : joinRanges(left, right);
    return this.#pure({ kind: "select", dst: this.#value(a.type, hint), condition, a, b }, range);
  }

  /** `storage` names the format of a b8 side. */
  convert(a: Value, type: ValueType, storage?: DType | undefined, hint: string = a.hint): Value {
    if (a.type === type && type !== "b8") return a;
    const known = this.#constants.get(a);
    if (known !== undefined) return this.constant(type, evaluateConvert(a.type, type, storage, known));
    const range = wholeRange(type);
    const from = this.rangeOf(a);
    const kept =
      range !== undefined && from !== undefined && from.low >= range.low && from.high <= range.high
        ? from
        : range;
    return this.#pure(
      { kind: "convert", dst: this.#value(type, hint), a, storage },
      a.type === "bool" && range !== undefined ? { low: 0, high: 1 } : kept,
    );
  }

  bitcast(a: Value, type: ValueType, hint = ""): Value {
    if (a.type === type) return a;
    const known = this.#constants.get(a);
    if (known !== undefined && a.type !== "i64")
      return this.constant(type, evaluateBitcast(a.type, type, known));
    return this.#pure({ kind: "bitcast", dst: this.#value(type, hint), a }, undefined);
  }

  pack(parts: readonly Value[], hint = ""): Value {
    invariant(parts.length === 2 || parts.length === 4, "pack takes two halves or four bytes");
    return this.#pure(
      { kind: "pack", dst: this.#value(parts.length === 2 ? "h2" : "b8x4", hint), parts },
      undefined,
    );
  }

  /** `type` is the parts': f16 or bf16 of an h2, b8 of a b8x4. */
  unpack(a: Value, type: ValueType, hint = ""): Value[] {
    const dst = Array.from({ length: a.type === "h2" ? 2 : 4 }, () => this.#value(type, hint));
    this.#push({ kind: "unpack", dst, a });
    return dst;
  }

  // Registers.

  var(init: Value, hint: string): Register {
    return this.#register(init.type, init, hint);
  }

  /** A register whose contents are undefined until it is set. */
  open(type: ValueType, hint: string): Register {
    return this.#register(type, undefined, hint);
  }

  #register(type: ValueType, init: Value | undefined, hint: string): Register {
    const register: Register = { register: true, id: this.#registers, type, hint };
    this.#registers += 1;
    this.#push({ kind: "var", register, init });
    return register;
  }

  get(register: Register, hint: string = register.hint): Value {
    const dst = this.#value(register.type, hint);
    this.#push({ kind: "get", dst, register });
    return dst;
  }

  set(register: Register, value: Value): void {
    invariant(register.type === value.type, `set ${register.hint}: ${register.type} to ${value.type}`);
    this.#push({ kind: "set", register, value });
  }

  // Memory.

  /** One element. */
  load(buffer: Buffer, index: Value, options: LoadOptions = {}): Value {
    const [value] = this.loadWide(buffer, index, { ...options, count: 1 });
    invariant(value !== undefined, "a load of one element");
    return value;
  }

  loadWide(buffer: Buffer, index: Value, options: LoadOptions = {}): Value[] {
    const { count = 1, guard, otherwise, hint = buffer.name } = options;
    const decided = guard === undefined ? true : this.#constants.get(guard);
    const dst = Array.from({ length: count }, () => this.#value(elementType(buffer.dtype), hint));
    if (decided === false) return dst.map((value) => otherwise ?? this.constant(value.type, 0));
    this.#push({
      kind: "load",
      dst,
      buffer,
      index,
      guard: decided === true ? undefined : guard,
      otherwise: decided === true ? undefined : otherwise,
    });
    return dst;
  }

  store(buffer: Buffer, index: Value, values: readonly Value[], guard?: Value | undefined): void {
    const decided = guard === undefined ? true : this.#constants.get(guard);
    if (decided === false) return;
    this.#push({ kind: "store", buffer, index, values, guard: decided === true ? undefined : guard });
  }

  atomic(
    buffer: Buffer,
    index: Value,
    fn: Op<"atomic">["fn"],
    value: Value,
    guard?: Value | undefined,
  ): void {
    const decided = guard === undefined ? true : this.#constants.get(guard);
    if (decided === false) return;
    this.#push({ kind: "atomic", buffer, index, fn, value, guard: decided === true ? undefined : guard });
  }

  // Threads together.

  barrier(group?: Op<"barrier">["group"]): void {
    if (this.threads > 1) this.#push({ kind: "barrier", group });
  }

  shuffleXor(value: Value, mask: number, hint: string = value.hint): Value {
    const dst = this.#value(value.type, hint);
    this.#push({ kind: "shuffle-xor", dst, value, mask });
    return dst;
  }

  shuffleIndex(value: Value, lane: Value, hint: string = value.hint): Value {
    const dst = this.#value(value.type, hint);
    this.#push({ kind: "shuffle-index", dst, value, lane });
    return dst;
  }

  /** A value that an instruction is to define. */
  result(type: ValueType, hint = ""): Value {
    return this.#value(type, hint);
  }

  instruction(name: string, dst: readonly (Value | Register)[], operands: readonly Operand[]): void {
    this.#push({ kind: "instruction", name, dst, operands });
  }

  /** Where a tile of shared memory begins, as matrix instructions take it. */
  descriptor(
    buffer: Buffer,
    index: Value,
    { leading, stride, swizzle }: Pick<Op<"descriptor">, "leading" | "stride" | "swizzle">,
  ): Value {
    const dst = this.#value("i64", buffer.name);
    return this.#pure({ kind: "descriptor", dst, buffer, index, leading, stride, swizzle }, undefined);
  }

  // Control.

  /** The bodies of a block's roles, with how many threads each has. */
  roles(
    roles: readonly { readonly name: string; readonly threads: number; readonly body: () => void }[],
  ): void {
    invariant(
      roles.reduce((sum, role) => sum + role.threads, 0) === this.threads,
      "the roles have all of the block's threads",
    );
    this.#push({
      kind: "roles",
      roles: roles.map(({ name, threads, body }) => ({ name, threads, body: this.#nested(body) })),
    });
  }

  /** A loop of one trip is its body, one of none is nothing. */
  for(
    from: Value,
    to: Value,
    step: number,
    hint: string,
    body: (index: Value) => void,
    unroll: "unroll" | "roll" = "roll",
  ): void {
    const first = this.#constants.get(from);
    const last = this.#constants.get(to);
    if (typeof first === "number" && typeof last === "number") {
      if (first >= last) return;
      if (first + step >= last) {
        body(from);
        return;
      }
    }
    const index = this.#value(from.type, hint);
    const low = this.rangeOf(from);
    const high = this.rangeOf(to);
    if (low !== undefined && high !== undefined)
      this.#ranges.set(index, { low: low.low, high: Math.max(low.low, high.high - 1) });
    this.#push({
      kind: "for",
      index,
      from,
      to,
      step,
      unroll: unroll === "unroll",
      body: this.#nested(() => body(index)),
    });
  }

  if(condition: Value, then: () => void, otherwise: () => void = () => undefined): void {
    const decided = this.#constants.get(condition);
    if (decided !== undefined) {
      if (decided === true) then();
      else otherwise();
      return;
    }
    const op: Op<"if"> = { kind: "if", condition, then: this.#nested(then), else: this.#nested(otherwise) };
    if (op.then.length > 0 || op.else.length > 0) this.#push(op);
  }

  // For the reader.

  line(file: number, line: number, column: number): void {
    this.#push({ kind: "line", file, line, column });
  }

  comment(text: string): void {
    this.#push({ kind: "comment", text });
  }

  /** A finished op, for rewrites; its values must come from this builder. */
  push(op: Op): void {
    this.#push(op);
  }

  #value(type: ValueType, hint: string): Value {
    const value: Value = { id: this.#values, type, hint };
    this.#values += 1;
    return value;
  }

  #top(): Scope {
    const scope = this.#scopes.at(-1);
    invariant(scope !== undefined, "a builder without a scope");
    return scope;
  }

  #push(op: Op): void {
    this.#top().ops.push(op);
  }

  #nested(body: () => void): readonly Op[] {
    const scope: Scope = { ops: [], known: [] };
    this.#scopes.push(scope);
    body();
    this.#scopes.pop();
    for (const key of scope.known) this.#known.delete(key);
    return scope.ops;
  }

  /** What `make` computes, or what an open scope has under the key: callers that would compute the same again. */
  once(key: string, make: () => Value): Value {
    const known = this.#known.get(`once ${key}`);
    if (known !== undefined) return known;
    const value = make();
    this.#remember(`once ${key}`, value);
    return value;
  }

  #remember(key: string, value: Value): void {
    this.#known.set(key, value);
    this.#top().known.push(key);
  }

  /** Appends the op unless an enclosing scope has computed it. */
  #pure(op: PureOp, range: Range | undefined): Value {
    const key = pureKey(op);
    const known = this.#known.get(key);
    if (known !== undefined) {
      this.#values -= 1;
      return known;
    }
    this.#push(op);
    this.#remember(key, op.dst);
    this.#definitions.set(op.dst, op);
    if (range !== undefined) this.#ranges.set(op.dst, range);
    return op.dst;
  }
}

type PureOp = Op<
  | "size"
  | "thread"
  | "lane"
  | "subgroup"
  | "block"
  | "unary"
  | "binary"
  | "fma"
  | "select"
  | "convert"
  | "bitcast"
  | "pack"
  | "descriptor"
>;

function constantKey(type: ValueType, value: ScalarValue): string {
  return `const ${type} ${Object.is(value, -0) ? "-0" : String(value)}`;
}

/** Equal for equal computations; the type of the result tells apart what the operands do not. */
function pureKey(op: PureOp): string {
  const type = op.dst.type;
  switch (op.kind) {
    case "size":
      return `size ${type} ${op.param}`;
    case "thread":
    case "lane":
    case "subgroup":
      return op.kind;
    case "block":
      return `block ${op.axis}`;
    case "unary":
      return `${op.fn} ${type} ${op.a.id}`;
    case "binary":
      return `${op.fn} ${type} ${op.a.id} ${op.b.id}`;
    case "fma":
      return `fma ${op.a.id} ${op.b.id} ${op.c.id}`;
    case "select":
      return `select ${op.condition.id} ${op.a.id} ${op.b.id}`;
    case "convert":
      return `convert ${type} ${op.storage ?? ""} ${op.a.id}`;
    case "bitcast":
      return `bitcast ${type} ${op.a.id}`;
    case "descriptor":
      return `descriptor ${op.buffer.id} ${op.index.id} ${op.leading} ${op.stride} ${op.swizzle}`;
    case "pack":
      return `pack ${op.parts.map((part) => part.id).join(" ")}`;
  }
}

function mapKey(map: Omit<TensorMap, "id">): string {
  return `${map.buffer.id} [${map.dims.map(dimKey).join(", ")}] [${map.box.join(", ")}] ${map.swizzle}`;
}
