/** Reads what `print.ts` writes. `printKernel(parseKernel(text)) === text` for text that it wrote. */
import { invariant } from "../diagnostics/diagnostic.ts";
import { TextReader } from "../text.ts";
import { parseSize } from "../types/dim-text.ts";
import type { Dim } from "../types/dim.ts";
import { isDType, type DType } from "../types/dtype.ts";
import type {
  BinaryFn,
  Buffer,
  Kernel,
  KernelRole,
  Op,
  Operand,
  Register,
  SizeParam,
  Swizzle,
  TensorMap,
  UnaryFn,
  Value,
  ValueType,
} from "./ir.ts";
import { normalizeScalar, unaryFns, type ScalarValue } from "./scalar.ts";

/** Throws an `InternalError` with line and column where the text is no kernel. */
export function parseKernel(text: string): Kernel {
  const reader = new TextReader(text);
  const kernel = new KernelReader(reader).kernel();
  if (reader.token.kind !== "end") reader.fail("expected the end");
  return kernel;
}

/** Reads a kernel that other text may follow. */
export function readKernel(reader: TextReader): Kernel {
  return new KernelReader(reader).kernel();
}

const binaryFns: ReadonlySet<string> = new Set<BinaryFn>([
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
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
]);
const unary: ReadonlySet<string> = new Set(unaryFns);
const valueTypes: ReadonlySet<string> = new Set<ValueType>([
  "bool",
  "i32",
  "u32",
  "i64",
  "f32",
  "f16",
  "bf16",
  "b8",
  "h2",
  "b8x4",
  "matrix-left",
  "matrix-right",
  "matrix-result",
]);
const atomicFns: ReadonlySet<string> = new Set<Op<"atomic">["fn"]>(["add", "and", "or", "min", "max"]);

function isBinaryFn(word: string): word is BinaryFn {
  return binaryFns.has(word);
}

function isUnaryFn(word: string): word is UnaryFn {
  return unary.has(word);
}

function isValueType(word: string): word is ValueType {
  return valueTypes.has(word);
}

function isAtomicFn(word: string): word is Op<"atomic">["fn"] {
  return atomicFns.has(word);
}

class KernelReader {
  readonly #r: TextReader;
  readonly #values = new Map<string, Value>();
  readonly #registers = new Map<string, Register>();
  readonly #buffers = new Map<string, Buffer>();
  readonly #maps = new Map<string, TensorMap>();
  #results: readonly (Value | Register)[] = [];

  constructor(r: TextReader) {
    this.#r = r;
  }

