/**
 * Holds a kernel to the rules of `ir.ts`; returns what it finds, in order, as `op: what`:
 *
 * - types: each op's operands and results agree; a convert or bitcast is one of those that exist
 * - order and scope: a value or register is defined before it is used, in the body or one around it, and once
 * - memory: a buffer belongs to the kernel; indices are i32 or i64; access is as declared; a wide access has 1, 2,
 *   4, 8 or 16 elements and at most 16 bytes; atomics are on u32 and i32; a shared buffer's length is constant
 * - control: a loop's step is positive; barriers and shuffles stand where all threads arrive (`uniform.ts`)
 * - roles: at the top only, with all threads of the block among them, in warpgroups; within them barriers of groups
 *   that divide the role; a group's threads are whole warps, and hardware barriers are 1 to 15
 * - maps: what a tensor map can say (PTX ISA 5.5); rows of a box are as long as the swizzle
 * - instructions: the record exists, and operands, results and in-place registers are what it says; matrix products
 *   under way have their registers to themselves (`in-flight.ts`)
 */
import { dtypes, isFloat } from "../types/dtype.ts";
import { elementType } from "./builder.ts";
import { instructionOf, isInstruction } from "./instructions.ts";
import type {
  BinaryFn,
  Buffer,
  Kernel,
  Kind,
  MatrixPlace,
  Op,
  Operand,
  Register,
  UnaryFn,
  Value,
  ValueType,
} from "./ir.ts";
import { findInFlight } from "./in-flight.ts";
import { normalizeScalar } from "./scalar.ts";
import { findDivergence } from "./uniform.ts";
import { verifyBarrier, verifyRoles } from "./verify/groups.ts";
import { verifyDescriptor, verifyMap } from "./verify/maps.ts";
import { isAddress, isMap, isMatrix, isRegister, partsOf } from "./walk.ts";

export interface Violation {
  readonly op: Op | undefined;
  readonly message: string;
}

export function verifyKernel(kernel: Kernel): readonly Violation[] {
  const cx = new Verifier(kernel);
  cx.head();
  cx.body(kernel.body);
  // Uniformity asks what values are made of, which only a kernel that is otherwise right can answer.
  return cx.found.length > 0 ? cx.found : [...findDivergence(kernel), ...findInFlight(kernel)];
}

