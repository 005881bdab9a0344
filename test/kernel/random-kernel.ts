/**
 * Random kernels, valid by construction, on which every target must agree with the interpreter to the last bit:
 * arithmetic on all types, every conversion, loops, branches, shared memory with barriers, sub-word loads and
 * stores. Floats stay small, and functions that targets may approximate are left out.
 */
import { KernelBuilder, elementType } from "../../compiler/kernel/builder.ts";
import type { BinaryFn, Buffer, Kernel, Register, Value, ValueType } from "../../compiler/kernel/ir.ts";
import { constant } from "../../compiler/types/dim.ts";
import { dtypes, isDType, type DType } from "../../compiler/types/dtype.ts";

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** 32 bits (xorshift). */
  bits(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }

  below(n: number): number {
    return (this.bits() >>> 3) % n;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

export interface RandomKernel {
  readonly kernel: Kernel;
  readonly buffers: readonly Uint8Array[];
  readonly sizes: readonly number[];
  readonly grid: readonly [number, number, number];
}

export interface RandomShape {
  /** Threads of a block to choose from. */
  readonly threads: readonly number[];
  readonly dtypes: readonly DType[];
}

/** Elements of every input, a power of two. */
const inputLength = 16;

type Scalar = "bool" | "i32" | "u32" | "i64" | "f32";
const scalars: readonly Scalar[] = ["bool", "i32", "u32", "i64", "f32"];

export function randomKernel(seed: number, shape: RandomShape): RandomKernel {
  return new Generator(new Random(seed * 2654435761), shape).make();
}

class Generator {
  readonly #random: Random;
  readonly #b: KernelBuilder;
  readonly #inputs: readonly Buffer[];
  readonly #outputs: readonly Buffer[];
  readonly #blocks: number;
  readonly #perThread: number;
  #pools: Readonly<Record<Scalar, Value[]>>;
  readonly #scalars: readonly Scalar[];

  constructor(random: Random, shape: RandomShape) {
    this.#random = random;
    this.#b = new KernelBuilder(random.pick(shape.threads));
    this.#blocks = 1 + random.below(3);
    this.#perThread = random.pick([1, 2, 3]);
    const input = (dtype: DType): Buffer =>
      this.#b.buffer({
        name: `in_${dtype}`,
        dtype,
        length: constant(inputLength),
        access: "read",
        align: 16,
      });
    this.#scalars = shape.dtypes.includes("i64") ? scalars : scalars.filter((type) => type !== "i64");
    this.#inputs = pickSome(random, shape.dtypes, 3).map(input);
    const length = this.#b.threads * this.#blocks * this.#perThread;
    const output = (dtype: DType): Buffer =>
      this.#b.buffer({
        name: `out_${dtype}`,
        dtype,
        length: constant(length),
        access: "read-write",
        align: 16,
      });
    this.#outputs = pickSome(random, shape.dtypes, 3).map(output);
    this.#pools = { bool: [], i32: [], u32: [], i64: [], f32: [] };
  }

  make(): RandomKernel {
    const b = this.#b;
    const random = this.#random;
    const sizes = [1 + random.below(9), 1 + random.below(100)];
    const thread = b.add(b.mul(b.block(0), b.i32(b.threads)), b.thread(), "place");
    this.#pools.i32.push(
      thread,
      b.size("n", { kind: "symbol", name: "N" }),
      b.size("m", { kind: "symbol", name: "M" }),
      b.i32(random.bits() | 0),
    );
    this.#pools.u32.push(b.u32(random.bits()), b.convert(thread, "u32"));
    this.#pools.f32.push(b.f32((random.below(1024) - 512) / 8), b.convert(thread, "f32"));
    this.#pools.bool.push(b.lt(thread, b.i32(2)));
    if (this.#scalars.includes("i64"))
      this.#pools.i64.push(
        b.constant("i64", (BigInt(random.bits()) << 32n) | BigInt(random.bits())),
        b.convert(thread, "i64"),
      );
    this.#statements(4 + random.below(10), 2, "uniform");
    for (const buffer of this.#outputs) this.#storeOwn(buffer, thread);
    const kernel = b.finish({
      name: "random",
      grid: [constant(this.#blocks), constant(1), constant(1)],
      summary: "A random kernel.",
      files: [],
    });
    return {
      kernel,
      sizes: sizes.slice(0, kernel.sizes.length),
      grid: [this.#blocks, 1, 1],
      buffers: kernel.buffers
        .filter((buffer) => buffer.space === "global")
        .map((buffer) => this.#contents(buffer)),
    };
  }

  #contents(buffer: Buffer): Uint8Array {
    const random = this.#random;
    const length = buffer.length.kind === "const" ? buffer.length.value : 0;
    const bytes = new Uint8Array(length * dtypes[buffer.dtype].bytes);
    if (buffer.name.startsWith("out")) return bytes;
    const view = new DataView(bytes.buffer);
    for (let k = 0; k < length; k += 1) writeRandom(view, k, buffer.dtype, random);
    return bytes;
  }

  /** A value of the type that was computed before. */
  #any(type: Scalar): Value {
    return this.#random.pick(this.#pools[type]);
  }

  #keep(value: Value): void {
    if (isScalar(value.type)) this.#pools[value.type].push(value);
  }

  #statements(count: number, depth: number, flow: "uniform" | "parted"): void {
    for (let k = 0; k < count; k += 1) this.#statement(depth, flow);
  }

  #statement(depth: number, flow: "uniform" | "parted"): void {
    const choice = this.#random.below(100);
    if (choice < 55) this.#keep(this.#compute());
    else if (choice < 75) this.#keep(this.#read());
    else if (depth > 0 && choice < 83) this.#branch(depth);
    else if (depth > 0 && choice < 91) this.#loop(depth);
    else if (flow === "uniform") this.#exchange();
  }

  /** What a body defines is gone behind it; what it sets stays. */
  #scoped(body: () => void): void {
    const pools = this.#pools;
    this.#pools = {
      bool: [...pools.bool],
      i32: [...pools.i32],
      u32: [...pools.u32],
      i64: [...pools.i64],
      f32: [...pools.f32],
    };
    body();
    this.#pools = pools;
  }

  #register(): Register {
    const type = this.#random.pick(this.#scalars);
    return this.#b.var(this.#any(type), `r_${type}`);
  }

  #update(register: Register): void {
    if (!isScalar(register.type)) return;
    this.#b.set(register, this.#any(register.type));
  }

  #branch(depth: number): void {
    const register = this.#register();
    const side = (): void =>
      this.#scoped(() => {
        this.#keep(this.#b.get(register));
        this.#statements(1 + this.#random.below(4), depth - 1, "parted");
        this.#update(register);
      });
    this.#b.if(this.#any("bool"), side, this.#random.chance(60) ? side : () => undefined);
    this.#keep(this.#b.get(register));
  }

  #loop(depth: number): void {
    const b = this.#b;
    const register = this.#register();
    const from = b.i32(this.#random.below(3));
    const isUneven = this.#random.chance(50);
    const to = isUneven ? b.and(this.#any("i32"), b.i32(7)) : b.i32(this.#random.below(7));
    b.for(from, to, 1 + this.#random.below(3), "i", (index) => {
      this.#scoped(() => {
        this.#keep(index);
        this.#keep(b.get(register));
        this.#statements(1 + this.#random.below(4), depth - 1, "parted");
        this.#update(register);
      });
    });
    this.#keep(b.get(register));
  }

  /** Through shared memory: each thread writes its place, and reads another's after a barrier. */
  #exchange(): void {
    const b = this.#b;
    const dtype = this.#random.pick<DType>([
      "f32",
      "i32",
      "u32",
      "bf16",
      "i8",
      ...(this.#scalars.includes("i64") ? (["i64"] as const) : []),
    ]);
    const shared = b.shared({ name: `tile_${dtype}`, dtype, length: b.threads });
    b.store(shared, b.thread(), [this.#toElement(dtype)]);
    b.barrier();
    const other = b.rem(b.and(this.#any("i32"), b.i32(0xffff)), b.i32(b.threads));
    this.#keep(this.#fromElement(b.load(shared, other), dtype));
    b.barrier();
  }

  #read(): Value {
    const b = this.#b;
    const buffer = this.#random.pick(this.#inputs);
    const width = Math.min(this.#random.pick([1, 1, 2, 4]), 16 / dtypes[buffer.dtype].bytes);
    const index = b.and(this.#any("i32"), b.i32(inputLength - width));
    const isGuarded = this.#random.chance(40);
    const guard = isGuarded ? this.#any("bool") : undefined;
    // Where nothing is read any index may stand.
    const place =
      isGuarded && this.#random.chance(50) ? b.select(guard ?? b.bool(true), index, b.i32(-1)) : index;
    const element = elementType(buffer.dtype);
    const otherwise =
      isGuarded && isScalar(element) && this.#random.chance(50) ? this.#any(element) : undefined;
    const values = b.loadWide(buffer, place, { count: width, guard, otherwise });
    return this.#fromElement(this.#random.pick(values), buffer.dtype);
  }

  #fromElement(value: Value, dtype: DType): Value {
    if (isScalar(value.type)) return value;
    return this.#b.convert(value, "f32", value.type === "b8" ? dtype : undefined);
  }

  #toElement(dtype: DType): Value {
    const type = elementType(dtype);
    if (isScalar(type)) return this.#any(type);
    const source =
      dtype === "i8" || dtype === "u8"
        ? this.#any(this.#random.pick(["i32", "u32", "f32"]))
        : this.#any("f32");
    return this.#b.convert(source, type, type === "b8" ? dtype : undefined);
  }

  #storeOwn(buffer: Buffer, thread: Value): void {
    const b = this.#b;
    const first = b.mul(thread, b.i32(this.#perThread));
    if (this.#perThread === 2 && this.#random.chance(50)) {
      b.store(buffer, first, [this.#toElement(buffer.dtype), this.#toElement(buffer.dtype)]);
      return;
    }
    for (let k = 0; k < this.#perThread; k += 1) {
      const guard = this.#random.chance(25) ? this.#any("bool") : undefined;
      b.store(buffer, b.add(first, b.i32(k)), [this.#toElement(buffer.dtype)], guard);
    }
  }

  #compute(): Value {
    const b = this.#b;
    const type = this.#random.pick(this.#scalars);
    const kind = this.#random.below(10);
    if (kind < 2) return b.select(this.#any("bool"), this.#any(type), this.#any(type));
    if (kind < 4) return this.#convert(type);
    if (kind < 5 && type !== "bool")
      return b.binary(
        this.#random.pick<BinaryFn>(["eq", "ne", "lt", "le", "gt", "ge"]),
        this.#any(type),
        this.#any(type),
      );
    switch (type) {
      case "f32":
        return this.#float();
      case "bool":
        return this.#random.chance(20)
          ? b.unary("not", this.#any("bool"))
          : b.binary(this.#random.pick<BinaryFn>(["and", "or", "xor"]), this.#any("bool"), this.#any("bool"));
      default:
        return this.#integer(type);
    }
  }

  #convert(to: Scalar): Value {
    const b = this.#b;
    const from = this.#random.pick(this.#scalars);
    const value = this.#any(from);
    if (to !== "f32") return b.convert(value, to);
    const small = this.#limited(b.convert(value, "f32"));
    // There and back through a narrow float rounds.
    const name = this.#random.pick<DType | "none">(["f16", "bf16", "e4m3", "e5m2", "none"]);
    if (!isDType(name)) return small;
    const type = elementType(name);
    const storage = type === "b8" ? name : undefined;
    return b.convert(b.convert(small, type, storage), "f32", storage);
  }

  #limited(value: Value): Value {
    const b = this.#b;
    return b.binary("min", b.binary("max", value, b.f32(-5000)), b.f32(5000));
  }

  #float(): Value {
    const b = this.#b;
    const fn = this.#random.pick([
      "add",
      "sub",
      "mul",
      "min",
      "max",
      "neg",
      "abs",
      "floor",
      "ceil",
      "trunc",
      "round-even",
    ] as const);
    switch (fn) {
      case "add":
      case "sub":
      case "mul":
      case "min":
      case "max":
        return this.#limited(b.binary(fn, this.#any("f32"), this.#any("f32")));
      default:
        return b.unary(fn, this.#any("f32"));
    }
  }

  #integer(type: "i32" | "u32" | "i64"): Value {
    const b = this.#b;
    const bits = type === "i64" ? 63 : 31;
    const fn = this.#random.pick([
      "add",
      "sub",
      "mul",
      "div",
      "rem",
      "min",
      "max",
      "and",
      "or",
      "xor",
      "shl",
      "shr",
      "neg",
      "not",
      "abs",
      "popcount",
      "clz",
    ] as const);
    const a = this.#any(type);
    switch (fn) {
      case "shl":
      case "shr":
        return b.binary(fn, a, b.and(this.#any("u32"), b.u32(bits)));
      case "div":
      case "rem":
        return b.binary(fn, a, b.binary("or", this.#any(type), b.constant(type, 1)));
      case "popcount":
      case "clz":
        return b.unary(fn, this.#any("u32"));
      case "neg":
      case "not":
      case "abs":
        return b.unary(fn, a);
      default:
        return b.binary(fn, a, this.#any(type));
    }
  }
}

function isScalar(type: ValueType): type is Scalar {
  return type === "bool" || type === "i32" || type === "u32" || type === "i64" || type === "f32";
}

function pickSome(random: Random, all: readonly DType[], count: number): DType[] {
  const left = [...all];
  const chosen: DType[] = [];
  while (chosen.length < count && left.length > 0) chosen.push(...left.splice(random.below(left.length), 1));
  return chosen;
}

/** Any bits for integers; of floats those that are finite and of moderate size. */
function writeRandom(view: DataView, index: number, dtype: DType, random: Random): void {
  switch (dtype) {
    case "f32":
      return view.setFloat32(4 * index, (random.below(2048) - 1024) / 8, true);
    case "i32":
    case "u32":
      return view.setUint32(4 * index, random.chance(50) ? random.bits() : random.below(20), true);
    case "i64":
      return view.setBigInt64(
        8 * index,
        random.chance(50)
          ? (BigInt(random.bits()) << 32n) | BigInt(random.bits())
          : BigInt(random.below(100) - 50),
        true,
      );
    case "f16":
      return view.setUint16(
        2 * index,
        (random.below(2) << 15) | (random.below(25) << 10) | random.below(1024),
        true,
      );
    case "bf16":
      return view.setUint16(
        2 * index,
        (random.below(2) << 15) | ((110 + random.below(25)) << 7) | random.below(128),
        true,
      );
    case "e4m3":
      return view.setUint8(index, (random.below(2) << 7) | random.below(127));
    case "e5m2":
      return view.setUint8(index, (random.below(2) << 7) | random.below(112));
    case "i8":
    case "u8":
      return view.setUint8(index, random.below(256));
    case "bool":
      return view.setUint8(index, random.below(2));
  }
}