  kernel(): Kernel {
    const r = this.#r;
    r.expect("kernel");
    const name = r.string();
    r.expect("threads");
    const threads = r.integer();
    const cluster = r.accept("cluster") ? r.integer() : undefined;
    r.expect("grid");
    r.expect("(");
    const grid: [Dim, Dim, Dim] = [this.#dim(","), this.#dim(","), this.#dim(")")];
    r.expect("summary");
    const summary = r.string();
    const files: string[] = [];
    const sizes: SizeParam[] = [];
    while (r.accept("file")) files.push(r.string());
    while (r.accept("size")) sizes.push(this.#size());
    while (!r.at("{") && !r.at("map")) this.#buffer();
    while (r.accept("map")) this.#map();
    return {
      name,
      threads,
      ...(cluster === undefined ? {} : { cluster }),
      grid,
      summary,
      files,
      sizes,
      buffers: [...this.#buffers.values()],
      maps: [...this.#maps.values()],
      body: this.#body(),
    };
  }

  #dim(stop: string): Dim {
    const dim = parseSize(this.#r.slice(stop));
    this.#r.expect(stop);
    return dim;
  }

  #size(): SizeParam {
    const name = this.#r.string();
    this.#r.expect("=");
    return { name, dim: parseSize(this.#r.slice("size", "global", "shared", "map", "{")) };
  }

  #buffer(): void {
    const r = this.#r;
    const space = r.accept("shared") ? "shared" : "global";
    if (space === "global") r.expect("global");
    const spelling = r.name("@");
    const name = this.#hint(spelling);
    r.expect(":");
    const dtype = this.#dtype();
    r.expect("[");
    const length = this.#dim("]");
    const access = space === "shared" ? "read-write" : this.#access();
    r.expect("align");
    const align = r.integer();
    const lanes = r.accept("lanes") ? { lanes: r.integer() } : {};
    const panel = r.accept("panel") ? { panel: r.integer() } : {};
    const id = this.#buffers.size;
    this.#buffers.set(spelling, { id, name, space, dtype, length, access, align, ...lanes, ...panel });
  }

  #map(): void {
    const r = this.#r;
    const spelling = r.name("@");
    const name = this.#hint(spelling);
    r.expect("=");
    const buffer = this.#bufferUse();
    r.expect(":");
    r.expect("[");
    const dims: Dim[] = [];
    do dims.push(parseSize(r.slice(",", "]")));
    while (r.accept(","));
    r.expect("]");
    r.expect("box");
    r.expect("[");
    const box = r.list("]", () => r.integer());
    r.expect("swizzle");
    this.#maps.set(spelling, { id: this.#maps.size, name, buffer, dims, box, swizzle: this.#swizzle() });
  }

  #swizzle(): Swizzle {
    const bytes = this.#r.integer();
    if (bytes === 0 || bytes === 32 || bytes === 64 || bytes === 128) return bytes;
    return this.#r.fail("expected a swizzle of 0, 32, 64 or 128");
  }

  #access(): Buffer["access"] {
    const word = this.#r.word();
    if (word === "read" || word === "write" || word === "read-write") return word;
    return this.#r.fail("expected read, write or read-write");
  }

  #dtype(): DType {
    const word = this.#r.word();
    return isDType(word) ? word : this.#r.fail("expected a dtype");
  }