export class Verifier {
  readonly kernel: Kernel;
  readonly found: Violation[] = [];
  readonly #buffers: ReadonlySet<Buffer>;
  readonly #defined = new Set<Value | Register>();
  /** Defined once, wherever. */
  readonly #ever = new Set<Value | Register>();
  #op: Op | undefined;
  /** Threads from `first` of the role that ops stand in. */
  #role: { readonly first: number; readonly threads: number } | undefined;
  #depth = 0;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.#buffers = new Set(kernel.buffers);
  }

  fail(message: string): void {
    this.found.push({ op: this.#op, message: `${this.#op?.kind ?? this.kernel.name}: ${message}` });
  }

  check(condition: boolean, message: string): void {
    if (!condition) this.fail(message);
  }

  head(): void {
    const { kernel } = this;
    this.check(Number.isInteger(kernel.threads) && kernel.threads > 0, `${kernel.threads} threads`);
    const [columns] = kernel.grid;
    this.check(
      kernel.cluster === undefined || columns.kind !== "const" || columns.value % kernel.cluster === 0,
      `${kernel.cluster} blocks of a cluster do not divide the grid`,
    );
    this.check(
      kernel.resident === undefined || (Number.isInteger(kernel.resident) && kernel.resident > 0),
      `${kernel.resident} blocks that shall fit at once`,
    );
    this.check(
      new Set(kernel.sizes.map((size) => size.name)).size === kernel.sizes.length,
      "two sizes have one name",
    );
    for (const buffer of kernel.buffers) {
      this.check(
        buffer.space === "global" || buffer.length.kind === "const",
        `shared ${buffer.name} has no constant length`,
      );
      this.check(
        buffer.align % dtypes[buffer.dtype].bytes === 0,
        `${buffer.name} is aligned to ${buffer.align}, less than an element`,
      );
    }
    for (const map of kernel.maps) verifyMap(map, this);
  }

  body(ops: readonly Op[]): void {
    const own: (Value | Register)[] = [];
    for (const op of ops) {
      this.#op = op;
      const parts = partsOf(op);
      for (const value of parts.operands)
        this.check(this.#defined.has(value), `%${value.id} (${value.hint}) is not defined here`);
      for (const buffer of parts.buffers)
        this.check(this.#buffers.has(buffer), `buffer ${buffer.name} is not the kernel's`);
      if (op.kind !== "var")
        for (const register of parts.registers)
          this.check(this.#defined.has(register), `register ${register.hint} is not declared here`);
      this.#row(op);
      const inner = op.kind === "for" ? [op.index] : [];
      for (const value of inner) this.#define(value);
      this.#bodies(op, parts.bodies);
      for (const value of inner) this.#defined.delete(value);
      this.#op = op;
      const results = op.kind === "var" ? [op.register] : parts.results.filter((dst) => !isRegister(dst));
      for (const dst of results) {
        this.#define(dst);
        own.push(dst);
      }
    }
    for (const dst of own) this.#defined.delete(dst);
  }

  #bodies(op: Op, bodies: readonly (readonly Op[])[]): void {
    this.#depth += 1;
    let first = 0;
    bodies.forEach((body, k) => {
      const role = op.kind === "roles" ? op.roles[k] : undefined;
      if (role !== undefined) this.#role = { first, threads: role.threads };
      this.body(body);
      if (role === undefined) return;
      first += role.threads;
      this.#role = undefined;
    });
    this.#depth -= 1;
  }

  /** Threads that a barrier here may split into groups. */
  get crew(): { readonly first: number; readonly threads: number } {
    return this.#role ?? { first: 0, threads: this.kernel.threads };
  }

  get isAtTop(): boolean {
    return this.#depth === 0;
  }

  hasBuffer(buffer: Buffer): boolean {
    return this.#buffers.has(buffer);
  }

  #define(dst: Value | Register): void {
    this.check(!this.#ever.has(dst), `%${dst.id} (${dst.hint}) is defined twice`);
    this.#ever.add(dst);
    this.#defined.add(dst);
  }

  #row<K extends Kind>(op: Op<K>): void {
    table[op.kind](op, this);
  }

  same(types: readonly ValueType[], what: string): void {
    this.check(new Set(types).size <= 1, `${what} have types ${types.join(", ")}`);
  }

  is(value: Value, type: ValueType, what: string): void {
    this.check(value.type === type, `${what} is ${value.type}, not ${type}`);
  }

  guard(guard: Value | undefined): void {
    if (guard !== undefined) this.is(guard, "bool", "the guard");
  }
}

type VerifyTable = { readonly [K in Kind]: (op: Op<K>, cx: Verifier) => void };

const integers: ReadonlySet<ValueType> = new Set<ValueType>(["i32", "u32", "i64"]);
const carried: ReadonlySet<ValueType> = new Set<ValueType>(["f16", "bf16", "b8", "h2", "b8x4"]);
const widths: ReadonlySet<number> = new Set([1, 2, 4, 8, 16]);

const table: VerifyTable = {
  const: (op, cx) =>
    cx.check(
      Object.is(normalizeScalar(op.dst.type, op.value), op.value),
      `${String(op.value)} is no ${op.dst.type}`,
    ),
  size: (op, cx) => {
    cx.check(op.dst.type === "i32" || op.dst.type === "i64", `a size as ${op.dst.type}`);
    cx.check(cx.kernel.sizes[op.param] !== undefined, `there is no size ${op.param}`);
  },
  thread: (op, cx) => cx.is(op.dst, "i32", "the thread"),
  lane: (op, cx) => cx.is(op.dst, "i32", "the lane"),
  subgroup: (op, cx) => cx.is(op.dst, "i32", "the subgroup"),
  block: (op, cx) => cx.is(op.dst, "i32", "the block"),
  unary: verifyUnary,
  binary: verifyBinary,
  fma: (op, cx) => {
    cx.same([op.dst.type, op.a.type, op.b.type, op.c.type], "result and operands");
    cx.check(op.dst.type === "f32" || integers.has(op.dst.type), `fma of ${op.dst.type}`);
  },
  select: (op, cx) => {
    cx.is(op.condition, "bool", "the condition");
    cx.same([op.dst.type, op.a.type, op.b.type], "result and operands");
  },
  convert: verifyConvert,
  bitcast: (op, cx) => {
    const pair = [op.a.type, op.dst.type];
    cx.check(
      pair.every((type) => type !== "bool" && type !== "i64"),
      `bitcast from ${op.a.type} to ${op.dst.type}`,
    );
    cx.check(
      !pair.every((type) => carried.has(type)) || pair[0] === pair[1],
      `bitcast from ${op.a.type} to ${op.dst.type}`,
    );
    cx.check(
      !pair.some((type) => carried.has(type)) || pair.includes("u32") || pair[0] === pair[1],
      `bitcast of ${op.a.type} to ${op.dst.type} goes by u32`,
    );
  },
  pack: (op, cx) => {
    cx.same(
      op.parts.map((part) => part.type),
      "the parts",
    );
    verifyPacked(op.dst, op.parts, cx);
  },
  unpack: (op, cx) => verifyPacked(op.a, op.dst, cx),
  var: (op, cx) => {
    if (op.init !== undefined) cx.is(op.init, op.register.type, "the first value");
  },
  get: (op, cx) => cx.is(op.dst, op.register.type, "the result"),
  set: (op, cx) => cx.is(op.value, op.register.type, "the value"),
  load: (op, cx) => {
    verifyAccess(op.buffer, op.index, op.dst.length, cx);
    cx.guard(op.guard);
    cx.check(op.buffer.access !== "write", `${op.buffer.name} is only written`);
    for (const dst of op.dst) cx.is(dst, elementType(op.buffer.dtype), "the element");
    if (op.otherwise !== undefined) {
      cx.is(op.otherwise, elementType(op.buffer.dtype), "the value where nothing is read");
      cx.check(op.guard !== undefined, "a value where nothing is read, and no guard");
    }
  },
  store: (op, cx) => {
    verifyAccess(op.buffer, op.index, op.values.length, cx);
    cx.guard(op.guard);
    cx.check(op.buffer.access !== "read", `${op.buffer.name} is only read`);
    for (const value of op.values) cx.is(value, elementType(op.buffer.dtype), "the element");
  },
  atomic: (op, cx) => {
    verifyAccess(op.buffer, op.index, 1, cx);
    cx.guard(op.guard);
    cx.check(op.buffer.access === "read-write", `${op.buffer.name} is not read and written`);
    cx.check(op.buffer.dtype === "u32" || op.buffer.dtype === "i32", `an atomic on ${op.buffer.dtype}`);
    cx.is(op.value, elementType(op.buffer.dtype), "the value");
  },
  barrier: verifyBarrier,
  "shuffle-xor": (op, cx) => {
    cx.same([op.dst.type, op.value.type], "result and operand");
    cx.check(op.value.type !== "bool", "a shuffle of bool");
    cx.check(Number.isInteger(op.mask) && op.mask > 0, `mask ${op.mask}`);
  },
  "shuffle-index": (op, cx) => {
    cx.same([op.dst.type, op.value.type], "result and operand");
    cx.check(op.value.type !== "bool", "a shuffle of bool");
    cx.is(op.lane, "i32", "the lane");
  },
  instruction: verifyInstruction,
  descriptor: verifyDescriptor,
  roles: verifyRoles,
  for: (op, cx) => {
    cx.same([op.index.type, op.from.type, op.to.type], "index and bounds");
    cx.check(integers.has(op.index.type), `a loop over ${op.index.type}`);
    cx.check(Number.isInteger(op.step) && op.step > 0, `step ${op.step}`);
  },
  if: (op, cx) => cx.is(op.condition, "bool", "the condition"),
  line: (op, cx) => cx.check(cx.kernel.files[op.file] !== undefined, `there is no file ${op.file}`),
  comment: () => undefined,
};

const anyNumber: ReadonlySet<UnaryFn> = new Set<UnaryFn>(["neg", "abs"]);

function verifyUnary(op: Op<"unary">, cx: Verifier): void {
  const { fn, a, dst } = op;
  cx.same([dst.type, a.type], "result and operand");
  const isInteger = integers.has(a.type);
  const isGood =
    fn === "not"
      ? isInteger || a.type === "bool"
      : fn === "popcount" || fn === "clz"
        ? a.type === "u32"
        : anyNumber.has(fn)
          ? isInteger || a.type === "f32"
          : a.type === "f32";
  cx.check(isGood, `${fn} of ${a.type}`);
}

const comparisons: ReadonlySet<BinaryFn> = new Set<BinaryFn>(["eq", "ne", "lt", "le", "gt", "ge"]);
const bitwise: ReadonlySet<BinaryFn> = new Set<BinaryFn>(["and", "or", "xor"]);

function verifyBinary(op: Op<"binary">, cx: Verifier): void {
  const { fn, a, b, dst } = op;
  const isShift = fn === "shl" || fn === "shr";
  if (isShift) cx.is(b, "u32", "the shift count");
  else cx.same([a.type, b.type], "the operands");
  if (comparisons.has(fn)) cx.is(dst, "bool", "a comparison");
  else cx.same([dst.type, a.type], "result and operand");
  const isInteger = integers.has(a.type);
  const isGood = bitwise.has(fn)
    ? isInteger || a.type === "bool"
    : isShift
      ? isInteger
      : fn === "eq" || fn === "ne"
        ? isInteger || a.type === "f32" || a.type === "bool"
        : isInteger || a.type === "f32";
  cx.check(isGood, `${fn} of ${a.type}`);
}

/** Halves go by f32; bytes by their storage; everything else among bool, i32, u32, i64 and f32. */
function verifyConvert(op: Op<"convert">, cx: Verifier): void {
  const pair: readonly ValueType[] = [op.a.type, op.dst.type];
  const hasByte = pair.includes("b8");
  cx.check(
    hasByte === (op.storage !== undefined),
    hasByte ? "a byte's format is missing" : `no side is a ${op.storage ?? ""}`,
  );
  cx.check(!pair.includes("h2") && !pair.includes("b8x4"), `convert from ${op.a.type} to ${op.dst.type}`);
  cx.check(op.a.type !== op.dst.type, `convert from ${op.a.type} to itself`);
  if (op.storage !== undefined) cx.check(elementType(op.storage) === "b8", `${op.storage} is no byte`);
  const isFloatCode =
    pair.includes("f16") || pair.includes("bf16") || (op.storage !== undefined && isFloat(op.storage));
  cx.check(!isFloatCode || pair.includes("f32"), `convert from ${op.a.type} to ${op.dst.type} goes by f32`);
}

function verifyPacked(whole: Value, parts: readonly Value[], cx: Verifier): void {
  const [first] = parts;
  const isHalves =
    parts.length === 2 && (first?.type === "f16" || first?.type === "bf16") && whole.type === "h2";
  const isBytes = parts.length === 4 && first?.type === "b8" && whole.type === "b8x4";
  cx.check(isHalves || isBytes, `${parts.length} parts of ${first?.type ?? "nothing"} and a ${whole.type}`);
}

function verifyAccess(buffer: Buffer, index: Value, count: number, cx: Verifier): void {
  cx.check(index.type === "i32" || index.type === "i64", `an index of type ${index.type}`);
  const bytes = count * dtypes[buffer.dtype].bytes;
  if (!widths.has(count) || bytes > 16) cx.fail(`${count} elements of ${buffer.dtype} at once`);
  else
    cx.check(
      buffer.align % bytes === 0,
      `${count} elements at once of ${buffer.name}, which is aligned to ${buffer.align} bytes`,
    );
}

function verifyInstruction(op: Op<"instruction">, cx: Verifier): void {
  if (!isInstruction(op.name)) return cx.fail(`there is no instruction ${op.name}`);
  const record = instructionOf(op.name);
  cx.check(
    op.operands.length === record.operands.length,
    `${op.name} takes ${record.operands.length} operands, not ${op.operands.length}`,
  );
  cx.check(
    op.dst.length === record.results.length,
    `${op.name} gives ${record.results.length} results, not ${op.dst.length}`,
  );
  op.operands.forEach((operand, k) =>
    cx.check(
      operandType(operand) === record.operands[k],
      `operand ${k} of ${op.name} is ${operandType(operand)}`,
    ),
  );
  const wrong = record.check?.(op.operands);
  if (wrong !== undefined) cx.fail(`${op.name}: ${wrong}`);
  for (const operand of op.operands.filter(isMap))
    cx.check(cx.kernel.maps.includes(operand.map), `map ${operand.map.name} is not the kernel's`);
  for (const place of op.operands.filter(isMatrix)) verifyMatrix(place, cx);
  op.dst.forEach((dst, k) => {
    cx.check(dst.type === record.results[k], `result ${k} of ${op.name} is ${dst.type}`);
    cx.check(
      isRegister(dst) === (record.destinations === "in-place"),
      `result ${k} of ${op.name} is ${isRegister(dst) ? "a register" : "a value"}`,
    );
  });
}

function verifyMatrix({ matrix, panel }: MatrixPlace, cx: Verifier): void {
  cx.check(panel.type === "i32", `a panel's number of type ${panel.type}`);
  cx.check(matrix.panel !== undefined, `${matrix.name} is not made of panels`);
}

function operandType(operand: Operand): string {
  if (isMap(operand)) return "map";
  if (isMatrix(operand)) return "matrix";
  return isAddress(operand) ? operand.buffer.space : operand.type;
}