  #type(): ValueType {
    const word = this.#r.word();
    return isValueType(word) ? word : this.#r.fail("expected a type");
  }

  /** The hint in `3_row`, or the string behind it. */
  #hint(spelling: string): string {
    if (this.#r.token.kind === "string") return this.#r.string();
    const cut = spelling.indexOf("_");
    return cut < 0 ? "" : spelling.slice(cut + 1);
  }

  #define(): Value {
    const spelling = this.#r.name("%");
    const hint = this.#hint(spelling);
    this.#r.expect(":");
    if (this.#values.has(spelling)) this.#r.fail(`%${spelling} is defined twice`);
    const value: Value = { id: this.#values.size, type: this.#type(), hint };
    this.#values.set(spelling, value);
    return value;
  }

  #defineRegister(): Register {
    const spelling = this.#r.name("$");
    const hint = this.#hint(spelling);
    this.#r.expect(":");
    const register: Register = { register: true, id: this.#registers.size, type: this.#type(), hint };
    this.#registers.set(spelling, register);
    return register;
  }

  #use(): Value {
    const spelling = this.#r.name("%");
    return this.#values.get(spelling) ?? this.#r.fail(`%${spelling} is not defined`);
  }

  #register(): Register {
    const spelling = this.#r.name("$");
    return this.#registers.get(spelling) ?? this.#r.fail(`$${spelling} is not defined`);
  }

  #bufferUse(): Buffer {
    const spelling = this.#r.name("@");
    return this.#buffers.get(spelling) ?? this.#r.fail(`@${spelling} is not a buffer`);
  }

  #place(): { readonly buffer: Buffer; readonly index: Value } {
    const buffer = this.#bufferUse();
    this.#r.expect("[");
    const index = this.#use();
    this.#r.expect("]");
    return { buffer, index };
  }

  #guard(): Value | undefined {
    return this.#r.accept("if") ? this.#use() : undefined;
  }

  #uses(): Value[] {
    const values = [this.#use()];
    while (this.#r.accept(",")) values.push(this.#use());
    return values;
  }

  #body(): Op[] {
    const ops: Op[] = [];
    this.#r.expect("{");
    while (!this.#r.accept("}")) ops.push(this.#op());
    return ops;
  }

  #op(): Op {
    if (this.#r.token.kind !== "name") return this.#statement(this.#r.word());
    // A definition: its results are read first, and named only behind its operands.
    this.#results = [];
    const results: (Value | Register)[] = [];
    do results.push(this.#r.token.text.startsWith("$") ? this.#register() : this.#define());
    while (this.#r.accept(","));
    this.#r.expect("=");
    this.#results = results;
    return this.#definition(this.#r.word());
  }

  #value(): Value {
    const [dst] = this.#results;
    if (dst === undefined || this.#results.length !== 1 || "register" in dst)
      return this.#r.fail("expected one value");
    return dst;
  }

  #valueResults(): Value[] {
    return this.#results.map((dst) => ("register" in dst ? this.#r.fail("expected values") : dst));
  }

  #definition(word: string): Op {
    if (isBinaryFn(word)) return { kind: "binary", dst: this.#value(), fn: word, ...this.#pair() };
    if (isUnaryFn(word)) return { kind: "unary", dst: this.#value(), fn: word, a: this.#use() };
    switch (word) {
      case "const":
        return { kind: "const", dst: this.#value(), value: this.#constant(this.#value().type) };
      case "size":
        return { kind: "size", dst: this.#value(), param: this.#r.integer() };
      case "thread":
        return { kind: "thread", dst: this.#value() };
      case "lane":
        return { kind: "lane", dst: this.#value() };
      case "subgroup":
        return { kind: "subgroup", dst: this.#value() };
      case "block":
        return { kind: "block", dst: this.#value(), axis: this.#axis() };
      case "fma": {
        const [a, b, c] = this.#three();
        return { kind: "fma", dst: this.#value(), a, b, c };
      }
      case "select": {
        const [condition, a, b] = this.#three();
        return { kind: "select", dst: this.#value(), condition, a, b };
      }
      case "convert":
        return {
          kind: "convert",
          dst: this.#value(),
          a: this.#use(),
          storage: this.#r.accept("as") ? this.#dtype() : undefined,
        };
      case "bitcast":
        return { kind: "bitcast", dst: this.#value(), a: this.#use() };
      case "pack":
        return { kind: "pack", dst: this.#value(), parts: this.#uses() };
      case "unpack":
        return { kind: "unpack", dst: this.#valueResults(), a: this.#use() };
      case "get":
        return { kind: "get", dst: this.#value(), register: this.#register() };
      case "descriptor": {
        const place = this.#place();
        this.#r.expect("leading");
        const leading = this.#r.integer();
        this.#r.expect("stride");
        const stride = this.#r.integer();
        this.#r.expect("swizzle");
        return {
          kind: "descriptor",
          dst: this.#value(),
          ...place,
          leading,
          stride,
          swizzle: this.#swizzle(),
        };
      }
      case "load": {
        const place = this.#place();
        const guard = this.#guard();
        return {
          kind: "load",
          dst: this.#valueResults(),
          ...place,
          guard,
          otherwise: this.#r.accept("else") ? this.#use() : undefined,
        };
      }
      case "shuffle-xor": {
        const value = this.#use();
        this.#r.expect(",");
        return { kind: "shuffle-xor", dst: this.#value(), value, mask: this.#r.integer() };
      }
      case "shuffle-index": {
        const { a, b } = this.#pair();
        return { kind: "shuffle-index", dst: this.#value(), value: a, lane: b };
      }
      case "instruction":
        return this.#instruction(this.#results);
      default:
        return this.#r.fail(`${word} is no op`);
    }
  }

  #statement(word: string): Op {
    const r = this.#r;
    switch (word) {
      case "var": {
        const register = this.#defineRegister();
        return { kind: "var", register, init: r.accept("=") ? this.#use() : undefined };
      }
      case "set": {
        const register = this.#register();
        r.expect("=");
        return { kind: "set", register, value: this.#use() };
      }
      case "store": {
        const place = this.#place();
        r.expect("=");
        return { kind: "store", ...place, values: this.#uses(), guard: this.#guard() };
      }
      case "atomic": {
        const fn = r.word();
        if (!isAtomicFn(fn)) return r.fail("expected an atomic function");
        const place = this.#place();
        r.expect("=");
        return { kind: "atomic", fn, ...place, value: this.#use(), guard: this.#guard() };
      }
      case "barrier":
        return { kind: "barrier", group: r.token.kind === "number" ? this.#group() : undefined };
      case "roles":
        return { kind: "roles", roles: this.#roles() };
      case "instruction":
        return this.#instruction([]);
      case "for":
        return this.#for();
      case "if": {
        const condition = this.#use();
        const then = this.#body();
        return { kind: "if", condition, then, else: r.accept("else") ? this.#body() : [] };
      }
      case "line":
        return { kind: "line", file: r.integer(), line: r.integer(), column: r.integer() };
      case "comment":
        return { kind: "comment", text: r.string() };
      default:
        return r.fail(`${word} is no op`);
    }
  }

  #group(): Op<"barrier">["group"] {
    const first = this.#r.integer();
    this.#r.expect("of");
    return { threads: this.#r.integer(), first };
  }

  #roles(): KernelRole[] {
    const r = this.#r;
    const roles: KernelRole[] = [];
    r.expect("{");
    while (r.accept("role")) {
      const name = r.token.kind === "string" ? r.string() : r.word();
      roles.push({ name, threads: r.integer(), body: this.#body() });
    }
    r.expect("}");
    return roles;
  }

  #for(): Op<"for"> {
    const r = this.#r;
    const index = this.#define();
    r.expect("=");
    const from = this.#use();
    r.expect("to");
    const to = this.#use();
    r.expect("step");
    const step = r.integer();
    const unroll = r.accept("unroll");
    return { kind: "for", index, from, to, step, unroll, body: this.#body() };
  }

  #instruction(dst: readonly (Value | Register)[]): Op<"instruction"> {
    const name = this.#r.string();
    this.#r.expect("(");
    const operands = this.#r.list(")", (): Operand => this.#operand());
    return { kind: "instruction", name, dst, operands };
  }

  #operand(): Operand {
    const { text } = this.#r.token;
    if (text === "matrix") return this.#matrix();
    if (!text.startsWith("@")) return this.#use();
    const map = this.#maps.get(text.slice(1));
    if (map === undefined) return this.#place();
    this.#r.name("@");
    return { map };
  }

  #matrix(): Operand {
    const r = this.#r;
    r.expect("matrix");
    const { buffer, index } = this.#place();
    r.expect("offset");
    const offset = r.integer();
    r.expect("stride");
    return { matrix: buffer, panel: index, offset, stride: r.integer() };
  }

  #pair(): { readonly a: Value; readonly b: Value } {
    const a = this.#use();
    this.#r.expect(",");
    return { a, b: this.#use() };
  }

  #three(): [Value, Value, Value] {
    const { a, b } = this.#pair();
    this.#r.expect(",");
    return [a, b, this.#use()];
  }

  #axis(): 0 | 1 | 2 {
    const axis = this.#r.integer();
    return axis === 0 || axis === 1 || axis === 2 ? axis : this.#r.fail("expected an axis");
  }

  #constant(type: ValueType): ScalarValue {
    if (type === "bool") return this.#r.word() === "true";
    if (type !== "i64") return normalizeScalar(type, this.#r.number());
    const { text, kind } = this.#r.next();
    invariant(kind === "number", `an i64 constant is a number, not ${text}`);
    return BigInt(text);
  }
}
